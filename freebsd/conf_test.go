// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

func TestLoaderConf(t *testing.T) {
	var c conf
	var r fact.Report
	c.readLoaderConf("/boot/defaults/loader.conf", `# Loader defaults
module_blacklist="drm drm2 radeonkms"	# Loader module blacklist
module_blacklist="${module_blacklist} nvidia-drm"
module_path="/boot/modules;/boot/dtb"
exec=".( Loading )"
`, &r)
	c.readLoaderConf("/boot/loader.conf",
		"zfs_load=\"YES\"\r\n  hint.atkbd.0.disabled=1 # off\nnot an assignment\nkern.hz=100\n"+
			"bad=\"no end\nif_em_load = \"NO\"\nfdc_load=YES junk\n", &r)
	words, s := c.Words("module_blacklist")
	if diff := cmp.Diff([]string{"drm", "drm2", "radeonkms", "nvidia-drm"}, words); diff != "" || s.Line != 3 ||
		s.File != "/boot/defaults/loader.conf" {
		t.Error(diff, s)
	}
	for name, want := range map[string]setting{
		"zfs_load":              {Name: "zfs_load", Value: "YES", File: "/boot/loader.conf", Line: 1},
		"hint.atkbd.0.disabled": {Name: "hint.atkbd.0.disabled", Value: "1", File: "/boot/loader.conf", Line: 2},
		"kern.hz":               {Name: "kern.hz", Value: "100", File: "/boot/loader.conf", Line: 4},
		"if_em_load":            {Name: "if_em_load", Value: "NO", File: "/boot/loader.conf", Line: 6},
		"bad":                   {Name: "bad", File: "/boot/loader.conf", Line: 5, Code: fact.CodeUnsupported},
		"exec":                  {Name: "exec", Value: ".( Loading )", File: "/boot/defaults/loader.conf", Line: 5},
	} {
		if got, ok := c.Lookup(name); !ok || got != want {
			t.Errorf("%s = %+v, want %+v", name, got, want)
		}
	}
	lines := []int{}
	for _, p := range r.Problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{3, 5, 7}, lines); diff != "" {
		t.Errorf("problems %v: %s", r.Problems, diff)
	}
}

func TestRCConf(t *testing.T) {
	const unknown = "?"
	for name, c := range map[string]struct {
		text string
		want map[string]string // "-" for unset
	}{
		"plain": {"hostname='secret'\nkld_list=\"nvidia-modeset /boot/modules/drm.ko\"\n" +
			"kld_list=\"${kld_list} fusefs\"; kern_securelevel_enable=YES\nexport kern_securelevel=\"1\"\n" +
			"path=\"a\\\"b\"\n",
			map[string]string{"kld_list": "nvidia-modeset /boot/modules/drm.ko fusefs",
				"kern_securelevel_enable": "YES",
				"kern_securelevel":        "1", "hostname": "secret", "path": `a"b`, "none": "-"}},
		"computed": {"a=\"$(cat /etc/x)\"\nb=`date`\nc=\"$unset z\"\nd=1\nd=${d:-2}\ne=\"${e} x\"\n",
			map[string]string{"a": unknown, "b": unknown, "c": unknown, "d": unknown, "e": " x"}},
		"lines": {"kld_list=\"a\n  b\"\nx=1 # it's a comment\ny=a\\\nb\n",
			map[string]string{"kld_list": "a   b", "x": "1", "y": "ab"}},
		"condition": {"a=1\nb=1\nif [ -f /x ]; then\n\ta=2\nfi\nc=1\n[ -f /y ] && c=2\n" +
			"case $x in\ny) d=1;;\nesac\nb=3\n",
			map[string]string{"a": unknown, "b": "3", "c": unknown, "d": unknown, "z": "-"}},
		"other file":     {"a=1\n. /etc/more.conf\nb=2\n", map[string]string{"a": unknown, "b": "2", "c": unknown}},
		"function":       {"f() {\n\ta=1\n}\nb=1\nf\nc=1\n", map[string]string{"a": unknown, "b": unknown, "c": "1"}},
		"unused":         {"f() { a=1; }\nb=1\nlogger hello\n", map[string]string{"a": "-", "b": "1"}},
		"of one command": {"a=1 logger x\nb=1\n", map[string]string{"a": "-", "b": "1"}},
		"presets":        {"a=1\n: ${a:=2}\n: ${b:=\"3\"}\n", map[string]string{"a": "1", "b": "3"}},
		"exit":           {"a=1\nexit 0\nb=1\n", map[string]string{"a": "1", "b": "-"}},
		"document":       {"cat <<EOF\na=1\nEOF\nb=1\n", map[string]string{"a": "-", "b": "1"}},
		"redacted":       {"a=\"[redacted]\"\nb=1\n", map[string]string{"a": unknown, "b": "1"}},
		"redacted line":  {"# [redacted]\nb=1\n", map[string]string{"a": unknown, "b": unknown}},
		"open quote":     {"a=\"x\nb=1\n", map[string]string{"a": unknown, "b": "1"}},
	} {
		var conf conf
		var r fact.Report
		conf.readRCConf("/etc/rc.conf", c.text, &r)
		for variable, want := range c.want {
			got, ok := conf.Lookup(variable)
			switch {
			case want == "-" && ok, want == unknown && (got.Code == "" || got.Value != ""),
				want != "-" && want != unknown && (got.Value != want || got.Code != ""):
				t.Errorf("%s: %s = %+v, want %q", name, variable, got, want)
			}
		}
	}
}

