// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

const (
	system32 = "c:/windows/system32/"
	storeDir = system32 + "driverstore/filerepository/"
	fieldINF = "[Version]\nClass=System\nProvider=\"X\"\nDriverVer=01/01/2020,1.2.0.5\n" +
		"[Manufacturer]\n\"X\"=M,NTamd64\n" +
		"[M.NTamd64]\n\"Dev\"=I,PCI\\VEN_1234&DEV_5678,PCI\\CC_0200\n[I.NT]\nCopyFiles=C\n[I.NT.Services]\n" +
		"AddService=fielddrv,2,S\n[S]\nServiceBinary=%13%\\fielddrv.sys\n"
)

// volume is an image of Windows with these files beside the SYSTEM hive.
func volume(files map[string]string) *fakewindows.Machine {
	m := &fakewindows.Machine{Files: fstest.MapFS{}, Calls: map[string]string{}, Deny: map[string]bool{}}
	m.Files[system32+"config/system"] = &fstest.MapFile{Data: hivetest.System()}
	m.Files[system32+"drivers/disk.sys"] = &fstest.MapFile{Data: sample("disk")}
	for name, text := range files {
		m.Files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func sample(code string) []byte {
	im := petest.Sample()
	im.Code = []byte(code)
	return im.Build()
}

// image asks an image with everything that can be asked for.
func image(m *fakewindows.Machine) *windows.Kernel {
	return windows.Open(m, fact.Options{Image: true,
		Detail: fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures})
}

// Every file of every package is a driver of its own: sub-folders, several versions of one name, and one that
// System32\drivers has as well. Ids do not move.
func TestInstalledStore(t *testing.T) {
	m := volume(map[string]string{
		storeDir + "a.inf_amd64_1/x.sys": string(sample("1")), storeDir + "a.inf_amd64_2/x.sys": string(sample("2")),
		storeDir + "a.inf_amd64_2/x64/x.sys": string(sample("3")), storeDir +
			"b.inf_amd64_1/disk.sys": string(sample("4")),
		storeDir + "b.inf_amd64_1/readme.txt": "x", system32 + "drivers/wd/w.sys": string(sample("5")),
	})
	var r fact.Report
	got := map[string]string{}
	for record, err := range image(m).Installed(context.Background(), &r) {
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(record.ID, "windows_driver:")] = string(record.State)
	}
	for id, state := range map[string]string{
		"disk.sys": "installed", `c:\windows\system32\drivers\wd\w.sys`: "installed",
		"disk.sys#b.inf_amd64_1": "staged",
		"x.sys":                  "staged", "x.sys#a.inf_amd64_2": "staged", `x.sys#a.inf_amd64_2\x64`: "staged",
	} {
		if got[id] != state {
			t.Errorf("%s is %q, want %q of %v", id, got[id], state, got)
		}
	}
	if src, _ := r.Find(windows.SourceFolders); src.Outcome != fact.OutcomeOK {
		t.Errorf("%+v", src)
	}
	m.Deny[storeDir+"a.inf_amd64_2"] = true
	m.Deny["C:/Windows/System32/DriverStore/FileRepository/a.inf_amd64_2"] = true
	r = fact.Report{}
	for range image(m).Installed(context.Background(), &r) {
	}
	if src, _ := r.Find(windows.SourceFolders); src.Outcome != fact.OutcomePartial {
		t.Errorf("a folder that is refused: %+v", src)
	}
}

// A folder of drivers that is not a volume is listed whole.
func TestBareFolder(t *testing.T) {
	m := &fakewindows.Machine{Files: fstest.MapFS{}, Calls: map[string]string{}, Deny: map[string]bool{}}
	for _, name := range []string{"c:/a.sys", "c:/sub/deep/b.sys", "c:/readme.txt"} {
		m.Files[name] = &fstest.MapFile{Data: sample(name)}
	}
	var r fact.Report
	var got []string
	for record, err := range image(m).Installed(context.Background(), &r) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Path)
	}
	if !slices.Equal(got, []string{`C:\a.sys`, `C:\sub\deep\b.sys`}) {
		t.Errorf("%v", got)
	}
	if p, ok := r.First(windows.SourceRegistry); !ok || !strings.Contains(p.Text, `config\SYSTEM`) {
		t.Errorf("the hive that is missing is not named: %v", r.Problems)
	}
}

