// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
)

// hintWriter writes linker.hints as kldxref(8) does, in either byte order.
type hintWriter struct {
	o   appendOrder
	out []byte
	rec []byte
}

func newHints(o appendOrder) *hintWriter { return &hintWriter{o: o, out: o.AppendUint32(nil, 1)} }

func (w *hintWriter) int(v int32) *hintWriter {
	for len(w.rec)%4 != 0 {
		w.rec = append(w.rec, 0)
	}
	w.rec = w.o.AppendUint32(w.rec, uint32(v))
	return w
}

func (w *hintWriter) str(s string) *hintWriter {
	w.rec = append(append(w.rec, byte(len(s))), s...)
	return w
}

func (w *hintWriter) end() {
	for len(w.rec)%4 != 0 {
		w.rec = append(w.rec, 0)
	}
	w.out = append(w.o.AppendUint32(w.out, uint32(len(w.rec))), w.rec...)
	w.rec = nil
}

func (w *hintWriter) module(name, file string) { w.int(mdtModule).str(name).str(file).end() }
func (w *hintWriter) version(name string, v int32, file string) {
	w.int(mdtVersion).str(name).int(v).str(file).end()
}

func sampleHints(o appendOrder) []byte {
	w := newHints(o)
	w.module("aesni_nexus", "aesni.ko")
	w.version("aesni", 1, "aesni.ko")
	w.module("em_pci", "if_em.ko")
	w.int(mdtPNPInfo).str("pci").str("I:vendor;J:device;D:#;").int(2).int(0x8086).int(0x10d3).str("82574L").int(
		0x8087).int(-1).str("").end()
	w.int(mdtPNPInfo).str("usb").str("Z:mode;T:class=3;").int(1).str("host").end()
	w.int(9).int(1).end()
	w.version("last", -1, "x.ko")
	return w.out
}

func TestHints(t *testing.T) {
	for _, o := range []appendOrder{binary.LittleEndian, binary.BigEndian} {
		var r fact.Report
		h, err := parseHints(sampleHints(o), "/boot/kernel", &r)
		if err != nil {
			t.Fatal(err)
		}
		want := &hints{
			Modules:  []hintModule{{"aesni_nexus", "aesni.ko"}, {"em_pci", "if_em.ko"}},
			Versions: []hintVersion{{"aesni", 1, "aesni.ko"}, {"last", -1, "x.ko"}},
			PNP: []hintPNP{
				{deviceTable{PNPTable: PNPTable{Bus: "pci", Descriptor: "I:vendor;J:device;D:#;",
					IDs: []string{"vendor=0x8086 device=0x10d3", "vendor=0x8087"}}}, "if_em.ko"},
				{deviceTable{PNPTable: PNPTable{Bus: "usb", Descriptor: "Z:mode;T:class=3;",
					IDs: []string{"mode=host class=3"}}}, "if_em.ko"},
			},
		}
		if diff := cmp.Diff(want, h, cmpopts.IgnoreFields(hints{}, "Order"), cmp.AllowUnexported(hintPNP{}),
			cmpopts.IgnoreUnexported(deviceTable{})); diff != "" {
			t.Error(diff)
		}
		if len(r.Problems) != 1 || r.Problems[0].Subject != "/boot/kernel" {
			t.Errorf("an unknown record costs itself: %v", r.Problems)
		}
	}
}

func TestHostileHints(t *testing.T) {
	good := sampleHints(binary.LittleEndian)
	for cut := range good {
		var r fact.Report
		h, err := parseHints(good[:cut], "", &r)
		if (h == nil) == (err == nil) {
			t.Fatalf("cut at %d: %v, %v", cut, h, err)
		}
		if err == nil && cut > 4 && len(r.Problems) == 0 && len(h.Modules)+len(h.Versions)+len(h.PNP) == 0 {
			t.Errorf("cut at %d: nothing and no problem", cut)
		}
	}
	for _, n := range []int32{0, -4, 3, 5, 1 << 30, 1 << 20} {
		b := binary.LittleEndian.AppendUint32(nil, 1)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, make([]byte, 16)...)
		var r fact.Report
		if h, err := parseHints(b, "", &r); err != nil || len(r.Problems) != 1 {
			t.Errorf("a record of %d bytes: %v, %v", n, h, err)
		}
	}
	rows := newHints(binary.LittleEndian)
	rows.int(mdtPNPInfo).str("pci").str("T:x=1;").int(1 << 30).end()
	rows.int(mdtPNPInfo).str("pci").str("I:v;").int(1 << 30).end()
	rows.int(mdtPNPInfo).str("pci").str("I:v;Q:z").int(1).end()
	var r fact.Report
	if h, err := parseHints(rows.out, "", &r); err != nil || len(r.Problems) != 3 || len(h.PNP) != 0 {
		t.Errorf("rows that are not there: %v, %v", h, err)
	}
}

