// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
)

// An image that another driver imports is loaded with that one, without a service of its own. That none imports it is
// known only if the imports of all drivers were read.
func TestImported(t *testing.T) {
	importing := func(library string) string {
		im := petest.Sample()
		im.Imports = []petest.Import{{Library: library, Functions: []string{"Init"}}}
		return string(im.Build())
	}
	const lib = system32 + "drivers/lib.sys"
	for name, tt := range map[string]struct {
		change  map[string]string
		deny    string
		blocked fact.Tri
		outcome fact.VerdictOutcome
	}{
		"a driver with a service": {map[string]string{system32 + "drivers/disk.sys": importing("LIB.sys")}, "",
			fact.No, fact.VerdictLoadable},
		"a driver without one": {map[string]string{system32 + "drivers/other.sys": importing("lib.sys")}, "", "",
			fact.VerdictUnknown},
		"none": {nil, "", fact.Yes, fact.VerdictBlocked},
		"no image": {map[string]string{system32 + "drivers/other.sys": "text"}, "", fact.Yes,
			fact.VerdictBlocked},
		"itself":                   {map[string]string{lib: importing("lib.sys")}, "", fact.Yes, fact.VerdictBlocked},
		"a driver that is refused": {nil, "C:/Windows/System32/drivers/disk.sys", "", fact.VerdictUnknown},
	} {
		m := volume(map[string]string{lib: string(sample("lib")), storeDir + "a.inf_amd64_1/a.txt": "",
			system32 + "config/software": string(emptySoftware())})
		for file, text := range tt.change {
			m.Files[file] = &fstest.MapFile{Data: []byte(text)}
		}
		m.Deny[tt.deny] = true
		list, err := image(m).Check(context.Background(), "lib.sys", new(fact.Report))
		if err != nil || len(list) != 1 {
			t.Fatal(name, list, err)
		}
		way := wayOf(list[0].NextBoot, windows.WayImport)
		if way.Blocked != tt.blocked || list[0].NextBoot.Outcome != tt.outcome {
			t.Errorf("%s: %s, %+v", name, list[0].NextBoot.Outcome, list[0].NextBoot.Ways)
		}
	}
}

// A driver whose imports were not read brings in what is in its own folder or in Windows', and nothing from elsewhere.
func TestImporterThatIsRefused(t *testing.T) {
	for file, want := range map[string]fact.Tri{`C:\Temp\lib.sys`: fact.Yes, `C:\Windows\System32\lib.sys`: "",
		`C:\Windows\System32\drivers\lib.sys`: "", `C:\Windows\lib.sys`: fact.Yes} {
		m := volume(map[string]string{storeDir + "a.inf_amd64_1/a.txt": "",
			system32 + "config/software": string(emptySoftware())})
		m.Files[strings.ToLower(strings.ReplaceAll(file, `\`, "/"))] = &fstest.MapFile{Data: sample("lib")}
		m.Deny["C:/Windows/System32/drivers/disk.sys"] = true
		list, err := image(m).Check(context.Background(), file, new(fact.Report))
		if err != nil || len(list) != 1 {
			t.Fatal(file, list, err)
		}
		if way := wayOf(list[0].NextBoot, windows.WayImport); way.Blocked != want {
			t.Errorf("%s: %+v", file, way)
		}
	}
}
