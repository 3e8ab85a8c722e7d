// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/lkm"
)

// realDrivers copies the drivers of Windows that the module cache has, and Wine's own, which nobody signed, and returns
// how many are Wine's.
func realDrivers(t *testing.T, dir string) (wines int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{petest.RealDrivers(t), filepath.Dir(wineRoots)} {
		files, err := filepath.Glob(filepath.Join(from, "*.sys"))
		if err != nil || len(files) == 0 {
			t.Skip("skipped: no drivers in ", from)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		wines = len(files)
	}
	return wines
}

// writeSoftware writes a hive whose stores of certificates bar nothing.
func writeSoftware(t *testing.T, config string) {
	t.Helper()
	const root = `HKEY_LOCAL_MACHINE\SOFTWARE`
	hive := hivetest.Of(root, []hivetest.Key{{Path: root + `\Microsoft\SystemCertificates`}})
	err := os.MkdirAll(config, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(config, "SOFTWARE"), hive, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Real drivers are decided without a flag: those of Windows by the roots that the kernel has, Wine's as unsigned where
// the volume has catalogs to look in, and as unknown in a folder that has none. One driver of Windows is signed by a
// catalog that is not here.
func TestRealDriversWithoutFlags(t *testing.T) {
	f := newSigning(t)
	catalog := unsignedCatalog(t, make([]byte, 32))
	for name, catalogs := range map[string]bool{"folder": false, "volume": true} {
		root := t.TempDir()
		dir := root
		if catalogs {
			dir = filepath.Join(root, "Windows", "System32", "drivers")
			cats := filepath.Join(root, "Windows", "System32", "CatRoot", "{F750E6C3-38EE-11D1-85E5-00C04FC295EE}")
			if err := os.MkdirAll(cats, 0o755); err != nil {
				t.Fatal(err)
			}
			writeSoftware(t, filepath.Join(root, "Windows", "System32", "config"))
			signed := f.sign(t, "a.cat", catalog, f.ca, nil, "-h", "sha256")
			if err := os.WriteFile(filepath.Join(cats, "a.cat"), signed, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		wines := realDrivers(t, dir)
		fsys, err := lkm.Dir(root)
		if err != nil {
			t.Fatal(err)
		}
		s, err := lkm.OpenImage(fsys, lkm.Options{OS: lkm.Windows, Detail: lkm.DetailSignatures})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		valid := map[string]fact.SignatureClass{}
		for m, err := range s.Installed(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got[string(m.Signature.Status)]++
			if m.Signature.Status == fact.SignatureValid {
				valid[m.Name] = m.Signature.Class
				if m.Signature.KeySet != "microsoft" {
					t.Errorf("%s: %s by %s", name, m.Name, m.Signature.KeySet)
				}
			}
		}
		s.Close()
		want := map[string]int{"valid": 3, "": wines + 1}
		if catalogs {
			want = map[string]int{"valid": 3, "none": wines + 1}
		}
		classes := map[string]fact.SignatureClass{"acpi.sys": fact.ClassInbox, "amdxata.sys": fact.ClassInbox,
			"WdBoot.sys": fact.ClassELAM}
		if !maps.Equal(got, want) || !maps.Equal(valid, classes) {
			t.Errorf("%s: %v, want %v; valid %v", name, got, want, valid)
		}
		t.Logf("%s: %d of Wine, by status %v, valid %v", name, wines, got, slices.Sorted(maps.Keys(valid)))
	}
}
