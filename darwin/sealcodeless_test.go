// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// codelessOf reads and verifies a bundle without code.
func codelessOf(t *testing.T, files fstest.MapFS, keys []fact.KeySet) (Bundle, []fact.Problem) {
	t.Helper()
	var r fact.Report
	b, err := bundleReader{FS: files, Signatures: true, Verify: true, Keys: keys}.read(kextDir, &r)
	if err != nil || b.Codeless != fact.Yes {
		t.Fatalf("%+v, %v", b, err)
	}
	return b, r.Problems
}

// TestCodelessSignature verifies bundles without code, whose signature is in files beside Info.plist.
func TestCodelessSignature(t *testing.T) {
	apple, _, keys := apples()
	sign := apple.Sign(fakedarwin.Certificate{Name: "Software Signing",
		CA: "Apple Code Signing Certification Authority"})
	const contents = kextDir + "/Contents/"
	for _, tt := range []struct {
		name   string
		change func(fstest.MapFS)
		want   fact.SignatureStatus
	}{
		{"intact", func(fstest.MapFS) {}, fact.SignatureValid},
		{"Info.plist", func(m fstest.MapFS) {
			m[contents+"Info.plist"].Data = append(m[contents+"Info.plist"].Data, '\n')
		}, fact.SignatureInvalid},
		{"a file more", func(m fstest.MapFS) { m[contents+"x"] = plainFile("") }, fact.SignatureInvalid},
		{"no list of files", func(m fstest.MapFS) { delete(m, contents+"_CodeSignature/CodeResources") },
			fact.SignatureInvalid},
		{"a code directory of another", func(m fstest.MapFS) {
			file := m[contents+fileDirectory]
			file.Data = bytes.Replace(file.Data, []byte("com.apple.x"), []byte("com.apple.y"), 1)
		}, fact.SignatureInvalid},
		{"nobody signed it", func(m fstest.MapFS) { delete(m, contents+fileSignature) }, fact.SignatureUntrusted},
		{"no code directory", func(m fstest.MapFS) { delete(m, contents+fileDirectory) }, fact.SignatureNone},
	} {
		files := fakedarwin.CodelessFiles(kextDir, "com.apple.x",
			&fakedarwin.Signer{Identifier: "com.apple.x", CMS: sign})
		tt.change(files)
		b, problems := codelessOf(t, files, keys)
		got := signatureOf(b.signature)
		if got.Status != tt.want || len(problems) != 0 {
			t.Errorf("%s: %s, want %s; %v, %v", tt.name, got.Status, tt.want, b.signature, problems)
		}
		m := bundleRecord(&b, nil)
		m.Origin = originOf(m.Own, b.Path, "")
		if (m.Origin.Class == fact.OriginOS) != (tt.want == fact.SignatureValid) {
			t.Errorf("%s: origin %+v", tt.name, m.Origin)
		}
	}
	files := fakedarwin.CodelessFiles(kextDir, "com.apple.x", &fakedarwin.Signer{Identifier: "com.apple.x"})
	for _, data := range []string{"", "\xfa\xde\x0c\x02", "\xfa\xde\x0c\x02\x00\x00\x00\x09x",
		strings.Repeat("\xff", 99)} {
		files[contents+fileDirectory].Data = []byte(data)
		if b, problems := codelessOf(t, files, keys); b.signature != nil || len(problems) != 1 {
			t.Errorf("%q: %+v, %v", data, b.signature, problems)
		}
	}
}

// TestSignatureBesideCode verifies a kext of Mac OS X 10.6, whose code has no signature inside.
func TestSignatureBesideCode(t *testing.T) {
	apple, _, keys := apples()
	sign := apple.Sign(fakedarwin.Certificate{Name: "Software Signing",
		CA: "Apple Code Signing Certification Authority"})
	thin := fakedarwin.KextCode("x86_64", "u", nil)
	fat := fakedarwin.Fat(fakedarwin.KextCode("i386", "u", nil), thin)
	for name, code := range map[string][]byte{"thin": thin, "fat": fat} {
		for _, change := range []string{"", "code", "Info.plist", "a slice more"} {
			files := fakedarwin.BundleFiles(kextDir, "com.apple.x", nil)
			info := files[kextDir+"/Contents/Info.plist"]
			signer := fakedarwin.Signer{Identifier: "com.apple.x", CMS: sign, Special: map[int][]byte{
				fakedarwin.SpecialInfo:      info.Data,
				fakedarwin.SpecialResources: files[kextDir+"/Contents/_CodeSignature/CodeResources"].Data}}
			for file, data := range signer.Files(code) {
				files[kextDir+"/Contents/_CodeSignature/"+file] = &fstest.MapFile{Data: data}
			}
			data := bytes.Clone(code)
			switch change {
			case "code":
				data[len(data)-1] ^= 1
			case "Info.plist":
				info.Data = append(info.Data, ' ')
			case "a slice more":
				data = fakedarwin.Fat(thin, fakedarwin.KextCode("arm64e", "u", nil))
			}
			files[kextDir+"/Contents/MacOS/Driver"].Data = data
			b, err := bundleReader{FS: files, Code: true, Signatures: true, Verify: true, Keys: keys}.tested(kextDir)
			got := signatureOf(b.signature)
			if err != nil || (got.Status == fact.SignatureValid) != (change == "") {
				t.Errorf("%s, %s: %+v, %v", name, change, got, err)
			}
		}
	}
}
