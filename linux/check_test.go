// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

func TestInitcalls(t *testing.T) {
	symbols := []byte("0 d __initcall__kmod_serio__271_1051_serio_init4\n" +
		"0 d __initcall__kmod_serio__272_1052_serio_more6s\t[x]\n0 d __initcall__kmod_seriox__1_2_other6\n" +
		"0 d __initcall__kmod_v2__3_4_start_v26\n0 d __initcall__kmod_serio__nonsense\n")
	got := initcallsOf(symbols, "serio")
	if !slices.Equal(got, []string{"serio_init", "serio_more"}) {
		t.Fatalf("%q", got)
	}
	if v2 := initcallsOf(symbols, "v2"); !slices.Equal(v2, []string{"start_v2"}) {
		t.Errorf("%q", v2)
	}
	lto := []byte("0 d __initcall__kmod_serio__271_1051_serio_init4\n" +
		"0 t __initstub__kmod_serio__271_1051_serio_init4\n")
	if got := initcallsOf(lto, "serio"); !slices.Equal(got, []string{"__initstub__kmod_serio__271_1051_serio_init4"}) {
		t.Errorf("%q", got)
	}
	for _, tt := range []struct {
		list, functions []string
		want            fact.Tri
	}{
		{[]string{"serio_init"}, got, fact.No}, // the other one starts
		{[]string{"serio_init", "serio_more"}, got, fact.Yes},
		{[]string{"serio_init"}, nil, ""}, // only its symbols would show it
		{[]string{"the_serio_thing"}, nil, ""},
		{[]string{"other"}, nil, fact.No},
		{nil, nil, fact.No},
	} {
		if blocked, _ := initcallsBlocked(tt.list, tt.functions, "serio"); blocked != tt.want {
			t.Errorf("%q of %q: %q, want %q", tt.list, tt.functions, blocked, tt.want)
		}
	}
}

// imageOf is an image with three modules: hid has no alias, net has one and needs hid, lone has one.
func imageOf(more map[string]string) fstest.MapFS {
	texts := map[string]string{
		"lib/modules/6/modules.dep":     "kernel/hid.ko:\nkernel/net.ko: kernel/hid.ko\nkernel/lone.ko:\n",
		"lib/modules/6/modules.alias":   "alias net-pf-77 net\nalias pci:v1* lone\n",
		"lib/modules/6/modules.builtin": "kernel/core.ko\n",
		"lib/modules/6/kernel/hid.ko":   "",
		"lib/modules/6/kernel/net.ko":   "",
		"lib/modules/6/kernel/lone.ko":  "",
		"opt/tool":                      "\x7fELF",
		"boot/config-6":                 "CONFIG_MODULES=y\n",
		"boot/loader/entries/a.conf":    "version 6\noptions quiet\n",
	}
	for name, text := range more {
		if text == "-" {
			delete(texts, name)
			continue
		}
		texts[name] = text
	}
	return linuxtest.Files(texts)
}

func checkOf(t *testing.T, fsys fs.FS, query string) fact.Verdict {
	t.Helper()
	dir, err := modprobe.FindRelease(fsys, "6")
	v, checkErr := check(t.Context(), checkedKernel{FS: fsys, Release: "6", Dir: dir, DirErr: err},
		query, new(fact.Report))
	if checkErr != nil || len(v) != 1 {
		t.Fatalf("%s: %v, %v", query, v, checkErr)
	}
	unknownReasons(t, v[0])
	return v[0]
}

func outcomes(v fact.Verdict) string {
	text := string(v.NextBoot.Outcome)
	for _, w := range v.NextBoot.Ways {
		text += fmt.Sprintf(" %s=%s", w.Way,
			map[fact.Tri]string{fact.Yes: "blocked", fact.No: "open", "": "?"}[w.Blocked])
	}
	return text
}

// hasWay reports whether a prospect has the way with that answer.
func hasWay(p *fact.Prospect, way string, blocked fact.Tri) bool {
	return slices.ContainsFunc(p.Ways, func(w fact.Way) bool { return w.Way == way && w.Blocked == blocked })
}

