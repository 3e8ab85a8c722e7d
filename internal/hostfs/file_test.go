// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// An openFile is what a regular file below a root can do.
type openFile interface {
	fs.File
	io.ReaderAt
	io.Seeker
}

// openBoth opens a file through a root and by its path.
func openBoth(t *testing.T, text []byte) (ours, theirs openFile) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "name"), text, 0o640); err != nil {
		t.Fatal(err)
	}
	root, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f, err := root.Open("name")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.Open(filepath.Join(dir, "name"))
	if err != nil {
		t.Fatal(err)
	}
	return f.(openFile), theirs
}

// TestFileAsOS: a file below a root does what an os.File does.
func TestFileAsOS(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 30)
	ours, theirs := openBoth(t, text)
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 2000 {
		n, offset := random.IntN(120), random.Int64N(330)-10
		call := func(f openFile) string {
			p := make([]byte, n)
			switch step % 3 {
			case 0:
				got, err := f.Read(p)
				return fmt.Sprint("read ", got, err, string(p))
			case 1:
				got, err := f.ReadAt(p, offset)
				return fmt.Sprint("read at ", offset, got, cause(err), string(p))
			default:
				at, err := f.Seek(offset, step%2*io.SeekEnd)
				return fmt.Sprint("seek ", at, cause(err))
			}
		}
		if a, b := call(ours), call(theirs); a != b {
			t.Fatalf("step %d:\n%s\n%s of os.File", step, a, b)
		}
	}
	info, err := ours.Stat()
	want, wantErr := theirs.Stat()
	if err != nil || wantErr != nil {
		t.Fatal(err, wantErr)
	}
	if info.Name() != "name" || info.Size() != want.Size() || info.Mode() != want.Mode() || info.IsDir() ||
		!info.ModTime().Equal(want.ModTime()) || FileID(nil, "", info) != FileID(nil, "", want) {
		t.Errorf("%v, %v of os.File", info, want)
	}
}

// cause returns what an error says without its path, and what it stands for.
func cause(err error) string {
	if err == nil {
		return "no error"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Sprint(errors.Is(err, fs.ErrInvalid), errors.Is(err, fs.ErrClosed))
	}
	return err.Error()
}

func TestClosedFile(t *testing.T) {
	ours, theirs := openBoth(t, []byte("text"))
	for _, f := range []openFile{ours, theirs} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		_, readErr := f.Read(make([]byte, 1))
		_, atErr := f.ReadAt(make([]byte, 1), 0)
		_, seekErr := f.Seek(0, io.SeekStart)
		_, statErr := f.Stat()
		for i, err := range []error{readErr, atErr, seekErr, statErr, f.Close()} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%T, call %d: %v", f, i, err)
			}
		}
	}
}

// TestFileClosedBesideReads: a read beside Close fails or reads the file, never the one that has its number next.
func TestFileClosedBesideReads(t *testing.T) {
	for range 200 {
		ours, _ := openBoth(t, []byte("inside"))
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for {
					p := make([]byte, 6)
					_, err := ours.ReadAt(p, 0)
					if errors.Is(err, fs.ErrClosed) {
						return
					}
					if err != nil || string(p) != "inside" {
						t.Errorf("%q, %v", p, err)
						return
					}
				}
			})
		}
		ours.Close()
		other, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		readers.Wait()
		other.Close()
	}
}
