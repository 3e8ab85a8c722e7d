// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
)

// TestFileID asks for one file by several names, in a file system that knows inodes and in one that does not.
func TestFileID(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, err := range []error{
		root.Mkdir("d", 0o700), root.WriteFile("d/a", nil, 0o600), root.WriteFile("d/b", nil, 0o600),
		root.Symlink("d", "e"), root.Symlink("a", "d/link"),
	} {
		if err != nil {
			t.Skip(err) // links need a privilege on Windows
		}
	}
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	for name, fsys := range map[string]fs.FS{
		"inodes": os.DirFS(dir),
		"paths": fstest.MapFS{"d/a": {}, "d/b": {}, "e": link("d"), "d/link": link("a"), "d/absolute": link("/d/a"),
			"loop": link("loop")},
	} {
		id := func(file string) string {
			var info fs.FileInfo
			if name == "inodes" {
				info, _ = fs.Stat(fsys, file)
			}
			return FileID(fsys, file, info)
		}
		if a := id("d/a"); a != id("e/a") || a != id("d/link") || a == id("d/b") {
			t.Errorf("%s: %q %q %q %q", name, a, id("e/a"), id("d/link"), id("d/b"))
		}
		if name == "paths" && (id("d/absolute") != id("d/a") || id("loop") != "loop") {
			t.Errorf("%s: %q %q", name, id("d/absolute"), id("loop"))
		}
	}
}
