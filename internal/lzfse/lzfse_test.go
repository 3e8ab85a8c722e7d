// SPDX-License-Identifier: Apache-2.0

package lzfse

import (
	"bytes"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// samples are plain images: sizes around the bounds of the coders, of every compressibility.
func samples() map[string][]byte {
	rnd := rand.New(rand.NewSource(1))
	all := map[string][]byte{"one": {7}, "zeros": make([]byte, 600000)}
	for _, n := range []int{3, 8, 17, 100, 4097, 40001, 263000} {
		random, few := make([]byte, n), make([]byte, n)
		rnd.Read(random)
		for i := range few {
			few[i] = byte(rnd.Intn(3))
		}
		all[fmt.Sprint("random ", n)], all[fmt.Sprint("few ", n)] = random, few
		words := strings.Repeat("a kext, linked into a collection; ", n/34+1)
		all[fmt.Sprint("text ", n)] = []byte(words[:n])
		skewed := make([]byte, n)
		for i := range skewed {
			skewed[i] = byte(min(rnd.ExpFloat64()*20, 255))
		}
		all[fmt.Sprint("skewed ", n)] = skewed
	}
	far := make([]byte, 300000) // matches as far back as LZFSE reaches
	rnd.Read(far)
	all["far"] = append(far, far[len(far)-262000:]...)
	return all
}

// coders write a plain image in every form.
var coders = map[string]struct {
	kind   Kind
	encode func([]byte) []byte
}{
	"lzss":        {LZSS, fakedarwin.LZSS},
	"lzvn":        {LZVN, fakedarwin.LZVN},
	"bvx1":        {LZFSE, func(b []byte) []byte { return append(fakedarwin.LZFSEBlocks(b, 1), "bvx$"...) }},
	"bvx2":        {LZFSE, func(b []byte) []byte { return append(fakedarwin.LZFSEBlocks(b, 2), "bvx$"...) }},
	"bvxn":        {LZFSE, func(b []byte) []byte { return append(fakedarwin.LZVNBlock(b), "bvx$"...) }},
	"bvx-":        {LZFSE, func(b []byte) []byte { return append(fakedarwin.RawBlock(b), "bvx$"...) }},
	"every block": {LZFSE, fakedarwin.LZFSE},
}

func TestRoundTrip(t *testing.T) {
	for name, plain := range samples() {
		for form, coder := range coders {
			packed := coder.encode(plain)
			m, err := Open(coder.kind, bytes.NewReader(packed), int64(len(packed)), int64(len(plain)), nil)
			if err != nil || m.Size() != int64(len(plain)) {
				t.Errorf("%s of %s: %v", form, name, err)
				continue
			}
			got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s of %s: %d bytes of %d, %v", form, name, len(got), len(plain), err)
			}
			if sum, err := m.Adler32(); err != nil || sum != adler32.Checksum(plain) {
				t.Errorf("%s of %s: checksum %x, %v", form, name, sum, err)
			}
		}
	}
}

// TestReadAt reads parts in and out of order, and a checksum after a second pass.
func TestReadAt(t *testing.T) {
	plain := make([]byte, 2<<20)
	rand.New(rand.NewSource(2)).Read(plain)
	packed := fakedarwin.LZVN(plain)
	m, err := Open(LZVN, bytes.NewReader(packed), int64(len(packed)), int64(len(plain)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, off := range []int{1 << 20, 1<<20 - 100, 5, 2<<20 - 10, 0, 1<<21 - 1, 3, 1<<21 - 2, 9, 1<<21 - 2, 9} {
		b := make([]byte, 10)
		n, err := m.ReadAt(b, int64(off))
		want := plain[off:min(off+10, len(plain))]
		if i < 10 && (!bytes.Equal(b[:n], want) || (len(want) < 10) != (err == io.EOF)) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
		if i == 10 && !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("after %d passes: %v", maxRewinds+1, err)
		}
	}
	if sum, err := m.Adler32(); err != nil || sum != adler32.Checksum(plain) {
		t.Errorf("checksum %x, %v", sum, err)
	}
	if _, err := m.ReadAt(make([]byte, 1), -1); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("negative offset: %v", err)
	}
}

// TestCutOff reads streams that end too early, and ones with a byte changed: an error, or the right image where the
// byte is of no use.
func TestCutOff(t *testing.T) {
	plain := samples()["skewed 4097"][:1500]
	for form, coder := range coders {
		packed := coder.encode(plain)
		for n := range packed {
			m, err := Open(coder.kind, bytes.NewReader(packed[:n]), int64(n), int64(len(plain)), nil)
			if err == nil {
				_, err = m.Adler32()
			}
			if err == nil && n < len(packed)-8 {
				t.Errorf("%s: %d bytes of %d pass", form, n, len(packed))
			}
		}
		for i := range packed {
			changed := bytes.Clone(packed)
			changed[i] ^= 0x41
			m, err := Open(coder.kind, bytes.NewReader(changed), int64(len(changed)), int64(len(plain)), nil)
			if err != nil {
				continue
			}
			got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
			if err == nil && int64(len(got)) != m.Size() {
				t.Errorf("%s, byte %d: %d bytes of %d", form, i, len(got), m.Size())
			}
		}
	}
}

