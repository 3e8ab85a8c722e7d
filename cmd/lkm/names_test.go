// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/lkm"
)

// TestFitsTwo: a name without its suffix says so when it fits two modules.
func TestFitsTwo(t *testing.T) {
	zfs := lkm.Module{Name: "zfs.ko", Path: "/boot/kernel/zfs.ko"}
	openzfs := lkm.Module{Name: "openzfs.ko", Path: "/boot/modules/openzfs.ko"}
	copied := lkm.Module{Name: "zfs.ko", Path: "/boot/modules/zfs.ko"}
	for _, tt := range []struct {
		name    string
		modules []lkm.Module
		want    string
	}{
		{"zfs", []lkm.Module{zfs}, ""},
		{"zfs", []lkm.Module{zfs, zfs}, ""},
		{"zfs", nil, ""},
		{"zfs.ko", []lkm.Module{zfs}, ""},
		{"pci:vendor=0x8086", []lkm.Module{zfs, openzfs}, ""},
		{"zfs", []lkm.Module{zfs, openzfs}, "zfs fits 2 modules: zfs.ko (/boot/kernel/zfs.ko), openzfs.ko " +
			"(/boot/modules/openzfs.ko); a name with its suffix, or an id, is one"},
		{"zfs", []lkm.Module{zfs, copied}, "zfs fits 2 modules: zfs.ko (/boot/kernel/zfs.ko), zfs.ko " +
			"(/boot/modules/zfs.ko); a path is one"},
	} {
		if got := fitsTwo(tt.name, tt.modules); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestEveryWordFitsTwo asks each command that takes a name for one that fits two files.
func TestEveryWordFitsTwo(t *testing.T) {
	const want = "zfs fits 2 modules: zfs.ko (/boot/kernel/zfs.ko), zfs.ko (/boot/modules/zfs.ko); a path is one"
	root := fakeunix.GENERICDisk()
	root["boot/kernel/zfs.ko"] = root["boot/kernel/linux_common.ko"]
	root["boot/modules/zfs.ko"] = root["boot/kernel/linux_common.ko"]
	root["boot/loader.conf"].Data = []byte("zfs_load=\"YES\"\nzfs_name=\"/boot/modules/zfs.ko\"\n")
	dir := t.TempDir()
	if err := os.CopyFS(dir, root); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"resolve", "info", "plan", "check"} {
		for query, said := range map[string]bool{"zfs": true, "/boot/modules/zfs.ko": false, "linux_common": false} {
			_, stderr, _ := runLkm(t, word, query, "--root", dir, "--os", "freebsd")
			if strings.Contains(stderr, " fits 2 modules") != said || said && !strings.Contains(stderr, want) {
				t.Errorf("lkm %s %s: %q", word, query, stderr)
			}
		}
	}
}
