// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

// A testedBundle is a bundle with what could not be read of it.
type testedBundle struct {
	Bundle
	Problems []fact.Problem
}

func (r bundleReader) tested(dir string) (testedBundle, error) {
	var report fact.Report
	b, err := r.read(dir, &report)
	return testedBundle{b, report.Problems}, err
}

const kextDir = "Library/Extensions/Driver.kext"

func TestSignedBundle(t *testing.T) {
	cert, sign := fakedarwin.Developer("Developer ID Application: Vendor (ABCDE12345)", "ABCDE12345")
	files := fakedarwin.BundleFiles(kextDir, "com.vendor.driver",
		&fakedarwin.Signer{Identifier: "com.vendor.driver", Team: "ABCDE12345", Flags: 0x10000, CMS: sign})
	r := bundleReader{FS: files, Architecture: "arm64e", Code: true, Signatures: true, Verify: true}
	b, err := r.tested(kextDir)
	if err != nil || len(b.Problems) != 0 {
		t.Fatal(err, b.Problems)
	}
	if b.Identifier != "com.vendor.driver" || b.Version != "1.2.3" || b.Codeless != fact.No || b.ExecutablePath != "/"+
		kextDir+"/Contents/MacOS/Driver" || len(b.Libraries) != 1 {
		t.Errorf("%+v", b)
	}
	if len(b.Slices) != 2 || b.Slices[0].Architecture != "x86_64" || b.Slices[1].Architecture != "arm64e" ||
		b.Slices[1].Type != "kext" ||
		b.Slices[0].UUID == b.Slices[1].UUID || b.Slices[0].SourceVersion != "12.3" ||
		b.Slices[0].MinimumOS != "11.3" ||
		b.Slices[0].SDK != "12.0" {
		t.Errorf("%+v", b.Slices)
	}
	s := b.signature
	got := fmt.Sprint(s.Present, " ", s.Architecture, " ", s.Identifier, " ", s.TeamID, " ", s.Flags, " ", s.AdHoc, " ",
		s.HashType, " ", s.Signer, " ", s.Notarized, " ", s.CodeFits, " ", s.SignatureFits, " ",
		s.SignedAt.Year(), " ", len(s.CDHash))
	if want := "yes arm64e com.vendor.driver ABCDE12345 [runtime] no sha256 Developer ID Application: Vendor " +
		"(ABCDE12345) yes yes yes 2026 40"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if s.Seal == nil || s.Seal.Broken() || s.Seal.Info != fact.Yes || s.Seal.Resources != fact.Yes ||
		s.Seal.Files.String() != "1" {
		t.Errorf("seal %+v", s.Seal)
	}
	if f := signatureOf(s); f.Status != fact.SignatureUnchecked {
		t.Errorf("status %s, want unchecked: there are no keys", f.Status)
	}
	r.Keys = []fact.KeySet{{Name: "vendor.pem", Certificates: []*x509.Certificate{cert}}}
	b, _ = r.tested(kextDir)
	if f := signatureOf(b.signature); f.Status != fact.SignatureValid || f.KeySet != "vendor.pem" {
		t.Errorf("with the vendor's key: %+v", f)
	}
	other, _ := fakedarwin.Developer("Other", "ZZZZZ12345")
	r.Keys = []fact.KeySet{{Name: "other.pem", Certificates: []*x509.Certificate{other}}}
	b, _ = r.tested(kextDir)
	if f := signatureOf(b.signature); f.Status != fact.SignatureUntrusted || f.KeySet != "" {
		t.Errorf("with another key: %+v", f)
	}
}