func TestBounds(t *testing.T) {
	huge := bytes.Repeat([]byte("bvx-\xff\xff\xff\x3f"), 3)
	for name, tt := range map[string]struct {
		kind Kind
		data []byte
		size int64
		want error
	}{
		"no kind":            {"zlib", nil, 1, errors.ErrUnsupported},
		"a size of 2 GiB":    {LZVN, nil, 2 << 30, fact.ErrTooLarge},
		"a negative size":    {LZSS, nil, -1, fact.ErrTooLarge},
		"a block of 1 GiB":   {LZFSE, huge, 0, fact.ErrMalformed},
		"nothing":            {LZFSE, nil, 0, fact.ErrMalformed},
		"no block":           {LZFSE, []byte("bvx3----"), 0, fact.ErrMalformed},
		"a header of 1 MB":   {LZFSE, append([]byte("bvx2"), bytes.Repeat([]byte{0xff}, 100)...), 0, fact.ErrMalformed},
		"a cut header":       {LZFSE, []byte("bvx1aaaa"), 0, fact.ErrMalformed},
		"LZVN of nothing":    {LZVN, nil, 10, fact.ErrMalformed},
		"LZVN distance":      {LZVN, []byte{0x00, 0x01, 6, 0, 0, 0, 0, 0, 0, 0}, 3, fact.ErrMalformed},
		"LZVN distance 0":    {LZVN, []byte{0xe1, 'a', 0x00, 0x00, 6, 0, 0, 0, 0, 0, 0, 0}, 4, fact.ErrMalformed},
		"LZVN opcode 70":     {LZVN, []byte{0x70, 0, 0}, 4, fact.ErrMalformed},
		"LZVN opcode 1e":     {LZVN, []byte{0x1e, 0, 0}, 4, fact.ErrMalformed},
		"LZVN last distance": {LZVN, []byte{0xf1, 0, 0}, 4, fact.ErrMalformed},
		"LZVN ends early":    {LZVN, []byte{0xe1, 'a', 6, 0, 0, 0, 0, 0, 0, 0}, 4, fact.ErrMalformed},
	} {
		m, err := Open(tt.kind, bytes.NewReader(tt.data), int64(len(tt.data)), tt.size, nil)
		if err == nil {
			_, err = m.Adler32()
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The reader's own errors are passed on.
	if _, err := Open(LZFSE, broken{}, 100, 0, nil); !errors.Is(err, errBroken) {
		t.Errorf("broken reader: %v", err)
	}
	m, err := Open(LZSS, broken{}, 100, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Adler32(); !errors.Is(err, errBroken) {
		t.Errorf("broken reader: %v", err)
	}
}

var errBroken = errors.New("the disk is broken")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

// FuzzOpen unpacks hostile streams: no panic, and never more than the size that was found first.
func FuzzOpen(f *testing.F) {
	plain := []byte(strings.Repeat("seed of a stream ", 40))
	for _, coder := range coders {
		f.Add(string(coder.kind), coder.encode(plain), int64(len(plain)))
	}
	f.Fuzz(func(t *testing.T, kind string, packed []byte, size int64) {
		m, err := Open(Kind(kind), bytes.NewReader(packed), int64(len(packed)), min(size, 1<<20), nil)
		if err != nil {
			return
		}
		for m.err == nil {
			m.more()
			if m.out.total() > m.Size()+chunk+4096 {
				t.Fatalf("%d bytes instead of %d", m.out.total(), m.Size())
			}
			if m.out.total() > 4<<20 {
				return // long enough
			}
		}
		if m.err == io.EOF && m.out.total() != m.Size() {
			t.Fatalf("%d bytes instead of %d", m.out.total(), m.Size())
		}
	})
}

// TestBlockWork refuses blocks that unpack to far less than they say they have.
func TestBlockWork(t *testing.T) {
	for _, tt := range []struct {
		literals, matches int
		plain             int64
		ok                bool
	}{
		{0, 0, 0, true}, {40000, 10000, 40000, true}, {40000, 0, 39997, true}, {40000, 0, 39996, false},
		{4, 64, 1, true}, {4, 66, 1, false}, {40000, 0, 0, false}, {0, 10000, 0, false},
	} {
		v := lmdHead{literals: tt.literals, matches: tt.matches}
		if err := v.check(head{plain: tt.plain}); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
