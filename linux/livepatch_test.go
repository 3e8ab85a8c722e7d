// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// patched is a machine with two live patches, made up after the kernel's samples.
func patched() fstest.MapFS {
	const dir = "sys/kernel/livepatch/"
	return fstest.MapFS{
		"proc/modules": linuxtest.File("livepatch_sample 16384 1 - Live 0x0 (OEK)\n" +
			"livepatch_two 16384 1 - Live 0x0 (OEK)\nother 1 0 - Live 0x0\n"),
		dir + "livepatch_sample/enabled":                       linuxtest.File("1\n"),
		dir + "livepatch_sample/transition":                    linuxtest.File("0\n"),
		dir + "livepatch_sample/force":                         {Mode: 0o200},
		dir + "livepatch_sample/vmlinux/patched":               linuxtest.File("1\n"),
		dir + "livepatch_sample/vmlinux/meminfo_proc_show,1/x": linuxtest.File(""),
		dir + "livepatch_sample/vmlinux/cmdline_proc_show,2/x": linuxtest.File(""),
		dir + "livepatch_sample/kvm/patched":                   linuxtest.File("0\n"),
		dir + "livepatch_two/enabled":                          linuxtest.File("0\n"),
		dir + "livepatch_two/transition":                       linuxtest.File("1\n"),
		dir + "livepatch_two/replace":                          linuxtest.File("1\n"),
		dir + "livepatch_two/stack_order":                      linuxtest.File("2\n"),
	}
}

// patchesOf returns the live patches of the loaded modules as JSON, and the report.
func patchesOf(t *testing.T, fsys fs.FS) (string, *fact.Report) {
	t.Helper()
	modules := []Record{}
	for _, name := range []string{"livepatch_sample", "livepatch_two", "other"} {
		m := newRecord(name, fact.StateLoaded)
		m.Own = new(Module)
		modules = append(modules, m)
	}
	r := &fact.Report{Budget: fact.NewBudget(0)}
	k := Open(machineOf(fsys), fact.Options{})
	k.readLivepatches(t.Context(), modules, r)
	var out strings.Builder
	for _, m := range modules {
		b, err := json.Marshal(m.Own.Patch)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(b, '\n'))
	}
	return out.String(), r
}

func TestLivepatches(t *testing.T) {
	const want = `{"enabled":"yes","transition":"no","objects":[{"name":"kvm","patched":"no","functions":[]},` +
		`{"name":"vmlinux","patched":"yes","functions":[{"name":"cmdline_proc_show","position":2},` +
		`{"name":"meminfo_proc_show","position":1}]}]}` + "\n" +
		`{"enabled":"no","transition":"yes","replace":"yes","stackOrder":2,"objects":[]}` + "\nnull\n"
	got, r := patchesOf(t, patched())
	if s, _ := r.Find(SourceLivepatch); got != want || len(r.Problems) > 0 || s.Outcome != fact.OutcomeOK {
		t.Errorf("%s\n%+v %v", got, r.Sources, r.Problems)
	}
	none, r := patchesOf(t, fstest.MapFS{"sys/kernel/livepatch": {Mode: fs.ModeDir | 0o755}})
	if s, _ := r.Find(SourceLivepatch); none != "null\nnull\nnull\n" || s.Outcome != fact.OutcomeOK {
		t.Errorf("none: %s %+v", none, r.Sources)
	}
	_, r = patchesOf(t, fstest.MapFS{})
	if s, _ := r.Find(SourceLivepatch); s.Outcome != fact.OutcomeAbsent || len(r.Problems) > 0 {
		t.Errorf("a kernel without: %+v %v", r.Sources, r.Problems)
	}
}

// TestLivepatchesUnread: what cannot be read or is invalid is unknown, and said.
func TestLivepatchesUnread(t *testing.T) {
	const dir = "sys/kernel/livepatch/"
	for name, c := range map[string]struct {
		edit func(m fstest.MapFS)
		code fact.Code
		want string
	}{
		"enabled": {
			func(m fstest.MapFS) { m[dir+"livepatch_two/enabled"].Data = []byte("yes\n") },
			fact.CodeMalformed, "transition"},
		"no enabled": {
			func(m fstest.MapFS) { delete(m, dir+"livepatch_two/enabled") },
			fact.CodeAbsent, "transition"},
		"stack order": {
			func(m fstest.MapFS) { m[dir+"livepatch_two/stack_order"].Data = []byte("-1") },
			fact.CodeMalformed, "objects"},
		"function": {
			func(m fstest.MapFS) { m[dir+"livepatch_two/vmlinux/bare/x"] = &fstest.MapFile{} },
			fact.CodeMalformed, `"bare"`},
		"unlisted": {
			func(m fstest.MapFS) { m[dir+"hidden/enabled"] = &fstest.MapFile{} },
			fact.CodeGone, "objects"},
	} {
		m := patched()
		c.edit(m)
		got, r := patchesOf(t, m)
		if s, _ := r.Find(SourceLivepatch); len(r.Problems) != 1 || r.Problems[0].Code != c.code ||
			s.Outcome != fact.OutcomePartial || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s %+v %v", name, got, r.Sources, r.Problems)
		}
	}
	if _, r := patchesOf(t, denied{patched()}); len(r.Problems) != 1 || r.Problems[0].Code != fact.CodePermission {
		t.Errorf("%v", r.Problems)
	}
}

// denied refuses to list the directory of live patches.
type denied struct{ fstest.MapFS }

func (d denied) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == livepatchDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.ReadDir(name)
}
