// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/testing/texts"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// row is what a test looks at of one driver of a capture.
type row struct{ key, name, state, start, typ, stateWord string }

// A reader is one of the readers of captures.
type reader func(string, *fact.Report) fact.Capture[Driver]

// read reads a text as reader does, and drops the report.
func read(reader reader, text string) fact.Capture[Driver] { return reader(text, new(fact.Report)) }

func rows(c fact.Capture[Driver]) []row {
	var out []row
	for _, m := range c.Records {
		r := row{key: strings.TrimPrefix(m.ID, "windows_driver:"), name: m.Name}
		if len(m.Own.Services) > 0 {
			s := m.Own.Services[0]
			r.state, r.start, r.typ, r.stateWord = s.State, s.Start, s.Type, s.StateWord
		}
		out = append(out, r)
	}
	return out
}

func TestCaptures(t *testing.T) {
	captures := texts.Archive(t, "captures.txtar")
	// these have no end of line
	captures["ConvertTo-Json"] = `[{"Name":"Beep","State":"Stopped","StartMode":"Disabled","PathName":null,` +
		`"Started":false},{"Caption":"no driver"}]`
	captures["ConvertTo-Json, cut off"] = `[{"Name":"Beep","State":"Stopped"},{"name":"Null",` +
		`"state":"Running","Name":7},{"Name":"cu`
	captures["ConvertTo-Json of one"] = `{"Name":"Beep","State":"Stopped"}`
	for _, c := range []struct {
		name  string
		parse reader
		want  []row
		stray int
	}{
		{"driverquery in German", ReadDriverQuery,
			[]row{{"acpi.sys", "ACPI.sys", "running", "boot", "kernel_driver", "Wird ausgeführt"},
				{"luafv.sys", "luafv.sys", "", "auto", "file_system_driver", "Eigenartig"}}, 0},
		{"driverquery /si", ReadDriverQuery,
			[]row{{key: "device acpi x64-based pc|hal.inf", name: "ACPI x64-based PC"},
				{key: "device thing|", name: "Thing"}}, 0},
		{"driverquery /nh /fo csv", ReadDriverQuery,
			[]row{{"service 3ware", "3ware", "", "", "kernel_driver", ""}}, 0},
		{"driverquery table with ruler", ReadDriverQuery,
			[]row{{"service 1394ohci", "1394ohci", "", "", "kernel_driver", ""},
				{"service acpiaudiocom", "AcpiAudioCom", "", "", "kernel_driver", ""}}, 0},
		{"driverquery table in Chinese", ReadDriverQuery,
			[]row{{"service 1394ohci", "1394ohci", "", "", "kernel_driver", ""},
				{"service acpi", "ACPI", "", "", "kernel_driver", ""}, {"service x", "x", "", "", "kernel_driver", ""}},
			0},
		{"driverquery /fo list in French", ReadDriverQuery,
			[]row{{"service 1394ohci", "1394ohci", "", "", "kernel_driver", ""},
				{"service acpi", "ACPI", "", "", "kernel_driver", ""}}, 0},
		{"driverquery with Swiss numbers", ReadDriverQuery,
			[]row{{"a.sys", "a.sys", "paused", "demand", "kernel_driver", "Angehalten"}}, 0},
		{"sc query in Russian", ReadSC,
			[]row{{"service beep", "Beep", "running", "", "kernel_driver", ""},
				{"service afd", "afd", "stopped", "", "kernel_driver", ""}}, 0},
		{"sc qc in Spanish", ReadSC,
			[]row{{"afd.sys", "afd.sys", "", "disabled", "kernel_driver", ""}}, 0},
		{"sc of no service", ReadSC,
			[]row{{"service beep", "Beep", "", "", "kernel_driver", ""}}, 1},
		{"sc qc", ReadSC,
			[]row{{"tcpip.sys", "tcpip.sys", "", "boot", "kernel_driver", ""}}, 0},
		{"sc query with a user's service", ReadSC,
			[]row{{"service beep", "Beep", "stopped", "", "kernel_driver", ""}}, 0},
		{"wmic list", ReadWMIText,
			[]row{{"beep.sys", "beep.sys", "running", "system", "", ""}}, 0},
		{"wmic csv", ReadWMIText,
			[]row{{"beep.sys", "beep.sys", "running", "system", "kernel_driver", ""}}, 0},
		{"ConvertTo-Json", ReadWMIText,
			[]row{{"service beep", "Beep", "stopped", "disabled", "", ""}}, 1},
		{"ConvertTo-Json, cut off", ReadWMIText,
			[]row{{"service beep", "Beep", "stopped", "", "", ""}, {"service 7", "7", "running", "", "", ""}}, 0},
		{"ConvertTo-Json of one", ReadWMIText,
			[]row{{"service beep", "Beep", "stopped", "", "", ""}}, 0},
		{"signed drivers", ReadWMIText,
			[]row{{key: `device root\acpi_hal\0000`, name: "ACPI x64-based PC"}}, 0},
		{"pnputil in German", ReadPnPUtil,
			[]row{{key: "oem72.inf", name: "oem72.inf"}}, 0},
		{"pnputil in the old Russian layout", ReadPnPUtil,
			[]row{{key: "oem0.inf", name: "oem0.inf"}}, 0},
		{"fltmc instances", ReadFltmc,
			[]row{{key: "service wdfilter", name: "WdFilter"}, {key: "service bindflt", name: "bindflt"}}, 0},
		{"msinfo32 as XML, in German", ReadMSInfo,
			[]row{{"acpi.sys", "acpi.sys", "running", "boot", "kernel_driver", "Wird ausgeführt"}}, 0},
		{"msinfo32 in French", ReadMSInfo,
			[]row{{"acpi.sys", "acpi.sys", "running", "boot", "kernel_driver", "En cours d’exécution"}}, 0},
	} {
		text, ok := captures[c.name]
		if !ok {
			t.Errorf("no text is named %q", c.name)
		}
		var r fact.Report
		got := c.parse(text, &r)
		if g := rows(got); len(g) != len(c.want) {
			t.Errorf("%s: %+v", c.name, g)
		} else {
			for i := range g {
				if g[i] != c.want[i] {
					t.Errorf("%s: %+v, want %+v", c.name, g[i], c.want[i])
				}
			}
		}
		if got.Stray != c.stray {
			t.Errorf("%s: %d stray lines: %v", c.name, got.Stray, r.Problems)
		}
	}
}

