// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

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
			"(/boot/modules/zfs.ko); a name with its suffix, or an id, is one"},
	} {
		if got := fitsTwo(tt.name, tt.modules); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
