// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestGrubWords: grub takes quotes away, and puts them around a word with blanks.
func TestGrubWords(t *testing.T) {
	for line, want := range map[string]string{
		`linux /vmlinuz-1 root=UUID=1 ro quiet`:                 "root=UUID=1 ro quiet",
		`linux /vmlinuz-1 modprobe.blacklist="a,b" x`:           "modprobe.blacklist=a,b x",
		`linux /vmlinuz-1 'dyndbg=file a +p' y`:                 `"dyndbg=file a +p" y`,
		`linux /vmlinuz-1 a.b="c d" y`:                          `"a.b=c d" y`,
		`linux /vmlinuz-1 a=\"q\" b\ c`:                         `a="q" "b c"`,
		`linux /vmlinuz-1 a  # module_blacklist=x`:              "a",
		`linux /vmlinuz-1 a#b; boot`:                            "a#b",
		`menuentry "b" { linux /vmlinuz-1 a ; initrd /i }`:      "a",
		`if true; then linux /vmlinuz-1 a; boot; fi`:            "a",
		`if x; then y; else linux /vmlinuz-1 a="{;}" '|'; fi`:   "a={;} |",
		`linux /vmlinuz-1 a${one}b # ; linux /vmlinuz-2 c`:      "a1b",
		`set x=';' && linux /vmlinuz-1 a\;b`:                    "a;b",
		"linux\t/vmlinuz-1\ta\t b":                              "a b",
		"linux /vmlinuz-1 a \\\n  b \\\n c":                     "a b c",
		`linux ($root)/vmlinuz-1 $two "$two" '$two' pre${one}s`: `x y "x y" $two pre1s`,
		`linux /vmlinuz-1 a="unclosed b`:                        `"a=unclosed b"`,
		`linux /vmlinuz-1`:                                      "",
	} {
		var r fact.Report
		b := Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": "set one=1\nset two=\"x y\"\n" +
			"set root='hd0,1'\n" + line + "\n"}), &r)
		if len(b.Entries) != 1 || b.Entries[0].Text != want || b.Entries[0].Release != "1" ||
			len(b.Entries[0].Unresolved) > 0 {
			t.Errorf("%s\n%+v, want %q", line, b.Entries, want)
		}
	}
}

