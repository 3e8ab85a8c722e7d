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
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

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

// denying is a policy that denies a driver by its name. It is not signed, and says that it need not be.
func denying(name string, options uint32) string {
	return string(policytest.Compile(&sipolicy.Policy{
		Format: 7, Options: options ^ sipolicy.OptionUnsigned, ID: policyID, BaseID: policyID,
		Rules:     []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: name, Minimum: sipolicy.AnyVersion}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}},
	}))
}
