// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

func TestStepsInTurn(t *testing.T) {
	stop, pass := fact.Stops(fact.Reason{Code: "stop"}), fact.Passes(fact.Reason{Code: "pass"})
	unsure, none := fact.Unsure("unsure", "x"), fact.Answer{}
	for _, tt := range []struct {
		steps []fact.Answer
		want  fact.Answer
	}{
		{nil, none},
		{[]fact.Answer{none, none}, none},
		{[]fact.Answer{none, pass, none}, pass},
		{[]fact.Answer{pass, unsure, pass}, unsure},
		{[]fact.Answer{unsure, pass, stop}, stop},
		{[]fact.Answer{pass, fact.Passes(fact.Reason{Code: "last"})}, fact.Passes(fact.Reason{Code: "last"})},
	} {
		if got := inTurn(tt.steps...); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.steps, got, tt.want)
		}
	}
}

// TestDependentsInSum: a module is kept out as a dependency only if each that needs it is.
func TestDependentsInSum(t *testing.T) {
	stop, unsure := fact.Stops(fact.Reason{Code: "stop"}), fact.Unsure("unsure", "x")
	for _, tt := range []struct{ a, b, want fact.Answer }{
		{fact.Answer{}, stop, stop}, {stop, stop, stop}, {stop, unsure, unsure}, {unsure, stop, unsure},
	} {
		if got := inSum(tt.a, tt.b); got != tt.want {
			t.Errorf("%+v and %+v: %+v", tt.a, tt.b, got)
		}
	}
}

// lockedImage is an image whose kernel asks for signatures, and whose modprobe.d keeps lone and hid out.
func lockedImage() fstest.MapFS {
	return imageOf(unsignedFile(signedConfig+"CONFIG_MODULE_SIG_FORCE=y\n",
		"etc/modprobe.d/a.conf", "install lone /bin/false\n", options, "version 6\noptions quiet\n"))
}

// TestUnknownNamesWhatWasNotRead: whatever cannot be read, an answer that becomes unknown names it.
func TestUnknownNamesWhatWasNotRead(t *testing.T) {
	for _, tt := range []struct {
		refused string // a part of the path
		query   string
		fsys    fs.FS
		running bool
		want    string // in the reason of the outcome or of a way
	}{
		{"kernel/lone.ko", "lone", lockedImage(), false, "lib/modules/6/kernel/lone.ko"},
		{"boot/config-6", "lone", lockedImage(), false, "kernel's configuration: "},
		{"modprobe.d/a.conf", "lone", imageOf(map[string]string{"etc/modprobe.d/a.conf": "x\n",
			"etc/modprobe.d/b.conf": "install lone /bin/false\n"}), false, "etc/modprobe.d/a.conf"},
		{"modules.alias", "nosuch", imageOf(nil), false, "lib/modules/6/modules.alias"},
		{"modules.builtin", "nosuch", imageOf(nil), false, "lib/modules/6/modules.builtin"},
		{"modules.dep", "nosuch", imageOf(nil), false, "lib/modules/6/modules.dep"},
		{"modprobe.d", "nosuch", imageOf(map[string]string{"etc/modprobe.d/a.conf": "x\n"}), false, "etc/modprobe.d"},
		{"loader/entries/b.conf", "lone",
			imageOf(map[string]string{options: "version 6\noptions module_blacklist=lone\n",
				"boot/loader/entries/b.conf": "version 6\n"}), false, "boot/loader/entries/b.conf"},
		{"proc/modules", "nosuch", imageOf(nil), true, "/proc/modules"},
		{"proc/sys/kernel/modprobe", "lone", imageOf(nil), true, modprobeFile},
		{"sig_enforce", "lone", imageOf(unsignedFile(signedConfig)), true, sigEnforceFile},
	} {
		fsys := linuxtest.Refusing(tt.fsys, tt.refused, fs.ErrPermission)
		dir, err := modprobe.FindRelease(fsys, "6")
		verdicts, checkErr := check(t.Context(),
			checkedKernel{FS: fsys, Release: "6", Dir: dir, DirErr: err, Running: tt.running,
				Live: tt.running}, tt.query, new(fact.Report))
		if checkErr != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %v, %v", tt.refused, verdicts, checkErr)
		}
		unknown := unknownReasons(t, verdicts[0])
		named := false
		for _, r := range unknown {
			named = named || strings.Contains(r.Unread+r.Text, tt.want)
		}
		if !named {
			t.Errorf("%s: no unknown answer names %s: %+v", tt.refused, tt.want, unknown)
		}
	}
}

// unknownReasons returns the reasons of all answers of a verdict that are unknown, each of which has one.
func unknownReasons(t *testing.T, v fact.Verdict) (unknown []fact.Reason) {
	t.Helper()
	for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
		if p == nil {
			continue
		}
		if p.Outcome == fact.VerdictUnknown {
			unknown = append(unknown, p.Because)
		}
		for _, w := range p.Ways {
			if w.Blocked == "" {
				unknown = append(unknown, w.Because)
			}
		}
	}
	for _, r := range unknown {
		if r.Code == "" || r.Text == "" || r.Unread == "" {
			t.Errorf("%s: unknown without a reason that names what was not read: %+v", v.Query, r)
		}
	}
	return unknown
}