// TestRecordedConf reads the configuration files of real systems without a complaint.
func TestRecordedConf(t *testing.T) {
	root := testdata.Dir(t, "captures")
	files, _ := filepath.Glob(filepath.Join(root, "freebsd", "loaderconf-*", "*"))
	if len(files) < 8 {
		t.Fatalf("only %d files in %s", len(files), root)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c conf
		var r fact.Report
		c.readLoaderConf(file, string(b), &r)
		want := 0
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				want++
			}
		}
		if len(c.Settings) > want || want > 0 && len(c.Settings) == 0 {
			t.Errorf("%s: %d settings of %d lines", file, len(c.Settings), want)
		}
		if len(r.Problems) != 0 {
			t.Errorf("%s: %v", file, r.Problems)
		}
		if strings.HasSuffix(file, "hellosystem-12.2/loader.conf") {
			zfs, _ := c.Lookup("zfs_load")
			open, _ := c.Lookup("openzfs_load")
			if saysYes(zfs.Value) || !saysYes(open.Value) {
				t.Errorf("zfs %+v, openzfs %+v", zfs, open)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	got := string(Redact("boot/loader.conf", []byte("# my key\nzfs_load=\"YES\"\ngeom_eli_passphrase=\"hunter2\"\n"+
		"malformed hunter2\n")))
	want := "#\nzfs_load=\"YES\"\ngeom_eli_passphrase=\"[redacted]\"\n# [redacted]\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = string(Redact("etc/fstab", []byte("# mine\n//a@nas/b /mnt smbfs rw,noauto,-W=secret 0 0\n"+
		"/dev/ada0p2 / ufs rw 1 1\n")))
	if want := "#\n- - smbfs noauto\n- - ufs rw\n"; got != want {
		t.Errorf("fstab: got %q, want %q", got, want)
	}
	k := newFake()
	b, _ := k.call(t.Context(), OpKldStat, "2", "2")
	s, err := decodeFileStat(Redact("kldstat 2 2", b), layoutFreeBSD)
	if err != nil || s.Address != 0 || !s.Redacted || s.Name != "zfs.ko" || s.Size != 0x620f30 {
		t.Errorf("%+v %v", s, err)
	}
	k.files[1].Address = 0
	b, _ = k.call(t.Context(), OpKldStat, "2", "2")
	if s, _ := decodeFileStat(Redact("kldstat 2 2", b), layoutFreeBSD); s.Redacted {
		t.Error("an address that the kernel hid is now called redacted")
	}
	text := Redact("sysctl debug.dump_modinfo", []byte(preloadText))
	if strings.Contains(string(text), "ffffffff8") || strings.Contains(string(text), "secret") {
		t.Errorf("%s", text)
	}
	var r fact.Report
	if p := parsePreloads(string(text), &r); len(p) != 3 || len(r.Problems) != 0 || p[1].Name != "/boot/kernel/zfs.ko" {
		t.Errorf("%+v %v", p, r.Problems)
	}
}

