// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestObjectForms reads one list of services in each of the forms that PowerShell has for it. The texts are synthetic.
func TestObjectForms(t *testing.T) {
	const acpi = `{"Name":"ACPI","State":"Running","PathName":"C:\\Windows\\System32\\drivers\\ACPI.sys"}`
	const beep = `{"Name":"Beep","State":"Stopped","PathName":null}`
	const table = "Name State   PathName\n---- -----   --------\n" +
		"ACPI Running C:\\Windows\\System32\\drivers\\ACPI.sys\nBeep Stopped\n"
	for name, text := range map[string]string{
		"list":              "[" + acpi + ",\n" + beep + "]\n",
		"lines":             acpi + "\n" + beep + "\n",
		"two lists":         "[" + acpi + "]\n[" + beep + "]\n",
		"an empty list too": "[]\n[" + acpi + "," + beep + "]\n",
		"table":             "\n" + table + "\n",
		"CSV": "#TYPE System.Management\n\"Name\",\"State\",\"PathName\"\n" +
			"\"ACPI\",\"Running\",\"C:\\Windows\\System32\\drivers\\ACPI.sys\"\n\"Beep\",\"Stopped\",\n",
		"two tables": "Name State\n---- -----\nBeep Stopped\n\n" +
			"State   PathName                             Name\n-----   --------                             ----\n" +
			"Running C:\\Windows\\System32\\drivers\\ACPI.sys ACPI\n",
	} {
		var r fact.Report
		c := ReadWMIText(text, &r)
		got := serviceNames(c)
		want := []string{"ACPI running acpi.sys", "Beep stopped "}
		if slices.Sort(got); !slices.Equal(got, want) || len(r.Problems) != 0 || c.Stray != 0 {
			t.Errorf("%s: %q, %d stray, %v", name, got, c.Stray, r.Problems)
		}
	}
	for name, text := range map[string]string{
		"text after":   "[" + acpi + "] and more\n",
		"cut list":     "[" + acpi + ",\n",
		"cut object":   acpi + "\n{\"Name\":\"Be",
		"cut value":    strings.Replace(table, "ACPI.sys", "AC...", 1),
		"cut row":      strings.TrimSuffix(table, "\n"),
		"another line": table + "access denied\n",
	} {
		var r fact.Report
		c := ReadWMIText(text, &r)
		if src, _ := r.Find(SourceWMIText); c.Rows == 0 || len(r.Problems) == 0 || src.Outcome != fact.OutcomePartial {
			t.Errorf("%s: %d rows, %v, %v", name, c.Rows, r.Sources, r.Problems)
		}
		for _, m := range c.Records {
			if strings.Contains(m.Path, "..") {
				t.Errorf("%s: path %s", name, m.Path)
			}
		}
	}
}

// services returns name, state and file name of each service.
func serviceNames(c fact.Capture[Driver]) []string {
	var out []string
	for _, m := range c.Records {
		for _, s := range m.Own.Services {
			out = append(out, fmt.Sprintf("%s %s %s", s.Name, s.State, fold(baseName(s.ImageFile))))
		}
	}
	return out
}

