// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

func TestEffectOf(t *testing.T) {
	for command, want := range map[string]CommandEffect{
		"/bin/false": CommandFails, "/usr/bin/false": CommandFails, "false": CommandFails,
		"/bin/false # CVE": CommandFails,
		"/bin/true":        CommandNothing, ":": CommandNothing, "exit 0": CommandNothing, "exit 1": CommandFails,
		"/bin/echo off; /bin/false": CommandFails, "logger off && false": CommandFails, "false && true": CommandFails,
		"false; true":         CommandNothing,
		"/sbin/modprobe -i x": CommandLoads, "modprobe --ignore-install x $CMDLINE_OPTS && /opt/x": CommandLoads,
		"insmod /opt/x.ko": CommandLoads,
		"modprobe -i y":    CommandUnknown, "modprobe x": CommandUnknown, "/opt/load": CommandUnknown,
		"true || insmod /tmp/y": CommandUnknown,
		"/bin/false | cat":      CommandUnknown, "$(cat /x)": CommandUnknown, "true & /opt/x": CommandUnknown,
		"/bin/falsey":               CommandUnknown,
		"/bin/true; modprobe -qi x": CommandLoads,
		`echo ' #'; /opt/load`:      CommandUnknown, `echo " #"; sh -c "modprobe -i x"`: CommandUnknown,
		`echo "off" ; /bin/false`: CommandFails, `echo "$(modprobe -i y)"`: CommandUnknown,
		`echo 'modprobe -i x'`: CommandNothing, "/bin/false # modprobe -i x": CommandFails,
		"/bin/false;# modprobe -i x": CommandFails, `echo "a`: CommandUnknown, `"/bin/false"`: CommandUnknown,
		`modprobe -i x; echo "it's in"`: CommandLoads, "false#": CommandUnknown, `fal''se`: CommandUnknown,
		"/bin/false && /bin/true; /opt/load": CommandUnknown, "false && true; true": CommandNothing,
		"false && /opt/load": CommandFails, "true && /opt/load": CommandUnknown,
		"false; exit": CommandFails, "exit 0; /opt/load": CommandNothing, "exit 1; /opt/load": CommandFails,
		"true &":                           CommandUnknown,
		"/run/current-system/sw/bin/false": CommandFails, "/nix/store/abc-coreutils-9/bin/true": CommandNothing,
		"/tmp/false": CommandUnknown, "./true": CommandUnknown, "/tmp/../bin/true": CommandUnknown,
		"/nix/store/../bin/true": CommandUnknown,
	} {
		if got := EffectOf(command, "x"); got != want {
			t.Errorf("%q: %s, want %s", command, got, want)
		}
	}
}

