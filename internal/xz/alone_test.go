// SPDX-License-Identifier: Apache-2.0

package xz

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestAlone(t *testing.T) {
	for _, n := range []int{0, 1, 5, 4096, 300_000, 3 << 20} {
		data := sample(n)
		for _, args := range [][]string{{"-6"}, {"--lzma1=dict=4KiB"}, {"--lzma1=dict=64KiB,lc=0,lp=4,pb=4"}} {
			packed := compress(t, data, append([]string{"--format=lzma"}, args...)...)
			r, err := NewAlone(packed, 16<<20)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v: %d bytes, %v", n, args, len(got), err)
			}
			for cut := aloneHeader; cut < len(packed); cut += 1 + len(packed)/20 {
				if r, err := NewAlone(packed[:cut], 16<<20); err == nil {
					if got, err := io.ReadAll(r); err == nil || !bytes.HasPrefix(data, got) {
						t.Fatalf("cut at %d of %d: %d bytes, %v", cut, len(packed), len(got), err)
					}
				}
			}
		}
	}
	packed := compress(t, sample(100), "--format=lzma", "-9")
	if _, err := NewAlone(packed, 1<<20); !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
	packed[0] = 230
	if _, err := NewAlone(packed, 64<<20); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func FuzzAlone(f *testing.F) {
	f.Add(compress(f, sample(300), "--format=lzma"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewAlone(data, 1<<20)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, 8<<20))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	})
}
