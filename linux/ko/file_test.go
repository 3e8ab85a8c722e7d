// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

func gzipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func TestReadFile(t *testing.T) {
	want := Modinfo{
		{"author", "A"}, {"author", "B"}, {"description", "two\nlines"}, {"license", "GPL"},
		{"depends", "a,b-c"}, {"intree", "Y"},
		{"name", "demo"}, {"vermagic", "6.1.0-test SMP mod_unload "},
	}
	for _, c := range []struct {
		name  string
		order linuxtest.ByteOrder
		is64  bool
	}{{"64 little", binary.LittleEndian, true}, {"64 big", binary.BigEndian, true},
		{"32 little", binary.LittleEndian, false}, {"32 big", binary.BigEndian, false}} {
		t.Run(c.name, func(t *testing.T) {
			data := linuxtest.ModuleOf(c.order, c.is64,
				linuxtest.Entries("demo", "author=A", "author=B", "description=two\nlines")...).Bytes()
			fsys := fstest.MapFS{"demo.ko": {Data: data}, "demo.ko.gz": {Data: gzipped(t, data)},
				"demo.ko.zst": {Data: zstandard(t, data)}, "misnamed.ko": {Data: gzipped(t, data)}}
			r := NewReader()
			for file, compression := range map[string]string{"demo.ko": "none", "demo.ko.gz": "gzip",
				"demo.ko.zst": "zstd", "misnamed.ko": "gzip"} {
				for _, whole := range []bool{false, true} {
					f, err := r.ReadFile(fsys, file, Options{noPrefix: whole}, new(fact.Report))
					if err != nil {
						t.Fatal(file, err)
					}
					if diff := cmp.Diff(want, f.Modinfo); diff != "" {
						t.Errorf("%s whole=%v (-want +got):\n%s", file, whole, diff)
					}
					if f.Compression != compression || f.Name != "demo" || len(f.BuildID) != 40 ||
						f.Size != int64(len(fsys[file].Data)) {
						t.Errorf("%s: %+v", file, f)
					}
				}
			}
		})
	}
}

// TestPrefixIsCareful puts strings that look like entries before and after .modinfo: the first part
// of the file must not be believed then, and the result never differs from the whole's.
func TestPrefixIsCareful(t *testing.T) {
	for name, before := range map[string]string{
		"format string": "name=%s\x00", "unknown key": "speed=9\x00", "known key": "alias=x\x00",
		"no NUL before": "\x01\x02", "no NUL and letters": "\x01xyz",
		"second vermagic": "vermagic=5.0 \x00depends=\x00name=other\x00\x00",
	} {
		for _, after := range []string{"", "mode=%d\x00", "alias=y\x00", "\x00\x00\x00"} {
			b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...)
			b.Sections[2].Data = []byte(before)
			b.Sections[4].Data = append([]byte(after), make([]byte, 2000)...)
			data := gzipped(t, b.Bytes())
			r := NewReader()
			first, err := r.Decode(data, "demo.ko.gz", Options{}, new(fact.Report))
			if err != nil {
				t.Fatal(err)
			}
			whole, err := r.Decode(data, "demo.ko.gz", Options{noPrefix: true}, new(fact.Report))
			if err != nil {
				t.Fatal(err)
			}
			if name == "second vermagic" || name == "known key" || after == "alias=y\x00" {
				continue // a file made to deceive: only the whole is sure, see Reader
			}
			if diff := cmp.Diff(whole.Modinfo, first.Modinfo); diff != "" {
				t.Errorf("%s, %q (-whole +first part):\n%s", name, after, diff)
			}
		}
	}
}

