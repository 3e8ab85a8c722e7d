// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/registry"
)

// A recording keeps of the session manager's key which drivers are renamed, and no other name.
func TestRedactSessionManager(t *testing.T) {
	const key = OpRegistry + " " + sessionManagerKey
	const driver, private = `!\??\C:\Windows\System32\drivers\x.SYS`, `\??\C:\Users\John\AppData\Local\Temp\letter.tmp`
	multi := func(name string, list ...string) registry.Value {
		return registry.StringValue(name, registry.TypeMulti, strings.Join(list, "\x00")+"\x00")
	}
	text := registry.AppendText(nil, []registry.Key{{Path: sessionManagerKey, Values: []registry.Value{
		multi("PendingFileRenameOperations", private, driver, private, "", driver, private),
		registry.StringValue("PendingFileRenameOperations2", registry.TypeString, private),
		registry.StringValue("ProfileOf", registry.TypeString, "John"),
	}}})
	kept := Redact(key, text)
	keys, err := registry.ParseText(OpRegistry, kept, new(fact.Report))
	if err != nil || len(keys) != 1 || len(keys[0].Values) != 2 || strings.Contains(string(kept), "John") {
		t.Fatalf("%v, %s", err, kept)
	}
	v, _ := keys[0].Value("PendingFileRenameOperations")
	want := []string{"-", driver, "-", "", driver, "-"}
	if list := strings.Split(utf16text.Decode(v.Data), "\x00"); !slices.Equal(list[:len(want)], want) {
		t.Errorf("%q", list)
	}
	if odd, ok := keys[0].Value("PendingFileRenameOperations2"); !ok || odd.Type != registry.TypeString {
		t.Errorf("what is no list is lost: %+v", odd)
	}
	if again := Redact(key, kept); &again[0] != &kept[0] || !Redacts(key) {
		t.Error("what has nothing to take out changes")
	}
	if Redact(key, []byte("\x00")) != nil {
		t.Error("a text that is invalid is kept")
	}
}

// A path that a recording left out may be that of a file whose name is not a driver's.
func TestRedactedRename(t *testing.T) {
	text := registry.AppendText(nil, []registry.Key{{Path: sessionManagerKey, Values: []registry.Value{
		registry.StringValue(pendingRenames[0], registry.TypeMulti, "-\x00-\x00")}}})
	k := Open(answers{calls: map[string]string{OpRegistry + " " + sessionManagerKey: string(text)}}, fact.Options{})
	for path, want := range map[string]bool{`C:\x\a.bin`: true, `C:\x\a.sys`: false} {
		c := checker{ctx: context.Background(), kernel: k, inventory: &inventory{}}
		if got := c.replacedAtBoot(&entry{Path: path}).Applies(); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// answers is a machine that answers calls alone.
type answers struct {
	fact.Machine
	calls map[string]string
}

func (a answers) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	return []byte(a.calls[strings.Join(append([]string{op}, args...), " ")]), nil
}

// wide is a file system whose every folder has many folders that may have one short name.
type wide struct {
	fact.Machine
	read *int
}

func (w wide) ReadDir(string) ([]fs.DirEntry, error) {
	*w.read++
	files := fstest.MapFS{}
	for i := range 60 {
		files["longlong"+strings.Repeat("x", i)] = &fstest.MapFile{Mode: fs.ModeDir}
	}
	return files.ReadDir(".")
}

// The work for short names ends, however many folders may be meant.
func TestShortNamesEnd(t *testing.T) {
	read := 0
	k := Open(wide{read: &read}, fact.Options{Image: true})
	s := shortNames{k, ntPaths{}, 5000}
	for range 100 {
		if path := s.long(`C:\LONGLO~1\LONGLO~1\LONGLO~1\x.sys`); path != "" {
			t.Fatal(path)
		}
	}
	if read == 0 || read > 200 {
		t.Errorf("%d folders were read", read)
	}
}
