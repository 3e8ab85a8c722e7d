// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// Whatever a registry holds comes back from its text unchanged.
func TestRegRoundTrip(t *testing.T) {
	keys := []Key{
		{Path: `HKEY_LOCAL_MACHINE\A b]"[`, Values: []Value{
			StringValue("", TypeString, "default"), StringValue(`q"uo\te`, TypeString, `a\b"c`),
			StringValue("ctl", TypeString, "a\nb\x1b[31m"),
			StringValue("exp", TypeExpand, `%SystemRoot%\x`), DwordValue("n", 0xdeadbeef),
			{Name: "bin", Type: typeBinary, Data: []byte{0, 255, 16}},
			{Name: "half", Type: TypeString, Data: []byte{0x41, 0}},
			{Name: "lone", Type: TypeString, Data: []byte{0x00, 0xd8, 0, 0}},
			{Name: "multi", Type: TypeMulti, Data: utf16text.Encode("a\x00b\x00\x00")}, {Name: "none", Type: typeNone},
			{Name: "big", Type: typeQword, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
			StringValue("rtl", TypeString, "abc\u202edef"), StringValue("empty", TypeString, ""),
		}},
		{Path: `HKEY_LOCAL_MACHINE\Empty`},
	}
	var r fact.Report
	got, err := ParseText("test", AppendText(nil, keys), &r)
	if err != nil || len(r.Problems) > 0 || len(got) != 2 {
		t.Fatalf("%d keys, %v, %v", len(got), r.Problems, err)
	}
	for i, v := range keys[0].Values {
		g := got[0].Values[i]
		if g.Name != v.Name || g.Type != v.Type || string(g.Data) != string(v.Data) {
			t.Errorf("%q: %+v, want %+v", v.Name, g, v)
		}
	}
	if got[0].Path != keys[0].Path {
		t.Errorf("path %q", got[0].Path)
	}
}

// Lines that go on cost no more than their length, and a value in them no more than a value may.
func TestContinuedLines(t *testing.T) {
	reg := textHeader + "[HKEY_LOCAL_MACHINE\\A]\n\"a\"=hex:00,\\\n" + strings.Repeat("  01,\\\n", 3) +
		"  02\n\"b\"=dword:1\n"
	var r fact.Report
	keys, err := ParseText("test", []byte(reg), &r)
	if err != nil || len(r.Problems) > 0 || len(keys) != 1 || len(keys[0].Values) != 2 ||
		!bytes.Equal(keys[0].Values[0].Data, []byte{0, 1, 1, 1, 2}) {
		t.Fatalf("%+v, %v, %v", keys, r.Problems, err)
	}
	start := time.Now()
	long := textHeader + "[HKEY_LOCAL_MACHINE\\A]\n\"a\"=hex:00,\\\n" + strings.Repeat("0,\\\n", 1<<20) +
		"2\n\"b\"=dword:1\n"
	keys, err = ParseText("test", []byte(long), &r)
	if err != nil || len(keys[0].Values) != 2 {
		t.Errorf("%d values, %v", len(keys[0].Values), err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %s", d)
	}
}

// A key that its parent names again and again is visited once, whatever a hive claims.
func TestHiveRepeats(t *testing.T) {
	for _, record := range []string{"li", "ri"} {
		whole, err := OpenHive(hivetest.Repeats(2000, record))
		if err != nil {
			t.Fatal(err)
		}
		h := whole.Budgeted(nil)
		k, err := h.Key(`ControlSet001\Enum`)
		if err != nil || k == nil {
			t.Fatal(err)
		}
		before := h.left.keys
		var list []string
		err = k.Each(func(sub *HiveKey) bool {
			list = append(list, sub.Name)
			return true
		})
		if len(list) != 1 || !errors.Is(err, fact.ErrMalformed) || before-h.left.keys > 3000 {
			t.Errorf("%s: %d buses, %v, %d looks", record, len(list), err, before-h.left.keys)
		}
	}
	h, err := OpenHive(hivetest.Repeats(1, "li"))
	if err != nil {
		t.Fatal(err)
	}
	h = h.Budgeted(nil)
	h.left.keys = 3
	if _, err := h.Key(`ControlSet001\Enum\bus`); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("a hive that leads to more than a call looks at: %v", err)
	}
}

// The keys of a hive, with their values.
func TestHiveKeys(t *testing.T) {
	h, err := OpenHive(hivetest.System())
	if err != nil {
		t.Fatal(err)
	}
	if h.Dirty() {
		t.Error("dirty")
	}
	k, err := h.Key(`controlset001\SERVICES\Filter`)
	if err != nil || k == nil || k.Name != "Filter" {
		t.Fatalf("%+v, %v", k, err)
	}
	key, err := k.Read("path")
	if err != nil || key.Path != "path" || key.Partial {
		t.Errorf("%+v, %v", key, err)
	}
	if n, ok := key.Dword("type"); !ok || n != 2 {
		t.Errorf("Type %d, %v", n, ok)
	}
	if s, ok := key.Text("DisplayName"); !ok || s != hivetest.LongName() {
		t.Errorf("a value of several segments has %d characters, %v", len(s), ok)
	}
	if k, err := h.Key(`No\Such`); k != nil || err != nil {
		t.Errorf("a key that is not there: %v, %v", k, err)
	}
}

func FuzzHive(f *testing.F) {
	f.Add(hivetest.System())
	f.Add(hivetest.Repeats(3, "ri"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := OpenHive(b)
		if (err == nil) == (h == nil) {
			t.Fatalf("%v and %v", h, err)
		}
		if err != nil {
			return
		}
		h = h.Budgeted(nil)
		k, err := h.Key(`ControlSet001\Services`)
		if err != nil || k == nil {
			return
		}
		keys := 0
		err = k.Each(func(sub *HiveKey) bool {
			key, err := sub.Read("path")
			if key.Partial != (err != nil) || len(key.Values) > maxHiveValues {
				t.Fatalf("%d values, partial %v, %v", len(key.Values), key.Partial, err)
			}
			keys++
			return true
		})
		if keys > len(b) {
			t.Fatalf("%d keys of %d bytes, %v", keys, len(b), err)
		}
	})
}

func FuzzParseReg(f *testing.F) {
	f.Add([]byte(textHeader + "\n[HKEY_LOCAL_MACHINE\\A]\n\"n\"=dword:00000002\n\"s\"=\"a\\\\b\"\n" +
		"\"broken\"=dword:xyz\n"))
	f.Add([]byte("REGEDIT4\n[A]\n@=hex(7):41,00,\\\n 00\n"))
	for _, seed := range bomb.Seeds(bomb.Reg) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		keys, err := ParseText("fuzz", b, &r)
		if (err == nil) == (keys == nil) {
			t.Fatalf("value %v and error %v", keys, err)
		}
		if len(keys) > len(b) {
			t.Fatalf("%d keys of %d bytes", len(keys), len(b))
		}
		if len(r.Problems) > fact.MaxProblems+1 {
			t.Fatalf("%d problems", len(r.Problems))
		}
		if err != nil {
			return
		}
		again, err := ParseText("fuzz", AppendText(nil, keys), &r)
		if err != nil || len(again) != len(keys) {
			t.Fatalf("written and read again: %d keys, %v; want %d", len(again), err, len(keys))
		}
	})
}

// A key that is a link to another one is not followed, and not taken for one that is empty.
func TestLinkedKey(t *testing.T) {
	raw := hivetest.System()
	at := bytes.Index(raw, []byte("Config"))
	for at -= 76; raw[at] != 'n'; at-- {
	}
	binary.LittleEndian.PutUint16(raw[at+2:], 0x30)
	h, err := OpenHive(raw)
	if err != nil {
		t.Fatal(err)
	}
	k, err := h.Key(`ControlSet001\Control\CI\Config`)
	if k != nil || err == nil || !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("%v, %v", k, err)
	}
}
