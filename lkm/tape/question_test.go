// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"sys/module/*/scmversion", "sys/module/nvme/scmversion", true},
		{"sys/module/*/scmversion", "sys/module/nvme/x/scmversion", false},
		{"sys/module/*/scmversion", "sys/module/nvme/scmversions", false},
		{"sys/module/*/scmversion", "sys/module/scmversion", false},
		{"var/lib/rpm/**", "var/lib/rpm/rpmdb.sqlite", true},
		{"var/lib/rpm/**", "var/lib/rpm/a/b", true},
		{"var/lib/rpm/**", "var/lib/rpm", false},
		{"**/b/*.c", "a/b/a/b/x.c", true},
		{"**/b/*.c", "a/b/x/y.c", false},
		{"a*b*c", "aXbXbc", true},
		{"a*b*c", "aXbXbcd", false},
		{"*", "", true},
		{"*", "a/b", false},
		{"**", "a/b c", true},
		{"", "", true},
		{"", "a", false},
		{"reg *\\Select **", "reg SYSTEM\\Select a b", true},
		{"reg *\\Select", "reg A\\SYSTEM\\Select", false},
		{"kldstat *", "kldstat 3", true},
		{"kldstat *", "kldstat 3 4", false},
		{"kldstat", "kldstat", true},
	} {
		if got := glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q, %q: %v", tt.pattern, tt.s, got)
		}
	}
}

func younger(t *testing.T, text string, rows ...lateQuestion) *Tape {
	t.Helper()
	tp, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	tp.learned = rows
	return tp
}

// questionTape has something of each kind that leaves a question open.
const questionTape = "kernelext tape 1\nos: linux\n%-- file a/cut extents=0+2 enc=base64 --\nYWI=\n" +
	"-- dir a/half end=unrecorded --\n-- error open a/gone --\nabsent\n-- end --\n"

func TestOlder(t *testing.T) {
	read := func(tp *Tape) error {
		f, err := tp.Open("a/cut")
		if err != nil {
			return err
		}
		_, err = f.Read(make([]byte, 9))
		if err == nil {
			_, err = f.Read(make([]byte, 9))
		}
		return err
	}
	ask := map[string]func(*Tape) error{
		"open a/new": func(tp *Tape) error { _, err := tp.Open("a/new"); return err },
		"stat a/new": func(tp *Tape) error { _, err := tp.Stat("a/new"); return err },
		"stat a/cut": func(tp *Tape) error { _, err := tp.Stat("a/cut"); return err },
		"read a/cut": read,
		"call x 1":   func(tp *Tape) error { _, err := tp.Call(t.Context(), "x", "1"); return err },
		"call x":     func(tp *Tape) error { _, err := tp.Call(t.Context(), "x"); return err },
	}
	for _, tt := range []struct {
		header string
		row    lateQuestion
		older  []string // of ask; the others are unrecorded
	}{
		{"", lateQuestion{2, "", "", "a/*"}, []string{"open a/new", "stat a/new", "stat a/cut", "read a/cut"}},
		{"", lateQuestion{2, lkm.Linux, "stat", "a/*"}, []string{"stat a/new", "stat a/cut"}},
		{"", lateQuestion{2, lkm.Linux, "read", "a/cut"}, []string{"read a/cut"}},
		{"", lateQuestion{2, lkm.Windows, "", "**"}, nil},
		{"", lateQuestion{1, "", "", "**"}, nil},
		{"", lateQuestion{2, "", "call", "x *"}, []string{"call x 1"}},
		{"", lateQuestion{2, "", "call", "x**"}, []string{"call x 1", "call x"}},
		{"", lateQuestion{2, "", "", "x**"}, nil}, // a path called x, not the call
		{"questions: 2\n", lateQuestion{2, "", "", "**"}, nil},
		{"questions: 2\n", lateQuestion{3, "", "", "**"},
			[]string{"open a/new", "stat a/new", "stat a/cut", "read a/cut"}},
	} {
		tp := younger(t, strings.Replace(questionTape, "%", tt.header, 1), tt.row)
		for name, f := range ask {
			err, want := f(tp), fact.ErrUnrecorded
			if strings.Contains(","+strings.Join(tt.older, ",")+",", ","+name+",") {
				want = fact.ErrOlder
			}
			if !errors.Is(err, want) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q, %+v: %s: %v, want %v", tt.header, tt.row, name, err, want)
			}
			if got := errors.Is(err, errors.ErrUnsupported); got != (want == fact.ErrOlder) {
				t.Errorf("%s: unsupported: %v", name, got)
			}
		}
		if _, err := tp.Open("a/gone"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an answer that was recorded: %v", err)
		}
	}
}

func TestQuestionsHeader(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   int
		bad    bool
	}{
		{"", 1, false}, {"questions: 1\n", 1, false}, {"questions: 7\n", 7, false}, {"questions: 0\n", 0, true},
		{"questions: -1\n", 0, true}, {"questions: 2\nquestions: 2\n", 0, true},
	} {
		text := "kernelext tape 1\nos: linux\n" + tt.header + "-- end --\n"
		tp, err := Read(strings.NewReader(text))
		if (err != nil) != tt.bad {
			t.Errorf("%q: %v", tt.header, err)
		}
		if err != nil {
			continue
		}
		if got := tp.Header().Questions; got != tt.want {
			t.Errorf("%q: %d", tt.header, got)
		}
		var b bytes.Buffer
		if _, err := tp.WriteTo(&b); err != nil || tt.want > 1 && b.String() != text {
			t.Errorf("%q is written as %q, %v", text, b.String(), err)
		}
	}
}

