// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/lkm"
)

// A file is absent only if it would lie on the volume of the image.
func TestOtherVolume(t *testing.T) {
	const root = `HKEY_LOCAL_MACHINE\SYSTEM\`
	dword := func(name string, n byte) hivetest.Value {
		return hivetest.Value{Name: name, Type: 4, Data: []byte{n, 0, 0, 0}}
	}
	for file, want := range map[string]lkm.VerdictOutcome{
		`\??\C:\there\x.sys`: lkm.VerdictLoadable, `\??\C:\real\x.sys`: lkm.VerdictAbsent,
		`\??\C:\x.sys`: lkm.VerdictAbsent, `\??\D:\x.sys`: lkm.VerdictLoadable,
		`\??\C:\link\x.sys`: lkm.VerdictLoadable, `\??\C:\link`: lkm.VerdictLoadable,
		`\??\C:\to\x.sys`: lkm.VerdictLoadable, `\??\C:\to\y.sys`: lkm.VerdictAbsent,
	} {
		var path []byte
		for _, c := range utf16.Encode([]rune(file + "\x00")) {
			path = append(path, byte(c), byte(c>>8))
		}
		image := fstest.MapFS{
			"Windows/System32/config/SYSTEM": {Data: hivetest.Of(`HKEY_LOCAL_MACHINE\SYSTEM`, []hivetest.Key{
				{Path: root + `Select`, Values: []hivetest.Value{dword("Current", 1), dword("Default", 1)}},
				{Path: root + `ControlSet001\Services\xsvc`, Values: []hivetest.Value{
					dword("Type", 1), dword("Start", 0), {Name: "ImagePath", Type: 2, Data: path}}}})},
			"Windows/System32/drivers/a.sys":                   {Data: sample("a")},
			"Windows/System32/DriverStore/FileRepository/none": {},
			"there/x.sys": {Data: sample("x")}, "real/z": {},
			"link": {Data: []byte("../elsewhere"), Mode: fs.ModeSymlink},
			"to":   {Data: []byte("there"), Mode: fs.ModeSymlink},
		}
		sys, err := lkm.OpenImage(image, lkm.Options{OS: lkm.Windows})
		if err != nil {
			t.Fatal(err)
		}
		list, err := sys.Check(context.Background(), "xsvc")
		if err != nil || len(list) != 1 || list[0].NextBoot.Outcome != want {
			t.Errorf("%s: %+v, %v", file, list, err)
		}
		_ = sys.Close()
	}
}