// A staged file names its package, with the ids that it waits for, where only the store's folder has it.
func TestStagedPackage(t *testing.T) {
	pack := storeDir + "fielddrv.inf_amd64_1/"
	for name, tt := range map[string]struct {
		change map[string]string
		deny   string
		inf    string
		ids    int
		code   fact.Code
	}{
		"staged":        {nil, "", "oem5.inf", 2, ""},
		"not published": {map[string]string{"c:/windows/inf/oem5.inf": "[Version]"}, "", "", 2, fact.CodeOther},
		"a refused INF": {nil, "C:/Windows/INF/oem5.inf", "", 2, fact.CodeOther},
		"a damaged INF": {map[string]string{pack + "fielddrv.inf": "nonsense"}, "", "", 0, fact.CodeMalformed},
		"no INF":        {map[string]string{pack + "fielddrv.inf": ""}, "", "", 0, ""},
	} {
		all := map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
			pack + "second.sys": string(sample("s")), "c:/windows/inf/oem5.inf": fieldINF,
			"c:/windows/inf/oem6.inf": strings.Replace(fieldINF, "X", "Y", 1)}
		for file, text := range tt.change {
			if all[file] = text; text == "" {
				delete(all, file)
			}
		}
		m := volume(all)
		m.Deny[tt.deny] = true
		found := 0
		for record, err := range image(m).Installed(context.Background(), new(fact.Report)) {
			if err != nil || record.State != fact.StateStaged {
				continue
			}
			found++
			var p windows.Package
			if len(record.Own.Packages) == 1 {
				p = record.Own.Packages[0]
			}
			if p.INF != tt.inf || len(p.HardwareIDs) != tt.ids || tt.ids > 0 && p.OriginalINF != "fielddrv.inf" {
				t.Errorf("%s: %+v", name, record.Own.Packages)
			}
			var code fact.Code
			for _, p := range record.Problems {
				if p.Source == windows.SourceStore {
					code = p.Code
				}
			}
			if code != tt.code {
				t.Errorf("%s: %+v", name, record.Problems)
			}
		}
		if found != 2 {
			t.Errorf("%s: %d staged files", name, found)
		}
	}
}

// A package that the database has names the ids that it waits for, too, where files are asked for.
func TestStagedPackageOfDatabase(t *testing.T) {
	for detail, ids := range map[fact.Detail]int{0: -1, fact.DetailFiles: 2} {
		m := fakewindows.Windows11(false)
		pack := storeDir + "fielddrv.inf_amd64_1/"
		m.Files[pack+"fielddrv.inf"] = &fstest.MapFile{Data: []byte(fieldINF)}
		m.Files[pack+"fielddrv.sys"] = &fstest.MapFile{Data: sample("f")}
		m.Calls[windows.OpDriverPackages] = string(registry.AppendText(nil, []registry.Key{{
			Path:   `HKEY_LOCAL_MACHINE\SYSTEM\DriverDatabase\DriverPackages\fielddrv.inf_amd64_1`,
			Values: []registry.Value{registry.StringValue("", registry.TypeString, "oem9.inf")}}}))
		k := windows.Open(m, fact.Options{Detail: detail})
		got := 0
		for record, err := range k.Installed(context.Background(), new(fact.Report)) {
			if err != nil || record.State != fact.StateStaged {
				continue
			}
			if got = -1; len(record.Own.Packages) == 1 && record.Own.Packages[0].INF == "oem9.inf" {
				got = len(record.Own.Packages[0].HardwareIDs)
			}
		}
		if got != ids {
			t.Errorf("detail %v: %d ids", detail, got)
		}
	}
}

func wayOf(p *fact.Prospect, name string) fact.Way {
	i := slices.IndexFunc(p.Ways, func(w fact.Way) bool { return w.Way == name })
	if i < 0 {
		return fact.Way{}
	}
	return p.Ways[i]
}