func TestWMIDate(t *testing.T) {
	for in, want := range map[string]string{
		"20060621000000.******+***": "2006-06-21", "2006-06-21T00:00:00Z": "2006-06-21",
		"/Date(1150848000000)/":     "2006-06-21",
		"2006-06-21T02:00:00+02:00": "2006-06-21", "21/06/2006 02:00:00": "", "/Date(x)/": "",
		"2006-13-40T00:00:00": "", "": "",
	} {
		if got := wmiDate(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseSCFields(t *testing.T) {
	c := read(ReadSC, "SERVICE_NAME: afd\n        TYPE               : 1  KERNEL_DRIVER\n"+
		"        START_TYPE         : 1   SYSTEM_START\n        ERROR_CONTROL      : 3   CRITICAL\n"+
		"        BINARY_PATH_NAME   : 1 odd\\path.sys\n        LOAD_ORDER_GROUP   : PNP_TDI\n"+
		"        TAG                : 3\n        DISPLAY_NAME       : Ancillary: Function\n"+
		"        DEPENDENCIES       : tcpip\n                           : tdx\n"+
		"        SERVICE_START_NAME : \\Driver\\x\n")
	s := c.Records[0].Own.Services[0]
	if s.DisplayName != "Ancillary: Function" || s.Group != "PNP_TDI" || s.Start != "system" ||
		s.ErrorControl != "critical" || s.ImagePath != `1 odd\path.sys` ||
		!slices.Equal(s.DependsOn, []string{"tcpip", "tdx"}) {
		t.Errorf("%+v", s)
	}
}

// Texts that would grow with the square of their length do not.
func TestCaptureBounds(t *testing.T) {
	long := read(ReadWMIText, "Name : Beep\nState : Running\nDescription : a\n"+
		strings.Repeat("   more of it\n", 10_000))
	if cols := long.Records[0].Own.Columns; len(cols) != 1 || len(cols[0].Value) < capture.MaxValue/2 ||
		len(cols[0].Value) > capture.MaxValue {
		t.Errorf("a value over 10,000 lines: %d columns", len(cols))
	}
	var same strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&same, "Name : s%d\nPathName : C:\\a.sys\nState : Running\n\n", i%4000)
	}
	c := read(ReadWMIText, same.String())
	if len(c.Records) != 1 || c.Rows != 5000 || len(c.Records[0].Own.Services) != 4000 {
		t.Errorf("one image of 4,000 services: %d entries, %d rows", len(c.Records), c.Rows)
	}
	var whole, cut fact.Report
	field := ReadMSInfo("<MsInfo><Data><a>x"+strings.Repeat("<!-- -->x", 10_000)+"</a></Data></MsInfo>", &whole)
	if ReadMSInfo("<MsInfo><Data><a>x", &cut); field.Rows != 0 || len(whole.Problems) != 0 || len(cut.Problems) != 1 {
		t.Errorf("%+v, %v, %v", field, whole.Problems, cut.Problems)
	}
	if c := read(ReadFltmc, "x   "+strings.Repeat("1  ", 10_000)+"\n"); c.Rows != 0 || c.Stray != 1 {
		t.Errorf("a line of 30 KB: %+v", c)
	}
}

// What cmd.exe redirects is in the console's code page, which nothing names.
func TestConsoleText(t *testing.T) {
	row := func(start, state string) string {
		return `"a","A","A","Kernel ","` + start + `","` + state + `","OK","TRUE","FALSE","1","1","0",` +
			`"","C:\a.sys","1"` + "\n"
	}
	encode := func(text, page string) string {
		var b strings.Builder
		for _, r := range text {
			if i := slices.Index([]rune(page), r); r >= 0x80 && i >= 0 {
				b.WriteByte(byte(0x80 + i))
			} else {
				b.WriteRune(r)
			}
		}
		return b.String()
	}
	for _, c := range []struct {
		page, start, state, wantStart, wantState string
	}{
		{codePages[0], "Manuell", "Wird ausgeführt", "demand", "running"},
		{codePages[0], "Désactivé", "Arrêté", "disabled", "stopped"},
		{codePages[2], "Automático", "En ejecución", "auto", "running"},
		{codePages[1], "Вручную", "Работает", "demand", "running"},
		{codePages[3], "Отключена", "Остановлена", "disabled", "stopped"},
	} {
		text := encode(row(c.start, c.state), c.page)
		if utf8.ValidString(text) {
			t.Fatalf("%q is UTF-8", text)
		}
		s := read(ReadDriverQuery, text).Records[0].Own.Services[0]
		if s.Start != c.wantStart || s.State != c.wantState || s.StateWord != c.state {
			t.Errorf("%s: %+v", c.state, s)
		}
	}
	if got, _, known := decodeConsole("n\xff\x80 x"); known || got != "n\u00ff\u0080 x" {
		t.Errorf("of no known page: %q", got)
	}
	if got, _, known := decodeConsole("naïve"); !known || got != "naïve" {
		t.Errorf("%q", got)
	}
}

// A number with any digits stays unchanged.
func TestAltitudeIsText(t *testing.T) {
	c := read(ReadFltmc, "x         1       385250.500000000000000000001         0\n")
	if len(c.Records) != 1 || c.Records[0].Own.Filter.Altitude != "385250.500000000000000000001" {
		t.Errorf("%+v", c.Records)
	}
}

func TestParsePnPUtilFields(t *testing.T) {
	c := read(ReadPnPUtil, "Published Name:     oem35.inf\nOriginal Name:      fn.inf\nProvider Name:      Lenovo\n"+
		"Class Name:         Extensions\nClass GUID:         {e2f84ce7-8efa-411c-aa69-97454ca4cb57}\n"+
		"Extension ID:       {11111111-2222-3333-4444-555555555555}\nDriver Version:     04/03/2020 9.2.0.1\n"+
		"Signer Name:        Microsoft\n")
	want := Package{Name: "oem35.inf", INF: "oem35.inf", OriginalINF: "fn.inf", Provider: "Lenovo", Class: "Extensions",
		ClassGUID: "e2f84ce7-8efa-411c-aa69-97454ca4cb57", Date: "2020-04-03", Version: "9.2.0.1", Signer: "Microsoft"}
	if got := c.Records[0].Own.Packages[0]; got.Name != want.Name || got.ClassGUID != want.ClassGUID ||
		got.Date != want.Date || got.Version != want.Version ||
		got.Signer != want.Signer || got.Provider != want.Provider || got.Class != want.Class ||
		got.OriginalINF != want.OriginalINF {
		t.Errorf("%+v", got)
	}
}

func TestParseINF(t *testing.T) {
	text := "; comment\n[Version]\nSignature = \"$WINDOWS NT$\" ; here\nClass=Net\n" +
		"ClassGuid={4D36E972-E325-11CE-BFC1-08002BE10318}\nProvider=%V%\nDriverVer=9/19/2022,4.410.137.0\n" +
		"CatalogFile.NTamd64 = ket.cat\n\n" +
		"[Ket.NT.Services]\nAddService = ket, 0x2, \\\n   Ket.Svc\nAddService=,0x2\n[Ket.Svc]\nServiceType=1\n" +
		"ServiceBinary=%12%\\ket.sys\n[Strings]\nV=\"Ket; Inc.\"\n"
	for name, b := range map[string][]byte{"utf-8": []byte(text),
		"utf-16": append([]byte{0xff, 0xfe}, utf16text.Encode(text)...)} {
		inf, err := parseINF(b, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		if inf.Provider != "Ket; Inc." || inf.Date != "2022-09-19" || inf.Version != "4.410.137.0" ||
			inf.ClassGUID != "4d36e972-e325-11ce-bfc1-08002be10318" ||
			len(inf.Services) != 1 || inf.Services[0] != (infService{"ket", "ket.sys"}) ||
			inf.Catalogs[0] != "ket.cat" {
			t.Errorf("%s: %+v", name, inf)
		}
	}
	if _, err := parseINF([]byte("[Strings]\na=b\n"), nil); err == nil {
		t.Error("without a version: no error")
	}
	for s, want := range map[string]bool{"oem7.inf": true, `C:\Windows\INF\OEM12.INF`: true, "oem.inf": false,
		"oemx1.inf": false, "netoem1.inf": false, "oem1.pnf": false} {
		if isOEMInf(s) != want {
			t.Errorf("%s: %v", s, !want)
		}
	}
}

func TestDriverPackages(t *testing.T) {
	text := "Windows Registry Editor Version 5.00\n\n" +
		"[HKEY_LOCAL_MACHINE\\DRIVERS\\DriverDatabase\\DriverPackages\\mslbfoprovider.inf_amd64_f9d27a6b05ef21aa]\n" +
		"\"Version\"=hex:ff,ff,09,00,00,00,00,00,74,e9,36,4d,25,e3,ce,11,bf,c1,08,00,2b,\\\n" +
		"  e1,03,18,00,80,8c,a3,c5,94,c6,01,01,00,7c,4f,00,00,0a,00,00,00,00,00,00,00,\\\n  00,00\n" +
		"\"Provider\"=\"Microsoft\"\n\"SignerScore\"=dword:0d000003\n@=\"mslbfoprovider.inf\"\n"
	var r fact.Report
	list, err := parseDriverPackages([]byte(text), &r)
	if err != nil || len(r.Problems) > 0 || len(list) != 1 {
		t.Fatalf("%v %v %v", list, r.Problems, err)
	}
	p := list[0]
	if p.INF != "mslbfoprovider.inf" || p.OriginalINF != "mslbfoprovider.inf" || p.Date != "2006-06-21" ||
		p.Version != "10.0.20348.1" ||
		p.ClassGUID != "4d36e974-e325-11ce-bfc1-08002be10318" || p.SignerScore != "0x0d000003" {
		t.Errorf("%+v", p)
	}
}

func TestParseFilters(t *testing.T) {
	entry := func(name, altitude string, legacy, last bool) []byte {
		e := make([]byte, 28)
		n, a := utf16text.Encode(name), utf16text.Encode(altitude)
		e[4] = 1
		at := 20
		if legacy {
			e[4], at = 2, 12
		} else {
			e[12], e[16] = 1, 3
			e[24], e[26] = byte(len(a)), byte(28+len(n))
		}
		e[at], e[at+2] = byte(len(n)), 28
		e = append(append(e, n...), a...)
		for len(e)%8 != 0 {
			e = append(e, 0)
		}
		if !last {
			e[0] = byte(len(e))
		}
		return e
	}
	b := append(entry("WdFilter", "328010.5", false, false), entry("old", "", true, true)...)
	list, err := parseFilters(b)
	if err != nil || len(list) != 2 ||
		list[0] != (Filter{Name: "WdFilter", Altitude: "328010.5", Instances: fact.CountOf(3),
			Frame: fact.CountOf(1)}) || list[1] != (Filter{Name: "old", Legacy: true}) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range [][]byte{b[:10], append([]byte{4}, b[1:]...), append(append([]byte(nil), b[:20]...), 255)} {
		if list, err := parseFilters(bad); err == nil {
			t.Errorf("%x: %+v", bad, list)
		}
	}
}

func FuzzCaptures(f *testing.F) {
	f.Add("SERVICE_NAME: x\n  TYPE : 1  KERNEL_DRIVER\n")
	f.Add("\"a\",\"b\",\"Kernel \",\"\"\n")
	f.Add("oem1.inf\nName: oem1.inf\n")
	f.Add("Name : x\nState : Running\n")
	f.Add("x   1  3.5  0\n")
	f.Add("[{\"Name\":\"x\",\"State\":\"Running\"}]")
	f.Add("<MsInfo><Data><a>x</a><b/><c>\\x</c><d/><e/><f/><g/><h/><i/><j/><k/></Data></MsInfo>")
	f.Add("a: x\nb: y\nc: Kernel\nd: 1/1/2020\n")
	f.Add("{\"Name\":\"x\",\"State\":\"Running\"}\n[{\"Name\":\"y\"}]")
	f.Add("Name State\n---- -----\nx    Run...\n")
	f.Add("| service | device_id |\n|---|---|\n| x | y |\n")
	f.Add("<PnpUtil><Driver DriverName=\"oem1.inf\"><ClassName>x</ClassName></Driver></PnpUtil>")
	f.Add("a : oem1.inf\nb : x.inf\nc : No\nd : Net\ne : P\nf : 1/2/2020\ng : 1.2.3.4\n")
	f.Add("Path,Verified,Publisher\nc:\\a.sys,Signed,x\n")
	readers := []reader{ReadDriverQuery, ReadSC, ReadFltmc, ReadPnPUtil, ReadWMIText, ReadMSInfo,
		ReadAutoruns, ReadDriverList, ReadOsquery, ReadWindowsDriver, ReadSigcheck}
	f.Fuzz(func(t *testing.T, text string) {
		if text, _, _ = decodeConsole(text); !utf8.ValidString(text) {
			t.Fatalf("%q", text)
		}
		for i, parse := range readers {
			var r fact.Report
			c := parse(text, &r)
			if len(c.Records) > c.Rows || c.Rows > strings.Count(text, "\n")+strings.Count(text, "{")+
				strings.Count(text, "<")+1 || len(r.Problems) > 4 {
				t.Fatalf("reader %d: %d records of %d rows, %v", i, len(c.Records),
					c.Rows, r.Problems)
			}
		}
	})
}

func FuzzBinaryForms(f *testing.F) {
	f.Add([]byte{8, 0, 0, 0, 1, 4, 0, 0})
	f.Add(AppendServices(nil, []ServiceStatus{{Name: "x", Type: 1}}))
	f.Add(AppendDevices(nil, []Device{{Instance: "x"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseServices(b)
		bounded(t, s, err, len(b), 1)
		d, err := ParseDevices(b)
		bounded(t, d, err, len(b), 1)
		w, err := ParseWMIDrivers(b)
		bounded(t, w, err, len(b), 1)
		g, err := ParseWMISigned(b)
		bounded(t, g, err, len(b), 1)
		fl, err := parseFilters(b)
		bounded(t, fl, err, len(b), 1)
		inf, err := parseINF(b, nil)
		if (err == nil) == (inf == nil) {
			t.Fatalf("%v and %v", inf, err)
		}
		_, _ = parseCodeIntegrity(b)
		_, _, _ = parseSecureBoot(b)
		_, _ = parsePaths(b)
		for _, op := range []string{OpModules, OpModulesEx, OpDevices, OpWMIPnP, OpServices} {
			Redact(op, b)
		}
	})
}

// A device is that of its own service, also where one image has several.
func TestOsqueryServices(t *testing.T) {
	record := func(service string) string {
		return "device_id = ROOT\\" + service + "\n    service = " + service + "\nservice_key = x\n" +
			"      image = C:\\Windows\\System32\\drivers\\a.sys\n\n"
	}
	c := read(ReadOsquery, record("first")+record("second"))
	if len(c.Records) != 1 || len(c.Records[0].Own.Devices) != 2 {
		t.Fatalf("%+v", c)
	}
	for i, want := range []string{"first", "second"} {
		if d := c.Records[0].Own.Devices[i]; d.Service != want || d.Instance != `ROOT\`+want {
			t.Errorf("%+v, want that of %s", d, want)
		}
	}
}

// autorunsc's columns are found by their header; rows of other categories are not drivers.
func TestAutorunsCSV(t *testing.T) {
	var r fact.Report
	c := ReadAutoruns("Time,Entry Location,Entry,Enabled,Category,Description,Image Path\n"+
		"x,HKLM\\System,WinRing0,enabled,Drivers,Ring,c:\\temp\\winring0.sys\n"+
		"x,HKLM\\System,Dhcp,enabled,Services,DHCP,c:\\dhcp.dll\n"+
		"too,few\n", &r)
	want := row{key: `c:\temp\winring0.sys`, name: "winring0.sys"}
	if got := rows(c); len(got) != 1 || got[0] != want || !c.Sure || c.Stray != 1 || len(r.Problems) != 1 {
		t.Errorf("%+v, %+v, %v", got, c, r.Problems)
	}
}