func TestDevices(t *testing.T) {
	h, err := parseHints(sampleHints(binary.LittleEndian), "", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]bool{
		"pci:vendor=0x8086 device=0x10d3 class=0x020000":                   true,
		"pci0:vendor=32902 device=4307":                                    true,
		"? at slot=0 function=0 vendor=0x8086 device=0x10d3 on pci3":       true,
		"pci:vendor=0x8086 device=0x10d4":                                  false,
		"pci:subvendor=0x8086 device=0x10d3":                               false,
		"pci:subvendor=0x1 vendor=0x8087 device=0xffff":                    true,
		"isa:vendor=0x8086 device=0x10d3":                                  false,
		"uhub:mode=host class=3":                                           true,
		"uhub:mode=\"host\" class=3":                                       true,
		"uhub:class=3 mode=device":                                         false,
		"uhub:mode=host subclass=3":                                        false,
		"at vendor=0x8086 device=0x10d3 name='Stratford on Avon' on pci12": true,
	} {
		d, err := parseDevice(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := false
		for i := range h.PNP {
			if _, ok := h.PNP[i].Matches(d); ok {
				got = true
			}
		}
		if got != want {
			t.Errorf("%s (%+v): %v", query, d, got)
		}
	}
	for _, bad := range []string{"", "aesni", "pci", "pci:", "? at slot=0", "nexus/aesni", "a b:c=d"} {
		if d, err := parseDevice(bad); err == nil {
			t.Errorf("%q is a device: %+v", bad, d)
		}
	}
}

func TestMask(t *testing.T) {
	fields, err := hintFields("M:mask;I:vendor;I:device;G:rev;L:rev")
	if err != nil {
		t.Fatal(err)
	}
	row := pnpRow{fields: fields, nums: []int32{0b1101, 1, 2, 3, 5}, texts: make([]string, 5)}
	for info, want := range map[string]bool{
		"vendor=1 device=9 rev=4": true, // device is not in the mask
		"vendor=2 device=2 rev=4": false,
		"vendor=1 device=2 rev=6": false,
		"vendor=1 device=2 rev=2": false,
		"vendor=1 rev=3":          true,
	} {
		if got := row.matches(device{Bus: "pci", PNPInfo: info}); got != want {
			t.Errorf("%s: %v", info, got)
		}
	}
}

func TestDepend(t *testing.T) {
	d := Depend{Name: "crypto", Min: 1, Preferred: 3, Max: 5}
	for _, c := range []struct {
		have []int32
		want int
	}{
		{nil, -1}, {[]int32{0, 6}, -1}, {[]int32{1, 4, 2}, 1}, {[]int32{1, 5, 3}, 2}, {[]int32{4, 4}, 0},
	} {
		if got := d.choose(c.have); got != c.want {
			t.Errorf("of %v the kernel takes %d, not %d", c.have, c.want, got)
		}
	}
	if i := (Depend{Min: 5, Preferred: 9, Max: 1}).choose([]int32{3, 9}); i != 1 {
		t.Errorf("a range that ends before it starts is met by the preferred version: %d", i)
	}
}

func FuzzHints(f *testing.F) {
	f.Add(sampleHints(binary.LittleEndian))
	f.Add(sampleHints(binary.BigEndian))
	for _, seed := range bomb.Seeds(bomb.LinkerHint) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		h, err := parseHints(b, "", &r)
		if (h == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if h == nil {
			return
		}
		n := len(h.Modules) + len(h.Versions) + min(len(r.Problems), fact.MaxProblems)
		for _, p := range h.PNP {
			n += 1 + len(p.IDs)
			p.Matches(device{"pci", "vendor=0x8086"})
		}
		if n > len(b) {
			t.Fatalf("%d results of %d bytes", n, len(b))
		}
	})
}

func FuzzDevice(f *testing.F) {
	f.Add("? at slot=0 vendor=0x8086 on pci0")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDevice(s)
		if (d == device{}) == (err == nil) {
			t.Fatal("value and error", d, err)
		}
		d.number("vendor")
	})
}
