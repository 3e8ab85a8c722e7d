// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

func decode(t testing.TB, b []byte) (*metadata, []fact.Problem) {
	t.Helper()
	var r fact.Report
	m, err := decodeBytes(b, &r)
	if err != nil {
		t.Fatal(err)
	}
	return m, r.Problems
}

func decodeBytes(b []byte, r *fact.Report) (*metadata, error) {
	return readMetadata(fstest.MapFS{"x.ko": {Data: b}}, "x.ko", 64<<20, r)
}

// sample gives every kind of record to a file of the kind k.
func sample(k kotest.KLD) kotest.KLD {
	k.Modules = []kotest.Module{{Record: "aesni_nexus", Name: "nexus/aesni"}, {Record: "aesni2", Name: "nexus/aesni2"}}
	k.Versions = []kotest.Version{{Name: "aesni", Version: 1}, {Name: "old", Version: 0}}
	k.BSSVersions = true
	k.Depends = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999},
		{Name: "crypto", Min: 1, Preferred: 1, Max: 1}}
	row := func(vendor, device uint32, class uint16, flags byte) []byte {
		b := k.Order.AppendUint32(nil, vendor)
		b = k.Order.AppendUint32(b, device)
		b = k.Order.AppendUint16(b, class)
		return append(b, flags, 0)
	}
	rows := append(row(0x1002, 0x6780, 0x300, 7), row(0x8086, 0xffffffff, 0xffff, 8)...)
	k.PNP = []kotest.PNP{{Bus: "pci", Descr: "U32:vendor;V32:device;V16:class;U8:#;", EntryLen: 12, Rows: rows, Num: 2}}
	k.BuildID = []byte{0xde, 0xad, 0xbe, 0xef}
	return k
}

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

var kinds = map[string]kotest.KLD{
	"amd64 rel":     kotest.AMD64(),
	"i386 dyn":      kotest.I386(),
	"arm64 dyn":     kotest.ARM64(),
	"powerpc64 dyn": kotest.PPC64(),
	"amd64 exec":    {Type: elf.ET_EXEC, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: binary.LittleEndian},
	"riscv64 dyn":   {Type: elf.ET_DYN, Machine: elf.EM_RISCV, Class: elf.ELFCLASS64, Order: binary.LittleEndian},
	"armv7 dyn":     {Type: elf.ET_DYN, Machine: elf.EM_ARM, Class: elf.ELFCLASS32, Order: binary.LittleEndian},
	"i386 rel":      {Type: elf.ET_REL, Machine: elf.EM_386, Class: elf.ELFCLASS32, Order: binary.LittleEndian},
	"powerpc rel":   {Type: elf.ET_REL, Machine: elf.EM_PPC, Class: elf.ELFCLASS32, Order: binary.BigEndian},
	"powerpc64 rel": {Type: elf.ET_REL, Machine: elf.EM_PPC64, Class: elf.ELFCLASS64, Order: binary.BigEndian},
	"no section table": {Type: elf.ET_DYN, Machine: elf.EM_AARCH64, Class: elf.ELFCLASS64, Order: binary.LittleEndian,
		NoSections: true},
}

func TestMetadataOfEveryKindOfFile(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			m, problems := decode(t, sample(k).Bytes())
			if len(problems) != 0 {
				t.Errorf("problems %v", problems)
			}
			want := &metadata{
				Modules: []Module{{Name: "nexus/aesni", Record: "aesni_nexus"},
					{Name: "nexus/aesni2", Record: "aesni2"}},
				Versions: []Version{{"aesni", 1}, {"old", 0}},
				Depends:  []Depend{{"kernel", 1402000, 1402000, 1499999}, {"crypto", 1, 1, 1}},
				PNP: []deviceTable{{PNPTable: PNPTable{Bus: "pci", Descriptor: "U32:vendor;V32:device;V16:class;U8:#;",
					IDs: []string{"vendor=0x1002 device=0x6780 class=0x300", "vendor=0x8086"}}}},
				Type: k.Type, Order: binary.ByteOrder(k.Order), BuildID: "deadbeef",
			}
			if k.NoSections {
				want.BuildID = ""
			}
			diff := cmp.Diff(want, m, cmpopts.IgnoreFields(metadata{}, "Machine", "Bits", "Size"),
				cmpopts.IgnoreUnexported(deviceTable{}), equalCounts,
				cmp.Comparer(func(a, b binary.ByteOrder) bool { return a.String() == b.String() }))
			if diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			if n, ok := builtFor(m.Depends); n != 1402000 || !ok || Release(int64(n)) != "14.2" {
				t.Errorf("built for %d, %v, %q", n, ok, Release(int64(n)))
			}
		})
	}
}

