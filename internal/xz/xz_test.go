// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// sample is bytes that compress like code: repeats near and far, runs, noise.
func sample(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var b []byte
	for len(b) < n {
		switch rng.IntN(6) {
		case 0:
			for range rng.IntN(40) {
				b = append(b, byte(rng.Uint32()))
			}
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(rng.IntN(4))}, rng.IntN(600))...)
		case 2:
			b = append(b, fmt.Sprintf("symbol_%d\x00", rng.IntN(1000))...)
		case 3:
			b = append(b, 0xe8, byte(rng.Uint32()), byte(rng.Uint32()), 0, 0)
		case 4:
			b = append(b, 0xe9, byte(rng.Uint32()), byte(rng.Uint32()), 0xff, 0xff)
		default:
			if len(b) > 0 {
				from := rng.IntN(len(b))
				b = append(b, b[from:min(len(b), from+rng.IntN(300))]...)
			}
		}
	}
	return b[:n]
}

// compress runs xz, which the machine may lack.
func compress(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz command on this machine to compress with")
	}
	cmd := exec.Command("xz", append([]string{"-c", "-q"}, args...)...)
	cmd.Stdin = bytes.NewReader(data)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if strings.Contains(stderr.String(), "unrecognized option") {
			t.Skip("this xz has no", args)
		}
		t.Fatalf("xz %v: %v: %s", args, err, stderr.String())
	}
	return out
}

// reader is shared by all tests: it must not remember anything of the file before.
var reader Reader

func decode(data []byte, piece int) ([]byte, error) {
	r := &reader
	r.Reset(data, 64<<20)
	var out []byte
	buf := make([]byte, piece)
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

func TestDecodesWhatXZWrites(t *testing.T) {
	cases := [][]string{
		{"--check=crc32", "--lzma2=dict=1MiB"},
		{"--check=crc32", "--lzma2=dict=4KiB"},
		{"--check=crc64", "-0"},
		{"--check=sha256", "-9"},
		{"--check=none", "--lzma2=dict=64KiB,lc=0,lp=4,pb=4"},
		{"--check=none", "--lzma2=dict=64KiB,lc=4,lp=0,pb=0"},
		{"--check=crc32", "--block-size=10000"},
		{"--check=crc32", "-T2", "--block-size=50000"},
		{"--check=crc32", "--delta=dist=3", "--lzma2=dict=1MiB"},
		{"--check=crc32", "--x86", "--lzma2=dict=1MiB"},
		{"--check=crc32", "--x86=start=4096", "--delta=dist=1", "--lzma2=dict=1MiB"},
		{"--check=crc32", "--powerpc", "--lzma2"},
		{"--check=crc32", "--ia64", "--lzma2"},
		{"--check=crc32", "--arm", "--lzma2"},
		{"--check=crc32", "--armthumb", "--lzma2"},
		{"--check=crc32", "--sparc", "--lzma2"},
		{"--check=crc32", "--arm64", "--lzma2"},
	}
	for _, args := range cases {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			for _, n := range []int{0, 1, 5, 4095, 70000, 300000} {
				data := sample(n)
				file := compress(t, data, args...)
				if size, err := PlainSize(bytes.NewReader(file), int64(len(file))); err != nil || size != int64(n) {
					t.Errorf("PlainSize = %d, %v; want %d", size, err, n)
				}
				for _, piece := range []int{1, 7, 4096, 1 << 20} {
					if piece == 1 && n > 70000 {
						continue
					}
					got, err := decode(file, piece)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%d bytes by %d: %v, equal %v", n, piece, err, bytes.Equal(got, data))
					}
				}
			}
		})
	}
}