func TestCheckAnImage(t *testing.T) {
	const open = "autoload_name=open unprivileged=? modprobe=open"
	for _, tt := range []struct {
		name  string
		files map[string]string
		query string
		want  string
	}{
		{"plain", nil, "lone", "loadable autoload_alias=open " + open + " insmod=open"},
		{"no tree", map[string]string{"lib/modules/6/modules.dep": "-", "lib/modules/6/modules.alias": "-",
			"lib/modules/6/modules.builtin": "-", "lib/modules/6/kernel/lone.ko": "-",
			"lib/modules/6/kernel/net.ko": "-",
			"lib/modules/6/kernel/hid.ko": "-"}, "lone", "unknown"},
		{"no alias index", map[string]string{"lib/modules/6/modules.alias": "-"}, "nosuch", "unknown"},
		{"no such", nil, "nosuch", "absent"},
		{"file without an index line", map[string]string{"lib/modules/6/extra/odd.ko": "x"}, "odd",
			"blocked autoload_name=blocked modprobe=blocked insmod=open"},
		{"builtin", nil, "core", "builtin"},
		{"two entries, one blocks", map[string]string{"boot/loader/entries/b.conf": "version 6\n" +
			"options module_blacklist=lone\n"}, "lone",
			"loadable autoload_alias=open " + open + " insmod=open"},
		{"two entries, both block", map[string]string{"boot/loader/entries/a.conf": "version 6\n" +
			"options module_blacklist=x,lone\n", "boot/loader/entries/b.conf": "version 6\n" +
			"options module_blacklist=lone\n"}, "lone",
			"blocked autoload_alias=blocked autoload_name=blocked unprivileged=blocked " +
				"modprobe=blocked insmod=blocked"},
		{"another release's entry blocks", map[string]string{"boot/loader/entries/b.conf": "version 7\n" +
			"options module_blacklist=lone\n", "boot/loader/entries/a.conf": "-"}, "lone",
			"loadable autoload_alias=open " + open + " initramfs=? insmod=open"},
		{"kernel without modules", map[string]string{"boot/config-6": "CONFIG_NET=y\n"}, "lone",
			"blocked autoload_alias=blocked autoload_name=blocked unprivileged=blocked " +
				"modprobe=blocked insmod=blocked"},
		{"enforced, and a file of nothing", map[string]string{"boot/config-6": "CONFIG_MODULES=y\n" +
			"CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\n"}, "lone",
			"unknown autoload_alias=? autoload_name=? unprivileged=? modprobe=? insmod=?"},
		{"helper off", map[string]string{"boot/config-6": "CONFIG_MODULES=y\nCONFIG_MODPROBE_PATH=\"\"\n"}, "net",
			"loadable autoload_alias=blocked autoload_name=blocked unprivileged=blocked modprobe=open insmod=open"},
		{"by id of nothing", nil, "net-pf-77", "loadable autoload_alias=open autoload_name=open unprivileged=open " +
			"modprobe=open insmod=open"},
		{"dependency", nil, "hid", "loadable autoload_name=open unprivileged=? modprobe=open " +
			"dependency=open insmod=open"},
	} {
		v := checkOf(t, imageOf(tt.files), tt.query)
		if got := outcomes(v); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s\n%+v", tt.name, got, tt.want, v.Reasons)
		}
		if v.Now != nil {
			t.Errorf("%s: an image has an answer for now", tt.name)
		}
		if v.NextBoot.Outcome == fact.VerdictAbsent && (len(v.Problems) == 0 || v.Problems[0].Code != fact.CodeAbsent) {
			t.Errorf("%s: absent without a problem: %+v", tt.name, v.Problems)
		}
	}
}

func TestCheckNamesTheNearest(t *testing.T) {
	v := checkOf(t, imageOf(nil), "lome")
	if len(v.Problems) == 0 || !strings.Contains(v.Problems[0].Text, "lone") {
		t.Errorf("%+v", v.Problems)
	}
}