// TestGrubVariables: a variable that is set to one value has it; one that is set to several may be anything, and one
// that nothing sets is empty.
func TestGrubVariables(t *testing.T) {
	for _, tt := range []struct{ name, cfg, env, want string }{
		{"block", "", "kernelopts=a", "a"},
		{"set", "set kernelopts=b\n", "", "b"},
		{"a default that is not needed", "if [ -z \"${kernelopts}\" ]; then\n  set kernelopts=\"b\"\nfi\n",
			"kernelopts=a", "a"},
		{"a default that is", "if [ -z \"${kernelopts}\" ]; then\n  set kernelopts=\"b c\"\nfi\n", "", "b c"},
		{"two values", "set kernelopts=lsm=a\nset kernelopts=lsm=b\n", "", "$kernelopts"},
		{"two values that say nothing of modules", "if x; then set kernelopts=vt.handoff=7; else set kernelopts=; fi\n",
			"", "vt.handoff=7"},
		{"two values, one of which says something", "set kernelopts=a\nset kernelopts='x module_blacklist=b'\n",
			"", "$kernelopts"},
		{"two values, one of which is for init", "set kernelopts=a\nset kernelopts='--'\n", "", "$kernelopts"},
		{"two values, one of which has a quote", "set kernelopts=a\nset kernelopts='\"'\n", "", "$kernelopts"},
		{"two values, one of which is not known", "set kernelopts=a\nset kernelopts=$x\n", "", "$kernelopts"},
		{"set, and read", "set kernelopts=a\nread kernelopts\n", "", "$kernelopts"},
		{"set, and one of a list", "set kernelopts=a\nfor kernelopts in a module_blacklist=b; do x; done\n",
			"", "$kernelopts"},
		{"set, and taken away", "set kernelopts=lockdown=integrity\nunset kernelopts\n", "", "$kernelopts"},
		{"one value twice", "set kernelopts=a\nset kernelopts=a\n", "", "a"},
		{"of another variable", "set kernelopts=\"a $x\"\n", "", "$kernelopts"},
		{"none", "set other=1\nif [ -n \"${kernelopts}\" ]; then x; fi\n", "other=2", ""},
		{"none, but a command may set it", "search --fs-uuid 1 --set=kernelopts\n", "", "$kernelopts"},
		{"none, but a command of another form may", "search.fs_uuid 1 kernelopts\n", "", "$kernelopts"},
		{"none, but another file may set it", "configfile (hd7,1)/more.cfg\n", "", "$kernelopts"},
		{"none, and a name like it", "search --set=kernelopts2\nset my_kernelopts=1\n", "", ""},
	} {
		var r fact.Report
		b := Read(linuxtest.Files(map[string]string{"boot/grub2/grub.cfg": tt.cfg,
			"boot/grub2/grubenv":         "# GRUB Environment Block\n" + tt.env + "\n###",
			"boot/loader/entries/a.conf": "linux /vmlinuz-1\noptions $kernelopts\n"}), &r)
		got := "none"
		if len(b.Entries) == 1 {
			if got = b.Entries[0].Text; len(b.Entries[0].Unresolved) > 0 {
				got = strings.Join(b.Entries[0].Unresolved, " ")
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBootReleases(t *testing.T) {
	for _, tt := range []struct{ name, entry, want string }{
		{"version alone", "version 6.1\noptions a\n", "6.1"},
		{"the kernel's path is more exact", "version 2\nlinux /ostree/f-1/vmlinuz-6.9.1-200.fc40\n", "6.9.1-200.fc40"},
		{"an ostree's number is not a release", "version 2\nlinux /ostree/f-1/vmlinuz\n", ""},
		{"a folder of its own", "linux /0123/6.8.0-1/linux\n", "6.8.0-1"},
		{"a rescue kernel is any", "version 0-rescue-77\nlinux /vmlinuz-0-rescue-77\n", ""},
		{"no release at all", "linux /vmlinuz-linux\ninitrd /a.img\ninitrd /b.img\n", ""},
	} {
		var r fact.Report
		b := Read(linuxtest.Files(map[string]string{"efi/loader/entries/a.conf": tt.entry}), &r)
		if len(b.Entries) != 1 || b.Entries[0].Release != tt.want {
			t.Errorf("%s: %+v", tt.name, b.Entries)
		}
	}
	var r fact.Report
	b := Read(linuxtest.Files(map[string]string{"boot/loader/entries/a.conf": "options x\n",
		"efi/loader/entries/a.conf": "options y\n"}), &r)
	if len(b.Entries) != 2 {
		t.Errorf("two entries of one name: %+v", b.Entries)
	}
}

// TestReleasesOfDistributions: a name is a release only if there are modules for it; else the entry
// may start any.
func TestReleasesOfDistributions(t *testing.T) {
	const suse, manjaro = "6.1.0-1-default", "6.1.12-1-MANJARO"
	for _, tt := range []struct{ name, file, text, want string }{
		{"openSUSE", "boot/efi/loader/entries/a.conf", "version 1@" + suse + "\nlinux /opensuse-tumbleweed/" + suse +
			"/linux-e7ee7b7d1f0ad2\noptions a\n", suse},
		{"openSUSE, by the version alone", "boot/efi/loader/entries/a.conf", "version 1@" + suse +
			"\nlinux /x/linux-e7ee7b7d1f0ad2\noptions a\n", suse},
		{"openSUSE, by the folder alone", "boot/efi/loader/entries/a.conf", "linux /x/" + suse +
			"/linux-e7ee7b7d1f0ad2\noptions a\n", suse},
		{"NixOS", "boot/loader/entries/a.conf", "version Generation 2 NixOS 24.05.1 (Uakari), Linux Kernel 6.1.0\n" +
			"linux /EFI/nixos/abc-linux-6.1.0-bzImage.efi\noptions a\n", ""},
		{"Manjaro", "boot/grub/grub.cfg", "linux /boot/vmlinuz-6.1-x86_64 a\n", ""},
		{"a kernel with modules", "boot/grub/grub.cfg", "linux /boot/vmlinuz-" + manjaro + " a\n", manjaro},
		{"Alpine", "boot/extlinux.conf", "LABEL lts\n  LINUX vmlinuz-lts\n  APPEND a\n", ""},
		{"extlinux", "boot/extlinux/extlinux.conf", "label l\n  kernel ../vmlinuz-" + suse + "\n  append a\n", suse},
		{"unified, by its name", "efi/EFI/Linux/linux-6.2.efi", string(linuxtest.Image(".cmdline", "a", ".linux", "x")),
			"6.2"},
		{"no modules of it", "boot/grub/grub.cfg", "linux /boot/vmlinuz-6.1.0-2-default a\n", "6.1.0-2-default"},
	} {
		var r fact.Report
		b := Read(linuxtest.Files(map[string]string{tt.file: tt.text, "lib/modules/" + suse + "/modules.dep": "",
			"usr/lib/modules/" + manjaro + "/modules.dep": ""}), &r)
		if len(b.Entries) != 1 || b.Entries[0].Release != tt.want || b.Entries[0].Text != "a" ||
			b.Entries[0].doubtful == (tt.want == "" || tt.want == suse || tt.want == manjaro) {
			t.Errorf("%s: %+v", tt.name, b.Entries)
		}
	}
}

// TestEntriesWithoutLinux: what starts no Linux has no command line of one.
func TestEntriesWithoutLinux(t *testing.T) {
	const entry = "efi/loader/entries/x.conf"
	kernel := linuxtest.Image(".text", strings.Repeat(" ", 1000))
	copy(kernel[0x202:], "HdrS")
	unified := string(linuxtest.Image(".linux", "x", ".cmdline", "own", ".uname", "6"))
	for _, tt := range []struct {
		name  string
		files map[string]string
		texts []string // of the entries
		lost  bool
	}{
		{"memtest in grub", map[string]string{"boot/grub/grub.cfg": "linux /vmlinuz-6 a\n" +
			"menuentry m { linux /boot/memtest86+x64.efi\ninitrd /x }\nlinux16 /memtest86+.bin console=ttyS0\n"},
			[]string{"a"}, false},
		{"shell", map[string]string{entry: "title s\nefi /shellx64.efi\n"}, nil, false},
		{"another loader", map[string]string{entry: "efi /EFI/BOOT/BOOTX64.EFI\n"}, nil, false},
		{"extlinux", map[string]string{"boot/extlinux/extlinux.conf": "label m\nkernel /memtest\nlabel v\n" +
			"kernel vesamenu.c32\nlabel l\nkernel /vmlinuz-6\nappend a\n"}, []string{"a"}, false},
		{"extlinux goes on", map[string]string{"boot/extlinux.conf": "include more.conf\nlabel l\nkernel /vmlinuz-6\n" +
			"append a\n"}, []string{"a"}, true},
		{"Raspberry Pi OS", map[string]string{"boot/cmdline.txt": "DO NOT EDIT THIS FILE\n\n" +
			"The file you are looking for has moved to /boot/firmware/cmdline.txt\n",
			"boot/firmware/cmdline.txt": "a\n"}, []string{"a"}, false},
		{"a unified image", map[string]string{entry: "efi /EFI/x/a.efi\n", "efi/EFI/x/a.efi": unified},
			[]string{"own"}, false},
		{"a unified image with other words",
			map[string]string{entry: "uki /EFI/x/a.efi\noptions a\n", "efi/EFI/x/a.efi": unified},
			[]string{"a", "own"}, false},
		{"a program",
			map[string]string{entry: "efi /EFI/x/tool.efi\n",
				"efi/EFI/x/tool.efi": string(linuxtest.Image(".text", "x"))}, nil, false},
		{"a kernel", map[string]string{entry: "efi /vmlinuz-6.efi\n", "efi/vmlinuz-6.efi": string(kernel)},
			[]string{""}, false},
		{"a unified image without words",
			map[string]string{entry: "efi /EFI/x/a.efi\n", "efi/EFI/x/a.efi": string(linuxtest.Image(".linux", "x"))},
			[]string{""}, false},
		{"a program that is not there", map[string]string{entry: "efi /EFI/x/a.efi\n"}, nil, true},
		{"words for one that is not there", map[string]string{entry: "efi /EFI/x/a.efi\noptions a\n"},
			[]string{"a"}, false},
	} {
		var r fact.Report
		b := Read(linuxtest.Files(tt.files), &r)
		var texts []string
		for _, e := range b.Entries {
			texts = append(texts, strings.TrimSpace(e.Text))
		}
		if !slices.Equal(texts, tt.texts) || (len(r.Problems) > 0) != tt.lost {
			t.Errorf("%s: %+v, %v", tt.name, b.Entries, r.Problems)
		}
	}
}

// TestUnifiedImages: each profile has its command line, and addons add to all of them.
func TestUnifiedImages(t *testing.T) {
	var r fact.Report
	b := Read(linuxtest.Files(map[string]string{
		"efi/EFI/Linux/a.efi": string(linuxtest.Image(".cmdline", "one", ".uname", "6.1",
			".profile", "ID=x", ".cmdline", "two")),
		"efi/EFI/Linux/a.efi.extra.d/b.addon.efi":   string(linuxtest.Image(".cmdline", "module_blacklist=a\n")),
		"efi/loader/addons/all.addon.efi":           string(linuxtest.Image(".cmdline", "quiet")),
		"efi/loader/addons/nothing.addon.efi":       string(linuxtest.Image(".ucode", "x")),
		"efi/EFI/Linux/b.addon.efi":                 string(linuxtest.Image(".cmdline", "not an image of its own")),
		"efi/EFI/Linux/vmlinuz-6.2.efi":             string(linuxtest.Image(".linux", "x")),
		"efi/EFI/Linux/vmlinuz-6.2.efi.extra.d/bad": "not an addon",
	}), &r)
	var texts []string
	for _, e := range b.Entries {
		texts = append(texts, e.Release+": "+strings.Join(strings.Fields(e.Text), " "))
	}
	want := []string{"6.1: one quiet module_blacklist=a", "6.1: two quiet module_blacklist=a", "6.2: quiet"}
	if !slices.Equal(texts, want) || len(r.Problems) != 0 || len(b.Entries[2].Unresolved) != 1 {
		t.Errorf("%q, want %q: %v", texts, want, r.Problems)
	}
}

func TestTooManyBootEntries(t *testing.T) {
	var r fact.Report
	b := Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": strings.Repeat("linux /vmlinuz-1 a\n"+
		"initrd /b\n", maxBootEntries+10)}), &r)
	if len(b.Entries) != maxBootEntries || len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%d entries, %v", len(b.Entries), r.Problems)
	}
}

