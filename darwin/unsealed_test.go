// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// TestUnsealed puts files where no rule seals them: they are named, and the signature stays as it was.
func TestUnsealed(t *testing.T) {
	apple, _, keys := apples()
	sign := apple.Sign(fakedarwin.Certificate{Name: "Software Signing",
		CA: "Apple Code Signing Certification Authority"})
	link := func(name string) func(fstest.MapFS) {
		return func(m fstest.MapFS) {
			file := m[kextDir+"/"+name]
			m["elsewhere"] = file
			m[kextDir+"/"+name] = &fstest.MapFile{Mode: fs.ModeSymlink,
				Data: []byte(strings.Repeat("../", strings.Count(kextDir+"/"+name, "/")) + "elsewhere")}
		}
	}
	add := func(name string, data string) func(fstest.MapFS) {
		return func(m fstest.MapFS) { m[kextDir+"/"+name] = plainFile(data) }
	}
	for _, tt := range []struct {
		change func(fstest.MapFS)
		want   string // of Unsealed and Attributes
	}{
		{func(fstest.MapFS) {}, "[] []"},
		{add("x", ""), "[../x] []"},
		{add("x/y", ""), "[../x] []"},
		{add("Icon\r", ""), "[] []"},
		{add(".DS_Store", ""), "[] []"},
		{add("._Contents", "\x00\x05\x16\x07"), "[] [../._Contents]"},
		{add("._x", "\x00\x05\x16\x07"), "[../._x] []"},
		{add("Contents/_CodeSignature/x", ""), "[_CodeSignature/x] []"},
		{add("Contents/_CodeSignature/x/y", ""), "[_CodeSignature/x] []"},
		{add("Contents/Resources/.DS_Store", ""), "[] []"},
		{add("locversion.plist", ""), "[../locversion.plist] []"},
		{add("Contents/_CodeSignature/Info.plist", ""), "[_CodeSignature/Info.plist] []"},
		{func(m fstest.MapFS) {
			code := m[kextDir+"/Contents/MacOS/Driver"]
			code.Data = append(code.Data, "more"...)
		}, "[MacOS/Driver] []"},
		{link("Contents/MacOS/Driver"), "[MacOS/Driver] []"},
		{link("Contents/Info.plist"), "[Info.plist] []"},
		{link("Contents/_CodeSignature/CodeResources"), "[_CodeSignature/CodeResources] []"},
	} {
		files := fakedarwin.BundleFiles(kextDir, "com.apple.x", &fakedarwin.Signer{Identifier: "com.apple.x",
			CMS: sign})
		tt.change(files)
		b, err := bundleReader{FS: files, Code: true, Signatures: true, Verify: true, Keys: keys}.tested(kextDir)
		if err != nil || b.signature == nil {
			t.Fatal(err)
		}
		s := b.signature.Seal
		if got := fmt.Sprint(s.Unsealed, s.Attributes); got != tt.want ||
			signatureOf(b.signature).Status != fact.SignatureValid {
			t.Errorf("%s, want %s: %+v", got, tt.want, b.signature.Reasons)
		}
	}
	// What the rules leave out is named; a bundle with a signature of its own once.
	seal := sealOf(t, rule("^Resources/", 1)+rule("^PlugIns/", 200, "omit"), nil, fstest.MapFS{
		"Resources": {Mode: fs.ModeDir}, "version.plist": plainFile(""), "PkgInfo": plainFile(""),
		"PlugIns/P.kext/Contents/Info.plist": plainFile(""), "PlugIns/P.kext/Contents/MacOS/P": plainFile(""),
		"PlugIns/P.kext/x": plainFile(""), "x/Info.plist": plainFile(""),
		"Resources/en.lproj/locversion.plist": plainFile("")})
	got := fmt.Sprint(seal.Unsealed, seal.Extra)
	if got != "[PlugIns/P.kext version.plist x/Info.plist] [Resources/en.lproj/locversion.plist]" {
		t.Error(got)
	}
}
