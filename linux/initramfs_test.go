// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// initrdOf is an initial file system with the modules lone and only, their indexes and more texts.
func initrdOf(more ...string) string {
	return string(linuxtest.Archive(append([]string{"lib/modules/6/kernel/lone.ko", "x",
		"lib/modules/6/kernel/only.ko", "x", "lib/modules/6/modules.dep", "kernel/lone.ko:\nkernel/only.ko:\n",
		"lib/modules/6/modules.alias", "alias pci:v1* lone\nalias pci:v9* only\n",
		"lib/modules/6/modules.builtin", ""}, more...)...))
}

// blockedRoot is an image whose own configuration blocks lone, and what else is given; "-" leaves a file out.
func blockedRoot(more map[string]string) fstest.MapFS {
	texts := map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n"}
	maps.Copy(texts, more)
	return imageOf(texts)
}

// wayOf returns the way of that name; without a name if it is missing.
func wayOf(v fact.Verdict, name string) fact.Way {
	if i := slices.IndexFunc(v.NextBoot.Ways, func(w fact.Way) bool { return w.Way == name }); i >= 0 {
		return v.NextBoot.Ways[i]
	}
	return fact.Way{}
}

// TestInitramfsWay: a copy is judged by the files of the initial file system, and by the command line.
func TestInitramfsWay(t *testing.T) {
	const image, entry = "boot/initrd.img-6", "boot/loader/entries/a.conf"
	named := "version 6\ninitrd /initrd.img-6\noptions quiet\n"
	with := func(options string, more ...string) map[string]string {
		return map[string]string{entry: named + options, image: initrdOf(more...)}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		query string
		want  string // the outcome, and the way's answer; "none" for no such way
	}{
		{"a copy that nothing stops", with(""), "lone", "loadable no"},
		{"its own install line", with("", "etc/modprobe.d/a.conf", "install lone /bin/true\n"), "lone", "blocked yes"},
		{"its own install line for another", with("", "etc/modprobe.d/a.conf", "install lo /bin/true\n"), "lone",
			"loadable no"},
		{"an install line of unknown effect", with("", "etc/modprobe.d/a.conf", "install lone /bin/x\n", "bin/x",
			"\x7fELF"), "lone",
			"unknown ?"},
		{"its own blacklist line", with("", "etc/modprobe.d/a.conf", "blacklist lone\n"), "lone", "loadable no"},
		{"another file hides its line", with("", "etc/modprobe.d/a.conf", "x\n", "lib/modprobe.d/a.conf",
			"install lone /bin/true\n"), "lone", "loadable no"},
		{"a link to its line", with("", "lib/modprobe.d/b.conf", "install lone /bin/true\n"), "lone", "blocked yes"},
		{"the kernel refuses the name", with("options module_blacklist=lone\n"), "lone", "blocked yes"},
		{"modprobe.blacklist filters aliases only", with("options modprobe.blacklist=lone\n"), "lone", "loadable no"},
		{"loading is off", with("options nomodule\n"), "lone", "blocked yes"},
		{"no copy", map[string]string{entry: named, image: string(linuxtest.Archive("init", "x"))}, "lone",
			"blocked none"},
		{"for another release", map[string]string{entry: named, image: string(linuxtest.Archive(
			"lib/modules/7/kernel/lone.ko", "x", "lib/modules/7/modules.dep", "kernel/lone.ko:\n"))}, "lone",
			"blocked none"},
		{"a copy that no index names", map[string]string{entry: named, image: string(linuxtest.Archive(
			"lib/modules/6/kernel/lone.ko", "x"))}, "lone", "unknown ?"},
		{"a copy that no index names, and a list does", map[string]string{entry: named, image: string(
			linuxtest.Archive("lib/modules/6/kernel/lone.ko", "x", "conf/modules", "lone\n"))}, "lone", "loadable no"},
		{"only there", with(""), "only", "loadable no"},
		{"only there, by alias", with(""), "pci:v9z", "loadable no"},
		{"only there, and blocked", with("", "etc/modprobe.d/a.conf", "install only /bin/true\n"), "only",
			"blocked yes"},
		{"only there, and blacklisted", with("", "etc/modprobe.d/a.conf", "blacklist only\n"), "only", "loadable no"},
		{"only there, blacklisted, and loaded by dracut's word", with("options rd.driver.pre=x,only\n",
			"etc/modprobe.d/a.conf", "blacklist only\n"), "only", "loadable no"},
		{"only there, with an install line, and loaded by dracut's word", with("options rd.driver.post=only\n",
			"etc/modprobe.d/a.conf", "install only /bin/true\n"), "only", "blocked yes"},
		{"neither here nor there", with(""), "nosuch", "absent none"},
		{"an entry without one", map[string]string{image: initrdOf()}, "lone", "blocked none"},
		{"named, and missing", map[string]string{entry: named}, "lone", "unknown ?"},
		{"named, and missing: nothing is absent", map[string]string{entry: named}, "nosuch", "unknown none"},
		{"of random bytes", map[string]string{entry: named, image: "\x01\x02\x03 nonsense"}, "lone", "unknown ?"},
		{"cut off", map[string]string{entry: named, image: initrdOf()[:400]}, "lone", "unknown ?"},
		{"followed by nonsense", map[string]string{entry: named,
			image: string(linuxtest.Archive("init", "x")) + "nonsense"}, "lone", "unknown ?"},
		{"packed in a file system", with("", "squash-root.img", "hsqs"), "nosuch", "unknown none"},
		{"a variable of the boot loader", map[string]string{entry: named + "initrd $more\n", image: initrdOf(
			"etc/modprobe.d/a.conf", "install lone /bin/true\n")}, "lone", "unknown ?"},
		{"a variable that is set to nothing", map[string]string{entry: named + "initrd $more\n",
			"boot/grub/grubenv": "more=\n",
			image:               initrdOf("etc/modprobe.d/a.conf", "install lone /bin/true\n")}, "lone", "blocked yes"},
		{"of the kernel's EFI loader", map[string]string{entry: "version 6\noptions initrd=\\a\\ird.img quiet\n",
			"boot/a/ird.img": initrdOf()}, "lone", "loadable no"},
		{"of one entry of two", map[string]string{entry: named, "boot/loader/entries/b.conf": "version 6\noptions a\n",
			image: initrdOf()}, "lone", "loadable no"},
		{"of the second entry", map[string]string{"boot/loader/entries/b.conf": named, image: initrdOf()}, "lone",
			"loadable no"},
		{"no entry, in the usual place", map[string]string{entry: "-", image: initrdOf()}, "lone", "loadable no"},
		{"no entry and no file, but a kernel", map[string]string{entry: "-", "boot/vmlinuz-6": "x"}, "lone",
			"unknown ?"},
		{"only a bare command line", map[string]string{entry: "-", "etc/kernel/cmdline": "quiet\n"}, "lone",
			"unknown ?"},
		{"/boot is not mounted", map[string]string{entry: "-", "boot/config-6": "-",
			"usr/lib/modules/6/config": "CONFIG_MODULES=y\n", "etc/fstab": "# x\nUUID=1 /boot ext4 defaults 0 2\n"},
			"lone", "unknown ?"},
		{"a container", map[string]string{entry: "-"}, "lone", "blocked none"},
	} {
		v := checkOf(t, blockedRoot(tt.files), tt.query)
		w := wayOf(v, WayInitramfs)
		way := string(w.Blocked)
		switch {
		case w.Way == "":
			way = "none"
		case way == "":
			way = "?"
		}
		if got := string(v.NextBoot.Outcome) + " " + way; got != tt.want {
			t.Errorf("%s: %s, want %s: %s\n%+v\n%+v", tt.name, got, tt.want, outcomes(v), v.Reasons, v.Problems)
		}
		unread := slices.ContainsFunc(v.Problems, func(p fact.Problem) bool { return p.Source == SourceInitramfs })
		wants := strings.HasPrefix(tt.want, "unknown") && !strings.Contains(tt.name, "effect") &&
			!strings.Contains(tt.name, "no index") || tt.name == "a container"
		if unread != wants {
			t.Errorf("%s: a problem of the initial file system: %v, want %v: %+v", tt.name, unread, wants, v.Problems)
		}
	}
}