// A recording knows all questions of this version, unless it is one of a tape that does not.
func TestRecordedQuestions(t *testing.T) {
	old := younger(t, strings.Replace(questionTape, "%", "", 1), lateQuestion{2, "", "", "a/new"},
		lateQuestion{2, "", "call", "x"})
	for name, ask := range map[string]func(*Recorder) error{
		"open": func(r *Recorder) error { _, err := r.Open("a/new"); return err },
		"stat": func(r *Recorder) error { _, err := r.Stat("a/new"); return err },
		"call": func(r *Recorder) error { _, err := r.Call(t.Context(), "x"); return err },
	} {
		r := Record(lkm.Linux, old, Options{Header: Header{Questions: 9}})
		if _, err := r.Open("a/gone"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if got := r.Tape().Header().Questions; got != Questions {
			t.Errorf("%s: before: %d", name, got)
		}
		if err := ask(r); !errors.Is(err, fact.ErrOlder) {
			t.Errorf("%s: %v", name, err)
		}
		tp := r.Tape()
		if got := tp.Header().Questions; got != 1 || len(tp.Entries()) != 1 {
			t.Errorf("%s: questions %d, entries %v", name, got, tp.Entries())
		}
	}
}

// The caller's name for the machine stays on a tape only if asked for.
func TestRecordedHost(t *testing.T) {
	for _, unredacted := range []bool{false, true} {
		want := ""
		if unredacted {
			want = "db 1%"
		}
		r := Record(lkm.Linux, younger(t, strings.Replace(questionTape, "%", "", 1)),
			Options{Header: Header{Host: "db 1%"}, Unredacted: unredacted})
		var b bytes.Buffer
		if _, err := r.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		tp, err := Read(&b)
		if err != nil || tp.Header().Host != want {
			t.Errorf("unredacted %v: %q, %v", unredacted, tp.Header().Host, err)
		}
	}
}

// Every row is a question that an older tape can lack, of a number that the recorder writes.
func TestLearned(t *testing.T) {
	for _, q := range learned {
		if q.since < 2 || q.since > Questions || q.subject == "" {
			t.Errorf("%+v", q)
		}
		switch q.op {
		case "", opOpen, opRead, opReadDir, opStat, opLstat, opReadLink, opCall:
		default:
			t.Errorf("%+v: op", q)
		}
	}
}

// What the library asks since version 0.2.0 is older to a tape of 0.1.0; what 0.1.0 asked is not.
func TestLearnedByName(t *testing.T) {
	stat := func(name string) func(*Tape) error {
		return func(tp *Tape) error { _, err := tp.Stat(name); return err }
	}
	open := func(name string) func(*Tape) error {
		return func(tp *Tape) error { _, err := tp.Open(name); return err }
	}
	call := func(op string, args ...string) func(*Tape) error {
		return func(tp *Tape) error { _, err := tp.Call(t.Context(), op, args...); return err }
	}
	for _, tt := range []struct {
		os   lkm.OS
		name string
		ask  func(*Tape) error
		want error
	}{
		{lkm.Linux, "default entry", open("boot/grub/grubenv"), fact.ErrOlder},
		{lkm.Linux, "default entry", open("boot/grub2/grubenv"), fact.ErrOlder},
		{lkm.Linux, "entries", open("boot/grub/grub.cfg"), fact.ErrUnrecorded},
		{lkm.Linux, "is there", stat("boot/initrd.img-6.1.0"), fact.ErrOlder},
		{lkm.Linux, "is there", stat("boot/initramfs-6.1.0.img"), fact.ErrOlder},
		{lkm.Linux, "is there", stat("lib/modules/6.1.0/initrd"), fact.ErrOlder},
		{lkm.Linux, "is there", stat("usr/lib/modules/6.1.0/initramfs.img"), fact.ErrOlder},
		{lkm.Linux, "tool", stat("usr/sbin/update-initramfs"), fact.ErrOlder},
		{lkm.Linux, "index", open("lib/modules/6.1.0/modules.dep"), fact.ErrUnrecorded},
		{lkm.Linux, "list", open("proc/modules"), fact.ErrUnrecorded},
		{lkm.Windows, "device", call("registry", `SYSTEM\DriverDatabase\DeviceIds\PCI\VEN_8086`), fact.ErrOlder},
		{lkm.Windows, "device", call("registry", `drivers\driverdatabase\deviceids\PCI\VEN_8086`), fact.ErrOlder},
		{lkm.Windows, "service", call("registry", `SYSTEM\CurrentControlSet\Services\disk`), fact.ErrUnrecorded},
		{lkm.FreeBSD, "compressed", open("boot/kernel/kernel.gz"), fact.ErrOlder},
		{lkm.DragonFly, "compressed", open("boot/kernel/kernel.gz"), fact.ErrOlder},
		{lkm.FreeBSD, "list", call("kldstat", "4", "2"), fact.ErrUnrecorded},
	} {
		for header, want := range map[string]error{"": tt.want, "questions: 2\n": fact.ErrUnrecorded} {
			text := "kernelext tape 1\nos: " + string(tt.os) + "\n" + header + "-- end --\n"
			tp, err := Read(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.ask(tp); !errors.Is(err, want) {
				t.Errorf("%s, %q: %s: %v, want %v", tt.os, header, tt.name, err, want)
			}
		}
	}
}
