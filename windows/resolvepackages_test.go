// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
)

// matches returns what an id stands for, in order.
func matches(t *testing.T, m *fakewindows.Machine, live bool, id string) []string {
	t.Helper()
	k := image(m)
	if live {
		k = windows.Open(m, fact.Options{})
	}
	list, err := k.Resolve(context.Background(), id, new(fact.Report))
	if err != nil {
		t.Fatal(id, err)
	}
	var got []string
	for _, record := range list {
		d := record.Own.Match
		got = append(got, strings.Join([]string{d.Package, d.Rank, d.Source}, " "))
	}
	return got
}

// An id that stands for more than is kept: what is left out is reported once, and is not taken for all.
func TestTooManyMatches(t *testing.T) {
	const pack = storeDir + "fielddrv.inf_amd64_1/"
	for n, problems := range map[int]int{1000: 0, 1001: 1, 1500: 1} {
		inf := "[Version]\nClass=System\n[Manufacturer]\nX=M,NTamd64\n[M.NTamd64]\n"
		for i := range n {
			inf += fmt.Sprintf("\"D\"=I,PCI\\VEN_1234&DEV_%04X\n", i)
		}
		m := volume(map[string]string{pack + "fielddrv.inf": inf, "c:/windows/inf/oem5.inf": inf})
		var r fact.Report
		list, err := image(m).Resolve(context.Background(), `PCI\VEN_1234`, &r)
		if err != nil || len(list) != 1000 || r.Count(windows.SourceStore) != problems {
			t.Errorf("%d: %d, %v, %v", n, len(list), r.Problems, err)
		}
	}
}

// A package's models sections for other architectures stand for no device of its system: neither an id does, nor does
// the arrival of such a device install it.
func TestModelsOfArchitecture(t *testing.T) {
	const arm = "[Version]\nClass=System\nDriverVer=01/01/2020,1.2.0.5\n[Manufacturer]\nX=M,NTarm64.10.0...22000\n" +
		"[M.NTarm64.10.0...22000]\n\"Dev\"=I,PCI\\VEN_1234&DEV_5678\n[I.NT.Services]\nAddService=fielddrv,2,S\n" +
		"[S]\nServiceBinary=%13%\\fielddrv.sys\n"
	both := strings.Replace(fieldINF, "NTamd64\n", "NTamd64,NTarm64\n[M.NTarm64]\n\"Arm\"=I,PCI\\VEN_ABCD\n", 1)
	for name, tt := range map[string]struct {
		folder, inf, id string
		found           bool
		arrives         fact.Tri
	}{
		"its own":               {"fielddrv.inf_amd64_1", fieldINF, `PCI\VEN_1234&DEV_5678`, true, fact.No},
		"another's":             {"fielddrv.inf_amd64_1", arm, `PCI\VEN_1234&DEV_5678`, false, fact.Yes},
		"another system's":      {"fielddrv.inf_arm64_1", arm, `PCI\VEN_1234&DEV_5678`, true, fact.No},
		"of both, its own":      {"fielddrv.inf_amd64_1", both, `PCI\VEN_1234&DEV_5678`, true, fact.No},
		"of both, the other's":  {"fielddrv.inf_amd64_1", both, `PCI\VEN_ABCD`, false, fact.No},
		"of both, on the other": {"fielddrv.inf_arm64_1", both, `PCI\VEN_ABCD`, true, fact.No},
		"every one's decoration": {"fielddrv.inf_x86_1", strings.ReplaceAll(fieldINF, "NTamd64", "NT.6.1"),
			`PCI\CC_0200`, true, fact.No},
	} {
		m := volume(map[string]string{storeDir + tt.folder + "/fielddrv.sys": string(sample("f")),
			storeDir + tt.folder + "/fielddrv.inf": tt.inf, "c:/windows/inf/oem5.inf": tt.inf,
			system32 + "config/drivers": string(hivetest.Drivers())})
		if got := matches(t, m, false, tt.id); (len(got) == 1) != tt.found {
			t.Errorf("%s: %q", name, got)
		}
		list, err := image(m).Check(context.Background(), "fielddrv", new(fact.Report))
		if err != nil || len(list) != 1 {
			t.Fatal(name, list, err)
		}
		if got := wayOf(list[0].NextBoot, windows.WayArrival); got.Blocked != tt.arrives {
			t.Errorf("%s: arrival %+v", name, got)
		}
	}
}

