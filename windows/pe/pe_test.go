// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
)

func TestParsePE(t *testing.T) {
	im := petest.Sample()
	for _, wide := range []bool{true, false} {
		im.PE32, im.Machine = !wide, 0x8664
		if !wide {
			im.Machine = 0x14c
		}
		var r fact.Report
		p, err := Parse(im.Build(), &r)
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("%v, %v", err, r.Problems)
		}
		if want := map[bool]string{true: "amd64", false: "386"}[wide]; p.Machine != want || p.Subsystem != "native" ||
			p.Checksum != p.ComputedChecksum {
			t.Errorf("machine %s subsystem %s checksum %s, computed %s", p.Machine, p.Subsystem,
				p.Checksum, p.ComputedChecksum)
		}
		if p.LinkedAt.Unix() != 0x5f5e1000 || p.Reproducible || p.PDB.ID() != "A30C7413C3EAF4C899AC95798321BE651" ||
			p.PDB.Path != `D:\b\ket.pdb` {
			t.Errorf("linked %v, pdb %+v", p.LinkedAt, p.PDB)
		}
		if len(p.Imports) != 2 || p.Imports[0].Functions[1] != "#12" || p.Imports[1].Library != "Fltmgr.SYS" {
			t.Errorf("imports %+v", p.Imports)
		}
		// NTOSKRNL.exe keeps its extension: only .dll, .sys and .ocx go.
		sum := md5.Sum([]byte("ntoskrnl.exe.iocreatedevice,ntoskrnl.exe.ord12,fltmgr.fltregisterfilter"))
		if p.Imphash != hex.EncodeToString(sum[:]) {
			t.Errorf("imphash %s", p.Imphash)
		}
		v, err := p.Version()
		if err != nil || v.File != "2.0.70.1" || v.String("originalfilename") != "ket.sys" ||
			v.String("FileDescription") != "Ket © driver" || v.Languages[0].Language != "0409" {
			t.Errorf("version %+v, %v", v, err)
		}
		if h := p.Hashes(); h.AuthentihashSHA256 == "" || h.FirstPageSHA256 == "" {
			t.Errorf("hashes %+v", h)
		}
	}
	im.Repro = true
	p, err := Parse(im.Build(), new(fact.Report))
	if err != nil || !p.Reproducible || !p.LinkedAt.IsZero() {
		t.Errorf("a reproducible build: %+v, %v", p, err)
	}
}

// Strings in several languages, with lengths and padding as some resource compilers have them.
func TestVersionLanguages(t *testing.T) {
	for _, odd := range []bool{false, true} {
		im := petest.Sample()
		im.Odd = odd
		im.Languages = []petest.Language{
			{Key: "040704E4",
				Strings: map[string]string{"OriginalFilename": "ket.sys", "FileDescription": "Ket-Treiber für Größe",
					"CompanyName": ""}},
			{Key: "0804", Strings: map[string]string{"OriginalFilename": "任意.sys"}},
		}
		var r fact.Report
		p, err := Parse(im.Build(), &r)
		if err != nil || len(r.Problems) > 0 {
			t.Fatalf("odd %v: %v, %v", odd, err, r.Problems)
		}
		v, err := p.Version()
		if err != nil || v == nil {
			t.Fatalf("odd %v: %v", odd, err)
		}
		if len(v.Languages) != 3 || v.Languages[1].Language != "0407" || v.Languages[1].CodePage != "04e4" ||
			v.Languages[2].Language != "0804" || v.Languages[2].CodePage != "" {
			t.Fatalf("odd %v: %+v", odd, v.Languages)
		}
		if got := v.Strings("OriginalFilename"); !slices.Equal(got, []string{"ket.sys", "任意.sys"}) {
			t.Errorf("odd %v: %q", odd, got)
		}
		if got := v.Strings("FileDescription"); !slices.Equal(got, []string{"Ket © driver", "Ket-Treiber für Größe"}) ||
			v.String("CompanyName") != "Ket, Inc." {
			t.Errorf("odd %v: %q", odd, got)
		}
	}
}

// The record of old linkers, and entries that are invalid beside ones that do.
func TestDebugRecords(t *testing.T) {
	nb10 := append([]byte("NB10\x00\x00\x00\x00"), 0x78, 0x56, 0x34, 0x12, 3, 0, 0, 0)
	if p := parseCodeView(append(nb10, "c:\\old.pdb\x00junk"...)); p == nil || p.ID() != "123456783" ||
		p.Path != `c:\old.pdb` || p.GUID != "" {
		t.Errorf("NB10: %+v", p)
	}
	for _, b := range [][]byte{nil, []byte("RSDS"), []byte("NB10"), []byte("NB09________________________")} {
		if p := parseCodeView(b); p != nil {
			t.Errorf("%q: %+v", b, p)
		}
	}
	im := petest.Sample()
	im.Repro = true
	b := im.Build()
	p, err := Parse(b, new(fact.Report))
	if err != nil || p.PDB == nil {
		t.Fatal(err)
	}
	// The CodeView entry, which is the first, now points beyond the file.
	at, _ := p.img.offset(p.img.dirs[dirDebug].addr)
	binary.LittleEndian.PutUint32(b[at+24:], uint32(len(b)))
	var r fact.Report
	p, err = Parse(b, &r)
	if err != nil || len(r.Problems) != 1 || p.PDB != nil || !p.Reproducible {
		t.Errorf("%+v, %v, %v", p, r.Problems, err)
	}
}