// A device that arrives brings in what is staged for it; whether it is staged is never taken for granted, nor its
// contrary.
func TestArrival(t *testing.T) {
	pack := storeDir + "fielddrv.inf_amd64_1/"
	files := map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
		"c:/windows/inf/oem5.inf": fieldINF}
	for name, tt := range map[string]struct {
		change  map[string]string
		deny    string
		blocked fact.Tri
		outcome fact.VerdictOutcome
	}{
		"staged":          {nil, "", fact.No, fact.VerdictLoadable},
		"no INF":          {map[string]string{pack + "fielddrv.inf": ""}, "", "", fact.VerdictUnknown},
		"not published":   {map[string]string{"c:/windows/inf/oem5.inf": "[Version]"}, "", "", fact.VerdictUnknown},
		"no INF but this": {map[string]string{"c:/windows/inf/oem5.inf": ""}, "", "", fact.VerdictUnknown},
		"a damaged INF":   {map[string]string{pack + "fielddrv.inf": "nonsense"}, "", "", fact.VerdictUnknown},
		"for no device": {map[string]string{pack + "fielddrv.inf": "[Version]\n"}, "", fact.Yes,
			fact.VerdictBlocked},
		"a refused INF": {nil, "C:/Windows/System32/DriverStore/FileRepository/fielddrv.inf_amd64_1/fielddrv.inf",
			"", fact.VerdictUnknown},
		"a refused folder": {nil, "C:/Windows/System32/DriverStore/FileRepository", "", fact.VerdictUnknown},
	} {
		all := map[string]string{}
		for _, list := range []map[string]string{files, tt.change} {
			for file, text := range list {
				if all[file] = text; text == "" {
					delete(all, file)
				}
			}
		}
		m := volume(all)
		m.Deny[tt.deny] = true
		var r fact.Report
		list, err := image(m).Check(context.Background(), "fielddrv.sys", &r)
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		v := list[0]
		if v.NextBoot.Outcome != tt.outcome {
			t.Errorf("%s: %s for %+v", name, v.NextBoot.Outcome, v.Reasons)
		}
		if way := wayOf(v.NextBoot, windows.WayArrival); v.Module != "" && way.Blocked != tt.blocked {
			t.Errorf("%s: %+v", name, way)
		}
		if tt.blocked == fact.No && (len(v.Triggers) != 2 || !strings.Contains(v.Remedies[0].Text, "oem5.inf")) {
			t.Errorf("%s: triggers %v, remedies %v", name, v.Triggers, v.Remedies)
		}
	}
}

