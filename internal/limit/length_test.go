// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// A liar says that it is longer or shorter than what it gives.
type liar struct {
	*bytes.Reader
	size int64
}

func (l liar) Size() int64 { return l.size }

// TestLengthIsAHint: what a file says of its length saves memory, and changes nothing of what is read.
func TestLengthIsAHint(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (3<<20)/16)
	for _, size := range []int64{0, -1, 1, 1 << 20, 3 << 20, 5 << 20, 1 << 62} {
		for _, head := range []string{"", "head"} {
			b, err := AppendAll(liar{bytes.NewReader(data), size}, []byte(head), "f", 64<<20)
			if size > 64<<20 {
				if !errors.Is(err, fact.ErrTooLarge) || len(b) > 2<<20 {
					t.Errorf("%d: %d bytes, %v", size, len(b), err)
				}
				continue
			}
			if err != nil || string(b[:len(head)]) != head || !bytes.Equal(b[len(head):], data) {
				t.Errorf("%d: %d bytes, %v", size, len(b), err)
			}
			if size == 3<<20 && cap(b) > 4<<20 || cap(b) > 65<<20 {
				t.Errorf("%d: memory for %d bytes", size, cap(b))
			}
			if b, err = AppendAll(liar{bytes.NewReader(data), size}, []byte(head), "f", 2<<20); len(b) >
				len(head)+2<<20 || !errors.Is(err, fact.ErrTooLarge) {
				t.Errorf("%d: %d bytes, %v", size, len(b), err)
			}
		}
	}
}

// TestSparseFile: a file of a terabyte that takes no place on the disk is too large, and is not read to the limit.
func TestSparseFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Skip(err)
	}
	b, err := AppendAll(f, nil, name, 4<<20)
	if len(b) > 4<<20 || cap(b) > 4<<20 || !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("%d bytes in %d, %v", len(b), cap(b), err)
	}
}

// TestSectionIsNoLength: a section may end far after the file that it reads.
func TestSectionIsNoLength(t *testing.T) {
	text := strings.Repeat("x", 3<<20)
	b, err := AppendAll(io.NewSectionReader(strings.NewReader(text), 0, 4<<20+1), nil, "f", 4<<20)
	if err != nil || len(b) != len(text) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
