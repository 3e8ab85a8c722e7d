// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// BenchmarkRealDriver decodes, hashes and verifies an 800 KB driver of Windows.
func BenchmarkRealDriver(b *testing.B) {
	raw, err := os.ReadFile(filepath.Join(petest.RealDrivers(b), "acpi.sys"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := ParseFile(raw, FileOptions{Hashes: true, Verifier: &authenticode.Verifier{}},
			new(fact.Report)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseModulesEx decodes the list of a desktop.
func BenchmarkParseModulesEx(b *testing.B) {
	var list []LoadedImage
	for range 250 {
		list = append(list, someImages[1])
	}
	raw := moduleListEx(layout64, list, true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseModulesEx(raw); err != nil {
			b.Fatal(err)
		}
	}
}