// TestOsqueryForms reads one row of osquery's table of drivers in each of its forms. The texts are synthetic.
func TestOsqueryForms(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":  `[{"device_id":"PCI\\1","service":"pci","inf":"pci.inf","signed":"1","date":"1150848000"}]` + "\n",
		"lines": "device_id = PCI\\1\n  service = pci\n  inf = pci.inf\n  signed = 1\n  date = 1150848000\n",
		"CSV":   "device_id|service|inf|signed|date\nPCI\\1|pci|pci.inf|1|1150848000\n",
		"box": "+-----------+---------+---------+--------+------------+\n" +
			"| device_id | service | inf     | signed | date       |\n" +
			"+-----------+---------+---------+--------+------------+\n" +
			"| PCI\\1     | pci     | pci.inf | 1      | 1150848000 |\n" +
			"+-----------+---------+---------+--------+------------+\n",
	} {
		var r fact.Report
		c := ReadOsquery(text, &r)
		if len(c.Records) != 1 || len(r.Problems) != 0 || c.Stray != 0 {
			t.Errorf("%s: %+v, %v", name, c, r.Problems)
			continue
		}
		d := c.Records[0].Own.Devices[0]
		if d.Instance != `PCI\1` || d.Service != "pci" || d.INF != "pci.inf" || d.Signed != fact.Yes ||
			d.DriverDate != "2006-06-21" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestPackageForms reads one driver package in each form of the tools that list them; a form is never read as another
// one's. The texts are synthetic.
func TestPackageForms(t *testing.T) {
	pnputil := "Microsoft PnP Utility\n\nPublished Name:     oem1.inf\nOriginal Name:      a.inf\n" +
		"Provider Name:      Example\nClass Name:         Net\nDriver Version:     07/22/2022 1.2.3.4\n" +
		"Signer Name:        S\n\n"
	dism := "Veröffentlichter Name : oem1.inf\nOriginaldateiname : a.inf\nVorinstalliert : Nein\nKlassenname : Net\n" +
		"Anbietername : Example\nDatum : 22.07.2022\nVersion : 1.2.3.4\n\n"
	for _, c := range []struct {
		name, text string
		read       reader
		want       string
	}{
		{"pnputil", pnputil, ReadPnPUtil, "oem1.inf a.inf Example Net 1.2.3.4 2022-07-22"},
		{"pnputil as DISM", pnputil, ReadWindowsDriver, ""},
		{"pnputil without a class", strings.Replace(pnputil, "Class Name:         Net\n", "", 1), ReadPnPUtil,
			"oem1.inf a.inf   1.2.3.4 2022-07-22"},
		{"XML", `<?xml version="1.0"?><PnpUtil><Driver DriverName="oem1.inf"><OriginalName>a.inf</OriginalName>` +
			`<ProviderName>Example</ProviderName><ClassName>Net</ClassName><DriverVersion>07/22/2022 1.2.3.4` +
			`</DriverVersion><Devices><Device><ClassName>X</ClassName></Device></Devices></Driver></PnpUtil>` + "\n",
			ReadPnPUtil, "oem1.inf a.inf Example Net 1.2.3.4 2022-07-22"},
		{"other XML", `<plist><Driver DriverName="oem1.inf"/></plist>`, ReadPnPUtil, ""},
		{"DISM", dism, ReadWindowsDriver, "oem1.inf a.inf Example Net 1.2.3.4 "},
		{"DISM as pnputil", dism, ReadPnPUtil, ""},
		{"DISM table", "Published Name | Original File Name | Inbox | Class Name | Provider Name | Date | Version\n" +
			"-------------- | ------------------ | ----- | ---------- | ------------- | ---- | -------\n" +
			"oem1.inf       | a.inf              | No    | Net        | Example       | 7/22/2022 | 1.2.3.4\n",
			ReadWindowsDriver, "oem1.inf a.inf Example Net 1.2.3.4 "},
		{"Get-WindowsDriver", "Driver           : oem1.inf\nOriginalFileName : C:\\Windows\\x\\a.inf\n" +
			"Inbox            : False\nClassName        : Net\nProviderName     : Example\n" +
			"Date             : 7/8/2022 12:00:00 AM\nVersion : 1.2.3.4\n",
			ReadWindowsDriver, "oem1.inf a.inf Example Net 1.2.3.4 "},
	} {
		got := ""
		for _, m := range read(c.read, c.text).Records {
			for _, p := range m.Own.Packages {
				got += strings.Join([]string{p.Name, p.OriginalINF, p.Provider, p.Class, p.Version, p.Date}, " ")
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPnPUtilXMLCut reports XML that ends early; the part before the cut is read.
func TestPnPUtilXMLCut(t *testing.T) {
	text := `<PnpUtil><Driver DriverName="oem1.inf"><ClassName>Net</ClassName></Driver><Driver DriverName="oem2`
	var r fact.Report
	if c := ReadPnPUtil(text, &r); c.Rows != 1 || len(r.Problems) != 1 {
		t.Errorf("%+v, %v", c, r.Problems)
	}
}

// TestLetterScore prefers the code page whose letters make words.
func TestLetterScore(t *testing.T) {
	text := "\x84\xe0\xa0\xa9\xa2\xa5\xe0 Microsoft ACPI" // "Драйвер" in code page 866
	if got, _, known := decodeConsole(text); !known || got != "Драйвер Microsoft ACPI" {
		t.Errorf("%q, %v", got, known)
	}
	var r fact.Report
	if got := readConsole("a\xff", "s", &r); got != "a\u00ff" || len(r.Problems) != 1 {
		t.Errorf("%q, %v", got, r.Problems)
	}
}
