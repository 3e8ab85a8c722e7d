// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

var equalCounts = cmp.Comparer(func(a, b fact.Count) bool { return a == b })

func TestReadModules(t *testing.T) {
	for name, change := range map[string]func(*fakeunix.NetBSD){
		"plain":      func(*fakeunix.NetBSD) {},
		"big-endian": func(m *fakeunix.NetBSD) { m.Order = binary.BigEndian },
		"old":        func(m *fakeunix.NetBSD) { m.Old = true },
		"old, big":   func(m *fakeunix.NetBSD) { m.Old, m.Order = true, binary.BigEndian },
		"32 bits":    func(m *fakeunix.NetBSD) { m.WrongOffsets = true },
	} {
		m := fakeunix.NetBSD10()
		change(m)
		var r fact.Report
		l, err := readModules(t.Context(), m.Machine().Call, &r)
		if err != nil || len(r.Problems) != 0 {
			t.Fatalf("%s: %v %v", name, err, r.Problems)
		}
		want := []moduleStat{
			{Name: "zfs", Address: 0xffffffff82000000, Source: "filesys", Class: "vfs", Size: fact.CountOf(0x400000),
				Refs: fact.CountOf(0), Flags: []string{}, Required: []string{"solaris"}},
			{Name: "solaris", Address: 0xffffffff81f00000, Source: "filesys", Class: "misc",
				Size: fact.CountOf(0x20000),
				Refs: fact.CountOf(1), Flags: []string{}, Required: []string{}},
			{Name: "nfs", Address: 0xffffffff81e00000, Source: "boot", Class: "vfs", Size: fact.CountOf(0x10000),
				Refs: fact.CountOf(0), Flags: []string{"auto_loaded"}, Required: []string{"compat_util", "sysv_ipc"}},
			{Name: "ffs", Source: "builtin", Class: "vfs", Refs: fact.CountOf(1), Flags: []string{},
				Required: []string{}},
			{Name: "compat_50", Source: "builtin", Class: "exec", Disabled: true, Flags: []string{"must_force"},
				Required: []string{}},
		}
		if m.Old {
			for i := range want {
				want[i].Flags = nil
			}
		}
		if diff := cmp.Diff(want, l, equalCounts); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestGrowth(t *testing.T) {
	m := fakeunix.NetBSD10()
	m.Growing = 3
	asked := []string{}
	call := func(ctx context.Context, op string, args ...string) ([]byte, error) {
		asked = append(asked, args[1])
		return m.Machine().Call(ctx, op, args...)
	}
	l, err := readModules(t.Context(), call, new(fact.Report))
	if err != nil || len(l) != 605 || len(asked) != 4 || asked[0] != "8192" {
		t.Errorf("%v, buffers %v", err, asked)
	}
}

// TestHostileAnswers gives answers that no kernel gives.
func TestHostileAnswers(t *testing.T) {
	for _, answer := range []string{
		"", "\n", "little\n", "little -1\n", "middle 4\n\x00\x00\x00\x00", "little 99999999999999999999\n",
		"little 3\nabc",
		"little 4\n\xff\xff\xff\xff", "big 4\n\x00\x00\x00\x01", "little 100\nabc", "little 2000000000\n",
	} {
		call := func(context.Context, string, ...string) ([]byte, error) { return []byte(answer), nil }
		if l, err := readModules(t.Context(), call, new(fact.Report)); err == nil {
			t.Errorf("%q: %+v", answer, l)
		}
	}
	// a module whose string is missing, and one without a name
	m := &fakeunix.NetBSD{Modules: []fakeunix.NetBSDModule{{Name: "a", Required: "b"}, {}}}
	b, err := m.Machine().Call(t.Context(), OpModctlStat, "4", "8192")
	if err != nil {
		t.Fatal(err)
	}
	cut := string(b[:len(b)-3])
	cut = strings.Replace(cut, fmt.Sprintf("little %d", len(b)-len("little 135\n")),
		fmt.Sprintf("little %d", len(b)-3-len("little 135\n")), 1)
	var r fact.Report
	l, err := readModules(t.Context(), func(context.Context, string, ...string) ([]byte, error) {
		return []byte(cut), nil
	}, &r)
	if err != nil || len(l) != 1 || l[0].Required != nil || len(r.Problems) != 2 {
		t.Errorf("%+v %v %v", l, r.Problems, err)
	}
}

func TestModstat(t *testing.T) {
	for name, text := range map[string]string{
		"2009": "NAME\t\tCLASS\tSOURCE\tREFS\tSIZE\tREQUIRES\nexec_elf32      exec\tfilesys\t1\t13000\tcoredump\n" +
			"coredump        misc\tfilesys\t1\t2000\t-\n",
		"2010": "NAME             CLASS      SOURCE     REFS  SIZE     REQUIRES\n" +
			"exec_elf32       exec       filesys    1     13000    coredump\n" +
			"coredump         misc       filesys    1     2000     -\n",
		"2012": "nbsd# modstat\nNAME         CLASS      SOURCE     REFS  ADDRESS          SIZE    REQUIRES\n" +
			"exec_elf32   exec       filesys    1     ffffffff80d0a000 13000   coredump\n" +
			"coredump     misc       filesys    1     ffffffff80d0c000 2000    -\n",
		"8": "NAME         CLASS   SOURCE   FLAG REFS SIZE  REQUIRES\n" +
			"exec_elf32   exec    filesys  a    1    13000 coredump\ncoredump     misc    filesys  -    1    2000  -\n",
	} {
		c := ReadModstat(text, new(fact.Report))
		if !c.Sure || c.Stray != 0 || len(c.Records) != 2 {
			t.Errorf("%s: %+v", name, c)
			continue
		}
		e := c.Records[0]
		if e.Name != "exec_elf32" || e.Own.Class != "exec" || e.Own.Source != "filesys" || e.Refs != fact.CountOf(1) ||
			e.Size != fact.CountOf(13000) || !slices.Equal(e.Requires, []string{"coredump"}) {
			t.Errorf("%s: %+v", name, e)
		}
		if r := c.Records[1].Requires; r == nil || len(r) != 0 {
			t.Errorf("%s: no requirements are %v", name, r)
		}
		if (name == "2012") != (e.Address != 0) || (name == "8") != slices.Equal(e.Own.Flags, []string{"auto_loaded"}) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	var r fact.Report
	c := ReadModstat("NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\ncompat_50 exec builtin - -1 - -\nbad row\n"+
		"x misc filesys - q 1 -\n", &r)
	if len(c.Records) != 1 || c.Records[0].Own.Disabled != fact.Yes || c.Stray != 2 || r.Whole(SourceModctl) {
		t.Errorf("%+v %+v", c, r)
	}
	for _, text := range []string{"", "  1    7 0xc0400000 97f830   kernel\n", "Module Size Used by\n"} {
		if c := ReadModstat(text, new(fact.Report)); c.Rows > 0 || c.Sure {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func TestMetadata(t *testing.T) {
	fsys := fstest.MapFS{"x.kmod": {Data: kotest.KMOD()}, "f.ko": {Data: kotest.AMD64().Bytes()},
		"no": {Data: []byte("no")}}
	var r fact.Report
	m, err := readMetadata(fsys, "x.kmod", 1<<20, "", &r)
	if err != nil || len(r.Problems) != 0 || len(m) != 1 {
		t.Fatalf("%+v %v %v", m, r.Problems, err)
	}
	if m[0].Name != "zfs" || m[0].Class != "vfs" || m[0].BuiltFor != 1000000000 ||
		!slices.Equal(m[0].Required, []string{"solaris", "xcall"}) || Release(m[0].BuiltFor) != "10.0" {
		t.Errorf("%+v", m[0])
	}
	if _, err := readMetadata(fsys, "f.ko", 1<<20, "", &r); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a kld of FreeBSD: %v", err)
	}
	if _, err := readMetadata(fsys, "no", 1<<20, "", &r); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("no ELF file: %v", err)
	}
	for v, want := range map[uint32]string{999009800: "9.99.98", 0: "", 901000000: "9.1"} {
		if got := Release(v); got != want {
			t.Errorf("%d: %q, want %q", v, got, want)
		}
	}
	disk := fstest.MapFS{"m/zfs/zfs.kmod": {Data: kotest.KMOD()}, "m/bad/bad.kmod": {Data: []byte("bad")},
		"m/other/readme": {}}
	files, err := readDisk(t.Context(), disk, "/m", 1<<20, &r)
	if err != nil || len(files) != 1 || files[0].Path != "/m/zfs/zfs.kmod" || len(r.Problems) != 1 ||
		r.Problems[0].Subject != "/m/bad/bad.kmod" {
		t.Errorf("%+v %+v %v", files, r.Problems, err)
	}
}

func TestRedact(t *testing.T) {
	for _, old := range []bool{false, true} {
		m := fakeunix.NetBSD10()
		m.Old = old
		command := strconv.Itoa(commandStat)
		if old {
			command = strconv.Itoa(commandOldStat)
		}
		call := func(ctx context.Context, op string, args ...string) ([]byte, error) {
			b, err := m.Machine().Call(ctx, op, args...)
			return Redact(op+" "+strings.Join(args, " "), b), err
		}
		l, err := readModules(t.Context(), call, new(fact.Report))
		if err != nil || len(l) != 5 {
			t.Fatal(err)
		}
		for _, s := range l {
			loaded := s.Source != "builtin"
			if s.Address != 0 || s.Redacted != loaded || s.Hidden {
				t.Errorf("command %s: %+v", command, s)
			}
		}
	}
}

func FuzzStat(f *testing.F) {
	for _, old := range []bool{false, true} {
		m := fakeunix.NetBSD10()
		m.Old = old
		command := "4"
		if old {
			command = "2"
		}
		b, err := m.Machine().Call(f.Context(), OpModctlStat, command, "8192")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, old)
	}
	f.Fuzz(func(t *testing.T, b []byte, old bool) {
		order, needed, body, err := answer(b)
		if err != nil || needed > len(body) {
			return
		}
		command := commandStat
		if old {
			command = commandOldStat
		}
		var r fact.Report
		l, err := decode(command, order, body[:needed], &r)
		if (l == nil) == (err == nil) {
			t.Fatal("value and error")
		}
		if len(l) > len(b)/newSize+1 || len(r.Problems) > fact.MaxProblems+1 {
			t.Fatalf("%d modules of %d bytes", len(l), len(b))
		}
		Redact(OpModctlStat+" 4 1", b)
		Redact(OpModctlStat+" 2 1", b)
	})
}

func FuzzCapture(f *testing.F) {
	f.Add("NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\nexec_elf32 exec filesys a 1 13000 coredump\n")
	f.Fuzz(func(t *testing.T, s string) {
		var r fact.Report
		if c := ReadModstat(s, &r); c.Rows > 1+strings.Count(s, "\n") || c.Rows != len(c.Records) ||
			len(r.Problems) > fact.MaxProblems+1 {
			t.Fatal("more rows than lines")
		}
	})
}
