// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// note is a .note.gnu.build-id section as a little-endian kernel shows it.
func note(id string) []byte {
	b := []byte{4, 0, 0, 0, byte(len(id)), 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0}
	return append(b, id...)
}

func sysTree() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o444} }
	return fstest.MapFS{
		"sys/module/nvme/coresize":                  file("57344\n"),
		"sys/module/nvme/initsize":                  file("0\n"),
		"sys/module/nvme/initstate":                 file("live\n"),
		"sys/module/nvme/taint":                     file("OE\n"),
		"sys/module/nvme/version":                   file("1.0\n"),
		"sys/module/nvme/srcversion":                file("9A1B2C3D4E5F60718293A4B\n"),
		"sys/module/nvme/notes/.note.gnu.build-id":  {Data: note("\xb1\xe9\x33\n"), Mode: 0o444},
		"sys/module/nvme/parameters/io_queue_depth": file("1024\n"),
		"sys/module/nvme/parameters/empty":          file("\n"),
		"sys/module/nvme/parameters/secret":         {Data: []byte("x\n"), Mode: 0o400},
		"sys/module/nvme/parameters/two":            file("a\nb\n"),
		"sys/module/nvme/sections/.text":            {Data: []byte("0xffffffffc0a14000\n"), Mode: 0o400},
		"sys/module/nvme/sections/.init.text":       {Data: []byte("0x0000000000000000\n"), Mode: 0o400},
		"sys/module/printk/parameters/time":         file("Y\n"),
		"sys/module/tcp_cubic/version":              file("2.3\n"),
		"sys/module/odd/coresize":                   file("many\n"),
		"sys/module/odd/initsize":                   file("-5\n"),
		"sys/module/odd/initstate":                  file("live\n"),
		"sys/module/odd/taint":                      file("\n"),
		"sys/module/odd/notes/.note.gnu.build-id":   file("not a note"),
		"sys/module/hidden/initstate":               file("live\n"),
		"sys/module/compression":                    file("xz\n"),
		"sys/module/going/initstate":                file("going\n"),
		"sys/module/going/coresize":                 file("4096\n"),
		"sys/module/nvme/notes/.note.Linux":         file("other"),
		"sys/module/nvme/holders/nothing/here":      file(""),
		"sys/module/nvme/parameters/subdir/ignored": file("x"),
	}
}

func newSysReader(fsys fs.FS) *sysReader { return &sysReader{fsys: fsys} }

func TestReadSysModule(t *testing.T) {
	r := newSysReader(sysTree())
	got, err := r.readModule("nvme")
	if err != nil || r.losses != nil {
		t.Fatal(err, r.losses)
	}
	want := sysModule{Loadable: fact.Yes, State: "live", Taints: "OE", HasTaints: true, Version: "1.0",
		Srcversion: "9A1B2C3D4E5F60718293A4B", CoreSize: fact.CountOf(57344), InitSize: fact.CountOf(0),
		BuildID: "b1e9330a"}
	if diff := cmp.Diff(want, got, count); diff != "" {
		t.Errorf("nvme (-want +got):\n%s", diff)
	}
	got, err = r.readModule("tcp_cubic")
	if err != nil || r.losses != nil || got.Loadable != fact.No || got.Version != "2.3" {
		t.Errorf("builtin: %+v, %v, %v", got, r.losses, err)
	}
}

func TestReadSysModuleLosesOnlyTheField(t *testing.T) {
	r := newSysReader(sysTree())
	r.module = 7
	_, err := r.readModule("odd")
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, l := range r.losses {
		fields = append(fields, l.Field)
		if !errors.Is(l.Err, fact.ErrMalformed) || l.Module != 7 || l.Source != SourceSysModule {
			t.Errorf("%s: %+v", l.Field, l)
		}
	}
	if got := strings.Join(fields, " "); got != "coreSize initSize contentId" {
		t.Errorf("lost %q", got)
	}
	r.losses = nil
	_, err = r.readModule("going")
	lost := r.losses
	if err != nil || len(lost) != 2 || lost[0].Field != "initSize" || lost[1].Field != "taints" {
		t.Errorf("vanished files: %v, %v", lost, err)
	}
}

