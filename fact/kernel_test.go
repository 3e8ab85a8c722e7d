// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"io/fs"
	"testing"
)

func TestPathAt(t *testing.T) {
	for _, tt := range []struct{ root, name, want string }{
		{"", "proc/modules", "/proc/modules"}, {"/", "proc/modules", "/proc/modules"},
		{"/mnt", "proc/modules", "/mnt/proc/modules"}, {"/mnt/", "proc/modules", "/mnt/proc/modules"},
		{"", ".", "/"}, {"/mnt", ".", "/mnt/"},
		{"/mnt", "C:/Windows", "C:/Windows"}, {"/mnt", "call: kldstat 3", "call: kldstat 3"},
	} {
		if got := PathAt(tt.root, tt.name); got != tt.want {
			t.Errorf("PathAt(%q, %q) = %q, want %q", tt.root, tt.name, got, tt.want)
		}
	}
}

func TestErrorAt(t *testing.T) {
	path := &fs.PathError{Op: "open", Path: "a/b", Err: fs.ErrPermission}
	parse := &ParseError{Source: "a/b", Line: 3, Reason: "no number"}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a/b", path, "open /mnt/a/b: permission denied"},
		{"a/c", path, "open a/b: permission denied"},
		{"a/b", parse, "/mnt/a/b:3: no number"},
		{"a/c", parse, "a/b:3: no number"},
		{"a/b", errBad, "bad"},
	} {
		got := ErrorAt("/mnt", tt.name, tt.err)
		if got.Error() != tt.want || CodeOf(got) != CodeOf(tt.err) {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
	if path.Path != "a/b" || parse.Source != "a/b" || ErrorAt("/", "a", nil) != nil {
		t.Error("the given error changed, or nil did not stay nil")
	}
	if !errors.Is(ErrorAt("/mnt", "a/b", path), fs.ErrPermission) {
		t.Error("the cause is lost")
	}
}

func TestOptions(t *testing.T) {
	var zero Options
	if zero.Asks(DetailFiles) || zero.FileCap() != defaultMaxFile || !zero.Reads("id", "name", StateLoaded) {
		t.Error("the zero value reads the list alone, and no module is left out")
	}
	o := Options{Detail: DetailFiles | DetailHashes, MaxFile: 7,
		Only: func(id, _ string, state State) bool { return id == "a" && state == StateLoaded }}
	if !o.Asks(DetailHashes|DetailPolicy) || o.Asks(DetailPolicy) || o.FileCap() != 7 {
		t.Errorf("%+v", o)
	}
	if !o.Reads("a", "", StateLoaded) || o.Reads("a", "", StateBuiltin) || o.Reads("b", "", StateLoaded) {
		t.Error("Only does not choose")
	}
}
