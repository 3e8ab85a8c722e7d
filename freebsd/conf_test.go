// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/rcconf"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

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
		var c rcconf.Conf
		var r fact.Report
		c.ReadLoader(file, string(b), &r)
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
			if rcconf.Yes(zfs.Value) || !rcconf.Yes(open.Value) {
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
	got = string(Redact("etc/rc.conf", []byte("x=\"hunter2\"; kldload a\nkldload -n a b\nload_kld a\nkldload $x\n"+
		"a=1 kld_list=a\nkld_list=\"a\" # x\nx=$(kldload a)\nexport x=hunter2\nx=hunter2 # kldload a\n"+
		"x=${kld_list:=a}\nx=\"hunter2\n\"\n")))
	const lost = "# [redacted]\n"
	want = lost + "kldload -n a b\nload_kld a\n" + lost + lost + "kld_list=\"a\" # x\n" + lost +
		"export x=\"[redacted]\"\nx=\"[redacted]\"\n" + lost + lost + lost
	if got != want {
		t.Errorf("rc.conf: got %q, want %q", got, want)
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
		var c rcconf.Conf
		var r fact.Report
		if shell {
			c.ReadScript("f", s, &r)
		} else {
			c.ReadLoader("f", s, &r)
		}
		if len(c.Settings) > len(s) || len(r.Problems) > fact.MaxProblems+1 {
			t.Fatal("more than the input")
		}
		_ = Redact("boot/loader.conf", []byte(s))
		_ = parsePreloads(s, &r)
	})
}