// TestUbuntuGrub: a variable that says nothing of modules in any case leaves nothing open; within a word
// it does.
func TestUbuntuGrub(t *testing.T) {
	const head = "function gfxmode {\n\tset gfxpayload=\"${1}\"\n\tif [ \"${1}\" = \"keep\" ]; then\n" +
		"\t\tset vt_handoff=vt.handoff=7\n\telse\n\t\tset vt_handoff=\n\tfi\n}\n"
	for line, want := range map[string]int{
		"linux /vmlinuz-6 ro quiet module_blacklist=a $vt_handoff":   0,
		"linux /vmlinuz-6 ${vt_handoff} ro quiet module_blacklist=a": 0,
		"linux /vmlinuz-6 module_blacklist=a$vt_handoff":             1,
		"linux /vmlinuz-6 ${vt_handoff}module_blacklist=a":           1,
		"linux /vmlinuz-6 \"$vt_handoff\" module_blacklist=a":        1,
		"linux /vmlinuz-6 $gfxpayload module_blacklist=a":            1,
	} {
		var r fact.Report
		b := Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": head + line + "\n"}), &r)
		if len(b.Entries) != 1 || len(b.Entries[0].Unresolved) != want {
			t.Errorf("%s: %+v", line, b.Entries)
		}
	}
}