func TestReadSysModuleMissing(t *testing.T) {
	r := newSysReader(sysTree())
	if _, err := r.readModule("vanished"); !errors.Is(err, fact.ErrGone) {
		t.Errorf("gone: %v", err)
	}
	r = newSysReader(fstest.MapFS{})
	if _, err := r.readModule("nvme"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /sys/module: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", "../../etc"} {
		if _, err := r.readModule(name); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestReadSysModuleRefused(t *testing.T) {
	r := newSysReader(linuxtest.Refusing(sysTree(), "nvme/coresize", fs.ErrPermission))
	if _, err := r.readModule("nvme"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused directory: %v", err)
	}
	r = newSysReader(linuxtest.Refusing(sysTree(), "nvme/version", fs.ErrPermission))
	m, err := r.readModule("nvme")
	lost := r.losses
	if err != nil || len(lost) != 1 || lost[0].Field != "version" || m.Srcversion == "" {
		t.Errorf("refused file: %v, %v", lost, err)
	}
}

func TestReadParameters(t *testing.T) {
	r := newSysReader(sysTree())
	got := r.readParameters("nvme")
	if r.losses != nil {
		t.Fatal(r.losses)
	}
	want := []Parameter{
		{Name: "empty", Readable: fact.Yes},
		{Name: "io_queue_depth", Value: "1024", Readable: fact.Yes},
		{Name: "secret", Readable: fact.No},
		{Name: "two", Value: "a\nb", Readable: fact.Yes},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = newSysReader(linuxtest.Refusing(sysTree(), "two", fact.ErrGone))
	if got = r.readParameters("nvme"); len(r.losses) != 1 || len(got) != 4 || got[3].Readable != "" {
		t.Errorf("failing read: %v, %v", got, r.losses)
	}
	r = newSysReader(sysTree())
	if got := r.readParameters("tcp_cubic"); got == nil || len(got) != 0 || r.losses != nil {
		t.Errorf("no parameters: %#v, %v", got, r.losses)
	}
	many := fstest.MapFS{}
	for i := range maxSysfsValues + 1 {
		many["sys/module/m/parameters/p"+strings.Repeat("x", i%200)+string(rune('a'+i%26))+strings.Repeat("y", i/200)] =
			&fstest.MapFile{Mode: 0o444}
	}
	if len(many) > maxSysfsValues {
		r := newSysReader(many)
		got := r.readParameters("m")
		if got != nil || len(r.losses) != 1 || !errors.Is(r.losses[0].Err, fact.ErrTooLarge) {
			t.Errorf("%d parameters: %v", len(many), r.losses)
		}
	}
}

func TestReadSections(t *testing.T) {
	r := newSysReader(sysTree())
	got := r.readSections("nvme")
	if r.losses != nil {
		t.Fatal(r.losses)
	}
	if diff := cmp.Diff([]Section{{".init.text", 0}, {".text", 0xffffffffc0a14000}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = newSysReader(linuxtest.Refusing(sysTree(), "sections/.text", fs.ErrPermission))
	if r.readSections("nvme"); len(r.losses) != 1 || !errors.Is(r.losses[0].Err, fs.ErrPermission) {
		t.Errorf("refused: %v", r.losses)
	}
}

func TestBuiltinNames(t *testing.T) {
	l := &moduleList{Entries: []listEntry{{Name: "nvme"}, {Name: "odd"}}}
	got, err := builtinNames(sysTree(), l, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	// hidden and going have an initstate, so they are loadable; compression is a file.
	if diff := cmp.Diff([]string{"printk", "tcp_cubic"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := builtinNames(fstest.MapFS{}, l, new(fact.Report)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /sys/module: %v", err)
	}
}

func TestParseBuildID(t *testing.T) {
	big := []byte{0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3, 'G', 'N', 'U', 0, 0xab, 0xcd, 0, 0}
	if id, err := parseBuildID(big); id != "abcd" || err != nil {
		t.Errorf("big-endian: %q, %v", id, err)
	}
	good := note("12345678901234567890")
	for n := range good {
		if id, err := parseBuildID(good[:n]); (id == "") == (err == nil) || err == nil {
			t.Errorf("cut to %d bytes: %q, %v", n, id, err)
		}
	}
	long := note("x")
	long[4], long[5], long[6], long[7] = 0xff, 0xff, 0xff, 0xff
	if _, err := parseBuildID(long); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("huge size: %v", err)
	}
}

func FuzzParseBuildID(f *testing.F) {
	f.Add(note("\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseBuildID(b)
		if (id == "") == (err == nil) || len(id) > 2*len(b) {
			t.Fatalf("%q, %v", id, err)
		}
	})
}

func TestPrivilege(t *testing.T) {
	for text, want := range map[string]string{
		"euid 0\ncapeff 000001ffffffffff\n":    "root",
		"euid 0\ncapeff 00000000a80425fb\n":    "restricted_root",
		"euid 0\n":                             "root",
		"euid 1000\ncapeff 0000000000000000\n": "user",
		"euid 1000\n":                          "user",
		"euid 1000\ncapeff 0000000400000000\n": "capable",
		"":                                     "",
		"nonsense":                             "",
	} {
		if got := Privilege([]byte(text)); got != want {
			t.Errorf("Privilege(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestSysModuleIsDocumented: each file that is read of a module's directory is in what Sources lists, and in the
// package's text.
func TestSysModuleIsDocumented(t *testing.T) {
	k := &Kernel{}
	listed := ""
	for _, plan := range k.Sources(0) {
		if plan.Source == SourceSysModule {
			listed += strings.Join(plan.Reads, ",") + ","
		}
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	names := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("{}, \t\n", r) })
	}
	for where, text := range map[string]string{"linux/sources.go": listed, "linux/doc.go": string(doc)} {
		words := names(text)
		for _, file := range attrNames {
			if !slices.ContainsFunc(words, func(w string) bool { return w == file || strings.HasSuffix(w, "/"+file) }) {
				t.Errorf("%s does not name /sys/module/NAME/%s", where, file)
			}
		}
	}
}
