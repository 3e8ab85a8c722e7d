// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var takenAt = regexp.MustCompile(`"takenAt": "[^"]*"`)

// TestRecordNames: a tape that was recorded for some names, and for another kernel, answers about them what the machine
// answers, each question by itself.
func TestRecordNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a live root below a directory is Linux's")
	}
	root := checkImage(t, map[string]string{
		"proc/modules":                  "pre 4096 0 - Live 0x0000000000000000\n",
		"proc/sys/kernel/osrelease":     "6\n",
		"proc/cmdline":                  "root=/dev/sda1\n",
		"lib/modules/6/modules.dep":     "kernel/lone.ko: kernel/pre.ko\nkernel/pre.ko:\n",
		"lib/modules/6/modules.alias":   "alias one lone\n",
		"lib/modules/6/kernel/lone.ko":  "",
		"lib/modules/6/kernel/pre.ko":   "",
		"lib/modules/7/modules.dep":     "kernel/lone.ko:\n",
		"lib/modules/7/kernel/lone.ko":  "",
		"lib/modules/7/modules.builtin": "",
		"etc/modprobe.d/a.conf":         "install lone /bin/false\n",
	})
	tape := filepath.Join(t.TempDir(), "t.tape")
	code, _, errs := lkmRun(t, "", "record", "--root", root, "--live", "-o", tape, "--upgrade", "7", "lone", "one")
	if code != 0 {
		t.Fatalf("record: exit %d: %s", code, errs)
	}
	for _, words := range [][]string{
		{"check", "lone"}, {"resolve", "one"}, {"plan", "lone"}, {"config"}, {"config", "--lint"}, {"upgrade", "7"},
		{"list", "--installed"}, {"tree", "lone"}, {"info", "lone"},
	} {
		code, out, errs := lkmRun(t, "", append(words, "--root", root, "--live", "--format", "json")...)
		played, tapeOut, tapeErrs := lkmRun(t, "", append(words, "--tape", tape, "--format", "json")...)
		out, tapeOut = strings.ReplaceAll(out, root, ""), takenAt.ReplaceAllString(tapeOut, "")
		out = takenAt.ReplaceAllString(out, "")
		if played != code || tapeOut != out {
			t.Errorf("%q: the tape: exit %d\n%s%s\nthe machine: exit %d\n%s%s", words, played, tapeOut, tapeErrs, code,
				out, errs)
		}
	}
}
