// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// TestNotBlockedAfterAll has images where something looks blocked or absent and may get in.
func TestNotBlockedAfterAll(t *testing.T) {
	const noIndex = "-"
	bare := func(more ...string) map[string]string {
		texts := map[string]string{"lib/modules/6/modules.dep": noIndex, "lib/modules/6/modules.alias": noIndex,
			"lib/modules/6/modules.builtin": noIndex, "lib/modules/6/wl.ko": "x"}
		for i := 0; i+1 < len(more); i += 2 {
			texts[more[i]] = more[i+1]
		}
		return texts
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		links map[string]string
		query string
		want  fact.VerdictOutcome
		says  string // in a reason
	}{
		{"no index, whatever modprobe is", bare(), nil, "wl", fact.VerdictUnknown, "no modules.dep names"},
		{"no index, busybox", bare(), map[string]string{"sbin/modprobe": "../bin/busybox"}, "wl",
			fact.VerdictUnknown, ""},
		{"OpenWrt", bare("etc/modules.d/10-wl", "wl param=1\n"), map[string]string{"sbin/modprobe": "kmodloader"}, "wl",
			fact.VerdictLoadable, "without an index"},
		{"another install line loads it", map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n" +
			"install net /sbin/modprobe -i lone; /sbin/modprobe -i net\n"}, nil, "lone",
			fact.VerdictLoadable, "past its own install line"},
		{"another install line, in quotes", map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n" +
			"install other sh -c 'modprobe -i lone'\n"}, nil, "lone", fact.VerdictUnknown, ""},
		{"an alias that runs a command", map[string]string{"etc/modprobe.d/a.conf": "alias net-pf-38 wrap\n" +
			"install wrap /sbin/modprobe -i lone\n"}, nil, "net-pf-38", fact.VerdictUnknown, "install wrap"},
		{"a name that runs a command", map[string]string{"etc/modprobe.d/a.conf": "install foo_x modprobe lone\n"}, nil,
			"foo_x", fact.VerdictUnknown, "install foo_x"},
		{"a name that only asks for itself", map[string]string{
			"etc/modprobe.d/a.conf": "install foo_x /sbin/modprobe --ignore-install foo-x\n"}, nil, "foo_x",
			fact.VerdictAbsent, ""},
		{"a name that asks for itself and more", map[string]string{
			"etc/modprobe.d/a.conf": "install foo_x modprobe -i foo_x && /opt/x\n"}, nil, "foo_x",
			fact.VerdictUnknown, "install foo_x"},
		{"a name that asks for itself, an alias of another", map[string]string{
			"etc/modprobe.d/a.conf": "alias foo_x bar_x\ninstall bar_x modprobe -i foo_x\n"}, nil, "foo_x",
			fact.VerdictUnknown, "install bar_x"},
		{"a pattern of names that asks for one", map[string]string{
			"etc/modprobe.d/a.conf": "alias foo_x bar_x\ninstall bar* modprobe -i bar_x\n"}, nil, "foo_x",
			fact.VerdictUnknown, "install bar*"},
		{"its file was removed, its line asks for itself",
			map[string]string{"lib/modules/6/kernel/lone.ko": "-", "etc/modprobe.d/a.conf": "install lone modprobe " +
				"-i lone\n"}, nil, "lone", fact.VerdictBlocked, "it is not there"},
		{"a name that runs nothing", map[string]string{"etc/modprobe.d/a.conf": "install foo_x /bin/true\n"}, nil,
			"foo_x", fact.VerdictAbsent, ""},
		{"an alias that is off", map[string]string{"lib/modules/6/modules.alias": "alias net-pf-38 lone\n",
			"etc/modprobe.d/a.conf": "alias net-pf-38 off\n"}, nil, "net-pf-38", fact.VerdictLoadable,
			"alias net_pf_38 off"},
		{"another directory of the release", map[string]string{"usr/lib/modules/6/kernel/more.ko": "x"}, nil, "more",
			fact.VerdictUnknown, "no readable source"},
		{"a function that System.map names",
			map[string]string{"boot/System.map-6": "0 d __initcall__kmod_core__1_2_core_start6\n",
				options: "version 6\noptions initcall_blacklist=core_start\n"}, nil, "core",
			fact.VerdictBlocked, "core_start"},
		{"a function that may be its own",
			map[string]string{options: "version 6\noptions initcall_blacklist=core_init\n"}, nil, "core",
			fact.VerdictUnknown, "core_init"},
		{"its file was removed", map[string]string{"lib/modules/6/kernel/lone.ko": "-"}, nil, "lone",
			fact.VerdictBlocked, "it is not there"},
		{"its file was removed, another is loaded",
			map[string]string{"lib/modules/6/kernel/lone.ko": "-", "etc/modprobe.d/a.conf": "install lone insmod " +
				"/opt/lone.ko\n"}, nil, "lone", fact.VerdictUnknown, "insmod /opt"},
		{"aliases of builtin code that are invalid",
			map[string]string{"lib/modules/6/modules.builtin.alias.bin": "x"},
			nil, "nosuch", fact.VerdictUnknown, ""},
		{"aliases of builtin code are not listed, a name", nil, nil, "nosuch", fact.VerdictAbsent, ""},
		{"aliases of builtin code are not listed, an alias", nil, nil, "net-pf-79", fact.VerdictUnknown, ""},
		{"aliases of builtin code are listed", map[string]string{"lib/modules/6/modules.builtin.alias": ""}, nil,
			"net-pf-79", fact.VerdictAbsent, ""},
	} {
		fsys := imageOf(tt.files)
		for name, target := range tt.links {
			fsys[name] = linuxtest.Link(target)
		}
		v := checkOf(t, fsys, tt.query)
		if v.NextBoot.Outcome != tt.want || !strings.Contains(fmt.Sprint(v.Reasons), tt.says) {
			t.Errorf("%s: %s, want %s with %q\n%+v", tt.name, outcomes(v), tt.want, tt.says, v)
		}
	}
}

