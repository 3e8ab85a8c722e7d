// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// macBombs are code, signatures and seals of macOS.
func macBombs() []Bomb {
	// sealed is a signed bundle whose list of files is made of parts.
	sealed := func(files, rules func(n int) []byte) func(n int) fstest.MapFS {
		return func(n int) fstest.MapFS {
			list := []byte(`<plist version="1.0"><dict><key>files2</key><dict>` + string(files(n)) +
				`</dict><key>rules2</key><dict>` + string(rules(n)) + `</dict></dict></plist>`)
			return signedKext(list, func([]byte) []byte { return nil })
		}
	}
	none := func(int) []byte { return nil }
	const entry = "<key>%</key><dict><key>hash2</key><data>AAAA</data></dict>"
	heavy := func(n int) []byte {
		var b strings.Builder
		for i := range min(n, 64) {
			fmt.Fprintf(&b, "<key>^(%s)%d</key><true/>", strings.Repeat("a?b?c?d?", 50), i)
		}
		return []byte(b.String())
	}
	return []Bomb{
		{Name: "slices over each other", Of: MacFile, Path: "a.kc", Make: overlaid, Small: 100, Big: 10_000},
		{Name: "fileset of one entry", Of: MacFile, Path: "a.kc", Make: fileset, Small: 50, Big: 8000},
		{Name: "seal of files", Of: MacImage, Tree: sealed(numbered("", entry, ""), none), Small: 100, Big: 15_000},
		{Name: "seal of heavy rules", Of: MacImage, Tree: sealed(numbered("", entry, ""), heavy), Small: 100,
			Big: 15_000},
		{Name: "unsealed files", Of: MacImage, Tree: func(n int) fstest.MapFS {
			tree := sealed(none, heavy)(64)
			for i := range n {
				tree["Library/Extensions/a.kext/Contents/Resources/"+strings.Repeat("abcd", 20)+number(i)] = file(nil)
			}
			return tree
		}, Small: 100, Big: 15_000},
		{Name: "kext by many authorities", Of: MacImage, Tree: func(n int) fstest.MapFS {
			return signedKext(nil, func([]byte) []byte {
				return SignedData(nil, slicesOf(Certificate("a", "b", 0, nil), certificates(n, "b", "b", nil)),
					signer("b", 0, nil))
			})
		}, Small: 20, Big: 250},
	}
}

// signedKext is a bundle with a list of files; cms makes who signed it.
func signedKext(list []byte, cms func([]byte) []byte) fstest.MapFS {
	s := &fakedarwin.Signer{Identifier: "com.a.b", CMS: cms}
	info := fakedarwin.InfoPlist("com.a.b", "1", "Driver", "")
	s.Special = map[int][]byte{fakedarwin.SpecialInfo: info}
	const dir = "Library/Extensions/a.kext/Contents/"
	tree := fstest.MapFS{dir + "Info.plist": file(info)}
	if list != nil {
		s.Special[fakedarwin.SpecialResources] = list
		tree[dir+"_CodeSignature/CodeResources"] = file(list)
	}
	tree[dir+"MacOS/Driver"] = file(fakedarwin.KextCode("x86_64", "uuid-of-x86-----", s))
	return tree
}

// overlaid is a fat file whose 32 slices are one, with n segments.
func overlaid(n int) []byte {
	w := fakedarwin.NewMacho("x86_64", fakedarwin.TypeKext)
	for i := range n {
		w.Segment(number(i), number(i), 0, 0)
	}
	code := w.Bytes(0)
	b := binary.BigEndian.AppendUint32(nil, 0xcafebabe)
	b = binary.BigEndian.AppendUint32(b, 32)
	for range 32 {
		for _, v := range []uint32{0x1000007, 3, 8 + 32*20, uint32(len(code)), 0} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	return append(b, code...)
}

// fileset is a collection whose n entries are all the collection itself.
func fileset(n int) []byte {
	w := fakedarwin.NewMacho("x86_64", fakedarwin.TypeFileset)
	for i := range n {
		w.Entry(number(i), 0, 0)
	}
	list := `<dict><key>_PrelinkInfoDictionary</key><array>` + fakedarwin.PrelinkKext("com.a.b", "1", 0) +
		`</array></dict>`
	size := uint64(len(w.Bytes(0)) + 200)
	w.Segment("__PRELINK_INFO", "__info", size, uint64(len(list)))
	return append(w.Bytes(int(size)), list...)
}