// TestAnUnreadConfigurationIsNotBlocked: what could not be read may say the opposite.
func TestAnUnreadConfigurationIsNotBlocked(t *testing.T) {
	fsys :=
		linuxtest.Refusing(imageOf(map[string]string{"etc/modprobe.d/b.conf": "install lone /bin/false\n",
			"etc/modprobe.d/a.conf": "x\n"}), "etc/modprobe.d/a.conf", fs.ErrPermission)
	v := checkOf(t, fsys, "lone")
	if v.NextBoot.Outcome != fact.VerdictUnknown {
		t.Errorf("%s", outcomes(v))
	}
	if !slices.ContainsFunc(v.Problems,
		func(p fact.Problem) bool { return p.Source == SourceConfig && p.Code == fact.CodePermission }) {
		t.Errorf("%+v", v.Problems)
	}
	if v := checkOf(t, fsys, "nosuch"); v.NextBoot.Outcome != fact.VerdictUnknown {
		t.Errorf("absent although the configuration was not read: %s", outcomes(v))
	}
}

func TestCheckTellsTriggersAndRemedies(t *testing.T) {
	v := checkOf(t,
		imageOf(map[string]string{"etc/modules-load.d/x.conf": "# c\nnet\n",
			"etc/sysctl.d/9.conf": "kernel.modules_disabled = 1\n"}), "net")
	want := []string{ReasonTriggerProcess, ReasonTriggerList}
	for _, code := range want {
		if !slices.ContainsFunc(v.Triggers, func(r fact.Reason) bool { return r.Code == code }) {
			t.Errorf("no %s in %+v", code, v.Triggers)
		}
	}
	if len(v.Remedies) != 2 || !strings.HasPrefix(v.Remedies[0].Text, "install net ") {
		t.Errorf("%+v", v.Remedies)
	}
	if !slices.ContainsFunc(v.Bypasses, func(r fact.Reason) bool {
		return r.Code == ReasonSetLater && r.File == "/etc/sysctl.d/9.conf" && r.Line == 1
	}) {
		t.Errorf("%+v", v.Bypasses)
	}
}

// TestFirstReason holds that a verdict's first reason is the one that decides.
func TestFirstReason(t *testing.T) {
	const conf = "etc/modprobe.d/a.conf"
	for _, tt := range []struct {
		query string
		files map[string]string
		want  string
	}{
		{"lone", nil, "loadable on_disk"},
		{"lone", map[string]string{conf: "blacklist lone\n"}, "loadable on_disk"},
		{"lone", map[string]string{conf: "install lone /bin/false\n"}, "blocked install"},
		{"lone", map[string]string{conf: "blacklist lone\ninstall lone /bin/false\n"}, "blocked install"},
		{"lone", map[string]string{conf: "install lone /opt/tool\n"}, "unknown install"},
		{"lone", map[string]string{"lib/modules/6/kernel/lone.ko": "-"}, "blocked file_missing"},
		{"net", map[string]string{conf: "install hid /bin/false\n"}, "blocked install"},
		{"lone", map[string]string{"boot/loader/entries/a.conf": "version 6\noptions module_blacklist=lone\n"},
			"blocked module_blacklist"},
		{"core", nil, "builtin builtin"},
		{"core", map[string]string{"boot/loader/entries/a.conf": "version 6\noptions initcall_blacklist=core_init\n"},
			"unknown initcall_blacklist"},
		{"nosuch", nil, "absent no_such_module"},
		{"nosuch", map[string]string{conf: "alias nosuch other\n"}, "absent no_such_module"},
		{"nosuch", map[string]string{"lib/modules/6/modules.alias": "-"}, "unknown unread"},
	} {
		v := checkOf(t, imageOf(tt.files), tt.query)
		if got := string(v.Worst()) + " " + v.Reasons[0].Code; got != tt.want {
			t.Errorf("%s with %v: %s, want %s", tt.query, tt.files, got, tt.want)
		}
		if list := appendReasons(nil, v.Reasons...); len(list) != len(v.Reasons) {
			t.Errorf("%s with %v: a reason is given twice: %v", tt.query, tt.files, v.Reasons)
		}
	}
}
