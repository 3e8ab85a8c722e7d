// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
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

const lockdown = `SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\PnpLockdownFiles`

const policyID = "0283ac0f-fff1-49ae-ada1-8a933130cad6"

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