// TestManySoftdeps has as many as a file holds, of modules that exist and that do not.
func TestManySoftdeps(t *testing.T) {
	var conf strings.Builder
	for i := range 60000 {
		fmt.Fprintf(&conf, "softdep m%d pre: lone\nsoftdep net pre: lone\n", i)
	}
	v := checkOf(t, imageOf(map[string]string{"etc/modprobe.d/a.conf": conf.String()}), "lone")
	if v.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("%+v", v)
	}
}

// TestSocketTriggers are modules that any process brings in by opening a socket of their protocol, or a terminal.
func TestSocketTriggers(t *testing.T) {
	for _, alias := range []string{"can-proto-2", "bt-proto-3", "tty-ldisc-17"} {
		v := checkOf(t, imageOf(map[string]string{"lib/modules/6/modules.alias": "alias " + alias + " lone\n"}), "lone")
		if got := outcomes(v); !strings.Contains(got, "unprivileged=open") {
			t.Errorf("%s: %s", alias, got)
		}
	}
}

// TestMoreListsThanAreRead has more lists than the caps allow: that is said.
func TestMoreListsThanAreRead(t *testing.T) {
	fsys := fstest.MapFS{"etc/modules.d/x": linuxtest.File("a\n")}
	for i := range 4096 + 1 {
		fsys[fmt.Sprintf("etc/modules.d/%05d", i)] = linuxtest.File("")
	}
	var r fact.Report
	if modprobe.ReadLoadLists(fsys, &r); len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%v", r.Problems)
	}
}

// TestUnindexedWithALine: a file that no index names is there, whatever a line of the configuration makes of its name.
func TestUnindexedWithALine(t *testing.T) {
	for _, line := range []string{"install odd /bin/false\n", "remove odd /bin/false\n", "alias odd off\n", "\n"} {
		files := map[string]string{"lib/modules/6/extra/odd.ko": "", "etc/modprobe.d/a.conf": line}
		v := checkOf(t, imageOf(files), "odd")
		if v.NextBoot.Outcome == fact.VerdictAbsent || v.Module != "odd" || wayOf(v, WayInsmod).Blocked == fact.Yes {
			t.Errorf("%q: %s: %+v", line, outcomes(v), v)
		}
	}
}
