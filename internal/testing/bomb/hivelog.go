// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"bytes"
	"slices"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/hivetest"
)

// hiveLogBombs are hives that were not written back, with logs that do.
func hiveLogBombs() []Bomb {
	before := hivetest.System()
	b := func(name string, tree func(n int) (hive, log []byte), big int) Bomb {
		return Bomb{Name: name, Of: WindowsImage, Small: 100, Big: big, Tree: func(n int) fstest.MapFS {
			hive, log := tree(n)
			const path = "C:/Windows/System32/config/SYSTEM"
			return fstest.MapFS{path: file(hivetest.Seal(bytes.Clone(hive), 11, 10)), path + ".LOG1": file(log),
				path + ".LOG2": file(nil)}
		}}
	}
	bins := func(hive []byte) uint32 { return uint32(len(hive) - 4096) }
	entries := func(n int) (list []hivetest.Entry) {
		for i := range n {
			list = append(list, hivetest.Entry{Sequence: uint32(10 + i), Bins: bins(before),
				Pages: []hivetest.Page{{Data: before[4096:4608]}}})
		}
		return list
	}
	return []Bomb{
		b("hive log of entries", func(n int) (hive, log []byte) {
			return before, hivetest.Log(before, 10, entries(n)...)
		}, 1000),
		b("hive log of entries in vain", func(n int) (hive, log []byte) {
			bad := hivetest.Entry{Sequence: uint32(10 + n), Bins: bins(before),
				Pages: []hivetest.Page{{Data: make([]byte, 512)}}}
			return before, hivetest.Log(before, 10, append(entries(n), bad)...)
		}, 1000),
		b("hive log of pages", func(n int) (hive, log []byte) {
			return before, hivetest.Log(before, 10, hivetest.Entry{Sequence: 10, Bins: bins(before),
				Pages: slices.Repeat([]hivetest.Page{{Data: before[4096:4608]}}, n)})
		}, 2000),
		b("hive log of new bins", func(n int) (hive, log []byte) {
			return before, hivetest.Log(before, 10, hivetest.Change(10, before, withBins(before, n, 0)))
		}, 250),
		b("old hive log of pages", func(n int) (hive, log []byte) {
			hive = hivetest.Seal(withBins(before, n, 0), 11, 10)
			return hive, hivetest.OldLog(hive, withBins(before, n, 1))
		}, 250),
	}
}

// withBins is a hive with n more bins, each with one free cell full of a byte.
func withBins(hive []byte, n int, fill byte) []byte {
	hive = bytes.Clone(hive)
	for range n {
		bin := bytes.Repeat([]byte{fill}, 4096)
		copy(bin, "hbin")
		order.PutUint32(bin[4:], uint32(len(hive)-4096))
		order.PutUint32(bin[8:], 4096)
		order.PutUint32(bin[32:], 4096-32)
		hive = append(hive, bin...)
	}
	order.PutUint32(hive[40:], uint32(len(hive)-4096))
	return hivetest.Seal(hive, 10, 10)
}
