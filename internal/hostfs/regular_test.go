// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// TestRegularLeadsWhereItLed: links lead out of the folder as before, and what was there is there.
func TestRegularLeadsWhereItLed(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	fsys := Regular(os.DirFS(dir))
	if b, err := fs.ReadFile(fsys, "link"); string(b) != "text" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if list, err := fs.ReadDir(fsys, "."); len(list) != 1 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	if target, err := fs.ReadLink(fsys, "link"); target != other || err != nil {
		t.Errorf("%q, %v", target, err)
	}
	if info, err := fs.Lstat(fsys, "link"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := fsys.Open("none"); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if Regular(nil) != nil {
		t.Error("nothing is something")
	}
	m := Of(fstest.MapFS{})
	if Regular(m) != fs.FS(m) {
		t.Error("an own file system is wrapped")
	}
}