// TestEntryBehindBytes: the section before .modinfo need not end in NUL. Where the first entry begins is certain behind
// bytes that no text has, unless its key ends in another.
func TestEntryBehindBytes(t *testing.T) {
	for _, tt := range []struct {
		before, entry string
		certain       bool
	}{
		{"\x00\xff\xfe", "license=Proprietary", true},
		{"\x00O\x00\xfe\xff", "parm=a:b=c", false},
		{"\x00=\xfe\xff", "license=Proprietary", false},
		{"\x00\xfe\xff ", "license=Proprietary", false},
		{"\x00\xffx", "license=Proprietary", false},
		{"\x00\xffsrc", "version=1", false},
		{"\x00\xff", "srcversion=1", false},
		{"\x00\xff", "my_key=1", false},
		{"\x00\x03", "license=Proprietary", true},
		{"\x00a text of the program*", "my_key=1", false},
		{"\x00\tfirmware=none\n\x00", "license=Proprietary", false},
		{"busy\x00\n\tversion=1\n\x00", "license=Proprietary", false},
		{"\x00state\talias=none\x00", "license=Proprietary", false},
		{"\x00state of it: alias=%d\x00", "license=Proprietary", false},
		{"\x00state of it: mode=%d\x00", "license=Proprietary", true},
		{"\x00µtest=1\x00", "license=Proprietary", false},
		{"\x00\ntest=", "author=A", false},
		{"\x00\xfffile=", "author=A", false},
	} {
		b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", tt.entry)...)
		aligned := strings.Repeat("\x00", 16-len(tt.before)%16) + tt.before // or padding would follow
		b.Sections[2].Data = []byte(aligned)
		b.Sections[4].Data = make([]byte, 2000)
		f, err := NewReader().Decode(gzipped(t, b.Bytes()), "demo.ko.gz", Options{}, new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		if first := f.Modinfo[0]; first.Key+"="+first.Value != tt.entry {
			t.Errorf("%q: first entry %v", tt.before+tt.entry, first)
		}
		if certain := f.Versions == ""; certain != tt.certain { // the section headers say which there are
			t.Errorf("%q: certain %t", tt.before+tt.entry, certain)
		}
	}
}

// TestLongPrefix has more before .modinfo than is kept of what is decoded, and a .modinfo of that length: what the file
// says is the same, in little memory unless the whole file is needed.
func TestLongPrefix(t *testing.T) {
	long := strings.Repeat("alias=pci:v00001234d00005678sv*sd*bc*sc*i*\x00", 2*prefixKeep/40)
	aliases := strings.Split(strings.TrimSuffix(long, "\x00"), "\x00")
	for name, tt := range map[string]struct {
		code    int
		entries []string
		long    bool // it takes the whole file
	}{
		"as long as what is kept":  {prefixKeep, nil, false},
		"a few bytes more":         {2*prefixKeep + 13, nil, false},
		"many times as long":       {9*prefixKeep + 1, nil, false},
		"many entries":             {100, aliases, true},
		"many entries behind code": {5 * prefixKeep, aliases, true},
	} {
		b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", tt.entries...)...)
		b.Sections[1].Data = bytes.Repeat([]byte{0x90, 0xc3, 0, 'v', '='}, (tt.code+4)/5)
		for kind, data := range map[string][]byte{"gzip": gzipped(t, b.Bytes()), "zstd": zstandard(t, b.Bytes())} {
			r, again := NewReader(), NewReader()
			first, err := r.Decode(data, "demo.ko", Options{}, new(fact.Report))
			if err != nil {
				t.Fatal(name, err)
			}
			whole, err := again.Decode(data, "demo.ko", Options{noPrefix: true}, new(fact.Report))
			if err != nil {
				t.Fatal(name, err)
			}
			if diff := cmp.Diff(whole.Modinfo, first.Modinfo); diff != "" || first.BuildID != whole.BuildID {
				t.Errorf("%s, %s: %s, %s (-whole +first part):\n%s", name, kind, first.BuildID, whole.BuildID, diff)
			}
			if size := cap(r.x.out); !tt.long && size > 3*prefixKeep {
				t.Errorf("%s, %s: %d bytes of memory", name, kind, size)
			}
		}
	}
}

// TestPaddedEntries has several NULs between entries, as old builds left them: the first part must
// not take one of the gaps for the section's end.
func TestPaddedEntries(t *testing.T) {
	for _, pad := range []int{1, 2, 7, maxPadding - 1} {
		b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", "author=A", "alias=x")...)
		b.Sections[3].Data = bytes.ReplaceAll(b.Sections[3].Data, []byte{0}, make([]byte, pad))
		f, err := NewReader().Decode(gzipped(t, b.Bytes()), "demo.ko.gz", Options{}, new(fact.Report))
		if err != nil || len(f.Modinfo) != len(linuxtest.Entries("demo"))+2 {
			t.Errorf("%d NULs: %v %+v", pad, err, f.Modinfo)
		}
	}
}

// TestUnknownKeysAreKept has an entry with a key of the module's own.
func TestUnknownKeysAreKept(t *testing.T) {
	data := gzipped(t,
		linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", "my_key=1", "author=A")...).Bytes())
	f, err := NewReader().Decode(data, "demo.ko.gz", Options{}, new(fact.Report))
	if err != nil || f.Modinfo.Get("my_key") != "1" {
		t.Errorf("%v %+v", err, f.Modinfo)
	}
}

func TestBadFiles(t *testing.T) {
	good := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	far := bytes.Clone(good)
	binary.LittleEndian.PutUint64(far[40:], 1<<60)
	many := bytes.Clone(good)
	binary.LittleEndian.PutUint16(many[60:], 0)
	noInfo := linuxtest.ModuleOf(binary.LittleEndian, true)
	noInfo.Sections = noInfo.Sections[:2]
	for name, data := range map[string][]byte{
		"empty": nil, "short": good[:10], "half": good[:len(good)/2], "text": []byte("#!/bin/sh\n"), "far": far,
		"many": many, "no modinfo": noInfo.Bytes(),
		"gzip cut": gzipped(t, good)[:100], "gzip of text": gzipped(t, []byte("hello")),
		"zstd cut": zstandard(t, good)[:60], "xz cut": []byte("\xfd7zXZ\x00\x00\x01"),
		"executable": append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"),
			make([]byte, 100)...),
	} {
		f, err := NewReader().Decode(data, "m.ko", Options{Signature: true, Symbols: true}, new(fact.Report))
		if !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%s: %v, %+v", name, err, f)
		}
	}
	if _, err := NewReader().Decode(gzipped(t, make([]byte, 1<<20)), "bomb.ko.gz",
		Options{Signature: true, MaxFile: 1 << 16}, new(fact.Report)); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("more than allowed: %v", err)
	}
	if _, err := NewReader().Decode(gzipped(t, far), "far.ko.gz", Options{}, new(fact.Report)); !errors.Is(err,
		fact.ErrTooLarge) {
		t.Errorf("headers beyond the limit: %v", err)
	}
	if _, err := NewReader().ReadFile(fstest.MapFS{"d.ko": {Mode: fs.ModeDir}}, "d.ko", Options{},
		new(fact.Report)); err == nil {
		t.Error("a directory was read")
	}
}

