// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/kernelext/kernelext/fact"
)

func TestAppendAll(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	for _, r := range []io.Reader{
		strings.NewReader(text),
		iotest.OneByteReader(strings.NewReader(text)),
		iotest.DataErrReader(strings.NewReader(text)),
	} {
		b, err := AppendAll(r, []byte("head "), "f", int64(len(text)))
		if err != nil || string(b) != "head "+text {
			t.Errorf("%T: %d bytes, %v", r, len(b), err)
		}
	}
	b, err := AppendAll(strings.NewReader(text), []byte("x"), "f", 9999)
	if !errors.Is(err, fact.ErrTooLarge) || string(b) != "x"+text[:9999] {
		t.Errorf("one byte too many: %d bytes, %v", len(b), err)
	}
	if b, err := AppendAll(strings.NewReader(""), nil, "f", 0); err != nil || len(b) != 0 {
		t.Errorf("empty: %q, %v", b, err)
	}
	broken := errors.New("broken")
	b, err = AppendAll(io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), nil, "f", 10)
	if !errors.Is(err, broken) || string(b) != "ab" {
		t.Errorf("broken: %q, %v", b, err)
	}
}

// pieces gives at most n bytes a read, as seq files do, and counts the reads.
type pieces struct {
	fs.File
	n     int
	reads *int
}

func (p pieces) Read(b []byte) (int, error) {
	*p.reads++
	return p.File.Read(b[:min(len(b), p.n)])
}

type piecesFS struct {
	fs.FS
	reads int
}

func (p *piecesFS) Open(name string) (fs.File, error) {
	f, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return pieces{f, 4, &p.reads}, nil
}

func TestAttrIsOneRead(t *testing.T) {
	fsys := &piecesFS{FS: fstest.MapFS{"a": {Data: []byte("0123456789")}}}
	b, err := AppendAttr(fsys, nil, "a", Attr)
	if err != nil || string(b) != "0123" || fsys.reads != 1 {
		t.Errorf("AppendAttr = %q, %v in %d reads", b, err, fsys.reads)
	}
	b, err = ReadFile(fsys, "a", Attr)
	if err != nil || string(b) != "0123456789" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
	if _, err := ReadFile(fsys, "none", Attr); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// An attribute may be as long as a page, which has 64 KiB on some machines.
func TestAppendAttrReadsAPage(t *testing.T) {
	text := strings.Repeat("x", Attr-1)
	fsys := fstest.MapFS{"a": {Data: []byte(text)}}
	if b, err := AppendAttr(fsys, nil, "a", Attr); err != nil || string(b) != text {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := AppendAttr(fsys, make([]byte, 0, 4096), "a", 10); err != nil || len(b) != 10 {
		t.Errorf("%d bytes, %v; want 10", len(b), err)
	}
}
