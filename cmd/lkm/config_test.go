// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestConfigAndPlan is the table of what config and plan print of an image, and of their exit codes.
func TestConfigAndPlan(t *testing.T) {
	idle := map[string]string{"etc/modprobe.d/x.conf": "options lone a=1\nblacklist lone also\n",
		"boot/loader/entries/a.conf": "version 6\noptions module_blacklist=lone-ly\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		code  int
		says  []string // in stdout or stderr
	}{
		{"config", idle, []string{"config"}, 0,
			[]string{"options    lone  a=1    /etc/modprobe.d/x.conf:1", "lines: 2, files: 1"}},
		{"lint", idle, []string{"config", "--lint"}, 1,
			[]string{"/etc/modprobe.d/x.conf:2", `is ignored: "also"`,
				"module_blacklist=lone_ly", "/boot/loader/entries/a.conf:2"}},
		{"nothing idle", nil, []string{"config", "--lint"}, 0, []string{"lines: 0, files: 0, idle: 0"}},
		{"lint as JSON", idle, []string{"config", "--lint", "--format", "json"}, 1, []string{`"code": "extra_names"`}},
		{"plan", idle, []string{"plan", "lone"}, 0, []string{"load  lone    /lib/modules/6/kernel/lone.ko a=1  asked"}},
		{"plan of a command", map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n"},
			[]string{"plan", "lone"}, 0, []string{"run   lone    /bin/false  asked"}},
		{"plan of a builtin", nil, []string{"plan", "core"}, 0, []string{"builtin  core"}},
		{"plan of a blacklisted alias", idle, []string{"plan", "lonely"}, 0,
			[]string{"nothing", "/etc/modprobe.d/x.conf:2"}},
		{"plan of nothing", nil, []string{"plan", "nothing", "lone"}, 2,
			[]string{"no module, alias or symbol", "lone.ko"}},
	} {
		root := checkImage(t, tt.files)
		code, stdout, stderr := lkmRun(t, "", append(tt.args, "--root", root)...)
		if code != tt.code {
			t.Errorf("%s: exit %d, want %d\n%s%s", tt.name, code, tt.code, stdout, stderr)
		}
		for _, says := range tt.says {
			if !strings.Contains(stdout+stderr, says) {
				t.Errorf("%s: no %q in\n%s%s", tt.name, says, stdout, stderr)
			}
		}
	}
}

// TestInfoFieldUnread: a word that nobody read is not one that the module lacks, for which modinfo prints nothing.
func TestInfoFieldUnread(t *testing.T) {
	const want = "nvme: license is unknown: the module's file was not read"
	info := []string{"info", "nvme", "-F", "license", "--tape", "demo:synthetic-debian-root"}
	if code, out, errs := lkmRun(t, "", info...); code != 0 || out != "" || !strings.Contains(errs, want) {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if code, _, errs := lkmRun(t, "", append(info, "--strict")...); code != 3 || !strings.Contains(errs, want) {
		t.Errorf("--strict: exit %d, %q", code, errs)
	}
}

// TestInfoField is what -F prints of a builtin, whose metadata are a text, and of what has no such field.
func TestInfoField(t *testing.T) {
	root := checkImage(t, map[string]string{
		"lib/modules/6/modules.builtin.modinfo": "core.license=GPL\x00core.file=kernel/core\x00core.parm=a:first\x00" +
			"core.parmtype=a:int\x00core.parm=b:second\x00core.parmtype=c:bool\x00core.alias=one\x00core.alias=two\x00",
	})
	for _, tt := range []struct {
		field, name, want string
		code              int
	}{
		{"license", "core", "GPL\n", 0},
		{"alias", "core", "one\ntwo\n", 0},
		{"parm", "core", "c: (bool)\nb:second\na:first (int)\n", 0}, // the last first, as modinfo
		{"filename", "core", "(builtin)\n", 0},
		{"filename", "lone", "/lib/modules/6/kernel/lone.ko\n", 0},
		{"softdep", "core", "", 0},
		{"state", "core", "builtin\n", 0},
		{"linux.release", "lone", "6\n", 0},
		{"signer", "lone", "", 0},
		{"licenses", "core", "", 2},
	} {
		code, stdout, stderr := lkmRun(t, "", "info", tt.name, "-F", tt.field, "--root", root)
		if stdout != tt.want || code != tt.code {
			t.Errorf("-F %s of %s: exit %d, %q, want %q\n%s", tt.field, tt.name, code, stdout, tt.want, stderr)
		}
	}
}

// TestTreeOfSoftdeps: what modprobe loads beside a module is in its tree, by an alias too; what nothing answers is not.
func TestTreeOfSoftdeps(t *testing.T) {
	root := checkImage(t, map[string]string{
		"lib/modules/6/modules.dep": "kernel/lone.ko:\nkernel/pre.ko: kernel/base.ko\nkernel/base.ko:\n" +
			"kernel/post.ko:\nkernel/weak.ko:\n",
		"lib/modules/6/kernel/pre.ko": "", "lib/modules/6/kernel/base.ko": "", "lib/modules/6/kernel/post.ko": "",
		"lib/modules/6/kernel/weak.ko":  "",
		"lib/modules/6/modules.alias":   "alias before pre\n",
		"lib/modules/6/modules.softdep": "softdep lone pre: before nothing post: post\nsoftdep lone pre: base\n",
		"lib/modules/6/modules.weakdep": "weakdep lone weak nothing\nweakdep lone base\n",
		"lib/modules/6/modules.builtin": "kernel/core.ko\n",
	})
	code, stdout, stderr := lkmRun(t, "", "tree", "lone", "--root", root)
	want := "lone  installed\n├─ pre  installed  softdep pre\n│  └─ base  installed\n" +
		"├─ post  installed  softdep post\n" +
		"└─ weak  installed  weakdep\n"
	if code != 0 || stdout != want {
		t.Errorf("exit %d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}
	_, dot, _ := lkmRun(t, "", "tree", "lone", "--dot", "--root", root)
	if !strings.Contains(dot, `"lone" -> "pre" [style=dashed]`) {
		t.Errorf("%s", dot)
	}
}
