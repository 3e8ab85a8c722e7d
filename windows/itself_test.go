// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
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
	}, filters(registry.StringValue("DumpFilters", registry.TypeMulti, "dumpfve.sys\x00Filter.sys\x00")))
	for query, want := range map[string]fact.VerdictOutcome{
		"crashdmp.sys": fact.VerdictUnknown, "tm.sys": fact.VerdictBlocked, "filter": fact.VerdictUnknown,
		"x.sys": fact.VerdictBlocked, "win32k": fact.VerdictUnknown, "HAL.dll": fact.VerdictUnknown,
		`C:\Windows\System32\win32k.sys`: fact.VerdictUnknown, "nobody": fact.VerdictAbsent, "..": fact.VerdictAbsent,
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
