// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
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
		b := ReadBoot(files(map[string]string{"boot/grub/grub.cfg": "set one=1\nset two=\"x y\"\n" +
			"set root='hd0,1'\n" + line + "\n"}))
		if len(b.Entries) != 1 || b.Entries[0].Text != want || b.Entries[0].Release != "1" ||
			len(b.Entries[0].Unresolved) > 0 {
			t.Errorf("%s\n%+v, want %q", line, b.Entries, want)
		}
	}
}

// TestGrubGoesOn: entries may stand in another file; one that is not read may hold any.
func TestGrubGoesOn(t *testing.T) {
	const more = "linux /vmlinuz-1 more\n"
	for _, tt := range []struct {
		name, cfg string
		files     map[string]string
		entries   int
		lost      bool
	}{
		{"beside it", `configfile "${prefix}/grub-btrfs.cfg"`, map[string]string{"boot/grub/grub-btrfs.cfg": more},
			2, false},
		{"in one line", `submenu "s" { configfile "${prefix}/grub-btrfs.cfg" }`,
			map[string]string{"boot/grub/grub-btrfs.cfg": more}, 2, false},
		{"of a partition", `source ($root)/grub2/more.cfg`, map[string]string{"boot/grub2/more.cfg": more}, 2, false},
		{"a prefix that is known", "set prefix=(hd0,gpt2)/boot/grub\nsource $prefix/more.cfg",
			map[string]string{"boot/grub/more.cfg": more}, 2, false},
		{"elsewhere", `configfile (hd1,1)/boot/grub/more.cfg`, nil, 1, true},
		{"not there, as a custom.cfg often is", `if [ -f ${config_directory}/custom.cfg ]; then source ` +
			`${config_directory}/custom.cfg; fi`, nil, 1, false},
		{"its own name", `configfile $prefix/grub.cfg`, nil, 1, true},
		{"the first of a name of its own", `configfile $prefix/grub.cfg`,
			map[string]string{"boot/grub2/grub.cfg": "configfile /grub/grub.cfg\n" + more}, 2, false},
		{"words made of words", `eval "linux /vmlinuz-1 more"`, nil, 1, true},
		{"syslinux's", `syslinux_configfile /isolinux.cfg`, nil, 1, true},
	} {
		texts := map[string]string{"boot/grub/grub.cfg": "linux /vmlinuz-1 one\n" + tt.cfg + "\n"}
		for name, text := range tt.files {
			texts[name] = text
		}
		b := ReadBoot(files(texts))
		if len(b.Entries) != tt.entries || (len(b.Lost) > 0) != tt.lost {
			t.Errorf("%s: %+v, lost %v", tt.name, b.Entries, b.Lost)
		}
		kept := make(map[string]string)
		for name, text := range texts {
			kept[name] = string(Redact(name, []byte(text)))
		}
		if r := ReadBoot(files(kept)); len(r.Entries) != tt.entries || (len(r.Lost) > 0) != tt.lost {
			t.Errorf("%s: of a recording: %+v, lost %v", tt.name, r.Entries, r.Lost)
		}
	}
}

// TestGrubVariables: a variable that is set to one value has it; one that nobody sets, or that is set
// to several, may be anything.
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
		{"none", "set other=1\n", "other=2", "$kernelopts"},
	} {
		b := ReadBoot(files(map[string]string{"boot/grub2/grub.cfg": tt.cfg,
			"boot/grub2/grubenv":         "# GRUB Environment Block\n" + tt.env + "\n###",
			"boot/loader/entries/a.conf": "linux /vmlinuz-1\noptions $kernelopts\n"}))
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
		{"the kernel's path tells better", "version 2\nlinux /ostree/f-1/vmlinuz-6.9.1-200.fc40\n", "6.9.1-200.fc40"},
		{"an ostree's number is none", "version 2\nlinux /ostree/f-1/vmlinuz\n", ""},
		{"a folder of its own", "linux /0123/6.8.0-1/linux\n", "6.8.0-1"},
		{"a rescue kernel is any", "version 0-rescue-77\nlinux /vmlinuz-0-rescue-77\n", ""},
		{"no release at all", "linux /vmlinuz-linux\ninitrd /a.img\ninitrd /b.img\n", ""},
	} {
		b := ReadBoot(files(map[string]string{"efi/loader/entries/a.conf": tt.entry}))
		if len(b.Entries) != 1 || b.Entries[0].Release != tt.want {
			t.Errorf("%s: %+v", tt.name, b.Entries)
		}
	}
	b := ReadBoot(files(map[string]string{"boot/loader/entries/a.conf": "options x\n",
		"efi/loader/entries/a.conf": "options y\n"}))
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
		{"unified, by its name", "efi/EFI/Linux/linux-6.2.efi", string(imageWith(".cmdline", "a", ".linux", "x")),
			"6.2"},
		{"no modules of it", "boot/grub/grub.cfg", "linux /boot/vmlinuz-6.1.0-2-default a\n", "6.1.0-2-default"},
	} {
		b := ReadBoot(files(map[string]string{tt.file: tt.text, "lib/modules/" + suse + "/modules.dep": "",
			"usr/lib/modules/" + manjaro + "/modules.dep": ""}))
		if len(b.Entries) != 1 || b.Entries[0].Release != tt.want || b.Entries[0].Text != "a" ||
			b.Entries[0].doubtful == (tt.want == "" || tt.want == suse || tt.want == manjaro) {
			t.Errorf("%s: %+v", tt.name, b.Entries)
		}
	}
}