func TestMetadataTraps(t *testing.T) {
	k := kotest.AMD64()
	k.Versions = []kotest.Version{{Name: "vboxdrv", Version: 1}}
	k.Depends = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1401999}}
	m, _ := decode(t, k.Bytes())
	if len(m.Modules) != 0 || m.Modules == nil {
		t.Errorf("a file without MODULE records has modules %v", m.Modules)
	}
	if d := m.Depends[0]; d.Max != 1401999 || !d.accepts(1402000) || d.accepts(1402001) || d.accepts(1401999) {
		t.Errorf("a dependency with max < min is kept as it is and met by its preferred version only: %+v", d)
	}

	if _, err := decodeBytes([]byte("#!/bin/sh\n"), new(fact.Report)); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a script: %v", err)
	}
	empty, _ := decode(t, kotest.AMD64().Bytes()) // marked FreeBSD, without metadata
	if len(empty.Versions)+len(empty.Depends)+len(empty.Modules) != 0 {
		t.Errorf("metadata out of nothing: %+v", empty)
	}
	linux := kotest.AMD64().Bytes()
	linux[elf.EI_OSABI] = 0
	if _, err := decodeBytes(linux, new(fact.Report)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an ELF file of nobody's: %v", err)
	}
}

func TestPNPFields(t *testing.T) {
	k := kotest.AMD64()
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0x43801002) // W32
	b = append(b, 0x41, 0xd0, 0x05, 0x01) // E: PNP0501
	b = le.AppendUint16(b, 0x0100)        // G16
	b = le.AppendUint16(b, 0x0200)        // L16
	b = append(b, 0xff, 5)                // V8, U8
	b = append(b, 0, 0)                   // to the pointer's alignment
	b = append(b, make([]byte, 8)...)     // P
	b = append(b, make([]byte, 8)...)     // D, null
	b = append(b, 1, 2, 3, 4, 5, 6, 7, 8) // not described
	k.PNP = []kotest.PNP{{Bus: "isa",
		Descr:    "W32:vendor/device;E:_HID;G16:lo;L16:hi;V8:any;U8:rev;P;D:#;T:class=0x01;",
		EntryLen: 40, Rows: b, Num: 1}}
	m, problems := decode(t, k.Bytes())
	if len(problems) != 0 || len(m.PNP) != 1 || len(m.PNP[0].IDs) != 1 {
		t.Fatalf("%+v", m)
	}
	if got, want := m.PNP[0].IDs[0], "vendor=0x1002 device=0x4380 _HID=PNP0501 lo>=0x100 hi<=0x200 rev=0x5 "+
		"class=0x01"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for descr, want := range map[string]string{
		"U32:vendor":        "",
		"X9:vendor;":        "unknown type",
		"U32;":              "has no name",
		"W32:one;":          "W32 with one name",
		"U32:a;U32:b;P;Z:c": "descriptor is longer than the row",
	} {
		k.PNP = []kotest.PNP{{Bus: "pci", Descr: descr, EntryLen: 8, Rows: make([]byte, 8), Num: 1}}
		_, problems := decode(t, k.Bytes())
		if want == "" && len(problems) != 0 || want != "" && (len(problems) != 1 ||
			!strings.Contains(problems[0].Text, want)) {
			t.Errorf("descriptor %q: problems %v, want %q", descr, problems, want)
		}
	}
}