// TestHostileVariables: a short text that asks for a long command line does not get it.
func TestHostileVariables(t *testing.T) {
	big := "set x=" + strings.Repeat("a", 400<<10) + "\n"
	var r fact.Report
	b := Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": big + "linux /vmlinuz-1 module_blacklist=q " +
		strings.Repeat("$x", 100<<10) + "\n",
		"boot/loader/entries/a.conf": "linux /vmlinuz-1\noptions " + strings.Repeat("$x", 100<<10) + "\n"}), &r)
	for _, e := range b.Entries {
		if len(e.Text) > 2*maxExpansion || len(e.Unresolved) != 1 {
			t.Errorf("%s: %d bytes, %d unresolved", e.File, len(e.Text), len(e.Unresolved))
		}
	}
	if len(b.Entries) != 2 {
		t.Errorf("%d entries", len(b.Entries))
	}
}

func TestCmdline(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []Word
	}{
		{"", nil},
		{"  a \t b\n", []Word{{Key: "a"}, {Key: "b"}}},
		{`a=1 b="x y" c= "d=p q" e=f=g`,
			[]Word{{"a", "1", true, false}, {"b", "x y", true, false}, {"c", "", true, false},
				{"d", "p q", true, false},
				{"e", "f=g", true, false}}},
		{"a -- b=c", []Word{{Key: "a"}}},
		{`"open quote=x y`, []Word{{"open quote", "x y", true, false}}},
		{"a=[redacted]", []Word{{"a", "[redacted]", true, true}}},
	} {
		if got := ParseCmdline(tt.text); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v", tt.text, got)
		}
	}
	if n := len(ParseCmdline(strings.Repeat("a ", 3*maxCmdlineWords))); n != maxCmdlineWords {
		t.Errorf("%d words", n)
	}
}

