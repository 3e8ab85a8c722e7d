// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"strings"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/petest"
)

// The readers of binary files.
const (
	WindowsFile = "windows file" // a driver
	BSDFile     = "freebsd file" // a kld
)

// binaryBombs are files that a linker or a compiler makes.
func binaryBombs() []Bomb {
	const kext = "a.kext/Contents/Info.plist"
	return []Bomb{
		{Name: "driver of libraries", Of: WindowsFile, Path: "a.sys", Make: func(n int) []byte {
			im := petest.Sample()
			for i := range n {
				im.Imports = append(im.Imports, petest.Import{Library: number(i) + ".sys", Functions: []string{"f"}})
			}
			return im.Build()
		}, Small: 50, Big: 2000},
		{Name: "driver of functions", Of: WindowsFile, Path: "a.sys", Make: func(n int) []byte {
			im := petest.Sample()
			for i := range n {
				im.Imports[0].Functions = append(im.Imports[0].Functions, number(i))
			}
			return im.Build()
		}, Small: 50, Big: 3000},
		{Name: "driver of strings", Of: WindowsFile, Path: "a.sys", Make: func(n int) []byte {
			im := petest.Sample()
			for i := range n {
				im.Version[number(i)] = "x"
			}
			return im.Build()
		}, Small: 50, Big: 1000},
		{Name: "kld of modules", Of: BSDFile, Path: "a.ko", Make: func(n int) []byte {
			k := kotest.AMD64()
			for i := range n {
				k.Modules = append(k.Modules, kotest.Module{Record: number(i), Name: number(i)})
			}
			return k.Bytes()
		}, Small: 100, Big: 20_000},
		{Name: "kld of dependencies", Of: BSDFile, Path: "a.ko", Make: func(n int) []byte {
			k := kotest.AMD64()
			k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
			for i := range n {
				k.Depends = append(k.Depends, kotest.Depend{Name: number(i), Min: 1, Preferred: 1, Max: 1})
			}
			return k.Bytes()
		}, Small: 100, Big: 20_000},
		{Name: "kld of identifiers", Of: BSDFile, Path: "a.ko", Make: func(n int) []byte {
			k := kotest.AMD64()
			k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
			k.PNP = []kotest.PNP{{Bus: "pci", Descr: "U16:vendor;U16:device", EntryLen: 4, Rows: make([]byte, 4*n),
				Num: uint32(n)}}
			return k.Bytes()
		}, Small: 500, Big: 200_000},
		{Name: "kld of symbols", Of: BSDImage, Path: "boot/kernel/a.ko", Make: func(n int) []byte {
			k := kotest.AMD64()
			k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
			for i := range n {
				k.Needs = append(k.Needs, "__start_"+number(i)) // which may be that of a section
				k.Defines = append(k.Defines, number(i))
			}
			return k.Bytes()
		}, Small: 100, Big: 10_000},
		{Name: "packed kld of zeros", Of: BSDFile, Path: "a.ko.gz", Make: func(n int) []byte {
			k := kotest.AMD64()
			k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
			return zipped(k.Bytes(), n)
		}, Small: 500, Big: 500_000},
		{Name: "plist that names itself again", Of: MacFile, Path: kext, Make: func(n int) []byte {
			var b strings.Builder
			b.WriteString(`<key>a</key><array ID="0"><string>x</string></array>`)
			for i := range n { // each array has the one before twice
				b.WriteString(`<key>` + number(i) + `</key><array ID="` + decimal(i+1) + `"><array IDREF="` +
					decimal(i) +
					`"/><array IDREF="` + decimal(i) + `"/></array>`)
			}
			return fakedarwin.InfoPlist("a.b", "1", "x", b.String())
		}, Small: 5, Big: 5000},
		{Name: "binary plist that repeats an array", Of: MacFile, Path: kext, Make: func(n int) []byte {
			top, array := []byte{0xaf, 0x11, byte(n >> 8), byte(n)}, []byte{0xaf, 0x10, 200}
			for range n {
				top = append(top, 3)
			}
			for range 200 {
				array = append(array, 4)
			}
			return bplist([][]byte{{0xd1, 1, 2}, {0x51, 'a'}, top, array, {0x51, 'x'}})
		}, Small: 50, Big: 600},
	}
}

// decimal returns a number as text.
func decimal(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return decimal(i/10) + string(rune('0'+i%10))
}

// bplist is a binary property list of at most 256 objects, of which the first is the top.
func bplist(objects [][]byte) []byte {
	b := []byte("bplist00")
	var offsets []byte
	for _, o := range objects {
		offsets = append(offsets, byte(len(b)>>8), byte(len(b)))
		b = append(b, o...)
	}
	at := len(b)
	b = append(b, offsets...)
	trailer := make([]byte, 32)
	trailer[6], trailer[7] = 2, 1
	trailer[14], trailer[15] = byte(len(objects)>>8), byte(len(objects))
	trailer[30], trailer[31] = byte(at>>8), byte(at)
	return append(b, trailer...)
}
