// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/boot"
)

func TestInitramfs(t *testing.T) {
	micro := linuxtest.Archive("kernel/x86/microcode/GenuineIntel.bin", "12345")
	main := linuxtest.Archive("usr/lib/modules/6/kernel/lone.ko", "x", "usr/lib/modules/6/kernel/net.ko.zst", "y",
		"conf/modules", "# list\nlone\n",
		"etc/modprobe.d/a.conf", "install net /bin/false\n", "lib/modprobe.d/a.conf", "install lone /bin/false\n",
		"bin/sh", "z")
	for name, data := range map[string][]byte{"plain": main, "two": append(slices.Clone(micro), main...),
		"padded and zipped": append(append(slices.Clone(micro), make([]byte, 512)...), linuxtest.Gzip(main)...)} {
		i, err := boot.ParseInitramfs(data, "boot/initrd.img-6", new(fact.Report))
		if err != nil || len(i.Modules) != 2 || len(i.Lists) != 1 {
			t.Fatalf("%s: %+v, %v", name, i, err)
		}
		if c := initramfsCopy(i, "lone"); len(c) != 1 || !strings.Contains(c[0].Text, "loads it at boot") {
			t.Errorf("%s: %+v", name, c)
		}
		if initramfsCopy(i, "net") != nil || initramfsCopy(i, "other") != nil {
			t.Errorf("%s: a copy that its own modprobe.d stops, or that is not there", name)
		}
	}
	for name, data := range map[string][]byte{"cut": main[:len(main)/2], "cut zip": linuxtest.Gzip(main)[:60],
		"no header": []byte("070701nonsense"), "cut micro": micro[:100]} {
		if i, err := boot.ParseInitramfs(data, "x", new(fact.Report)); err == nil ||
			errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	if _, err := boot.ParseInitramfs([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), "x", new(fact.Report)); !errors.Is(err,
		errors.ErrUnsupported) {
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

// TestInitramfsOfBootEntries: the files that a boot entry names are read, wherever they are.
func TestInitramfsOfBootEntries(t *testing.T) {
	copyOf := string(linuxtest.Gzip(linuxtest.Archive("lib/modules/6/kernel/lone.ko", "x")))
	blocked := map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // the bypass's file; "" for none, "?" for unknown
	}{
		{"an entry without one", nil, ""},
		{"named by a loader entry", map[string]string{"boot/loader/entries/a.conf": "version 6\noptions quiet\n" +
			"initrd /m/6/initrd\n", "boot/m/6/initrd": copyOf}, "/boot/m/6/initrd"},
		{"on the EFI partition", map[string]string{"boot/efi/loader/entries/b.conf": "linux /m/6.1/linux\n",
			"boot/loader/entries/a.conf": "options quiet\ninitrd /m/6/initrd\n", "boot/efi/m/6/initrd": copyOf},
			"/boot/efi/m/6/initrd"},
		{"two of one entry", map[string]string{"boot/loader/entries/a.conf": "initrd /ucode.img\n" +
			"initrd /initramfs-linux.img\n", "boot/ucode.img": string(linuxtest.Archive("kernel/x86/a.bin", "z")),
			"boot/initramfs-linux.img": copyOf}, "/boot/initramfs-linux.img"},
		{"named by grub",
			map[string]string{"boot/loader/entries/a.conf": "-", "boot/grub/grub.cfg": "linux ($root)/boot/vmlinuz-6 " +
				"quiet\ninitrd ($root)/boot/early.img /boot/main.img\n",
				"boot/early.img": string(linuxtest.Archive("kernel/x86/a.bin", "z")), "boot/main.img": copyOf},
			"/boot/main.img"},
		{"in a unified image",
			map[string]string{"boot/loader/entries/a.conf": "-",
				"efi/EFI/Linux/a.efi": string(linuxtest.ImageOf(map[string]string{".cmdline": "quiet",
					".initrd": copyOf,
					".uname":  "6"}))}, "/efi/EFI/Linux/a.efi"},
		{"named, and not there", map[string]string{"boot/loader/entries/a.conf": "initrd /gone\n"}, "?"},
		{"nothing tells", map[string]string{"boot/loader/entries/a.conf": "-"}, "?"},
		{"only a command line", map[string]string{"boot/loader/entries/a.conf": "-", "etc/kernel/cmdline": "quiet\n"},
			"?"},
		{"the kernel refuses it anyway",
			map[string]string{"boot/loader/entries/a.conf": "options module_blacklist=lone\n",
				"boot/initrd.img-6": copyOf}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts := map[string]string{}
			for _, m := range []map[string]string{blocked, tt.files} {
				for name, text := range m {
					texts[name] = text
				}
			}
			v := checkOf(t, imageOf(texts), "lone")
			if v.NextBoot.Outcome != fact.VerdictBlocked {
				t.Fatalf("%s", outcomes(v))
			}
			got := ""
			for _, b := range v.Bypasses {
				if b.Code == ReasonInitramfs {
					if got = b.File; strings.HasPrefix(b.Text, "unknown") {
						got = "?"
					}
				}
			}
			if got != tt.want {
				t.Errorf("bypass %q, want %q: %+v", got, tt.want, v.Bypasses)
			}
			told := slices.ContainsFunc(v.Problems,
				func(p fact.Problem) bool { return p.Source == SourceInitramfs && errors.Is(p, fs.ErrNotExist) })
			if told != (tt.want == "?") {
				t.Errorf("problems %+v", v.Problems)
			}
		})
	}
}

// TestInitramfsOfDracutSquash: what is packed in a file system of its own is not read.
func TestInitramfsOfDracutSquash(t *testing.T) {
	for _, name := range []string{"squash-root.img", "squash/root.img", "erofs-root.img"} {
		var r fact.Report
		i, err := boot.ParseInitramfs(linuxtest.Archive("init", "x", name, "hsqs"), "boot/x", &r)
		if err != nil || len(r.Problems) != 1 || !errors.Is(r.Problems[0], errors.ErrUnsupported) ||
			!strings.Contains(r.Problems[0].Text, name) {
			t.Errorf("%s: %+v, %v, %v", name, i, r.Problems, err)
		}
	}
	v := checkOf(t,
		imageOf(map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n",
			"boot/initrd.img-6": string(linuxtest.Archive("squash-root.img", "hsqs"))}), "lone")
	if !slices.ContainsFunc(v.Bypasses, func(r fact.Reason) bool { return strings.HasPrefix(r.Text, "unknown") }) {
		t.Errorf("%+v", v.Bypasses)
	}
}

