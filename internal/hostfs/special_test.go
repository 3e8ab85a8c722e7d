// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestSpecialFilesAreNotOpened: to open a device may do something, and some read without end. What is linked to
// /dev/null is empty.
func TestSpecialFilesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	made := 0
	for name, args := range map[string][]string{
		"pipe": {"p"}, "dev/zero": {"c", "1", "5"}, "dev/null": {"c", "1", "3"}, "dev/loop": {"b", "7", "0"},
	} {
		command := append([]string{filepath.Join(dir, name)}, args...)
		if err := exec.CommandContext(t.Context(), "mknod", command...).Run(); err != nil {
			continue // there is no such program, or only root may
		}
		made++
		if err := os.Symlink("/"+name, filepath.Join(dir, "to-"+filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	if made == 0 {
		t.Skip("no special file can be made here")
	}
	root, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"pipe", "to-pipe", "dev/zero", "to-zero", "dev/loop", "to-loop"} {
		f, err := root.Open(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err == nil:
			t.Errorf("%s is opened", name)
			_ = f.Close()
		case !errors.Is(err, fact.ErrMalformed):
			t.Errorf("%s: %v", name, err)
		}
	}
	callers := Regular(os.DirFS(dir))
	for _, name := range []string{"pipe", "dev/zero", "dev/loop"} {
		f, err := callers.Open(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err == nil:
			t.Errorf("the caller's %s is opened", name)
			_ = f.Close()
		case !errors.Is(err, fact.ErrMalformed):
			t.Errorf("the caller's %s: %v", name, err)
		}
	}
	if _, err := Mounted(filepath.Join(dir, "pipe")); err == nil {
		t.Error("a pipe is a root")
	}
	if b, err := fs.ReadFile(root, "to-null"); len(b) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to /dev/null: %q, %v", b, err)
	}
}