// TestEntriesWithoutLinux: what starts no Linux has no command line of one.
func TestEntriesWithoutLinux(t *testing.T) {
	const entry = "efi/loader/entries/x.conf"
	kernel := imageWith(".text", strings.Repeat(" ", 1000))
	copy(kernel[0x202:], "HdrS")
	unified := string(imageWith(".linux", "x", ".cmdline", "own", ".uname", "6"))
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
			[]string{"own", "a"}, false},
		{"a program",
			map[string]string{entry: "efi /EFI/x/tool.efi\n", "efi/EFI/x/tool.efi": string(imageWith(".text", "x"))},
			nil, false},
		{"a kernel", map[string]string{entry: "efi /vmlinuz-6.efi\n", "efi/vmlinuz-6.efi": string(kernel)},
			[]string{""}, false},
		{"a unified image without words",
			map[string]string{entry: "efi /EFI/x/a.efi\n", "efi/EFI/x/a.efi": string(imageWith(".linux", "x"))},
			[]string{""}, false},
		{"a program that is not there", map[string]string{entry: "efi /EFI/x/a.efi\n"}, nil, true},
		{"words for one that is not there", map[string]string{entry: "efi /EFI/x/a.efi\noptions a\n"},
			[]string{"a"}, false},
	} {
		b := ReadBoot(files(tt.files))
		var texts []string
		for _, e := range b.Entries {
			texts = append(texts, strings.TrimSpace(e.Text))
		}
		if !slices.Equal(texts, tt.texts) || (len(b.Lost) > 0) != tt.lost {
			t.Errorf("%s: %+v, lost %v", tt.name, b.Entries, b.Lost)
		}
	}
}

// TestUnifiedImages: each profile has its command line, and addons add to all of them.
func TestUnifiedImages(t *testing.T) {
	b := ReadBoot(files(map[string]string{
		"efi/EFI/Linux/a.efi": string(imageWith(".cmdline", "one", ".uname", "6.1", ".profile",
			"ID=x", ".cmdline", "two")),
		"efi/EFI/Linux/a.efi.extra.d/b.addon.efi":   string(imageWith(".cmdline", "module_blacklist=a\n")),
		"efi/loader/addons/all.addon.efi":           string(imageWith(".cmdline", "quiet")),
		"efi/loader/addons/nothing.addon.efi":       string(imageWith(".ucode", "x")),
		"efi/EFI/Linux/b.addon.efi":                 string(imageWith(".cmdline", "not an image of its own")),
		"efi/EFI/Linux/vmlinuz-6.2.efi":             string(imageWith(".linux", "x")),
		"efi/EFI/Linux/vmlinuz-6.2.efi.extra.d/bad": "not an addon",
	}))
	var texts []string
	for _, e := range b.Entries {
		texts = append(texts, e.Release+": "+strings.Join(strings.Fields(e.Text), " "))
	}
	want := []string{"6.1: one quiet module_blacklist=a", "6.1: two quiet module_blacklist=a", "6.2: quiet"}
	if !slices.Equal(texts, want) || len(b.Lost) != 0 || len(b.Entries[2].Unresolved) != 1 {
		t.Errorf("%q, want %q: %v", texts, want, b.Lost)
	}
}

