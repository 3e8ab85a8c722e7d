// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
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
		"sys/module/nvme/notes/.note.gnu.build-id":  {Data: note("\xb1\xe9\x33\x7c"), Mode: 0o444},
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

func TestReadSysModule(t *testing.T) {
	r := NewSysReader(sysTree())
	got, lost, err := r.ReadModule("nvme")
	if err != nil || lost != nil {
		t.Fatal(err, lost)
	}
	want := SysModule{Loadable: fact.Yes, State: "live", Taints: "OE", HasTaints: true, Version: "1.0",
		Srcversion: "9A1B2C3D4E5F60718293A4B", CoreSize: fact.CountOf(57344), InitSize: fact.CountOf(0),
		BuildID: "b1e9337c"}
	if diff := cmp.Diff(want, got, count); diff != "" {
		t.Errorf("nvme (-want +got):\n%s", diff)
	}
	got, lost, err = r.ReadModule("tcp_cubic")
	if err != nil || lost != nil || got.Loadable != fact.No || got.Version != "2.3" {
		t.Errorf("builtin: %+v, %v, %v", got, lost, err)
	}
}

func TestReadSysModuleLosesOnlyTheField(t *testing.T) {
	r := NewSysReader(sysTree())
	_, lost, err := r.ReadModule("odd")
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, l := range lost {
		fields = append(fields, l.Field)
		if !errors.Is(l, fact.ErrMalformed) {
			t.Errorf("%s: %v", l.Field, l)
		}
	}
	if got := strings.Join(fields, " "); got != "coreSize initSize contentId" {
		t.Errorf("lost %q", got)
	}
	_, lost, err = r.ReadModule("going")
	if err != nil || len(lost) != 2 || lost[0].Field != "initSize" || lost[1].Field != "taints" {
		t.Errorf("vanished files: %v, %v", lost, err)
	}
}

func TestReadSysModuleMissing(t *testing.T) {
	r := NewSysReader(sysTree())
	if _, _, err := r.ReadModule("vanished"); !errors.Is(err, fact.ErrGone) {
		t.Errorf("gone: %v", err)
	}
	r = NewSysReader(fstest.MapFS{})
	if _, _, err := r.ReadModule("nvme"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /sys/module: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", "../../etc"} {
		if _, _, err := r.ReadModule(name); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestReadSysModuleRefused(t *testing.T) {
	r := NewSysReader(linuxtest.Refusing(sysTree(), "nvme/coresize", fs.ErrPermission))
	if _, _, err := r.ReadModule("nvme"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("refused directory: %v", err)
	}
	r = NewSysReader(linuxtest.Refusing(sysTree(), "nvme/version", fs.ErrPermission))
	m, lost, err := r.ReadModule("nvme")
	if err != nil || len(lost) != 1 || lost[0].Field != "version" || m.Srcversion == "" {
		t.Errorf("refused file: %v, %v", lost, err)
	}
}

func TestReadParameters(t *testing.T) {
	got, lost, err := ReadParameters(sysTree(), "nvme")
	if err != nil || lost != nil {
		t.Fatal(err, lost)
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
	got, lost, err = ReadParameters(linuxtest.Refusing(sysTree(), "two", fact.ErrGone), "nvme")
	if err != nil || len(lost) != 1 || len(got) != 4 || got[3].Readable != "" {
		t.Errorf("failing read: %v, %v, %v", got, lost, err)
	}
	if got, _, err := ReadParameters(sysTree(), "tcp_cubic"); got == nil || len(got) != 0 || err != nil {
		t.Errorf("no parameters: %#v, %v", got, err)
	}
	many := fstest.MapFS{}
	for i := range maxSysfsValues + 1 {
		many["sys/module/m/parameters/p"+strings.Repeat("x", i%200)+string(rune('a'+i%26))+strings.Repeat("y", i/200)] =
			&fstest.MapFile{Mode: 0o444}
	}
	if len(many) > maxSysfsValues {
		if _, _, err := ReadParameters(many, "m"); !errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%d parameters: %v", len(many), err)
		}
	}
}

func TestReadSections(t *testing.T) {
	got, lost, err := ReadSections(sysTree(), "nvme")
	if err != nil || lost != nil {
		t.Fatal(err, lost)
	}
	if diff := cmp.Diff([]Section{{".init.text", 0}, {".text", 0xffffffffc0a14000}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, lost, err = ReadSections(linuxtest.Refusing(sysTree(), "sections/.text", fs.ErrPermission), "nvme")
	if err != nil || len(lost) != 1 || !errors.Is(lost[0], fs.ErrPermission) {
		t.Errorf("refused: %v, %v", lost, err)
	}
}

func TestBuiltinNames(t *testing.T) {
	l := &ModuleList{Entries: []Entry{{Name: "nvme"}, {Name: "odd"}}}
	got, err := BuiltinNames(sysTree(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	// hidden and going have an initstate, so they are loadable; compression is a file.
	if diff := cmp.Diff([]string{"printk", "tcp_cubic"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := BuiltinNames(fstest.MapFS{}, l, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /sys/module: %v", err)
	}
}

func TestParseBuildID(t *testing.T) {
	big := []byte{0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3, 'G', 'N', 'U', 0, 0xab, 0xcd, 0, 0}
	if id, err := ParseBuildID(big); id != "abcd" || err != nil {
		t.Errorf("big-endian: %q, %v", id, err)
	}
	good := note("12345678901234567890")
	for n := range good {
		if id, err := ParseBuildID(good[:n]); (id == "") == (err == nil) || err == nil {
			t.Errorf("cut to %d bytes: %q, %v", n, id, err)
		}
	}
	long := note("x")
	long[4], long[5], long[6], long[7] = 0xff, 0xff, 0xff, 0xff
	if _, err := ParseBuildID(long); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("huge size: %v", err)
	}
}

func FuzzParseBuildID(f *testing.F) {
	f.Add(note("\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := ParseBuildID(b)
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
