// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// many is a text of n parts, of which the last one is of the kld "last".
func many(n int, part string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(part, "%", fmt.Sprint("m", i)))
	}
	return b.String() + strings.ReplaceAll(part, "%", "last")
}

// TestNothingIsCutSilently: after more words, files, lines and settings than are kept, a kld may be loaded.
func TestNothingIsCutSilently(t *testing.T) {
	kld := kotest.AMD64()
	kld.Modules = []kotest.Module{{Record: "last", Name: "last"}}
	for _, c := range []struct{ name, file, text string }{
		{"kld_list", "etc/rc.conf", "kld_list=\"" + many(2*maxConfFiles, "% ") + "\"\n"},
		{"cloned_interfaces", "etc/rc.conf", "cloned_interfaces=\"" + many(2*maxConfFiles, "%0 ") + "\"\n"},
		{"rc_conf_files", "etc/defaults/rc.conf", "rc_conf_files=\"" + many(2*maxConfFiles, "/etc/%.conf ") + "\"\n"},
		{"local_startup", "etc/rc.conf", "local_startup=\"" + many(2*maxConfFiles, "/%/rc.d ") + "\"\n"},
		{"fstab", "etc/fstab", many(maxMounts, "/dev/% / % rw 0 0\n")},
		{"hooks", "etc/devd.conf", many(maxHooks, "action \"kldload %\";\n")},
		{"required_modules", "etc/rc.d/a", script + many(maxConfFiles, "required_modules=\"%\"\n")},
		{"loader_conf_files", "boot/loader.conf",
			"loader_conf_files=\"" + many(2*maxConfFiles, "/boot/%.conf ") + "\"\n"},
		{"loader_conf_dirs", "boot/loader.conf", "loader_conf_dirs=\"" + many(2*maxConfFiles, "/boot/%.d ") + "\"\n"},
		{"exec", "boot/loader.conf", many(2*maxConfFiles, "exec=\"load %\"\n")},
	} {
		files := fstest.MapFS{
			"boot/kernel/kernel":  {Data: []byte("\x7fELF")},
			"boot/kernel/last.ko": {Data: kld.Bytes()},
			"etc/rc":              {Data: []byte("rcorder\n")},
			"etc/rc.d/x":          {Data: []byte("#!/bin/sh\n")},
		}
		files[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		r := fact.Report{Budget: fact.NewBudget(0)}
		k := Open(rootDisk{files}, fact.Options{Image: true, OS: fact.FreeBSD})
		verdicts, err := k.Check(t.Context(), "last", &r)
		if err != nil || len(verdicts) != 1 {
			t.Errorf("%s: %+v, %v", c.name, verdicts, err)
			continue
		}
		unknown := func(w fact.Way) bool { return w.Way != "kldload" && w.Blocked != fact.Yes }
		if next := verdicts[0].NextBoot; next == nil || !slices.ContainsFunc(next.Ways, unknown) {
			t.Errorf("%s: %+v", c.name, next)
		}
	}
}
