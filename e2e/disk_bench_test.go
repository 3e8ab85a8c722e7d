// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/lkm"
)

// BenchmarkResolve looks devices up in an open System: the whole call, with the file that each module is in.
func BenchmarkResolve(b *testing.B) {
	k := xzTree(b)
	s := openRoot(b, k.Root, k.Release, 0)
	for name, alias := range map[string]string{
		"pci":       "pci:v00008086d000015B8sv00001849sd000015B8bc02sc00i00",
		"usb":       "usb:v046DpC52Bd1211dc00dsc00dp00ic03isc01ip01in00",
		"acpi":      "acpi:PNP0C0A:",
		"of":        "of:NnodeT(null)Clltc,lt3593",
		"miss_pci":  "pci:v0000FFFEd0000FFFEsv0000FFFEsd0000FFFEbcFEscFEiFE",
		"miss_acpi": "acpi:ZZZZ9999:",
		"miss_of":   "of:Nzzz9T(null)Czzz,zzz",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Resolve(b.Context(), alias); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBuiltin lists what is compiled in.
func BenchmarkBuiltin(b *testing.B) {
	k := xzTree(b)
	s := openRoot(b, k.Root, k.Release, 0)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range s.Builtin(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n < 150 {
			b.Fatal(n)
		}
	}
}

// BenchmarkInstalled reads the metadata of every module of a kernel: first in a new System, and again in the same.
func BenchmarkInstalled(b *testing.B) {
	for _, tree := range []struct {
		name string
		k    debian.Kernel
	}{{"plain", plainTree(b)}, {"xz", xzTree(b)}, {"zst", recompressed(b, ".zst")}} {
		b.Run(tree.name+"/first", func(b *testing.B) {
			for b.Loop() {
				installed(b, openRoot(b, tree.k.Root, tree.k.Release, lkm.DetailFiles))
			}
		})
		b.Run(tree.name+"/again", func(b *testing.B) {
			s := openRoot(b, tree.k.Root, tree.k.Release, lkm.DetailFiles)
			installed(b, s)
			for b.Loop() {
				installed(b, s)
			}
		})
	}
}
