// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
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