const preloadText = "\n 0xffffffff82549000:\n\ttype:\t(0x01) MODINFO_NAME\n\tlen:\t20\n" +
	"\tvalue:\t/boot/kernel/kernel\n" +
	" 0xffffffff8254901c:\n\ttype:\t(0x02) MODINFO_TYPE\n\tlen:\t11\n\tvalue:\telf kernel\n" +
	" 0xffffffff82549030:\n\ttype:\t(0x04) MODINFO_SIZE\n\tlen:\t8\n\tvalue:\t38797312\n" +
	" 0xffffffff82549040:\n\ttype:\t(0x8006) MODINFO_METADATA | MODINFOMD_ENVP\n\tlen:\t8\n" +
	"\tvalue:\t0xffffffff82549000\n" +
	" 0xffffffff82549050:\n\ttype:\t(0x01) MODINFO_NAME\n\tlen:\t20\n\tvalue:\t/boot/kernel/zfs.ko\n" +
	" 0xffffffff82549060:\n\ttype:\t(0x02) MODINFO_TYPE\n\tlen:\t15\n\tvalue:\telf obj module\n" +
	" 0xffffffff82549070:\n\ttype:\t(0x06) MODINFO_ARGS\n\tlen:\t15\n\tvalue:\tsecret=1\n" +
	" 0xffffffff82549080:\n\ttype:\t(0x01) MODINFO_NAME\n\tlen:\t9\n\tvalue:\t/boot/entropy\n" +
	" 0xffffffff82549090:\n\ttype:\t(0x02) MODINFO_TYPE\n\tlen:\t19\n\tvalue:\tboot_entropy_cache\n"

func TestPreloads(t *testing.T) {
	var r fact.Report
	p := parsePreloads(preloadText, &r)
	want := []preload{
		{Name: "/boot/kernel/kernel", Type: "elf kernel", Size: fact.CountOf(38797312)},
		{Name: "/boot/kernel/zfs.ko", Type: "elf obj module", Args: "secret=1"},
		{Name: "/boot/entropy", Type: "boot_entropy_cache"},
	}
	if diff := cmp.Diff(want, p, equalCounts); diff != "" || len(r.Problems) != 0 {
		t.Error(diff, r.Problems)
	}
	if !p[1].Code() || p[2].Code() {
		t.Error("code and data are mixed up")
	}
	if p := parsePreloads("value: x\ngarbage\n", &r); len(p) != 0 || len(r.Problems) != 1 || p == nil {
		t.Errorf("%v %v", p, r.Problems)
	}
}

func FuzzConf(f *testing.F) {
	f.Add("kld_list=\"${kld_list} a\"; x=`y`\nexport z='1'\n", true)
	f.Add("module_blacklist=\"${module_blacklist} b\" # c\n", false)
	f.Fuzz(func(t *testing.T, s string, shell bool) {
		var c conf
		var r fact.Report
		if shell {
			c.readRCConf("f", s, &r)
		} else {
			c.readLoaderConf("f", s, &r)
		}
		if len(c.Settings) > len(s) || len(r.Problems) > fact.MaxProblems+1 {
			t.Fatal("more than the input")
		}
		_ = Redact("boot/loader.conf", []byte(s))
		_ = parsePreloads(s, &r)
	})
}
