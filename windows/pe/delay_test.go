// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
)

// Images that are loaded at the first call are read beside the others, and do not count for the imphash.
func TestDelayImports(t *testing.T) {
	for _, old := range []bool{false, true} {
		im := petest.Sample()
		im.PE32 = old
		want, err := Parse(im.Build(), new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		im.Delayed = []petest.Import{{Library: "late.sys", Functions: []string{"Later", "#7"}}, {Library: "b.sys"}}
		var r fact.Report
		raw := im.Build()
		p, err := Parse(raw, &r)
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(err, r.Problems)
		}
		list := []Import{{Library: "late.sys", Functions: []string{"Later", "#7"}}, {Library: "b.sys"}}
		if !reflect.DeepEqual(p.DelayImports, list) || p.Imphash != want.Imphash || want.DelayImports != nil {
			t.Errorf("32 bits %v: %+v", old, p.DelayImports)
		}
		// A table that leads nowhere, or is of the form before addresses were relative, costs itself.
		opt := int(binary.LittleEndian.Uint32(raw[0x3c:])) + 24
		entry := opt + 112 + 8*dirDelayImport
		if old {
			entry = opt + 96 + 8*dirDelayImport
		}
		broken := append([]byte(nil), raw...)
		binary.LittleEndian.PutUint32(broken[entry:], 0x7fffff00)
		attrs := append([]byte(nil), raw...)
		at, _ := p.img.offset(p.img.dirs[dirDelayImport].addr)
		attrs[at] = 0
		for name, b := range map[string][]byte{"outside": broken, "old form": attrs} {
			var r fact.Report
			p, err := Parse(b, &r)
			if err != nil || len(r.Problems) != 1 || r.Problems[0].Field != "delayImports" ||
				p.Imphash != want.Imphash {
				t.Errorf("%s: %v, %v", name, err, r.Problems)
			}
		}
	}
}
