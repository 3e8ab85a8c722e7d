// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fips"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// partsOf returns what a driver's file says, as text.
func partsOf(t *testing.T, record windows.Record) string {
	t.Helper()
	d := record.Own
	if d.PE == nil {
		t.Fatalf("%s: %v", record.Path, record.Problems)
	}
	if d.PE.HasBytes() {
		t.Errorf("%s: its bytes are kept", record.Path)
	}
	b, err := json.Marshal([]any{d.PE, d.Version, d.Hashes, d.Signatures})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Files are read one after another into one buffer: nothing that is said of one is of the next, and no file's bytes
// stay.
func TestOneBuffer(t *testing.T) {
	files := map[string]string{}
	for i, code := range []string{"long " + strings.Repeat("x", 9000), "short", strings.Repeat("y", 5000), "z"} {
		im := petest.Sample()
		im.Code, im.Version = []byte(code), map[string]string{"FileDescription": code[:1]}
		im.Imports = []petest.Import{{Library: code[:1] + ".exe", Functions: []string{code[:1]}}}
		im.PDB = code[:1] + ".pdb"
		files[system32+"drivers/"+string(rune('a'+i))+".sys"] = string(im.Build())
	}
	m := volume(files)
	k := windows.Open(m, fact.Options{Image: true, Workers: 1,
		Detail: fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures})
	n := 0
	for record, err := range k.Installed(context.Background(), new(fact.Report)) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(record.Path, `\drivers\`) || m.Files[system32+"drivers/"+record.Name] == nil {
			continue
		}
		n++
		alone, err := k.File(context.Background(), record.Path, new(fact.Report))
		if err != nil || len(alone) != 1 {
			t.Fatal(record.Path, err)
		}
		if got, want := partsOf(t, record), partsOf(t, alone[0]); got != want {
			t.Errorf("%s in a list:\n%s\nalone:\n%s", record.Path, got, want)
		}
	}
	if n < len(files) {
		t.Errorf("%d of %d files", n, len(files))
	}
}

// What FIPS 140 does not allow is left out, and nothing panics.
func TestFileUnderFIPS(t *testing.T) {
	underFIPS(t, fips.Only(t), petest.Sample().Build(), 0)
}

// Real signatures are checked all the same, as far as they need neither MD5 nor SHA-1.
func TestRealFilesUnderFIPS(t *testing.T) {
	dir := petest.RealDrivers(t)
	only := fips.Only(t)
	for _, name := range []string{"acpi.sys", "WdBoot.sys"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		underFIPS(t, only, b, 1)
	}
}

// underFIPS checks a file that has so many signatures, all valid.
func underFIPS(t *testing.T, only bool, b []byte, signatures int) {
	t.Helper()
	f, err := windows.ParseFile(b, windows.FileOptions{Hashes: true, Verifier: &authenticode.Verifier{}},
		new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	h := f.Hashes
	for name, got := range map[string]string{"md5": h.MD5, "sha1": h.SHA1, "authentihash": h.AuthentihashSHA1,
		"first page": h.FirstPageSHA1, "imphash": f.PE.Imphash} {
		if (got == "") != only {
			t.Errorf("bound to FIPS 140 %v: %s %q", only, name, got)
		}
	}
	if h.SHA256 == "" || h.AuthentihashSHA256 == "" {
		t.Errorf("%+v", h)
	}
	if len(f.Signatures) != signatures {
		t.Errorf("%d signatures, want %d", len(f.Signatures), signatures)
	}
	for _, s := range f.Signatures {
		if s.Status != fact.SignatureValid {
			t.Errorf("%s (%s)", s.Status, s.Reason)
		}
	}
}
