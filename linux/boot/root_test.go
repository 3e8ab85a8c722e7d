// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

func TestRootIsAFileSystem(t *testing.T) {
	r := newRoot()
	text := func(s string) *rootNode { return &rootNode{mode: 0o444, data: []byte(s), size: int64(len(s))} }
	link := func(to string) *rootNode { return &rootNode{mode: fs.ModeSymlink | 0o777, target: to} }
	r.put("lib", link("usr/lib"))
	r.put("lib/modules/6/a.ko", text("a"))
	r.put("usr/lib/modules/6/b.ko", text("b"))
	r.put("usr/lib/modules/6/b.ko", text("bb")) // the later one counts
	r.put("abs", link("/usr/lib/modules"))
	if err := fstest.TestFS(r, "usr/lib/modules/6/a.ko", "usr/lib/modules/6/b.ko"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"lib/modules/6/b.ko": "bb", "abs/6/a.ko": "a"} {
		if b, err := fs.ReadFile(r, name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestRootOfHostileLinks: links that lead in circles, out of the root or nowhere lead nowhere.
func TestRootOfHostileLinks(t *testing.T) {
	r := newRoot()
	link := func(to string) *rootNode { return &rootNode{mode: fs.ModeSymlink | 0o777, target: to} }
	r.put("a", link("b"))
	r.put("b", link("a"))
	r.put("self", link("self/x"))
	r.put("up", link("../../../etc"))
	r.put("gone", link("/none/such"))
	r.put("etc/x", &rootNode{mode: 0o444, data: []byte("x"), size: 1})
	for _, name := range []string{"a", "b/c", "self", "gone"} {
		if _, err := r.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := fs.ReadFile(r, "up/x"); err != nil || string(b) != "x" {
		t.Errorf("a way up ends at the root: %q, %v", b, err)
	}
	r.put("a/below", &rootNode{mode: 0o444})
	if _, err := r.Open("a/below"); err == nil {
		t.Error("a file below a circle")
	}
	for i := 0; ; i++ {
		if !r.put(fmt.Sprint("many/", i, strings.Repeat("/d", 60)), &rootNode{}) {
			break
		}
		if len(r.nodes) > maxRootNodes {
			t.Fatalf("%d nodes", len(r.nodes))
		}
	}
}

// FuzzRoot makes a root of names and links, a line each: "NAME" is a file and "NAME>TARGET" a link. It is a file system
// without a way out, in which every file that is listed can be read.
func FuzzRoot(f *testing.F) {
	for _, seed := range []string{
		"a/b\na/c", "a>b\nb>a\na/x", "a>..\na/../b", "a>/\na/a/a/a/b", "a>b/c\nb>d\nd/c/x",
		"usr/lib/x\nlib>usr/lib\nlib/y",
		"a\na/b", "a/b\na", "//a//b", "./a", "../a", "a>.\na/a/a", "a>" + strings.Repeat("x/", 50) + "\na/b", ">", "a>",
		strings.Repeat("a/", 90) + "b",
		"l>" + strings.Repeat("d/", 60) + "\nl/m>" + strings.Repeat("e/", 60) + "\nl/m/x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// A walk takes the square of the depth.
		if !utf8.ValidString(text) || len(text) > 4<<10 || strings.Count(text, "/") > 200 {
			return
		}
		r := newRoot()
		for line := range strings.SplitSeq(text, "\n") {
			name, target, link := strings.Cut(line, ">")
			n := &rootNode{mode: 0o444, data: []byte("x"), size: 1}
			if link {
				n = &rootNode{mode: fs.ModeSymlink | 0o777, target: target}
			}
			if name = strings.TrimPrefix(path.Clean("/"+name), "/"); len(name) < maxRootPath {
				r.put(name, n)
			}
		}
		longest := int64(0)
		for name, n := range r.nodes {
			longest = max(longest, int64(len(name)))
			if name != "." && (!fs.ValidPath(name) || path.Base(name) != n.name || r.nodes[path.Dir(name)] == nil) {
				t.Fatalf("%q", name)
			}
			if n.mode.IsRegular() {
				if b, err := fs.ReadFile(r, name); err != nil || string(b) != "x" {
					t.Fatalf("%q: %q, %v", name, b, err)
				}
			}
		}
		if longest > maxRootPath || r.made > int64(len(r.nodes))*(nodeSize+longest) {
			t.Fatalf("a path of %d bytes, %d bytes of folders in %d nodes", longest, r.made, len(r.nodes))
		}
		seen := 0
		_ = fs.WalkDir(r, ".", func(string, fs.DirEntry, error) error { seen++; return nil })
		if seen != len(r.nodes) {
			t.Fatalf("%d of %d are listed", seen, len(r.nodes))
		}
	})
}