func TestTooManyBootEntries(t *testing.T) {
	b := ReadBoot(files(map[string]string{"boot/grub/grub.cfg": strings.Repeat("linux /vmlinuz-1 a\n"+
		"initrd /b\n", maxBootEntries+10)}))
	if len(b.Entries) != maxBootEntries || len(b.Lost) != 1 || !errors.Is(b.Lost[0], fact.ErrTooLarge) {
		t.Errorf("%d entries, lost %v", len(b.Entries), b.Lost)
	}
}

// TestMasksAndOddNames: which files of modprobe.d are read.
func TestMasksAndOddNames(t *testing.T) {
	fsys := files(map[string]string{"usr/lib/modprobe.d/a.conf": "blacklist a\n",
		"lib/modprobe.d/b.conf": "blacklist b\n", "lib/modprobe.d/c.conf": "blacklist c\n",
		"etc/modprobe.d/d.alias": "blacklist d\n", "etc/modules-load.d/a.alias": "x\n"})
	for name, target := range map[string]string{"etc/modprobe.d/a.conf": "/dev/null",
		"run/modprobe.d/b.conf": "../../dev/null"} {
		fsys[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	c := ReadConfig(fsys, "", false)
	if len(c.Blacklist) != 1 || c.Blacklist[0].Name != "c" || len(c.Lost) != 1 ||
		!errors.Is(c.Lost[0], errors.ErrUnsupported) || !c.unread {
		t.Errorf("%+v", c)
	}
	if _, lost := ReadLoadLists(fsys); len(lost) != 0 {
		t.Errorf("modules-load.d: %v", lost)
	}
}

// TestUnreadStaysKnown: however many bad lines there are, a file that could not be read is not forgotten.
func TestUnreadStaysKnown(t *testing.T) {
	fsys := refusing{
		files(map[string]string{"etc/modprobe.d/a.conf": strings.Repeat("nonsense\n", 2*maxConfigLost),
			"etc/modprobe.d/b.conf": "x\n"}), "etc/modprobe.d/b.conf", errors.New("input/output error")}
	if c := ReadConfig(fsys, "", false); len(c.Lost) != maxConfigLost || !c.unread {
		t.Errorf("%d lost, unread %v", len(c.Lost), c.unread)
	}
}

// TestModulesOfDebian: modules-load.d has a link to /etc/modules, which is one list.
func TestModulesOfDebian(t *testing.T) {
	fsys := files(map[string]string{"etc/modules": "# comment\nloop\nlp irq=7\n",
		"usr/lib/modules-load.d/b.conf": "; c\nfuse\n"})
	fsys["etc/modules-load.d/modules.conf"] = &fstest.MapFile{Data: []byte("../modules"), Mode: fs.ModeSymlink | 0o777}
	fsys["etc/modules-load.d/b.conf"] = &fstest.MapFile{Data: []byte("/dev/null"), Mode: fs.ModeSymlink | 0o777}
	list, lost := ReadLoadLists(fsys)
	if len(list) != 2 || list[0].Name != "loop" || list[0].Line != 2 || list[1].Name != "lp" || len(lost) != 0 {
		t.Errorf("%+v, %v", list, lost)
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
		b := ReadBoot(files(map[string]string{"boot/grub/grub.cfg": head + line + "\n"}))
		if len(b.Entries) != 1 || len(b.Entries[0].Unresolved) != want {
			t.Errorf("%s: %+v", line, b.Entries)
		}
	}
}

// TestHostileVariables: a short text that asks for a long command line does not get it.
func TestHostileVariables(t *testing.T) {
	big := "set x=" + strings.Repeat("a", 400<<10) + "\n"
	b := ReadBoot(files(map[string]string{"boot/grub/grub.cfg": big + "linux /vmlinuz-1 module_blacklist=q " +
		strings.Repeat("$x", 100<<10) + "\n",
		"boot/loader/entries/a.conf": "linux /vmlinuz-1\noptions " + strings.Repeat("$x", 100<<10) + "\n"}))
	for _, e := range b.Entries {
		if len(e.Text) > 2*maxExpansion || len(e.Unresolved) != 1 {
			t.Errorf("%s: %d bytes, %d unresolved", e.File, len(e.Text), len(e.Unresolved))
		}
	}
	if len(b.Entries) != 2 {
		t.Errorf("%d entries", len(b.Entries))
	}
}