func TestFileCache(t *testing.T) {
	one := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", "version=1")...).Bytes()
	two := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo", "version=22")...).Bytes()
	fsys := fstest.MapFS{"demo.ko": {Data: one}}
	var c Cache
	r := NewReader()
	read := func() string {
		f, err := c.ReadFile(r, fsys, "demo.ko", Options{}, new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		return f.Modinfo.Get("version")
	}
	for range 2 {
		if read() != "1" || len(c.files) != 1 {
			t.Error("not kept")
		}
	}
	fsys["demo.ko"] = &fstest.MapFile{Data: two, ModTime: time.Unix(1, 0)}
	if read() != "22" {
		t.Error("a changed file was not read again")
	}
	c.Clear()
	if len(c.files) != 0 || read() != "22" {
		t.Error("clear")
	}
}

func FuzzFile(f *testing.F) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true,
		linuxtest.Entries("demo", "parm=a:b", "parmtype=a:int")...).Bytes()
	f.Add(module)
	f.Add(linuxtest.ModuleOf(binary.BigEndian, false, linuxtest.Entries("demo")...).Bytes())
	f.Add(gzipped(f, module))
	f.Add(zstandard(f, module))
	f.Add(linuxtest.Trailer(module, []byte("0\x00")))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []Options{{MaxFile: 1 << 20}, {MaxFile: 1 << 20, Signature: true, Symbols: true}} {
			file, err := NewReader().Decode(data, "m.ko", o, new(fact.Report))
			if err == nil && file.Modinfo == nil {
				t.Fatal("neither value nor error")
			}
			if len(file.Modinfo) > 1<<20 {
				t.Fatal("more entries than bytes")
			}
		}
	})
}

// TestOverlappingNames: the symbols of a hostile table have names that end in one another.
func TestOverlappingNames(t *testing.T) {
	read := func(names []byte, offset func(i int) uint32) (*Symbols, error) {
		var table []byte
		for i := range 20000 {
			table = binary.LittleEndian.AppendUint32(table, offset(i))
			table = append(table, make([]byte, 20)...)
		}
		b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...)
		n := uint32(len(b.Sections))
		b.Sections = append(b.Sections, linuxtest.Section{Name: ".symtab", Kind: sectionSym, Data: table, Link: n + 2},
			linuxtest.Section{Name: ".strtab", Kind: 3, Data: names})
		return readSymbols(memorySource(b.Bytes()), "demo.ko")
	}
	var err error
	used := linuxtest.Allocated(func() {
		_, err = read(bytes.Repeat([]byte{0xff}, 8192), func(i int) uint32 { return uint32(i % 4096) })
	})
	if !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("overlapping names: %v", err)
	}
	if used > 32<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	// A name of many local symbols is stored once.
	same := []byte("\x00__UNIQUE_ID_of_a_device_table_entry_and_then_some_more_of_it\x00")
	if s, err := read(same, func(int) uint32 { return 1 }); err != nil || len(s.Imports) != 1 {
		t.Errorf("shared name: %v, %v", s, err)
	}
	if s, err := read(append(bytes.Repeat([]byte("n"), 600), 0), func(int) uint32 { return 0 }); err == nil &&
		len(s.Imports[0].Name) != maxSymbolName {
		t.Errorf("a name of %d bytes", len(s.Imports[0].Name))
	}
}

func TestModinfoMemory(t *testing.T) {
	m := ParseModinfo(append(make([]byte, 1<<20), "\x00a=1\x00\x00b\x00c=3"...))
	if len(m) != 3 || cap(m) != 3 || m.Get("a") != "1" || m.Get("c") != "3" {
		t.Errorf("%d entries, room for %d: %v", len(m), cap(m), m)
	}
	long := linuxtest.ModuleOf(binary.LittleEndian, true,
		linuxtest.Entries("demo", "author="+strings.Repeat("x", maxModinfo))...)
	for name, data := range map[string][]byte{"demo.ko": long.Bytes(), "demo.ko.gz": gzipped(t, long.Bytes())} {
		if f, err := NewReader().Decode(data, name, Options{}, new(fact.Report)); !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %d entries, %v", name, len(f.Modinfo), err)
		}
	}
}
