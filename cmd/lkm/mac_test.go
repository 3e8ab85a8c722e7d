// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// A mounted macOS volume, a bundle and a kernel collection are read on any operating system.
func TestMacVolume(t *testing.T) {
	root := t.TempDir()
	for name, f := range fakedarwin.Intel().Files() {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"info", filepath.Join(root, "Library/Extensions/Driver.kext")}, 0,
			[]string{"com.vendor.driver 1.2.3  installed", "Developer ID Application: Vendor (ABCDE12345)",
				"third-party: teamId ABCDE12345"}},
		{[]string{"info", filepath.Join(root, "System/Library/KernelCollections/BootKernelExtensions.kc"), "--format",
			"json"}, 0, []string{`"macos_kext:com.apple.driver.Made005"`, `"kind": "boot"`}},
		{[]string{"list", "--installed", "--root", root}, 0,
			[]string{"com.vendor.codeless", "com.vendor.usb", "10 installed"}},
		{[]string{"check", "com.vendor.driver", "--root", root}, 1,
			[]string{"LOADABLE", "AuxiliaryKernelExtensions.kc"}},
		{[]string{"check", "com.vendor.codeless", "--root", root}, 0, []string{"no code"}},
		{[]string{"resolve", "usb:v05ACp1234d0100dc00dsc00dp00ic08isc06ip50in00", "--root", root}, 0,
			[]string{"com.vendor.codeless"}},
		{[]string{"policy", "--root", root}, 0, []string{"kext_approvals", "1 allowed, 1 not"}},
		{[]string{"list", "--root", root}, 2, nil},
		{[]string{"sources", "--root", root}, 0, []string{"bundles", "collections", "kextmanager", "skipped"}},
		{[]string{"info", filepath.Join(root, "Library/Extensions/Driver.kext")}, 0, []string{
			"because    certificate \"Developer ID Application: Vendor (ABCDE12345)\" leads to no root",
			"signed     as com.vendor.driver, team ABCDE12345", "cdhash", "built for  x86_64 arm64e"}},
		{[]string{"resolve", "usb:05ac:1234", "--root", root}, 0, []string{"com.vendor.codeless"}},
		{[]string{"check", filepath.Join(root, "Library/Extensions/Codeless.kext")}, 0,
			[]string{"com.vendor.codeless", "no code of its own"}},
	} {
		code, out, errs := lkmRun(t, "", tt.args...)
		if code != tt.code {
			t.Errorf("lkm %s: exit %d, want %d\n%s%s", strings.Join(tt.args, " "), code, tt.code, out, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("lkm %s: no %q in\n%s", strings.Join(tt.args, " "), want, out)
			}
		}
	}
}