// Each package of one INF's name is a match of its own, and one whose signature Windows did not rank comes last.
func TestPackagesOfOneINF(t *testing.T) {
	m := fakewindows.Windows11(false)
	var keys []registry.Key
	for _, folder := range []string{"in.inf_amd64_1", "in.inf_amd64_2", "other.inf_amd64_1"} {
		inf, _, _ := strings.Cut(folder, "_")
		m.Files[storeDir+folder+"/"+inf] = &fstest.MapFile{Data: []byte(fieldINF)}
		key := registry.Key{Path: `HKEY_LOCAL_MACHINE\SYSTEM\DriverDatabase\DriverPackages\` + folder,
			Values: []registry.Value{registry.StringValue("", registry.TypeString, inf)}}
		if inf == "in.inf" {
			score := registry.Value{Name: "SignerScore", Type: 4, Data: []byte{3, 0, 0, 0x0d}}
			key.Values = append(key.Values, score)
		}
		keys = append(keys, key)
	}
	m.Calls[windows.OpDriverPackages] = string(registry.AppendText(nil, keys))
	m.Calls[windows.OpRegistry+` DRIVERS\DriverDatabase\DeviceIds\PCI\CC_0200`] =
		string(registry.AppendText(nil, []registry.Key{{Path: "X",
			Values: []registry.Value{{Name: "in.inf", Type: 3, Data: []byte{2, 0xff, 0, 0}}}}}))
	want := []string{"in.inf_amd64_1 0x0dff1000 driver_store", "in.inf_amd64_2 0x0dff1000 driver_store",
		"other.inf_amd64_1 0x00ff1000 inf"}
	if got := matches(t, m, true, `PCI\CC_0200`); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What looks like arguments of a service's path belongs to it where there is such a file: the kernel knows no
// arguments, and would load that one.
func TestPathWithBlanks(t *testing.T) {
	raw := func(typ uint32, s string) hivetest.Value {
		return hivetest.Value{Name: "ImagePath", Type: typ, Data: utf16text.Encode(s + "\x00")}
	}
	number := func(name string, n byte) hivetest.Value {
		return hivetest.Value{Name: name, Type: 4, Data: []byte{n, 0, 0, 0}}
	}
	for name, tt := range map[string]struct{ path, file, want string }{
		"arguments": {`System32\drivers\disk.sys -k`, "", `C:\Windows\System32\drivers\disk.sys`},
		"a file of that name": {`System32\drivers\disk.sys -k`, "disk.sys -k",
			`C:\Windows\System32\drivers\disk.sys -k`},
		"a folder of that name": {`\SystemRoot\System32\drivers\disk.sys x\evil.sys`, "disk.sys x/evil.sys",
			`C:\Windows\System32\drivers\disk.sys x\evil.sys`},
	} {
		m := volume(nil)
		const top = `HKEY_LOCAL_MACHINE\SYSTEM`
		m.Files[system32+"config/system"].Data = hivetest.Of(top, []hivetest.Key{
			{Path: top + `\Select`, Values: []hivetest.Value{number("Default", 1), number("Current", 1)}},
			{Path: top + `\ControlSet001\Services\svc`,
				Values: []hivetest.Value{number("Type", 1), number("Start", 3), raw(2, tt.path)}}})
		if tt.file != "" {
			m.Files[system32+"drivers/"+tt.file] = &fstest.MapFile{Data: sample("e")}
		}
		got := "no such service"
		for record, err := range image(m).Installed(context.Background(), new(fact.Report)) {
			if err != nil {
				t.Fatal(name, err)
			}
			for _, s := range record.Own.Services {
				got = s.ImageFile
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A device has less specific ids beside the one that a caller gives, and INF files name those.
func TestLessSpecificIDs(t *testing.T) {
	pack := storeDir + "fielddrv.inf_amd64_1/"
	m := wholeImage(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
		"c:/windows/inf/oem5.inf": fieldINF})
	for id, want := range map[string]fact.VerdictOutcome{
		`PCI\VEN_1234&DEV_5678`:                        fact.VerdictLoadable,
		`pci\ven_1234&dev_5678&subsys_00011234&rev_01`: fact.VerdictLoadable,
		`PCI\VEN_1234&DEV_5678&REV_01`:                 fact.VerdictLoadable, `PCI\CC_0200`: fact.VerdictLoadable,
		`PCI\VEN_1234&DEV_5679&SUBSYS_00011234&REV_01`: fact.VerdictAbsent, `USB\VID_1234&PID_5678`: fact.VerdictAbsent,
		`PCI\VEN_1234&SUBSYS_00011234`: fact.VerdictAbsent,
	} {
		if got := outcomeOf(t, m, id); got != want {
			t.Errorf("check %s: %s", id, got)
		}
		list, err := image(m).Resolve(context.Background(), id, new(fact.Report))
		if err != nil || (len(list) == 1) != (want == fact.VerdictLoadable) {
			t.Errorf("resolve %s: %+v, %v", id, list, err)
		}
	}
	m.Files[storeDir+"none.inf_amd64_1/none.inf"] = &fstest.MapFile{Data: []byte("nonsense")}
	if got := outcomeOf(t, m, `USB\VID_1234&PID_5678`); got != fact.VerdictUnknown {
		t.Errorf("an INF that is damaged: %s", got)
	}
}
