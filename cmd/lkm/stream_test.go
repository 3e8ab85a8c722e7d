// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/lkm"
)

// TestStreamedLines: the lines of JSON that are printed while files are read are those of the whole list, and what is
// not known, or could not be read, counts as there.
func TestStreamedLines(t *testing.T) {
	files := map[string]string{"lib/modules/6/modules.dep": "", "lib/modules/6/kernel/cut.ko": "\x7fELF"}
	for _, name := range []string{"zz/a", "b-c", "aa/d"} {
		base := name[strings.LastIndexByte(name, '/')+1:]
		files["lib/modules/6/kernel/"+name+".ko"] =
			string(linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries(base, "author=\x9b31m")...).Bytes())
	}
	image := checkImage(t, files)
	for _, tt := range []struct {
		args string
		code int
		says string // on stderr
	}{
		{"", 0, ""},
		{"--detail files", 0, ""},
		{"--detail files --strict", exitIncomplete, "cut.ko"},
		{"--detail files --third-party", 0, "origin not known"},
		{"--name [ab]*", 0, ""},
		{"--name none", 0, ""},
	} {
		args := append([]string{"list", "--installed", "--root", image}, strings.Fields(tt.args)...)
		code, lines, errs := lkmRun(t, "", append(args, "--format", "jsonl")...)
		_, whole, _ := lkmRun(t, "", append(args, "--format", "json")...)
		var snap lkm.Snapshot
		if err := json.Unmarshal([]byte(whole), &snap); err != nil {
			t.Fatal(err)
		}
		var got []lkm.Module
		for line := range strings.Lines(lines) {
			var m lkm.Module
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %v in %q", tt.args, err, line)
			}
			got = append(got, m)
		}
		paths := func(a, b lkm.Module) int { return strings.Compare(a.Path, b.Path) }
		if !slices.IsSortedFunc(got, paths) {
			t.Errorf("%s: not sorted by path: %s", tt.args, lines)
		}
		slices.SortFunc(got, func(a, b lkm.Module) int { return strings.Compare(a.ID, b.ID) })
		diff := cmp.Diff(snap.Modules, got, cmp.AllowUnexported(lkm.Count{}))
		if diff != "" && len(got)+len(snap.Modules) > 0 {
			t.Errorf("%s (-json +jsonl):\n%s", tt.args, diff)
		}
		if code != tt.code || !strings.Contains(errs, tt.says) {
			t.Errorf("%s: exit %d, want %d and %q: %s", tt.args, code, tt.code, tt.says, errs)
		}
		if strings.Contains(lines, "\u009b") {
			t.Errorf("%s: a control character is printed: %q", tt.args, lines)
		}
	}
	code, out, _ := lkmRun(t, "", "list", "--installed", "--root", image, "--format", "jsonl", "--fields", "name,path")
	if want := `{"name":"d","path":"/lib/modules/6/kernel/aa/d.ko"}` + "\n"; code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit %d, %s", code, out)
	}
}

// TestFirstLineAtOnce: a reader has the first line before the second file is read.
func TestFirstLineAtOnce(t *testing.T) {
	var out strings.Builder
	a := newApp(nil, nil, &out, io.Discard)
	a.flags.format = "jsonl"
	s := a.newStream(lkm.Linux, lkm.ScopeInstalled, new(filter))
	s.add(&lkm.Module{ID: "linux_module:a", Name: "a"})
	if got := out.String(); got != "{\"id\":\"linux_module:a\",\"kind\":\"\",\"name\":\"a\"}\n" {
		t.Errorf("%q", got)
	}
}
