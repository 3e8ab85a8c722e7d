// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
)

// What Windows loads without a service is not blocked because no service names it.
func TestOwnImages(t *testing.T) {
	filters := func(v registry.Value) hivetest.Key {
		return hivetest.Key{Path: `Control\CrashControl`, Values: values(v)}
	}
	m := wholeImage(map[string]string{
		system32 + "drivers/crashdmp.sys": string(sample("c")), system32 + "drivers/sub/tm.sys": string(sample("t")),
		system32 + "drivers/filter.sys": string(sample("f")), system32 + "drivers/x.sys": string(sample("x")),
		system32 + "win32k.sys": string(sample("w")), system32 + "hal.dll": string(sample("h")),
		"c:/evil/k.sys": string(sample("k")),
	}, filters(registry.StringValue("DumpFilters", registry.TypeMulti, "dumpfve.sys\x00Filter.sys\x00")),
		hivetest.Key{Path: `Control\Session Manager\SubSystems`,
			Values: values(registry.StringValue("Kmode", registry.TypeExpand, `\??\C:\Evil\k.sys`))})
	for query, want := range map[string]fact.VerdictOutcome{
		"crashdmp.sys": fact.VerdictUnknown, "tm.sys": fact.VerdictBlocked, "filter": fact.VerdictUnknown,
		"x.sys": fact.VerdictBlocked, "win32k": fact.VerdictUnknown, "HAL.dll": fact.VerdictUnknown,
		`C:\Windows\System32\win32k.sys`: fact.VerdictUnknown, `C:\evil\k.sys`: fact.VerdictUnknown,
		"nobody": fact.VerdictAbsent, "..": fact.VerdictAbsent,
	} {
		if got := outcomeOf(t, m, query); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	m = wholeImage(map[string]string{system32 + "drivers/x.sys": string(sample("x"))},
		filters(registry.DwordValue("DumpFilters", 1)))
	if got := outcomeOf(t, m, "x.sys"); got != fact.VerdictUnknown {
		t.Errorf("filters that are no list: %s", got)
	}
}

// A path may be written as the kernel has it. One that leads to no place of the image is not known to be absent.
func TestQueriedPaths(t *testing.T) {
	m := wholeImage(map[string]string{system32 + "drivers/x.sys": string(sample("x"))},
		hivetest.Key{Path: `Services\far`, Values: values(registry.DwordValue("Type", 1),
			registry.DwordValue("Start", 3),
			registry.StringValue("ImagePath", registry.TypeString, `\Device\HarddiskVolume3\x.sys`))})
	for query, want := range map[string]fact.VerdictOutcome{
		`\SystemRoot\System32\drivers\x.sys`:    fact.VerdictUnknown,
		`\??\C:\Windows\System32\drivers\x.sys`: fact.VerdictUnknown,
		`%SystemRoot%\System32\drivers\x.sys`:   fact.VerdictUnknown, `system32/drivers/x.sys`: fact.VerdictUnknown,
		`\Device\HarddiskVolume3\x.sys`: fact.VerdictLoadable, `\Device\HarddiskVolume4\x.sys`: fact.VerdictUnknown,
		`\\server\share\x.sys`: fact.VerdictUnknown, `C:\there.sys:x.sys`: fact.VerdictUnknown,
		`C:\THERE~1\x.sys`: fact.VerdictUnknown, `C:\there\x.sys`: fact.VerdictAbsent,
		`\SystemRoot\x.sys`: fact.VerdictAbsent,
	} {
		if got := outcomeOf(t, m, query); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}

// A file whose place another one takes at the next boot is neither absent nor blocked by what it is now.
func TestPendingRename(t *testing.T) {
	const path = `\??\C:\Windows\System32\drivers\x.sys`
	service := hivetest.Key{Path: `Services\x`, Values: values(registry.DwordValue("Type", 1),
		registry.DwordValue("Start", 2))}
	for list, want := range map[string]fact.VerdictOutcome{
		"": fact.VerdictAbsent, `\??\C:\t.tmp` + "\x00!" + path + "\x00": fact.VerdictUnknown,
		`\??\C:\t.tmp` + "\x00" + path + "\x00":               fact.VerdictUnknown,
		path + "\x00\x00":                                     fact.VerdictAbsent, // it is deleted
		path + "\x00" + `!\??\C:\old.sys` + "\x00":            fact.VerdictAbsent,
		"a\x00\x00" + `*1\??\C:\t` + "\x00*1" + path + "\x00": fact.VerdictUnknown,
	} {
		for _, typ := range []uint32{registry.TypeMulti, registry.TypeString} {
			m := wholeImage(nil, service, hivetest.Key{Path: `Control\Session Manager`,
				Values: values(registry.StringValue("PendingFileRenameOperations", typ, list))})
			want := want
			if typ == registry.TypeString {
				want = fact.VerdictUnknown
			}
			if got := outcomeOf(t, m, "x"); got != want {
				t.Errorf("%q of type %d: %s", list, typ, got)
			}
		}
	}
	now := fakewindows.Windows11(false)
	now.Calls[windows.OpRegistry+` SYSTEM\CurrentControlSet\Control\Session Manager`] = string(registry.AppendText(nil,
		[]registry.Key{{Path: "X", Values: []registry.Value{registry.StringValue("PendingFileRenameOperations",
			registry.TypeMulti, `\??\C:\t`+"\x00!"+`\??\C:\Windows\System32\drivers\disabled.sys`+"\x00")}}}))
	delete(now.Files, system32+"drivers/disabled.sys")
	list, err := windows.Open(now, fact.Options{}).Check(context.Background(), "disabled", new(fact.Report))
	if err != nil || len(list) != 1 || list[0].Now.Outcome != fact.VerdictAbsent ||
		list[0].NextBoot.Outcome == fact.VerdictAbsent {
		t.Errorf("%+v, %v", list, err)
	}
}

// What an INF without devices adds may come in with another INF that includes it.
func TestLentServices(t *testing.T) {
	const inf = "[Version]\n[X.NT.Services]\nAddService=x,2,S\n[S]\nServiceBinary=%12%\\x.sys\n"
	for text, want := range map[string]fact.VerdictOutcome{
		inf: fact.VerdictUnknown, strings.Replace(inf, "[X.NT", "[DefaultInstall.NTamd64", 1): fact.VerdictBlocked,
		strings.Replace(inf, "x.sys", "y.sys", 1): fact.VerdictBlocked, "[Version]\n": fact.VerdictBlocked,
	} {
		pack := storeDir + "x.inf_amd64_1/"
		m := wholeImage(map[string]string{pack + "x.sys": string(sample("x")), pack + "x.inf": text,
			system32 + "drivers/x.sys": string(sample("x")), "c:/windows/inf/x.inf": text},
			hivetest.Key{Path: `Services\x`, Values: values(registry.DwordValue("Type", 1),
				registry.DwordValue("Start", 4))})
		if got := outcomeOf(t, m, `C:\Windows\System32\drivers\x.sys`); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// A Windows that is older than several policies is not known to take one of their folder.
func TestPolicyOfOlderWindows(t *testing.T) {
	for version, want := range map[[4]uint16]fact.VerdictOutcome{{10, 0, 17763, 1}: fact.VerdictUnknown,
		{10, 0, 18362, 1}: fact.VerdictBlocked, {}: fact.VerdictBlocked} {
		kernel := petest.Sample()
		kernel.Numbers = version
		m := volume(map[string]string{system32 + "codeintegrity/cipolicies/active/{" + policyID + "}.cip": denying(
			"ket.sys", 0), system32 + "ntoskrnl.exe": string(kernel.Build())})
		if got := outcomeOf(t, m, "disk"); got != want {
			t.Errorf("%v: %s", version, got)
		}
	}
}

// What an image's policy denies is not known to be stopped if its last boot was without checks, or with a debugger.
func TestOptionsOfBoot(t *testing.T) {
	for options, want := range map[string]fact.VerdictOutcome{"": fact.VerdictBlocked,
		" NOEXECUTE=OPTIN TESTSIGNING": fact.VerdictBlocked, " NOEXECUTE=OPTIN  DEBUG": fact.VerdictUnknown,
		" DISABLE_INTEGRITY_CHECKS": fact.VerdictUnknown,
	} {
		m := wholeImage(map[string]string{system32 + "drivers/x.sys": string(sample("x")),
			system32 + "codeintegrity/sipolicy.p7b": denying("ket.sys", 0)},
			hivetest.Key{Path: `Services\x`, Values: values(registry.DwordValue("Type", 1),
				registry.DwordValue("Start", 3))},
			hivetest.Key{Path: `Control`,
				Values: values(registry.StringValue("SystemStartOptions", registry.TypeString, options))})
		if got := outcomeOf(t, m, "x"); got != want {
			t.Errorf("%q: %s", options, got)
		}
	}
}

// A device that no bus finds does not arrive by itself.
func TestRootDevices(t *testing.T) {
	for id, want := range map[string]fact.VerdictOutcome{`ROOT\FIELD`: fact.VerdictUnknown,
		`ROOT\FIELD,USB\VID_1234&PID_5678`: fact.VerdictLoadable} {
		inf := strings.Replace(fieldINF, `PCI\VEN_1234&DEV_5678,PCI\CC_0200`, id, 1)
		pack := storeDir + "fielddrv.inf_amd64_1/"
		m := wholeImage(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": inf,
			"c:/windows/inf/oem5.inf": inf})
		if got := outcomeOf(t, m, "fielddrv.sys"); got != want {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// A switch of another type is not known to be unset.
func TestOddSwitch(t *testing.T) {
	m := wholeImage(nil, hivetest.Key{Path: `Control\CI\Config`,
		Values: values(registry.StringValue("VulnerableDriverBlocklistEnable", registry.TypeString, "0"))})
	p, err := image(m).Policy(context.Background(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Facts, func(f fact.PolicyFact) bool { return f.Name == windows.PolicyBlockList })
	if f := p.Facts[i]; f.Code != fact.CodeMalformed || f.Value != "" {
		t.Errorf("%+v", f)
	}
}
