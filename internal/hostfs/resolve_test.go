// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// The walk leads where the kernel's own leads: ".." is not taken from the text of a link before the directory that it
// leaves was reached.
func TestWalkIsTheKernels(t *testing.T) {
	dir := tree(t)
	link := func(name, target string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("overnothing", "nowhere/../etc/os-release")
	link("overfile", "etc/os-release/../os-release")
	link("overlink", "deep/../shallow")
	link("overdangling", "dangling/../etc/os-release")
	link("above", "../../../etc/os-release")
	link("fileslash", "etc/os-release/")
	link("filedot", "etc/os-release/.")
	link("dirslash", "etc/")
	link("long", strings.Repeat("etc/../", 550)+"etc/os-release")
	for _, m := range roots(t, dir) {
		for name, want := range map[string]string{
			"overlink": "shallow", "above": "inside", "dirslash/os-release": "inside",
			"overnothing": "", "overfile": "", "overdangling": "", "fileslash": "", "filedot": "",
		} {
			b, err := fs.ReadFile(m, name)
			if string(b) != want || (want == "") != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s = %q, %v; want %q", m.name, name, b, err, want)
			}
		}
	}
	if _, err := oneByOne(t, dir).Stat("long"); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a link of 1,100 elements: %v", err)
	}
}

// A named root is one of the ways to resolve a path.
type namedRoot struct {
	FS
	name string
}

func roots(t *testing.T, dir string) []namedRoot {
	t.Helper()
	m, err := Mounted(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return []namedRoot{{m, "by the kernel if it can"}, {oneByOne(t, dir), "one by one"},
		{Of(os.DirFS(dir)), "any file system"}}
}

// Over made-up trees of directories, files and links, all ways give the same answer to everything.
func TestAllWaysAgree(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making symbolic links needs a privilege on Windows")
	}
	random := rand.New(rand.NewPCG(13, 1))
	names := []string{"a", "b", "c"}
	pick := func() string { return names[random.IntN(len(names))] }
	somePath := func(parts []string) string {
		p := make([]string, 1+random.IntN(4))
		for i := range p {
			p[i] = parts[random.IntN(len(parts))]
		}
		return strings.Join(p, "/")
	}
	asked, led := 0, 0
	for range 30 {
		dir := t.TempDir()
		for range 12 {
			name := filepath.Join(dir, filepath.FromSlash(somePath(names)))
			os.MkdirAll(filepath.Dir(name), 0o755) // an existing file stays
			switch random.IntN(4) {
			case 0:
				os.WriteFile(name, []byte(name), 0o644)
			case 1:
				os.Mkdir(name, 0o755)
			default:
				target := somePath([]string{"a", "b", "c", "..", ".", ""})
				os.Symlink(target, name) // one that begins with "/" means this root
			}
		}
		all := roots(t, dir)
		for range 40 {
			name := pick()
			if random.IntN(3) > 0 {
				name = somePath(names)
			}
			want := answers(all[0], name)
			for _, m := range all[1:] {
				if got := answers(m, name); want != got {
					t.Errorf("%s:\n%s: %s\n%s: %s", name, all[0].name, want, m.name, got)
				}
			}
			if asked++; strings.Contains(want, "read") {
				led++
			}
		}
	}
	if led == 0 {
		t.Error("no path led to a file")
	}
	t.Logf("%d paths, %d to a file", asked, led)
}

// answers is what a root says of a name: each question's answer, or what kind of error came.
func answers(m FS, name string) string {
	var b strings.Builder
	say := func(what string, value any, err error) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			value = "none"
		case errors.Is(err, fact.ErrMalformed):
			value = "malformed"
		case err != nil:
			value = "error"
		}
		fmt.Fprintf(&b, "%s %v; ", what, value)
	}
	data, err := m.AppendFile(nil, name, 1000)
	if err == nil {
		b.WriteString("read ")
	}
	say("file", string(data), err)
	mode := func(info fs.FileInfo, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return fmt.Sprint(info.Name(), info.Mode()), nil
	}
	stat, err := mode(m.Stat(name))
	say("stat", stat, err)
	lstat, err := mode(m.Lstat(name))
	say("lstat", lstat, err)
	target, err := m.ReadLink(name)
	say("link", target, err)
	entries, err := m.ReadDir(name)
	say("dir", len(entries), err)
	return b.String()
}