// TestTampering changes one thing at a time in a signed bundle.
func TestTampering(t *testing.T) {
	_, sign := fakedarwin.Developer("Vendor", "ABCDE12345")
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		want   func(*CodeSignature) bool
	}{
		{"code", func(f fstest.MapFS) { d := f[kextDir+"/Contents/MacOS/Driver"].Data; d[4096+2000] ^= 1 },
			func(s *CodeSignature) bool { return s.CodeFits == fact.No }},
		{"Info.plist", func(f fstest.MapFS) {
			p := f[kextDir+"/Contents/Info.plist"]
			p.Data = bytes.Replace(p.Data, []byte("1.2.3"), []byte("1.2.4"), 1)
		}, func(s *CodeSignature) bool { return s.Seal.Info == fact.No }},
		{"CodeResources", func(f fstest.MapFS) {
			p := f[kextDir+"/Contents/_CodeSignature/CodeResources"]
			p.Data = append(p.Data, '\n')
		}, func(s *CodeSignature) bool { return s.Seal.Resources == fact.No }},
		{"resource", func(f fstest.MapFS) { f[kextDir+"/Contents/Resources/a.txt"].Data = []byte("other") },
			func(s *CodeSignature) bool { return slices.Equal(s.Seal.Changed, []string{"Resources/a.txt"}) }},
		{"missing", func(f fstest.MapFS) { delete(f, kextDir+"/Contents/Resources/a.txt") },
			func(s *CodeSignature) bool { return slices.Equal(s.Seal.Missing, []string{"Resources/a.txt"}) }},
		{"extra", func(f fstest.MapFS) { f[kextDir+"/Contents/Resources/b.txt"] = &fstest.MapFile{} },
			func(s *CodeSignature) bool { return slices.Equal(s.Seal.Extra, []string{"Resources/b.txt"}) }},
	} {
		files := fakedarwin.BundleFiles(kextDir, "com.vendor.driver",
			&fakedarwin.Signer{Identifier: "com.vendor.driver", Team: "ABCDE12345", CMS: sign})
		tt.change(files)
		b, err := bundleReader{FS: files, Architecture: "x86_64", Code: true, Signatures: true,
			Verify: true}.tested(kextDir)
		if err != nil || b.signature == nil || !tt.want(b.signature) {
			t.Errorf("%s: not noticed: %+v, seal %+v, %v, %v", tt.name, b.signature, b.signature.Seal, err, b.Problems)
			continue
		}
		if f := signatureOf(b.signature); f.Status != fact.SignatureInvalid {
			t.Errorf("%s: status %s", tt.name, f.Status)
		}
	}
	// A signature of other code: the certificate did not sign this code directory.
	files := fakedarwin.BundleFiles(kextDir, "com.vendor.driver",
		&fakedarwin.Signer{Identifier: "com.vendor.driver",
			CMS: func([]byte) []byte { return sign([]byte("something else")) }})
	b, err := bundleReader{FS: files, Code: true, Signatures: true, Verify: true}.tested(kextDir)
	if err != nil || b.signature.SignatureFits != fact.No || signatureOf(b.signature).Status != fact.SignatureInvalid {
		t.Errorf("foreign signature: %+v, %v", b.signature, err)
	}
}

func TestUnsignedBundles(t *testing.T) {
	b, err := bundleReader{FS: fakedarwin.BundleFiles(kextDir, "com.vendor.driver", nil), Code: true, Signatures: true,
		Verify: true}.tested(kextDir)
	if err != nil || b.signature.Present != fact.No || signatureOf(b.signature).Status != fact.SignatureNone {
		t.Errorf("unsigned: %+v, %v", b.signature, err)
	}
	b, err = bundleReader{FS: fakedarwin.BundleFiles(kextDir, "com.vendor.driver",
		&fakedarwin.Signer{Identifier: "x", Flags: 2}), Code: true, Signatures: true}.tested(kextDir)
	if err != nil || b.signature.AdHoc != fact.Yes || b.signature.Signer != "" ||
		signatureOf(b.signature).Evidence != "adhoc" {
		t.Errorf("ad hoc: %+v, %v", b.signature, err)
	}
	if b.signature.CodeFits != "" || b.signature.Seal != nil {
		t.Errorf("verified without being asked: %+v", b.signature)
	}
}

func TestLayouts(t *testing.T) {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b, Mode: 0o644} }
	files := fstest.MapFS{
		"a.dext/Info.plist":                 file(fakedarwin.InfoPlist("com.vendor.dext", "1", "com.vendor.dext", "")),
		"a.dext/com.vendor.dext":            file(fakedarwin.KextCode("arm64e", "uuid", nil)),
		"codeless.kext/Contents/Info.plist": file([]byte(texts.Read(t, "codeless.plist"))),
		"arch.kext/Contents/Info.plist":     file([]byte(texts.Read(t, "arch.plist"))),
		"nothing.kext/Contents/x":           file(nil),
		"broken.kext/Contents/Info.plist":   file([]byte("bplist00")),
	}
	r := bundleReader{FS: files, Architecture: "arm64e", Code: true}
	if b, err := r.tested("a.dext"); err != nil || b.ExecutablePath != "/a.dext/com.vendor.dext" || len(b.Slices) != 1 {
		t.Errorf("flat: %+v, %v", b, err)
	}
	b, err := r.tested("codeless.kext")
	if err != nil || b.Codeless != fact.Yes || b.Version != "3" || len(b.Personalities) != 1 ||
		b.Personalities[0].Match[0].Values[0] != "1452" || b.Libraries != nil {
		t.Errorf("codeless: %+v, %v", b, err)
	}
	// the array of libraries, the text in place of a personality
	if len(b.Problems) != 2 || b.Problems[0].Code != fact.CodeMalformed {
		t.Errorf("codeless: %+v", b.Problems)
	}
	b, err = r.tested("arch.kext")
	if err != nil || !slices.Equal(b.libraryIDs(), []string{"b"}) || b.KernelResource != "" || b.ExecutablePath != "" ||
		len(b.Problems) != 1 || !slices.Equal(b.Variants, []string{"OSBundleLibraries_arm64e"}) {
		t.Errorf("variants: %+v, %v", b, err)
	}
	if _, err := r.tested("nothing.kext"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := r.tested("broken.kext"); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("broken: %v", err)
	}
}