// TestHostileFiles feeds files that lie about every size, offset and count.
func TestHostileFiles(t *testing.T) {
	good := sample(kotest.AMD64()).Bytes()
	for name, k := range kinds {
		b := sample(k).Bytes()
		for cut := 0; cut < len(b); cut += 1 + len(b)/400 {
			checkBounded(t, fmt.Sprintf("%s cut at %d", name, cut), b[:cut])
		}
		for i := 0; i < len(b); i += 1 + len(b)/600 {
			c := bytes.Clone(b)
			c[i] ^= 0xff
			checkBounded(t, fmt.Sprintf("%s with byte %d flipped", name, i), c)
		}
	}
	many := bytes.Clone(good)
	binary.LittleEndian.PutUint16(many[60:], 65535) // e_shnum
	checkBounded(t, "65,535 sections that are not there", many)
	checkBounded(t, "65,535 sections", manySections(65535))
	unterminated := kotest.AMD64()
	unterminated.Versions = []kotest.Version{{Name: strings.Repeat("x", 5000), Version: 1}}
	m, problems := decode(t, unterminated.Bytes())
	if len(m.Versions) != 0 || len(problems) != 1 {
		t.Errorf("a name of 5,000 bytes: %+v", m)
	}
	amplify := kotest.AMD64() // every record shares one long name, so the result could outgrow the file
	for range 30000 {
		amplify.Modules = append(amplify.Modules, kotest.Module{Name: "a", Record: "b"})
	}
	checkBounded(t, "many records", amplify.Bytes())
	pnp := kotest.AMD64()
	pnp.PNP = []kotest.PNP{{Bus: "pci", Descr: "U8:v", EntryLen: 1, Rows: make([]byte, 1), Num: 1 << 31}}
	checkBounded(t, "two billion rows", pnp.Bytes())
	pnp.PNP[0].EntryLen = 0
	checkBounded(t, "rows of no bytes", pnp.Bytes())
}

// manySections has n relocation sections that all claim the whole file for section 1.
func manySections(n int) []byte {
	b := make([]byte, 64+64*n)
	copy(b, sample(kotest.AMD64()).Bytes()[:64])
	le := binary.LittleEndian
	le.PutUint64(b[40:], 64) // e_shoff
	le.PutUint16(b[60:], uint16(n))
	le.PutUint16(b[62:], uint16(n-1))
	for i := range n {
		s := b[64+64*i:]
		le.PutUint32(s, 1)
		le.PutUint32(s[4:], uint32(elf.SHT_RELA))
		le.PutUint64(s[8:], uint64(elf.SHF_ALLOC))
		le.PutUint64(s[32:], uint64(len(b)))
		le.PutUint32(s[44:], 1)
	}
	le.PutUint32(b[64+64+4:], uint32(elf.SHT_PROGBITS))
	return b
}

func checkBounded(t *testing.T, what string, b []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := decodeBytes(b, new(fact.Report))
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20+100*uint64(len(b)) {
		t.Errorf("%s allocated %d bytes for %d", what, used, len(b))
	}
	if (m == nil) == (err == nil) {
		t.Errorf("%s: both or neither of value and error: %v, %v", what, m, err)
	}
}

func FuzzMetadata(f *testing.F) {
	for _, k := range kinds {
		f.Add(sample(k).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := elfset.Open(bytes.NewReader(b), int64(len(b)), "fuzz")
		if (e == nil) == (err == nil) {
			t.Fatal("value and error", e, err)
		}
		if err != nil {
			return
		}
		var r fact.Report
		item := r.Budget.Item(int64(len(b)))
		names, err := e.Needed(item)
		if err != nil && names != nil {
			t.Fatal("value and error", names, err)
		}
		_ = e.Defined(item, func(string) error { return nil })
		m, err := decodeMetadata(e, nil, &r)
		if (m == nil) == (err == nil) {
			t.Fatal("value and error", m, err)
		}
		if m == nil {
			return
		}
		n := 0
		for _, v := range m.Modules {
			n += len(v.Name) + len(v.Record)
		}
		for _, v := range m.Versions {
			n += len(v.Name)
		}
		for _, p := range m.PNP {
			for _, id := range p.IDs {
				n += len(id)
			}
		}
		if n > 8*(len(b)+1<<20) || len(r.Problems) > fact.MaxProblems+1 {
			t.Fatalf("%d bytes of result, %d problems, for %d bytes", n, len(r.Problems), len(b))
		}
	})
}