// TestInitramfsLists: a list there is named, and so is the file with the copy.
func TestInitramfsLists(t *testing.T) {
	v := checkOf(t, blockedRoot(map[string]string{"boot/loader/entries/a.conf": "initrd /i\n",
		"boot/i": string(linuxtest.Gzip([]byte(initrdOf("conf/modules", "# a list\nlone\n"))))}), "lone")
	r := v.Reasons[0]
	if r.Code != ReasonInitramfs || r.File != "/boot/i" || !strings.Contains(r.Text, "conf/modules there loads it") {
		t.Errorf("%+v", v.Reasons)
	}
	if len(v.Remedies) == 0 || !strings.Contains(v.Remedies[0].Text, "update-initramfs") {
		t.Errorf("%+v", v.Remedies)
	}
}

// TestInitramfsOfBootEntries: the files that a boot entry names are read, wherever they are.
func TestInitramfsOfBootEntries(t *testing.T) {
	const micro = "kernel/x86/a.bin"
	copyOf := string(linuxtest.Gzip([]byte(initrdOf())))
	early := string(linuxtest.Archive(micro, "z"))
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // the file that the reason names
	}{
		{"named by a loader entry", map[string]string{"boot/loader/entries/a.conf": "version 6\noptions quiet\n" +
			"initrd /m/6/initrd\n", "boot/m/6/initrd": copyOf}, "/boot/m/6/initrd"},
		{"on the EFI partition", map[string]string{"boot/efi/loader/entries/b.conf": "linux /m/6.1/linux\n",
			"boot/loader/entries/a.conf": "options quiet\ninitrd /m/6/initrd\n", "boot/efi/m/6/initrd": copyOf},
			"/boot/efi/m/6/initrd"},
		{"two of one entry", map[string]string{"boot/loader/entries/a.conf": "initrd /ucode.img\n" +
			"initrd /initramfs-linux.img\n", "boot/ucode.img": early, "boot/initramfs-linux.img": copyOf},
			"/boot/initramfs-linux.img"},
		{"named by grub", map[string]string{"boot/loader/entries/a.conf": "-",
			"boot/grub/grub.cfg": "linux ($root)/boot/vmlinuz-6 quiet\ninitrd ($root)/boot/early.img /boot/main.img\n",
			"boot/early.img":     early, "boot/main.img": copyOf}, "/boot/main.img"},
		{"in a unified image", map[string]string{"boot/loader/entries/a.conf": "-", "efi/EFI/Linux/a.efi": string(
			linuxtest.ImageOf(map[string]string{".cmdline": "quiet", ".initrd": copyOf, ".uname": "6"}))},
			"/efi/EFI/Linux/a.efi"},
	} {
		v := checkOf(t, blockedRoot(tt.files), "lone")
		if v.NextBoot.Outcome != fact.VerdictLoadable || v.Reasons[0].File != tt.want {
			t.Errorf("%s: %s, %+v, want %s", tt.name, outcomes(v), v.Reasons, tt.want)
		}
	}
}