// TestInitramfsOfBusybox: its modprobe knows no install lines.
func TestInitramfsOfBusybox(t *testing.T) {
	const module, conf = "lib/modules/6/lone.ko", "etc/modprobe.d/a.conf"
	for _, tt := range []struct {
		name  string
		texts []string
		stops bool
	}{
		{"kmod's", []string{"usr/sbin/modprobe", "/bin/kmod", "bin/kmod", "x", "bin/busybox", "x"}, true},
		{"busybox's", []string{"sbin/modprobe", "../bin/busybox", "bin/busybox", "x", "bin/kmod", "x"}, false},
		{"busybox's, linked when it runs", []string{"bin/busybox", "x"}, false},
		{"a program of its own", []string{"bin/busybox", "x", "sbin/modprobe", ""}, true},
		{"none: a library of kmod's", nil, true},
	} {
		data := linuxtest.Archive(append(tt.texts, module, "x", conf, "install lone /bin/false\n")...)
		if len(tt.texts) > 0 && tt.texts[1] != "x" {
			copy(data[14:], "0000a1ff") // the mode of a symbolic link
		}
		i, err := boot.ParseInitramfs(data, "boot/x", new(fact.Report))
		if err != nil || (initramfsCopy(i, "lone") == nil) != tt.stops {
			t.Errorf("%s: %+v, %v", tt.name, i, err)
		}
	}
}