// The authentihash leaves out what signing changes, and pads to eight bytes.
func TestAuthentihash(t *testing.T) {
	b := petest.Sample().Build()
	p, err := Parse(b, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	want := p.Authentihash(crypto.SHA256)
	opt := int(b[0x3c]) + 24
	with := append([]byte(nil), b...)
	binary.LittleEndian.PutUint32(with[opt+64:], 0x1234)
	binary.LittleEndian.PutUint32(with[opt+144:], uint32(len(b)))
	binary.LittleEndian.PutUint32(with[opt+148:], 16)
	with = append(with, 16, 0, 0, 0, 0, 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	q, err := Parse(with, new(fact.Report))
	if err != nil || string(q.Authentihash(crypto.SHA256)) != string(want) {
		t.Errorf("with a checksum and a table: another digest, %v", err)
	}
	padded := append(append([]byte(nil), b...), 7, 0, 0, 0, 0, 0, 0, 0)
	odd := append(append([]byte(nil), b...), 7)
	x, _ := Parse(padded, new(fact.Report))
	y, _ := Parse(odd, new(fact.Report))
	if string(x.Authentihash(crypto.SHA1)) != string(y.Authentihash(crypto.SHA1)) {
		t.Error("a file is not padded to eight bytes")
	}
	d := sha256.New()
	d.Write(b[:opt+64])
	d.Write(b[opt+68 : opt+144])
	d.Write(b[opt+152 : 0x400])
	d.Write(make([]byte, 4096-0x400))
	if got := p.Hashes().FirstPageSHA256; got != hex.EncodeToString(d.Sum(nil)) {
		t.Errorf("first page %s", got)
	}
}

func TestParsePENonsense(t *testing.T) {
	good := petest.Sample().Build()
	for n := 0; n < 0x400; n += 7 {
		if _, err := Parse(good[:n], new(fact.Report)); err == nil && n < 0x200 {
			t.Errorf("%d bytes: no error", n)
		}
	}
	many := append([]byte(nil), good...)
	binary.LittleEndian.PutUint16(many[int(good[0x3c])+6:], 97)
	if _, err := Parse(many, new(fact.Report)); err == nil {
		t.Error("97 sections: no error")
	}
	// Import descriptors that never end.
	loop := petest.Sample()
	loop.Imports = nil
	for range 300 {
		loop.Imports = append(loop.Imports, petest.Import{Library: "a.sys", Functions: []string{"b"}})
	}
	var r fact.Report
	p, err := Parse(loop.Build(), &r)
	if err != nil || len(r.Problems) != 1 || len(p.Imports) != maxLibraries {
		t.Errorf("300 imported images: %v, %v", r.Problems, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(petest.Sample().Build())
	im := petest.Sample()
	im.PE32, im.Repro, im.Trailing = true, true, []byte{1, 2, 3}
	f.Add(im.Build())
	if cache := os.Getenv("GOMODCACHE"); cache != "" {
		if b, err := os.ReadFile(filepath.Join(cache, "github.com/saferwall/pe@v1.6.5/test/amdxata.sys")); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		p, err := Parse(b, &r)
		if (err == nil) == (p == nil) {
			t.Fatalf("value %v and error %v", p, err)
		}
		if err != nil {
			return
		}
		if len(p.Imports) > maxLibraries || len(p.Sections) > maxSections || len(r.Problems) > 10 {
			t.Fatalf("%d imports, %d sections, %d problems", len(p.Imports), len(p.Sections), len(r.Problems))
		}
		_, _ = p.Version()
		if len(b) < 1<<16 {
			p.Hashes()
		}
	})
}

// The checksum is that of a plain sum of words, whatever the bytes and their number are.
func TestChecksum(t *testing.T) {
	for _, fill := range []byte{0, 1, 0x7f, 0xfe, 0xff} {
		for size := range 200 {
			im := petest.Sample()
			im.Code, im.Trailing = bytes.Repeat([]byte{fill}, 70_000), bytes.Repeat([]byte{0xff - fill}, size)
			b := im.Build()
			p, err := Parse(b, new(fact.Report))
			if err != nil {
				t.Fatal(err)
			}
			if p.Checksum != p.ComputedChecksum {
				t.Errorf("%d bytes of %#x: %s, want %s", len(b), fill, p.ComputedChecksum, p.Checksum)
			}
		}
	}
}