func TestInitcalls(t *testing.T) {
	symbols := []byte("0 d __initcall__kmod_serio__271_1051_serio_init4\n" +
		"0 d __initcall__kmod_serio__272_1052_serio_more6s\t[x]\n0 d __initcall__kmod_seriox__1_2_other6\n" +
		"0 d __initcall__kmod_v2__3_4_start_v26\n0 d __initcall__kmod_serio__nonsense\n")
	got := Initcalls(symbols, "serio")
	if !slices.Equal(got, []string{"serio_init", "serio_more"}) {
		t.Fatalf("%q", got)
	}
	if v2 := Initcalls(symbols, "v2"); !slices.Equal(v2, []string{"start_v2"}) {
		t.Errorf("%q", v2)
	}
	lto := []byte("0 d __initcall__kmod_serio__271_1051_serio_init4\n" +
		"0 t __initstub__kmod_serio__271_1051_serio_init4\n")
	if got := Initcalls(lto, "serio"); !slices.Equal(got, []string{"__initstub__kmod_serio__271_1051_serio_init4"}) {
		t.Errorf("%q", got)
	}
	for _, tt := range []struct {
		list, functions []string
		want            fact.Tri
	}{
		{[]string{"serio_init"}, got, fact.No}, // the other one starts
		{[]string{"serio_init", "serio_more"}, got, fact.Yes},
		{[]string{"serio_init"}, nil, ""}, // only its symbols would tell
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
	return files(texts)
}

func checkOf(t *testing.T, fsys fs.FS, query string) fact.Verdict {
	t.Helper()
	dir, err := FindRelease(fsys, "6")
	v, checkErr := NewChecker(CheckMachine{FS: fsys, Release: "6", Dir: dir, DirErr: err}).Check(query)
	if checkErr != nil || len(v) != 1 {
		t.Fatalf("%s: %v, %v", query, v, checkErr)
	}
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
			"loadable autoload_alias=open " + open + " insmod=open"},
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
	fsys := refusing{
		imageOf(map[string]string{"etc/modprobe.d/b.conf": "install lone /bin/false\n",
			"etc/modprobe.d/a.conf": "x\n"}),
		"etc/modprobe.d/a.conf", fs.ErrPermission}
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

// archiveOf is a cpio archive in the newc form.
func archiveOf(texts ...string) []byte {
	var b bytes.Buffer
	add := func(name, text string, mode int) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, 1, 0, len(text),
			0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, pad(uint64(b.Len()))))
		b.WriteString(text)
		b.Write(make([]byte, pad(uint64(b.Len()))))
	}
	for i := 0; i+1 < len(texts); i += 2 {
		add(texts[i], texts[i+1], 0o100644)
	}
	add("TRAILER!!!", "", 0)
	return b.Bytes()
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestInitramfs(t *testing.T) {
	micro := archiveOf("kernel/x86/microcode/GenuineIntel.bin", "12345")
	main := archiveOf("usr/lib/modules/6/kernel/lone.ko", "x", "usr/lib/modules/6/kernel/net.ko.zst", "y",
		"conf/modules", "# list\nlone\n",
		"etc/modprobe.d/a.conf", "install net /bin/false\n", "lib/modprobe.d/a.conf", "install lone /bin/false\n",
		"bin/sh", "z")
	for name, data := range map[string][]byte{"plain": main, "two": append(slices.Clone(micro), main...),
		"padded and zipped": append(append(slices.Clone(micro), make([]byte, 512)...), zipped(main)...)} {
		i, err := ParseInitramfs(data, "boot/initrd.img-6")
		if err != nil || len(i.Modules) != 2 || len(i.Lists) != 1 {
			t.Fatalf("%s: %+v, %v", name, i, err)
		}
		if c := i.Copy("lone"); len(c) != 1 || !strings.Contains(c[0].Text, "loads it at boot") {
			t.Errorf("%s: %+v", name, c)
		}
		if i.Copy("net") != nil || i.Copy("other") != nil {
			t.Errorf("%s: a copy that its own modprobe.d stops, or that is not there", name)
		}
	}
	for name, data := range map[string][]byte{"cut": main[:len(main)/2], "cut zip": zipped(main)[:60],
		"no header": []byte("070701nonsense"), "cut micro": micro[:100]} {
		if i, err := ParseInitramfs(data, "x"); err == nil || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if _, err := ParseInitramfs([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("lzo: %v", err)
	}
	v := checkOf(t,
		imageOf(map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n",
			"boot/initrd.img-6": string(main)}), "lone")
	if v.NextBoot.Outcome != fact.VerdictBlocked ||
		!slices.ContainsFunc(v.Bypasses,
			func(r fact.Reason) bool { return r.Code == ReasonInitramfs && r.File == "/boot/initrd.img-6" }) {
		t.Errorf("%s: %+v", outcomes(v), v.Bypasses)
	}
	v = checkOf(t,
		imageOf(map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n",
			"boot/initrd.img-6": "\x89LZO"}),
		"lone")
	if !slices.ContainsFunc(v.Problems, func(p fact.Problem) bool { return p.Source == SourceInitramfs }) {
		t.Errorf("an initramfs that was not read is not told of: %+v", v.Problems)
	}
}

func FuzzInitramfs(f *testing.F) {
	f.Add(archiveOf("lib/modules/6/a.ko", "x", "conf/modules", "a\n"))
	f.Add(zipped(archiveOf("etc/modprobe.d/a.conf", "install a b\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := ParseInitramfs(data, "x")
		if (i == nil) == (err == nil) {
			t.Fatal("value xor error")
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add("/sbin/modprobe -i x && false; true", "x")
	f.Fuzz(func(t *testing.T, command, module string) {
		switch EffectOf(command, module) {
		case CommandFails, CommandNothing:
			if strings.ContainsAny(command, "|`$") && !strings.Contains(command, " #") {
				t.Fatalf("%q was judged", command)
			}
		case CommandLoads, CommandUnknown:
		default:
			t.Fatal("no such effect")
		}
	})
}
