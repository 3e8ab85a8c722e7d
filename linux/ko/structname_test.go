// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestNameInStruct: the kernel takes the name in struct module where .modinfo has none.
func TestNameInStruct(t *testing.T) {
	const progbits, nobits = 1, 8
	image := func(offset int, name string) []byte {
		return append(append(make([]byte, offset), name...), make([]byte, 100)...)
	}
	for _, c := range []struct {
		what    string
		order   linuxtest.ByteOrder
		is64    bool
		kind    uint32
		data    []byte
		entries []string
		want    string
	}{
		{"64 bits", binary.LittleEndian, true, progbits, image(24, "inner"), nil, "inner"},
		{"64 bits, big-endian", binary.BigEndian, true, progbits, image(24, "inner-x"), nil, "inner_x"},
		{"32 bits", binary.LittleEndian, false, progbits, image(12, "inner"), nil, "inner"},
		{".modinfo has one", binary.LittleEndian, true, progbits, image(24, "inner"), []string{"name=other"}, "other"},
		{".modinfo has one, last", binary.LittleEndian, true, progbits, image(24, "inner"),
			[]string{"license=GPL", "name=other"}, "other"},
		{"another entry", binary.LittleEndian, true, progbits, image(24, "inner"), []string{"surname=other"}, "inner"},
		{"empty", binary.LittleEndian, true, progbits, image(24, ""), nil, "file_name"},
		{"without end", binary.LittleEndian, true, progbits, image(24, strings.Repeat("x", 60)), nil, "file_name"},
		{"cut off", binary.LittleEndian, true, progbits, image(24, "inner")[:40], nil, "file_name"},
		{"no bytes", binary.LittleEndian, true, nobits, image(24, "inner"), nil, "file_name"},
		{"no UTF-8", binary.LittleEndian, true, progbits, image(24, "\xff"), nil, `\xff`},
	} {
		m := linuxtest.ModuleOf(c.order, c.is64, append([]string{"depends="}, c.entries...)...)
		m.Sections = append(m.Sections,
			linuxtest.Section{Name: ".gnu.linkonce.this_module", Kind: c.kind, Data: c.data})
		plain := m.Bytes()
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write(plain)
		w.Close()
		for name, data := range map[string][]byte{"a/file-name.ko": plain, "a/file-name.ko.gz": packed.Bytes()} {
			var r fact.Report
			f, err := NewReader().Decode(data, name, Options{}, &r)
			if err != nil || f.Name != c.want || len(r.Problems) > 0 {
				t.Errorf("%s, %s: got %q, want %q; %v, %v", c.what, name, f.Name, c.want, err, r.Problems)
			}
		}
	}
}