// A policy on installing devices keeps a package out, but not by a hive whose log files may say otherwise.
func TestArrivalDirty(t *testing.T) {
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions`
	deny := hivetest.Value{Name: "DenyUnspecified", Type: 4, Data: []byte{1, 0, 0, 0}}
	for dirty, want := range map[bool]fact.VerdictOutcome{false: fact.VerdictBlocked, true: fact.VerdictLoadable} {
		pack := storeDir + "fielddrv.inf_amd64_1/"
		m := volume(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
			"c:/windows/inf/oem5.inf": fieldINF})
		hive := hivetest.Of(`HKEY_LOCAL_MACHINE\SOFTWARE`,
			[]hivetest.Key{{Path: key, Values: []hivetest.Value{deny}}})
		if dirty {
			soil(hive)
		}
		m.Files[system32+"config/software"] = &fstest.MapFile{Data: hive}
		list, err := image(m).Check(context.Background(), "fielddrv.sys", new(fact.Report))
		if err != nil || len(list) != 1 || list[0].NextBoot.Outcome != want {
			t.Errorf("dirty %v: %+v, %v", dirty, list, err)
		}
	}
}

const lockdown = `SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles`

// installedTwice is a machine with a disabled service whose file a published package has, too. The registry says that a
// file came from a source, which is empty for one that it does not name.
func installedTwice(file, source string) *fakewindows.Machine {
	m := fakewindows.Windows11(false)
	pack := storeDir + "disabled.inf_amd64_1/"
	inf := strings.NewReplacer("fielddrv", "disabled").Replace(fieldINF)
	m.Files[pack+"disabled.inf"] = &fstest.MapFile{Data: []byte(inf)}
	m.Files[pack+"disabled.sys"] = &fstest.MapFile{Data: sample("d")}
	m.Files["c:/windows/inf/oem9.inf"] = &fstest.MapFile{Data: []byte(inf)}
	packages := []registry.Key{{Path: `HKEY_LOCAL_MACHINE\SYSTEM\DriverDatabase\DriverPackages\disabled.inf_amd64_1`,
		Values: []registry.Value{registry.StringValue("", registry.TypeString, "oem9.inf")}}}
	m.Calls[windows.OpDriverPackages] = string(registry.AppendText(nil, packages))
	key := registry.Key{Path: `HKEY_LOCAL_MACHINE\X\%SystemRoot%/System32/drivers/` + file}
	if source != "" {
		key.Values = []registry.Value{registry.StringValue("Source", registry.TypeString,
			`%SystemRoot%\System32\DriverStore\FileRepository\`+source)}
	}
	m.Calls[windows.OpSubkeys+" "+lockdown] = string(registry.AppendText(nil, []registry.Key{key}))
	return m
}

// A disabled service does not keep out what a package installs anew for a device. That no package does is known only
// if the links of files with packages were read.
func TestArrivalOfInstalled(t *testing.T) {
	const source = `disabled.inf_amd64_1\disabled.sys`
	unread := func(m *fakewindows.Machine) { m.Deny[windows.OpSubkeys+" "+lockdown] = true }
	noCopy := func(m *fakewindows.Machine) { delete(m.Files, storeDir+"disabled.inf_amd64_1/disabled.sys") }
	noStore := func(m *fakewindows.Machine) {
		maps.DeleteFunc(m.Files, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, storeDir) })
	}
	noFile := func(m *fakewindows.Machine) { delete(m.Files, system32+"drivers/disabled.sys") }
	same := func(m *fakewindows.Machine) {
		m.Files[system32+"drivers/disabled.sys"] = &fstest.MapFile{Data: sample("d")}
	}
	renamed := func(m *fakewindows.Machine) {
		pack := storeDir + "disabled.inf_amd64_1/"
		m.Files[pack+"x64.sys"] = m.Files[pack+"disabled.sys"]
		delete(m.Files, pack+"disabled.sys")
	}
	noINF := func(m *fakewindows.Machine) { delete(m.Files, storeDir+"disabled.inf_amd64_1/disabled.inf") }
	refused := func(m *fakewindows.Machine) {
		m.Deny["C:/Windows/System32/DriverStore/FileRepository/disabled.inf_amd64_1/disabled.inf"] = true
	}
	for name, tt := range map[string]struct {
		file, source string
		change       []func(*fakewindows.Machine)
		blocked      fact.Tri
	}{
		"linked":           {"disabled.sys", source, nil, fact.No},
		"by another name":  {"disabled.sys", `disabled.inf_amd64_1\x64.sys`, nil, fact.No},
		"another file":     {"other.sys", source, nil, fact.Yes},
		"out of the store": {"disabled.sys", `..\FileX\disabled.sys`, nil, ""},
		"without a source": {"disabled.sys", "", nil, ""},
		"refused":          {"disabled.sys", source, []func(*fakewindows.Machine){unread}, ""},
		"no such key": {"disabled.sys", source, []func(*fakewindows.Machine){func(m *fakewindows.Machine) {
			delete(m.Calls, windows.OpSubkeys+" "+lockdown)
		}}, fact.Yes},
		"refused, no file of its name": {"disabled.sys", source, []func(*fakewindows.Machine){unread, noCopy}, ""},
		"refused, no package at all": {"disabled.sys", source, []func(*fakewindows.Machine){unread, noStore},
			fact.Yes},
		"the same bytes": {"other.sys", source, []func(*fakewindows.Machine){same}, fact.No},
		"the same bytes by another name": {"other.sys", source, []func(*fakewindows.Machine){same, renamed},
			fact.No},
		"other bytes by another name": {"other.sys", source, []func(*fakewindows.Machine){renamed}, fact.Yes},
		"no file yet, by another name": {"other.sys", source, []func(*fakewindows.Machine){noFile, renamed},
			""},
		"no file yet, and an INF that is refused": {"other.sys", source,
			[]func(*fakewindows.Machine){noFile, renamed, refused}, ""},
		"no file yet, and no INF": {"other.sys", source, []func(*fakewindows.Machine){noFile, renamed, noINF},
			fact.Yes},
		"the same bytes that cannot be read": {"other.sys", source, []func(*fakewindows.Machine){
			same, func(m *fakewindows.Machine) {
				m.Deny["C:/Windows/System32/DriverStore/FileRepository/disabled.inf_amd64_1/disabled.sys"] = true
			}}, ""},
		"no file yet": {"other.sys", source, []func(*fakewindows.Machine){noFile}, ""},
		"no file, and none in the store": {"other.sys", source, []func(*fakewindows.Machine){noFile, noCopy},
			fact.Yes},
		"a database that is refused": {"disabled.sys", source, []func(*fakewindows.Machine){
			func(m *fakewindows.Machine) { m.Deny[windows.OpDriverPackages] = true }}, fact.No},
	} {
		for _, detail := range []fact.Detail{0, fact.DetailFiles} {
			m := installedTwice(tt.file, tt.source)
			for _, change := range tt.change {
				change(m)
			}
			var r fact.Report
			k := windows.Open(m, fact.Options{Detail: detail})
			list, err := k.Check(context.Background(), `C:\Windows\System32\drivers\disabled.sys`, &r)
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if way := wayOf(list[0].Now, windows.WayService); way.Blocked != fact.Yes {
				t.Errorf("%s: by its service: %+v", name, way)
			}
			if way := wayOf(list[0].Now, windows.WayArrival); way.Blocked != tt.blocked {
				t.Errorf("%s, %v: by a device: %+v", name, detail, way)
			}
			if tt.blocked == "" && list[0].Now.Outcome != fact.VerdictUnknown {
				t.Errorf("%s, %v: %s", name, detail, list[0].Now.Outcome)
			}
		}
	}
}

// That Windows does not know a package is said only if its database of packages was read whole.
func TestUnpublished(t *testing.T) {
	const key = `HKEY_LOCAL_MACHINE\SYSTEM\DriverDatabase\DriverPackages`
	other := registry.Key{Path: key + `\other.inf_amd64_1`,
		Values: []registry.Value{registry.StringValue("", registry.TypeString, "oem1.inf")}}
	for name, tt := range map[string]struct {
		keys    []registry.Key
		more    string
		blocked fact.Tri
	}{
		"whole":             {[]registry.Key{other}, "", fact.Yes},
		"empty":             {nil, "", ""},
		"an invalid line":   {[]registry.Key{other}, "\r\n@=nonsense\r\n", ""},
		"without an INF":    {[]registry.Key{other, {Path: key + `\disabled.inf_amd64_1`}}, "", ""},
		"half of it":        {[]registry.Key{other, {Path: `X\DriverPackages`, Refused: true}}, "", ""},
		"a key is refused":  {[]registry.Key{other, {Path: key + `\disabled.inf_amd64_1`, Refused: true}}, "", ""},
		"one that has it":   {[]registry.Key{{Path: key + `\disabled.inf_amd64_1`, Values: other.Values}}, "", fact.No},
		"has it, no INF":    {[]registry.Key{{Path: key + `\disabled.inf_amd64_1`, Values: other.Values}}, "", ""},
		"no INF, whole":     {[]registry.Key{other}, "", fact.Yes},
		"no INF, empty":     {nil, "", ""},
		"another's is lost": {[]registry.Key{other, {Path: key + `\b.inf_amd64_1`, Refused: true}}, "", fact.Yes},
	} {
		for _, detail := range []fact.Detail{0, fact.DetailFiles} {
			m := installedTwice("disabled.sys", `disabled.inf_amd64_1\disabled.sys`)
			delete(m.Files, "c:/windows/inf/oem9.inf")
			if strings.Contains(name, "no INF") {
				delete(m.Files, storeDir+"disabled.inf_amd64_1/disabled.inf")
			}
			m.Calls[windows.OpDriverPackages] = string(registry.AppendText(nil, tt.keys)) + tt.more
			k := windows.Open(m, fact.Options{Detail: detail})
			list, err := k.Check(context.Background(), `C:\Windows\System32\drivers\disabled.sys`, new(fact.Report))
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if way := wayOf(list[0].Now, windows.WayArrival); way.Blocked != tt.blocked {
				t.Errorf("%s, %v: %+v", name, detail, way)
			}
		}
	}
}

// A policy on installing devices that keeps a package out is a reason of the verdict.
func TestArrivalRestricted(t *testing.T) {
	m := fakewindows.Windows11(false)
	pack := storeDir + "fielddrv.inf_amd64_1/"
	for file, text := range map[string]string{pack + "fielddrv.inf": fieldINF,
		pack + "fielddrv.sys": string(sample("f")), "c:/windows/inf/oem5.inf": fieldINF} {
		m.Files[file] = &fstest.MapFile{Data: []byte(text)}
	}
	const key = `SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions`
	for name, value := range map[string]string{"DenyUnspecified": "yes", "Other": "no"} {
		m.Calls[windows.OpRegistry+" "+key] = string(registry.AppendText(nil, []registry.Key{{
			Path:   `HKEY_LOCAL_MACHINE\` + key,
			Values: []registry.Value{{Name: name, Type: 4, Data: []byte{1, 0, 0, 0}}}}}))
		k := windows.Open(m, fact.Options{Detail: fact.DetailFiles})
		list, err := k.Check(context.Background(), "fielddrv.sys", new(fact.Report))
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		restricted := slices.ContainsFunc(list[0].Reasons, func(r fact.Reason) bool {
			return r.Code == windows.ReasonRestricted
		})
		got := string(wayOf(list[0].Now, windows.WayArrival).Blocked)
		if got != value || restricted != (value == "yes") {
			t.Errorf("%s: blocked %q, reasons %+v", name, got, list[0].Reasons)
		}
	}
}

const policyID = "0283ac0f-fff1-49ae-ada1-8a933130cad6"

// denying is a policy that denies a driver by its name. It is not signed, and says that it need not be.
func denying(name string, options uint32) string {
	return string(policytest.Compile(&sipolicy.Policy{
		Format: 7, Options: options ^ sipolicy.OptionUnsigned, ID: policyID, BaseID: policyID,
		Rules:     []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: name, Minimum: sipolicy.AnyVersion}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}},
	}))
}

// The machine's own policies are asked, under what is known of whether they are in force.
func TestSystemLists(t *testing.T) {
	folder := system32 + "codeintegrity/"
	active := folder + "cipolicies/active/"
	deny, must := denying("ket.sys", 0), denying("ket.sys", sipolicy.OptionUnsigned)
	unsigned := string(policytest.Sign([]byte(deny), false)) // in a structure for signatures
	signed := string(signtest.New(t, "Somebody").Policy(t, []byte(deny)))
	for name, tt := range map[string]struct {
		file, text string
		outcome    fact.VerdictOutcome
		named      bool
	}{
		"none":                     {folder + "x", "", fact.VerdictLoadable, false},
		"an administrator's":       {folder + "sipolicy.p7b", deny, fact.VerdictBlocked, true},
		"an active one":            {active + "{" + policyID + "}.cip", deny, fact.VerdictBlocked, true},
		"under another name":       {active + "{1}.cip", deny, fact.VerdictUnknown, true},
		"without braces":           {active + policyID + ".cip", deny, fact.VerdictUnknown, true},
		"one that is to be signed": {folder + "sipolicy.p7b", must, fact.VerdictUnknown, true},
		"one that nobody signed":   {folder + "sipolicy.p7b", unsigned, fact.VerdictUnknown, true},
		"one that somebody signed": {folder + "sipolicy.p7b", signed, fact.VerdictUnknown, true},
		"Windows' own, not signed": {folder + "driversipolicy.p7b", deny, fact.VerdictUnknown, true},
		"one that reports": {folder + "sipolicy.p7b", denying("ket.sys", sipolicy.OptionAudit), fact.VerdictLoadable,
			true},
		"another driver": {folder + "sipolicy.p7b", denying("other.sys", 0), fact.VerdictLoadable, false},
		"a damaged one":  {folder + "sipolicy.p7b", deny[:200], fact.VerdictUnknown, true},
	} {
		m := volume(map[string]string{tt.file: tt.text})
		var r fact.Report
		list, err := image(m).Check(context.Background(), "disk", &r)
		if err != nil || len(list) != 1 || list[0].NextBoot.Outcome != tt.outcome {
			t.Errorf("%s: %+v, %v", name, list, err)
			continue
		}
		isList := func(x fact.Reason) bool { return x.Code == windows.ReasonBlockList && x.File != "" }
		if slices.ContainsFunc(list[0].Reasons, isList) != tt.named {
			t.Errorf("%s: %+v", name, list[0].Reasons)
		}
		blocked := 0
		for record, err := range image(m).Installed(context.Background(), &r) {
			if err == nil && record.Name == "disk.sys" {
				blocked = len(record.Own.Blocked)
			}
		}
		if want := tt.named && name != "a damaged one"; (blocked > 0) != want {
			t.Errorf("%s: %d rules in the list", name, blocked)
		}
	}
}

func TestResolve(t *testing.T) {
	pack := storeDir + "fielddrv.inf_amd64_1/"
	m := volume(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
		"c:/windows/inf/oem5.inf": fieldINF})
	for id, want := range map[string]string{
		`PCI\VEN_1234&DEV_5678`: "hardware oem5.inf fielddrv 0x00ff0000",
		`pci\ven_1234`:          "hardware oem5.inf fielddrv 0x00ff0000",
		`PCI\CC_0200`:           "compatible oem5.inf fielddrv 0x00ff1000", `PCI\VEN_123`: "", `USB\X`: "",
	} {
		var r fact.Report
		list, err := image(m).Resolve(context.Background(), id, &r)
		got := ""
		for _, record := range list {
			d := record.Own.Match
			got += strings.Join([]string{d.Kind, d.INF, d.Service, d.Rank}, " ")
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", id, got, err)
		}
	}
	if _, err := image(m).Resolve(context.Background(), "tcpip", new(fact.Report)); err == nil {
		t.Error("a name is taken for a hardware id")
	}
	// The database of devices of a running machine.
	live := fakewindows.Windows11(false)
	live.Calls[windows.OpRegistry+` DRIVERS\DriverDatabase\DeviceIds\PCI\VEN_1234&DEV_5678`] =
		string(registry.AppendText(nil, []registry.Key{{Path: "X",
			Values: []registry.Value{{Name: "oem7.inf", Type: 3, Data: []byte{1, 0xff, 0, 0}}}}}))
	var r fact.Report
	list, err := windows.Open(live, fact.Options{}).Resolve(context.Background(), `PCI\VEN_1234&DEV_5678`, &r)
	if err != nil || len(list) != 1 || list[0].Own.Match.Source != windows.SourceStore ||
		list[0].Own.Match.Rank != "0x0dff0000" || list[0].Name != "ketnet.sys" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A driver that filters every device of a class says so.
func TestClassFilters(t *testing.T) {
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpSubkeys+` SYSTEM\CurrentControlSet\Control\Class`] =
		string(registry.AppendText(nil, []registry.Key{{Path: `X\{4D36E967-E325-11CE-BFC1-08002BE10318}`,
			Values: []registry.Value{registry.StringValue("Class", registry.TypeString, "DiskDrive"),
				registry.StringValue("UpperFilters", registry.TypeMulti, "FltMgr\x00nobody\x00"),
				registry.StringValue("LowerFilters", registry.TypeMulti, "fltmgr\x00")}}}))
	var r fact.Report
	want := []windows.ClassFilter{{Class: "DiskDrive", GUID: "4d36e967-e325-11ce-bfc1-08002be10318", Upper: true},
		{Class: "DiskDrive", GUID: "4d36e967-e325-11ce-bfc1-08002be10318"}}
	found := false
	for record, err := range windows.Open(m, fact.Options{Detail: fact.DetailFiles}).Installed(context.Background(),
		&r) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.EqualFold(record.Name, "fltmgr.sys") {
			found = slices.Equal(record.Own.ClassFilters, want)
		}
	}
	if !found {
		t.Error("fltmgr filters no class")
	}
}

// Without the keys that join two views they are not compared, and nothing is found that comes of that.
func TestLostJoin(t *testing.T) {
	find := func(m *fakewindows.Machine) (kinds []string, unchecked bool) {
		t.Helper()
		var r fact.Report
		list, err := windows.Open(m, fact.Options{}).Discrepancies(context.Background(), &r)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.Kind == windows.KindUnchecked {
				unchecked = len(d.Views) == len(d.Evidence)
				for _, e := range d.Evidence {
					unchecked = unchecked && d.Views[e.Source] == fact.ViewUnchecked && e.Fact != "" && e.Value != ""
				}
			}
			if d.Grade != fact.GradeTransient {
				kinds = append(kinds, d.Kind+" "+strings.ToLower(strings.TrimSuffix(d.Name, ".sys")))
			}
		}
		return kinds, unchecked
	}
	base, _ := find(fakewindows.Windows11(false))
	for _, call := range []string{windows.OpServiceKeys, windows.OpPaths, windows.OpServices} {
		m := fakewindows.Windows11(false)
		m.Deny[call] = true
		got, unchecked := find(m)
		for _, kind := range got {
			if !slices.Contains(base, kind) {
				t.Errorf("without %s: %s", call, kind)
			}
		}
		if !unchecked {
			t.Errorf("without %s: nothing is unchecked, or not with its reason", call)
		}
	}
}