func TestBootEntries(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{
		"boot/loader/entries/a.conf": "title Fedora\nversion 6.1\nlinux /vmlinuz-6.1\n" +
			"options root=x module_blacklist=a\noptions $kernelopts $tuned\n",
		"boot/grub2/grubenv": "# GRUB Environment Block\nkernelopts=quiet modprobe.blacklist=z\n####",
		"boot/grub/grub.cfg": "set default=0\nmenuentry 'Debian, with 6.12' --class x {\n" +
			"\tlinux\t/boot/vmlinuz-6.12 root=UUID=1 ro  ${extra} nomodule\n\tinitrd /boot/initrd.img-6.12\n}\n" +
			"menuentry \"other\" {\n linux /vmlinuz nothing=1\n}\n",
		"boot/extlinux/extlinux.conf": "default l0\nlabel l0\n  kernel /vmlinuz-5.10\n  append lockdown=integrity\n" +
			"label l1\n  menu label x\n",
		"boot/efi/EFI/Linux/uki.efi": string(linuxtest.ImageOf(map[string]string{".cmdline": "module.sig_enforce=1\x00",
			".uname": "6.12"})),
		"boot/efi/EFI/Linux/bad.efi": "MZ",
		"etc/kernel/cmdline":         "not used",
	})
	var r fact.Report
	b := Read(fsys, &r)
	if b.Fallback || len(b.Entries) != 5 {
		t.Fatalf("%+v", b.Entries)
	}
	find := func(release, key string) (string, Entry) {
		for _, e := range b.For(release) {
			if w, ok := LastValue(e.Words, key); ok {
				return w.Value, e
			}
		}
		return "none", Entry{}
	}
	for _, tt := range []struct {
		release, key, value, file string
		line                      int
		unresolved                string
	}{
		{"6.1", "module_blacklist", "a", "boot/loader/entries/a.conf", 4, "$tuned"},
		{"6.1", "modprobe.blacklist", "z", "boot/loader/entries/a.conf", 4, "$tuned"},
		{"6.12", "nomodule", "", "boot/grub/grub.cfg", 3, "$extra"},
		{"6.12", "module.sig_enforce", "1", "boot/efi/EFI/Linux/uki.efi", 0, ""},
		{"5.10", "lockdown", "integrity", "boot/extlinux/extlinux.conf", 4, ""},
		{"6.1", "nothing", "1", "boot/grub/grub.cfg", 7, ""}, // names no release: may be any
	} {
		value, e := find(tt.release, tt.key)
		if value != tt.value || e.File != tt.file || e.Line != tt.line ||
			strings.Join(e.Unresolved, " ") != tt.unresolved {
			t.Errorf("%s %s: %q, %+v", tt.release, tt.key, value, e)
		}
	}
	if len(r.Problems) != 1 || !errors.Is(r.Problems[0], fact.ErrMalformed) {
		t.Errorf("%v", r.Problems)
	}
	r = fact.Report{}
	b = Read(linuxtest.Files(map[string]string{"etc/kernel/cmdline": "a=1\nb"}), &r)
	if !b.Fallback || len(b.For("any")) != 1 || len(b.Entries[0].Words) != 2 {
		t.Errorf("fallback: %+v", b)
	}
	if b = Read(fstest.MapFS{}, &r); len(b.Entries) != 0 || len(r.Problems) != 0 {
		t.Errorf("nothing: %+v", b)
	}
}
