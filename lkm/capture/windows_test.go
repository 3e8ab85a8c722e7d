// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// Every shared capture has as many drivers as its text has rows, or is refused.
func TestWindowsCaptures(t *testing.T) {
	dir := testdata.Dir(t, "captures")
	want := map[string]struct {
		kind capture.Kind
		rows int // drivers; -1: refused
	}{
		// its one row is of another category
		"autorunsc-localized-row/capture.csv":           {capture.Autoruns, -1},
		"cim-npcap-list/capture.txt":                    {capture.WMI, 1},
		"driverquery-csv-3ware/driversquery_stdout.csv": {capture.DriverQuery, 2},
		"driverquery-redirect-error-ru/capture.txt":     {"", -1}, // an error message
		"driverquery-table-winserver2012/capture.txt":   {capture.DriverQuery, 17},
		"driverquery-v-aceblock/capture.txt":            {capture.DriverQuery, 3},
		"driverview-list-win10/capture.txt":             {capture.DriverList, 22},
		"fltmc-access-denied/capture.txt":               {"", -1}, // an error message
		"fltmc-instances-bfs/capture.txt":               {capture.Fltmc, 1},
		"fltmc-prjflt-legacy/capture.txt":               {capture.Fltmc, 12},
		"fltmc-win11-mssecflt/capture.txt":              {capture.Fltmc, 13},
		"msinfo32-aws-g2/msinfo32.txt":                  {capture.MSInfo, 259},
		"osquery-drivers-2012r2/capture.txt":            {capture.Osquery, 3},
		"pnputil-e-en-amd/capture.txt":                  {capture.PnPUtil, 5},
		"pnputil-e-en-vmware-npcap/capture.txt":         {capture.PnPUtil, 6},
		"pnputil-e-zh-cn/capture.txt":                   {capture.PnPUtil, 6},
		"pnputil-enum-drivers-en-win11/capture.txt":     {capture.PnPUtil, 4},
		"psautorun-drivers/bedaisy.txt":                 {capture.Autoruns, 1},
		"psautorun-drivers/randgrid.txt":                {capture.Autoruns, 1},
		"psautorun-drivers/xhunter1.txt":                {capture.Autoruns, 1},
		"sc-query-haxm-docs/capture.txt":                {capture.SC, 1},
		"sc-query-session-test-driver/capture.txt":      {capture.SC, 1},
	}
	files, err := filepath.Glob(filepath.Join(dir, "windows", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		rel, _ := filepath.Rel(filepath.Join(dir, "windows"), file)
		rel = filepath.ToSlash(rel)
		t.Run(rel, func(t *testing.T) {
			w, ok := want[rel]
			if !ok {
				t.Fatal("a capture that this test does not know: count its rows")
			}
			for _, as := range []capture.Kind{"", w.kind} {
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				s, err := capture.Read(f, as)
				f.Close()
				if w.rows < 0 {
					if !errors.Is(err, lkm.ErrMalformed) {
						t.Errorf("as %q: error %v, want malformed", as, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("as %q: %v", as, err)
					continue
				}
				if n := windowsDrivers(s); n != w.rows || s.OS != lkm.Windows {
					t.Errorf("as %q: %s with %d drivers, want %d; sources %+v, problems %v", as, s.OS, n,
						w.rows, s.Sources, s.Problems)
				}
			}
		})
	}
}

// windowsDrivers counts what a text has a row for: the services of images, else the images.
func windowsDrivers(s *lkm.Snapshot) int {
	n := 0
	for _, m := range s.Modules {
		n += max(1, len(m.Windows.Services))
	}
	return n
}