func TestSearch(t *testing.T) {
	info := &fstest.MapFile{Data: fakedarwin.InfoPlist("x", "1", "x", "")}
	files := fstest.MapFS{
		"System/Library/Extensions/A.kext/Contents/Info.plist":                         info,
		"System/Library/Extensions/A.kext/Contents/PlugIns/B.kext/Contents/Info.plist": info,
		// too deep to count
		"System/Library/Extensions/A.kext/Contents/PlugIns/B.kext/Contents/PlugIns/C.kext/Contents/x": info,
		"System/Library/Extensions/._A.kext": info,
		"Library/Extensions/Plain.kext": {
			Data: []byte("no folder")},
		// not directly in the folder
		"Library/Extensions/Folder/Hidden.kext/Contents/Info.plist":                              info,
		"Library/DriverExtensions/D.dext/Info.plist":                                             info,
		"Library/Filesystems/macfuse.fs/Contents/Extensions/11/macfuse.kext/Contents/Info.plist": info,
		"Library/Filesystems/macfuse.fs/Contents/Extensions/12/macfuse.kext/Contents/Info.plist": info,
		"Library/Application Support/VirtualBox/VBoxDrv.kext/Contents/Info.plist":                info,
		"Library/StagedExtensions/Library/Extensions/S.kext/Contents/Info.plist":                 info,
		"Library/SystemExtensions/0A1B/com.v.d.dext/Info.plist":                                  info,
	}
	var r fact.Report
	got := findBundles(context.Background(), files, &r)
	want := []string{
		"System/Library/Extensions/A.kext", "System/Library/Extensions/A.kext/Contents/PlugIns/B.kext",
		"Library/DriverExtensions/D.dext",
		"Library/Filesystems/macfuse.fs/Contents/Extensions/11/macfuse.kext",
		"Library/Filesystems/macfuse.fs/Contents/Extensions/12/macfuse.kext",
		"Library/StagedExtensions/Library/Extensions/S.kext", "Library/SystemExtensions/0A1B/com.v.d.dext",
		"Library/Application Support/VirtualBox/VBoxDrv.kext",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if len(r.Problems) != 1 || r.Problems[0].Subject != "/Library/Extensions/Plain.kext" {
		t.Errorf("%+v", r.Problems)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r = fact.Report{}
	found := findBundles(ctx, files, &r)
	if len(found) != 0 || len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeBudget {
		t.Errorf("canceled: %q, %+v", found, r.Problems)
	}
}

// FuzzBundle reads hostile code and property lists as the parts of a bundle.
func FuzzBundle(f *testing.F) {
	s := &fakedarwin.Signer{Identifier: "a.b", Team: "ABCDE12345", Special: map[int][]byte{1: nil}}
	f.Add(fakedarwin.InfoPlist("a.b", "1", "x", ""), fakedarwin.KextCode("x86_64", "u", s),
		[]byte(`<plist><dict><key>files</key><dict/></dict></plist>`))
	f.Add(fakedarwin.InfoPlist("a.b", "1", "x", ""), fakedarwin.Fat(fakedarwin.KextCode("arm64", "u", nil)),
		[]byte(nil))
	f.Fuzz(func(t *testing.T, info, code, resources []byte) {
		files := fstest.MapFS{"a.kext/Contents/Info.plist": {Data: info}, "a.kext/Contents/MacOS/x": {Data: code},
			"a.kext/Contents/_CodeSignature/CodeResources": {Data: resources}}
		b, err := bundleReader{FS: files, Architecture: "x86_64", Code: true, Signatures: true,
			Verify: true}.tested("a.kext")
		if err != nil && (b.Identifier != "" || b.Slices != nil) {
			t.Fatalf("value %+v and error %v", b, err)
		}
		all, err := readSlices("fuzz", bytes.NewReader(code), int64(len(code)), nil)
		if err == nil && len(all) == 0 {
			t.Fatal("neither value nor error")
		}
		if len(all) > len(code)/28 {
			t.Fatalf("%d slices of %d bytes", len(all), len(code))
		}
	})
}
