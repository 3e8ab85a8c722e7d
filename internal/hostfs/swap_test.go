// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestSwappedForPipe: a pipe that takes a file's place between the look at it and its opening is not read, which would
// wait for whoever writes to it.
func TestSwappedForPipe(t *testing.T) {
	dir := t.TempDir()
	pipe, file, name := filepath.Join(dir, "pipe"), filepath.Join(dir, "file"), filepath.Join(dir, "name")
	if err := exec.CommandContext(t.Context(), "mkfifo", pipe).Run(); err != nil {
		t.Skip("no pipe can be made here")
	}
	for _, p := range []string{file, name} {
		if err := os.WriteFile(p, []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			for _, from := range []string{pipe, file} { // name is always there
				_ = os.Link(from, name+"2")
				_ = os.Rename(name+"2", name)
				_ = os.Remove(name + "2") // if both were one file
			}
		}
	}()
	for _, oneByOne := range []bool{false, true} {
		root, err := Mounted(dir)
		if err != nil {
			t.Fatal(err)
		}
		if oneByOne {
			root = onlyOneByOne(root)
		}
		openOften(t, root, "name")
		root.Close()
	}
	stop.Store(true)
	<-done
}

// openOften opens a file many times, which is a regular one each time that it is opened.
func openOften(t *testing.T, root FS, name string) {
	opened := 0
	for range 10_000 {
		f, err := root.Open(name)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%v, %v is opened", info.Mode(), err)
		}
		opened++
		f.Close()
	}
	if opened == 0 {
		t.Error("nothing was opened")
	}
}
