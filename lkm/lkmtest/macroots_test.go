// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"maps"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/lkm"
)

// oldMac is a Mac of macOS 10.14, which loads bundles from disk: a bundle that nobody signed and that the prelinked
// kernel has, one that nobody signed, and a second copy of a bundle, which nobody signed.
func oldMac() lkm.Machine {
	m := fakedarwin.Host{Release: "18.7.0", Arch: "x86_64"}.Machine()
	for dir, id := range map[string]string{
		"Library/Extensions/Inside.kext": "com.vendor.inside", "Library/Extensions/Alone.kext": "com.vendor.alone",
		"System/Library/Extensions/Driver.kext": "com.vendor.driver",
	} {
		maps.Copy(m.MapFS, fakedarwin.BundleFiles(dir, id, nil))
	}
	delete(m.MapFS, "System/Library/KernelCollections/BootKernelExtensions.kc")
	delete(m.MapFS, "Library/KernelCollections/AuxiliaryKernelExtensions.kc")
	const inside = "com.vendor.inside"
	info := "<dict><key>_PrelinkInfoDictionary</key><array>" + fakedarwin.PrelinkKext(inside, "1", 1) +
		"</array></dict>"
	m.MapFS["System/Library/PrelinkedKernels/prelinkedkernel"] = &fstest.MapFile{
		Data: fakedarwin.Collection("x86_64", info, inside)}
	return m
}
