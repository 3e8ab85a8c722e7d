// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// A choice is a tree by hand: files of the same few modules in several places, and depmod's
// configuration. ROOT stands for the tree's root, which depmod wants in the name of an external
// directory.
type choice struct {
	name   string
	files  []string // below the release directory, or absolute for an external directory
	links  [][2]string
	config string
}

const choiceRelease = "6.1.0-choice"

var choices = []choice{
	{name: "updates before the rest", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"}},
	{name: "updates below", files: []string{"kernel/a/m.ko", "updates/dkms/m.ko"}},
	{name: "a directory that only begins so", files: []string{"kernel/a/m.ko", "updatesx/m.ko"}},
	{name: "one of two without rank", files: []string{"kernel/a/m.ko", "extra/m.ko"}},
	{name: "compressed and not", files: []string{"kernel/a/m.ko", "kernel/a/m.ko.xz", "updates/m.ko.zst"}},
	{name: "dash and underscore", files: []string{"kernel/a/m-n.ko", "updates/m_n.ko"}},
	{name: "Red Hat's search", files: []string{"kernel/a/m.ko", "extra/m.ko", "weak-updates/m.ko", "updates/m.ko"},
		config: "search updates extra built-in weak-updates\n"},
	{name: "weak update alone", files: []string{"kernel/a/m.ko", "weak-updates/m.ko"},
		config: "search updates extra built-in weak-updates\n"},
	{
		name: "weak update is a link", files: []string{"kernel/a/n.ko", "../5.0/extra/m.ko"},
		links:  [][2]string{{"weak-updates/m.ko", "../../5.0/extra/m.ko"}},
		config: "search updates extra built-in weak-updates\n",
	},
	{name: "built-in first", files: []string{"kernel/a/m.ko", "updates/m.ko"}, config: "search built-in updates\n"},
	{name: "two search lines", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"},
		config: "search extra\nsearch updates built-in\n"},
	{name: "no built-in", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"}, config: "search extra\n"},
	{name: "the same prefix", files: []string{"foo/m.ko", "foobar/m.ko", "kernel/m.ko"},
		config: "search foobar foo built-in\n"},
	{name: "the same prefix, other way", files: []string{"foo/m.ko", "foobar/m.ko", "kernel/m.ko"},
		config: "search foo foobar built-in\n"},
	{name: "a directory below another", files: []string{"updates/a/m.ko", "updates/b/m.ko"},
		config: "search updates/b updates built-in\n"},
	{name: "override", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"}, config: "override m * extra\n"},
	{name: "override of this release", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"},
		config: "override m 6.1.0-choice extra\n"},
	{name: "override of another release", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"},
		config: "override m 6.2 extra\n"},
	{name: "override by a pattern", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"},
		config: "override m ^6\\.1.*ch(oice|ance)$ extra\n"},
	{name: "override into kernel", files: []string{"kernel/a/m.ko", "updates/m.ko"}, config: "override m * kernel/a\n"},
	{name: "two overrides", files: []string{"kernel/a/m.ko", "updates/m.ko", "extra/m.ko"},
		config: "override m * extra\noverride m * kernel/a\n"},
	{name: "override of what is not there", files: []string{"kernel/a/m.ko", "updates/m.ko"},
		config: "override m * extra\n"},
	{name: "external first", files: []string{"kernel/a/m.ko", "updates/m.ko", "/ext/x/m.ko"},
		config: "search external updates built-in\nexternal * ROOT/ext/x\n"},
	{name: "external last", files: []string{"kernel/a/m.ko", "updates/m.ko", "/ext/x/m.ko", "/ext/x/only.ko"},
		config: "search updates built-in external\nexternal * ROOT/ext/x\n"},
	{name: "external not searched", files: []string{"kernel/a/m.ko", "/ext/x/m.ko"},
		config: "external 6.1.* ROOT/ext/x\n"},
	{name: "external of another release", files: []string{"kernel/a/m.ko", "/ext/x/m.ko"},
		config: "search external built-in\nexternal 7.* ROOT/ext/x\n"},
	{name: "two externals", files: []string{"kernel/a/m.ko", "/ext/x/m.ko", "/ext/y/m.ko"},
		config: "search external built-in\nexternal * ROOT/ext/x ROOT/ext/y\n"},
	{name: "excluded", files: []string{"kernel/a/m.ko", "updates/m.ko", "kernel/b/n.ko"},
		config: "exclude updates b\n"},
	{name: "excluded file", files: []string{"kernel/a/m-n.ko", "kernel/a/m_n.ko", "updates/o.ko", "kernel/o.ko.xz",
		"kernel/p.ko"}, config: "exclude m-n.ko o.ko p\n"},
	{name: "build and source", files: []string{"kernel/a/m.ko", "build/m.ko", "source/n.ko", "kernel/build/o.ko"}},
	{name: "nonsense in the configuration", files: []string{"kernel/a/m.ko", "updates/m.ko"}, config: "# x\nsearch\n" +
		"make_map_files no\noverride m\nwhat is this\n"},
	{name: "several modules", files: []string{"kernel/a/m.ko", "kernel/n.ko", "updates/n.ko", "extra/o.ko",
		"kernel/o.ko", "kernel/p.ko.xz"}, config: "search extra updates built-in\n"},
}

// TestDepmod compares the file that the library says would be loaded, of several of one module,
// with the one that depmod takes: on trees by hand and on random ones.
func TestDepmod(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "depmod", "xz", "zstd")
	contents := choiceFiles(t)
	for _, c := range choices {
		t.Run(c.name, func(t *testing.T) { c.compare(t, contents) })
	}
	n := 60
	if full {
		n = 2000
	}
	for seed := range n {
		c := randomChoice(rand.New(rand.NewPCG(uint64(seed), 0)))
		if !t.Run(fmt.Sprintf("random %d", seed), func(t *testing.T) { c.compare(t, contents) }) {
			t.Logf("%d: %+v", seed, c)
		}
	}
}

// choiceFiles gives the contents of a small module for each ending.
func choiceFiles(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "m.ko")
	data, err := os.ReadFile(smallest(t, plainTree(t), 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, data)
	output(t, "xz", "-k", "--check=crc32", file)
	output(t, "zstd", "-q", "-k", file)
	contents := map[string][]byte{".ko": data}
	for _, ext := range []string{".xz", ".zst"} {
		if contents[".ko"+ext], err = os.ReadFile(file + ext); err != nil {
			t.Fatal(err)
		}
	}
	return contents
}

// randomChoice makes a tree of a few modules in many places.
func randomChoice(r *rand.Rand) choice {
	places := []string{"kernel/a", "kernel/a/b", "updates", "updates/dkms", "extra", "extras", "weak-updates", "foo",
		"foo/bar", "/ext/x", "/ext/x/y"}
	var c choice
	for _, module := range []string{"m", "n-o", "n_o", "p"} {
		for _, place := range places {
			if r.IntN(3) == 0 {
				c.files = append(c.files, place+"/"+module+[]string{".ko", ".ko.xz", ".ko.zst"}[r.IntN(3)])
			}
		}
	}
	if len(c.files) == 0 {
		c.files = []string{"kernel/a/m.ko"}
	}
	words := append([]string{"built-in", "external", "foo/", "nowhere"}, places[2:9]...)
	r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	if n := r.IntN(6); n > 0 {
		c.config += "search " + strings.Join(words[:n], " ") + "\n"
	}
	if r.IntN(2) == 0 {
		c.config += "external * ROOT/ext/x\n"
	}
	for range r.IntN(3) {
		c.config += fmt.Sprintf("override %s %s %s\n", []string{"m", "n_o", "n-o", "p"}[r.IntN(4)],
			[]string{"*", "6.1", "7"}[r.IntN(3)], places[r.IntN(9)])
	}
	if r.IntN(4) == 0 {
		c.config += "exclude " + []string{"dkms", "b", "extra", "updates"}[r.IntN(4)] + "\n"
	}
	return c
}

// compare makes the tree, runs depmod, and compares.
func (c choice) compare(t *testing.T, contents map[string][]byte) {
	root := t.TempDir()
	tree := filepath.Join(root, "lib", "modules", choiceRelease)
	for _, file := range c.files {
		target := filepath.Join(tree, file)
		if strings.HasPrefix(file, "/") {
			target = filepath.Join(root, file)
		}
		writeFile(t, target, contents[file[strings.Index(file, ".ko"):]])
	}
	for _, link := range c.links {
		target := filepath.Join(tree, link[0])
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(link[1], target); err != nil {
			t.Fatal(err)
		}
	}
	theirs := filepath.Join(t.TempDir(), "depmod.d")
	writeFile(t, theirs+"/x.conf", []byte(strings.ReplaceAll(c.config, "ROOT", root)))
	writeFile(t, filepath.Join(root, "etc", "depmod.d", "x.conf"), []byte(strings.ReplaceAll(c.config, "ROOT", "")))
	if _, complaints, err := attempt(t, "depmod", "-b", root, "-C", theirs, choiceRelease); err != nil {
		t.Fatalf("depmod: %v: %s", err, complaints)
	}
	// An external directory has its full name in the index; the library knows it by its name below the root.
	index := filepath.Join(tree, "modules.dep")
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), root+"/", "/")
	writeFile(t, index, []byte(text))
	want := map[string]string{}
	for line := range strings.Lines(text) {
		file, _, _ := strings.Cut(line, ":")
		name, _, _ := strings.Cut(path.Base(file), ".")
		if !strings.HasPrefix(file, "/") {
			file = "/lib/modules/" + choiceRelease + "/" + file
		}
		want[strings.ReplaceAll(name, "-", "_")] = file
	}
	got := map[string]string{}
	for _, m := range installed(t, openRoot(t, root, choiceRelease, 0)) {
		got[m.Name] = m.Path
		c.checkCandidates(t, &m)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s files %q\nInstalled: %v\ndepmod:    %v", c.config, c.files, got, want)
	}
}

// checkCandidates checks that the losers are reported, each with its reason.
func (c choice) checkCandidates(t *testing.T, m *lkm.Module) {
	t.Helper()
	for i, candidate := range m.Linux.Candidates {
		if candidate.Chosen != (i == 0) || candidate.Reason == "" || candidate.Chosen != (candidate.Path == m.Path) {
			t.Errorf("candidates of %s: %+v", m.Path, m.Linux.Candidates)
		}
	}
	if len(m.Problems) > 0 {
		t.Errorf("%s: %v", m.Path, m.Problems)
	}
}