// TestInitramfsUnreadable: what may not be read is unknown, never blocked or absent.
func TestInitramfsUnreadable(t *testing.T) {
	root := blockedRoot(map[string]string{"boot/loader/entries/a.conf": "initrd /i\n", "boot/i": initrdOf()})
	for _, err := range []error{fs.ErrPermission, fact.ErrUnrecorded, fact.ErrTooLarge, errors.ErrUnsupported} {
		for _, query := range []string{"lone", "only", "nosuch"} {
			v := checkOf(t, linuxtest.Refusing(root, "boot/i", err), query)
			if v.NextBoot.Outcome != fact.VerdictUnknown || !strings.Contains(v.NextBoot.Because.Unread, err.Error()) {
				t.Errorf("%v: %s: %s, %+v", err, query, outcomes(v), v.NextBoot.Because)
			}
		}
	}
}

// TestInitramfsOfBusybox: its modprobe knows no install lines.
func TestInitramfsOfBusybox(t *testing.T) {
	for _, tt := range []struct {
		name  string
		texts []string
		want  fact.Tri
	}{
		{"kmod's", []string{"usr/sbin/modprobe", "/bin/kmod", "bin/kmod", "x", "bin/busybox", "x"}, fact.Yes},
		{"busybox's", []string{"sbin/modprobe", "../bin/busybox", "bin/busybox", "x", "bin/kmod", "x"}, fact.No},
		{"busybox's, linked when it runs", []string{"bin/busybox", "x"}, fact.No},
		{"a program of its own", []string{"bin/busybox", "x", "sbin/modprobe", ""}, fact.Yes},
		{"none: a library of kmod's", nil, fact.Yes},
	} {
		texts := append(slices.Clone(tt.texts), "etc/modprobe.d/a.conf", "install lone /bin/false\n",
			"lib/modules/6/kernel/lone.ko", "x", "lib/modules/6/modules.dep", "kernel/lone.ko:\n",
			"lib/modules/6/modules.alias", "", "lib/modules/6/modules.builtin", "")
		data := linuxtest.Archive(texts...)
		if len(tt.texts) > 0 && tt.texts[1] != "x" {
			copy(data[14:], "0000a1ff") // the mode of a symbolic link
		}
		v := checkOf(t, blockedRoot(map[string]string{"boot/loader/entries/a.conf": "initrd /i\n",
			"boot/i": string(data)}), "lone")
		if got := wayOf(v, WayInitramfs).Blocked; got != tt.want {
			t.Errorf("%s: %q, want %q: %+v", tt.name, got, tt.want, v.Reasons)
		}
	}
}

// TestInitramfsCache: files that did not change are read once.
func TestInitramfsCache(t *testing.T) {
	root := blockedRoot(map[string]string{"boot/i": initrdOf()})
	root["boot/i"].ModTime = root["boot/i"].ModTime.AddDate(2000, 0, 0)
	var c initramfsCache
	var lost fact.Report
	first, err := c.read(root, []string{"boot/i"}, &lost)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.read(root, []string{"boot/i"}, &lost); again != first {
		t.Error("read again, and nothing changed")
	}
	root["boot/i"].ModTime = root["boot/i"].ModTime.AddDate(1, 0, 0)
	if again, _ := c.read(root, []string{"boot/i"}, &lost); again == first {
		t.Error("kept, and the file changed")
	}
	c.forget()
	if len(c.entries) != 0 {
		t.Error("not forgotten")
	}
}
