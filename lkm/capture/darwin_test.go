// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestDarwinCaptures reads every recorded text of a Mac without naming its kind.
func TestDarwinCaptures(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t, "captures"), "darwin")
	kinds := map[string]struct {
		kind capture.Kind
		rows int
	}{
		"kext-bundle-ids-sonoma-t2": {capture.BundleIDs, 25}, "kext-loadinfo-10.15.6-itlwm": {capture.Kextutil, 2},
		"kextpolicy-dump-10.14":    {capture.KextPolicy, 6},
		"kextstat-10.11.5-ux303ub": {capture.Kextstat, 124}, "kextstat-10.11.5-ux303ub-early": {capture.Kextstat, 123},
		"kextstat-10.12-hornidis": {capture.Kextstat, 10},
		"kextstat-10.12-macfuse":  {capture.Kextstat, 10}, "kextstat-10.12.6-kbfs": {capture.Kextstat, 10},
		"kextstat-10.14-tunnelblick": {capture.Kextstat, 8},
		"kextstat-kl-ohai":           {capture.Kextstat, 3}, "kmutil-11.0beta5": {capture.Kextstat, 9},
		"kmutil-11.2-imacpro": {capture.Kextstat, 9}, "kmutil-11.4-hacktricks": {capture.Kextstat, 6},
		"kmutil-cut-amfi-users": {capture.Kextstat, 17}, "kmutil-grep-smbus": {capture.Kextstat, 2},
		"kmutil-uninstaller-virtualbox": {capture.Kextstat, 0},
		"panic-kexts-10.13-trendmicro":  {capture.MacOSPanic, 21}, "panic-kexts-m1-12": {capture.MacOSPanic, 28},
		"systemextensionsctl-karabiner-rows":     {capture.SystemExtensionsCtl, 3},
		"systemextensionsctl-lulu-11":            {capture.SystemExtensionsCtl, 1},
		"systemextensionsctl-lulu-27-row":        {capture.SystemExtensionsCtl, 1},
		"systemextensionsctl-prolific-driverkit": {capture.SystemExtensionsCtl, 1},
	}
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(dir, folder.Name(), "*.txt"))
		for _, file := range files {
			want, ok := kinds[folder.Name()]
			if !ok {
				t.Errorf("%s is not in the test's table", folder.Name())
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, as := range []capture.Kind{want.kind, ""} {
				snap, err := capture.Read(strings.NewReader(string(text)), as)
				if err != nil || snap.OS != lkm.Darwin || len(snap.Modules) != want.rows {
					t.Errorf("%s as %q: %v", folder.Name(), as, err)
					if snap != nil {
						t.Errorf("%s: %s, %d modules, want %d; %v", folder.Name(), snap.OS, len(snap.Modules),
							want.rows, snap.Problems)
					}
				}
			}
		}
	}
}
