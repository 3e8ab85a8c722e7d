// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Close beside running calls: each call ends on its own root or returns an error that matches fs.ErrClosed. It never
// reads the directory that was opened after Close and has the freed descriptor's number.
func TestCloseBesideCalls(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making symbolic links needs a privilege on Windows")
	}
	inside, outside := t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{inside: "inside", outside: "outside"} {
		if err := os.WriteFile(filepath.Join(dir, text), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644)
		os.Symlink("f", filepath.Join(dir, "link"))
	}
	for round := range 30 {
		m, err := Mounted(inside)
		if err != nil {
			t.Fatal(err)
		}
		if round%2 == 1 {
			m = onlyOneByOne(m)
		}
		closeBesideCalls(t, m, outside)
	}
}

// onlyOneByOne takes the kernel's own way from a root.
func onlyOneByOne(m FS) FS {
	r := m.(*mounted)
	if r.kernel != nil {
		r.kernel.Close()
		r.kernel = nil
	}
	return r
}

func closeBesideCalls(t *testing.T, m FS, outside string) {
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := askInside(t, m); err != nil {
					if !errors.Is(err, fs.ErrClosed) {
						t.Errorf("after Close: %v", err)
					}
					return
				}
				if n == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	m.Close()
	for range 8 { // one of them gets the number that was freed
		f, err := os.Open(outside)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	wg.Wait()
}

// askInside asks everything once, and returns the first error.
func askInside(t *testing.T, m FS) error {
	if b, err := m.AppendFile(nil, "f", 100); err != nil {
		return err
	} else if string(b) != "inside" {
		t.Errorf("read %q", b)
	}
	if _, err := m.Stat("inside"); err != nil {
		return err
	}
	if _, err := m.Lstat("inside"); err != nil {
		return err
	}
	if target, err := m.ReadLink("link"); err != nil {
		return err
	} else if target != "f" {
		t.Errorf("link to %q", target)
	}
	entries, err := m.ReadDir(".")
	if err == nil && (len(entries) != 3 || entries[1].Name() != "inside") {
		t.Errorf("entries %v", entries)
	}
	return err
}