func TestLargeAndConcatenated(t *testing.T) {
	a, b := sample(9<<20), sample(100)
	file := compress(t, a, "--check=crc32", "--lzma2=dict=64KiB")
	file = append(file, make([]byte, 8)...)
	file = append(file, compress(t, b)...)
	got, err := decode(file, 50000)
	if err != nil || !bytes.Equal(got, append(a, b...)) {
		t.Fatal(err, len(got))
	}
	if _, err := decode(append(file, 0, 0, 0), 50000); !errors.Is(err, ErrCorrupt) {
		t.Fatal("odd padding:", err)
	}
}

// TestIncompressible makes chunks that are stored, and incompressible data after compressible.
func TestIncompressible(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	data := make([]byte, 400<<10)
	for i := range data {
		if i < 200<<10 || i > 300<<10 {
			data[i] = byte(rng.Uint32())
		}
	}
	got, err := decode(compress(t, data), 1<<15)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
}

// TestDamage flips every byte of a file and cuts it everywhere: never a panic, never other bytes
// without an error.
func TestDamage(t *testing.T) {
	data := sample(3000)
	file := compress(t, data, "--check=crc32")
	for i := range file {
		for _, x := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(file)
			bad[i] ^= x
			if _, err := decode(bad, 4096); err == nil {
				t.Fatalf("byte %d ^ %#x: no error", i, x)
			}
		}
	}
	for i := 1; i < len(file); i++ {
		if _, err := decode(file[:i], 4096); err == nil {
			t.Fatalf("cut at %d: no error", i)
		}
	}
}

func TestWindowLimit(t *testing.T) {
	file := compress(t, sample(100), "-9")
	var r Reader
	r.Reset(file, 1<<20)
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, ErrMemory) {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrMemory) {
		t.Fatal("an error must stay", n, err)
	}
}

// TestReaderIsReusable reads good, bad and good files with one Reader.
func TestReaderIsReusable(t *testing.T) {
	data := sample(50000)
	file := compress(t, data)
	var r Reader
	for i := range 5 {
		in := file
		if i%2 == 1 {
			in = file[:len(file)/2]
		}
		r.Reset(in, 64<<20)
		got, err := io.ReadAll(&r)
		if i%2 == 1 {
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(data, got) {
				t.Fatal(err)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(i, err)
		}
	}
}

// TestPlainSizeOfWhatWasCut cuts files off at every byte, and joins some.
func TestPlainSizeOfWhatWasCut(t *testing.T) {
	one := compress(t, sample(5000), "--check=crc32", "--block-size=1000")
	for n := 1; n < len(one); n++ {
		if size, err := PlainSize(bytes.NewReader(one), int64(n)); err == nil {
			t.Errorf("cut at %d: %d bytes", n, size)
		}
	}
	two := append(append(bytes.Clone(one), make([]byte, 8)...), one...)
	if size, err := PlainSize(bytes.NewReader(two), int64(len(two))); err != nil || size != 10000 {
		t.Errorf("two streams: %d, %v", size, err)
	}
	for name, data := range map[string][]byte{
		"many streams": bytes.Repeat(compress(t, nil), maxStreams+1),
		"long padding": append(bytes.Clone(one), make([]byte, 2*maxPadding)...),
	} {
		if _, err := PlainSize(bytes.NewReader(data), int64(len(data))); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36"))
	for _, args := range [][]string{{"--check=crc32"}, {"--check=none", "--x86", "--lzma2"}} {
		f.Add(compress(f, sample(300), args...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Reader
		r.Reset(data, 1<<20)
		n, err := io.Copy(io.Discard, io.LimitReader(&r, 8<<20))
		if err == nil && n < 8<<20 && !bytes.HasPrefix(data, streamMagic) {
			t.Fatal("no error for something else")
		}
		size, sizeErr := PlainSize(bytes.NewReader(data), int64(len(data)))
		if err == nil && n < 8<<20 && (size != n || sizeErr != nil) && !errors.Is(sizeErr, errors.ErrUnsupported) {
			t.Fatalf("decompresses to %d bytes, PlainSize says %d, %v", n, size, sizeErr)
		}
	})
}
