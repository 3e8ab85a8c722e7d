// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// TestBootEntries: each entry of the menu has its own answer, the default is marked, and the one that lacks the word is
// named.
func TestBootEntries(t *testing.T) {
	const refuses, plain = "version 6\noptions module_blacklist=lone\n", "version 6\noptions quiet\n"
	v := checkOf(t, imageOf(map[string]string{"boot/loader/entries/a.conf": refuses,
		"boot/loader/entries/rescue.conf": plain, "boot/loader/entries/z.conf": refuses,
		"boot/loader/entries/old.conf": "version 5\noptions quiet\n",
		"boot/grub2/grubenv":           "saved_entry=a\n"}), "lone")
	want := []fact.BootEntry{{ID: "z", Outcome: fact.VerdictBlocked},
		{ID: "rescue", Outcome: fact.VerdictLoadable}, {ID: "a", Default: true, Outcome: fact.VerdictBlocked}}
	if diff := cmp.Diff(want, v.NextBoot.Entries); diff != "" {
		t.Error(diff)
	}
	if r := v.Reasons[0]; r.Code != ReasonBootEntry || r.File != "/boot/loader/entries/rescue.conf" ||
		!strings.Contains(r.Text, "has no module_blacklist=lone") {
		t.Errorf("%+v", v.Reasons)
	}
}

// TestXenEntries: Xen and tboot start the kernel that is their first module, with a command line of its own.
func TestXenEntries(t *testing.T) {
	const linux = "menuentry 'plain' {\nlinux /vmlinuz-6 ro module_blacklist=lone\n}\n"
	for _, tt := range []struct {
		name, xen string
		want      fact.VerdictOutcome
	}{
		{"the word is missing", "multiboot2 /xen.gz placeholder dom0_mem=2G\nmodule2 /vmlinuz-6 placeholder ro\n",
			fact.VerdictLoadable},
		{"the word is there", "multiboot2 /xen.gz\nmodule2 /vmlinuz-6 placeholder ro module_blacklist=lone\n",
			fact.VerdictBlocked},
		{"the first protocol", "multiboot /xen.gz\nmodule /vmlinuz-6 placeholder root=x ro\n", fact.VerdictLoadable},
		{"an initial file system that is not there", "multiboot2 /xen.gz\nmodule2 /vmlinuz-6 placeholder ro " +
			"module_blacklist=lone\nmodule2 --nounzip /initrd.img-6\n", fact.VerdictUnknown},
		{"a policy of Xen's", "multiboot2 /xen.gz\nmodule2 /vmlinuz-6 placeholder ro module_blacklist=lone\n" +
			"module2 /xenpolicy-4.17\n", fact.VerdictBlocked},
		{"another system", "multiboot /boot/kernel.gz\nmodule /b.b00\n", fact.VerdictBlocked},
	} {
		v := checkOf(t, imageOf(map[string]string{options: "-",
			"boot/grub/grub.cfg": linux + "menuentry 'xen' {\n" + tt.xen + "}\n"}), "lone")
		if v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v.Reasons)
		}
	}
}

// TestEnvironmentElsewhere: a link to an environment block that is not mounted leaves grub's variables open.
func TestEnvironmentElsewhere(t *testing.T) {
	fsys := imageOf(map[string]string{options: "version 6\noptions $kernelopts\n",
		"boot/grub2/grub.cfg": "if [ -z \"${kernelopts}\" ]; then\n" +
			"  set kernelopts=\"ro module_blacklist=lone \"\nfi\nblscfg\n"})
	if v := checkOf(t, fsys, "lone"); v.NextBoot.Outcome != fact.VerdictBlocked {
		t.Errorf("no block: %s", outcomes(v))
	}
	fsys["boot/grub2/grubenv"] = linuxtest.Link("../efi/EFI/redhat/grubenv")
	if v := checkOf(t, fsys, "lone"); v.NextBoot.Outcome != fact.VerdictUnknown {
		t.Errorf("a block that is not mounted: %s", outcomes(v))
	}
}

// TestConfigElsewhere: a folder of configuration below a mount point that holds nothing was not read.
func TestConfigElsewhere(t *testing.T) {
	for mount, want := range map[string]fact.VerdictOutcome{"/usr/local": fact.VerdictUnknown,
		"/usr": fact.VerdictUnknown, "/srv": fact.VerdictBlocked} {
		v := checkOf(t, imageOf(map[string]string{"etc/fstab": "UUID=x " + mount + " ext4 defaults 0 2\n",
			"etc/modprobe.d/a.conf": "install lone /bin/false\n"}), "lone")
		if v.NextBoot.Outcome != want {
			t.Errorf("%s: %s, want %s", mount, outcomes(v), want)
		}
	}
}

// TestWhatABootAdds: images that are laid over the root, and modules that a service builds, are read by nobody: what
// they may change is not known.
func TestWhatABootAdds(t *testing.T) {
	const blocks, dkms = "install lone /bin/false\n", "usr/lib/systemd/system/dkms.service"
	const source, conf = "var/lib/dkms/zfs/2.2/source/dkms.conf", "BUILT_MODULE_NAME[0]=\"zfs\"\nAUTOINSTALL=\"yes\"\n"
	for _, tt := range []struct {
		name, query string
		files       map[string]string
		want        fact.VerdictOutcome
	}{
		{"an image over /usr", "zfs", map[string]string{"etc/extensions/zfs.raw": "x"}, fact.VerdictUnknown},
		{"an image, and a line that blocks", "lone", map[string]string{"etc/modprobe.d/a.conf": blocks,
			"var/lib/extensions/zfs-1.raw": "x"}, fact.VerdictUnknown},
		{"a folder with modules", "zfs", map[string]string{"var/lib/extensions/zfs/usr/lib/modules/6/zfs.ko": "x"},
			fact.VerdictUnknown},
		{"a folder without", "zfs", map[string]string{"var/lib/extensions/tool/usr/bin/tool": "x"}, fact.VerdictAbsent},
		{"a folder over /etc", "lone", map[string]string{"etc/modprobe.d/a.conf": blocks,
			"var/lib/confexts/x/etc/modprobe.d/a.conf": ""}, fact.VerdictUnknown},
		{"a folder over /etc without configuration", "lone", map[string]string{"etc/modprobe.d/a.conf": blocks,
			"var/lib/confexts/x/etc/motd": ""}, fact.VerdictBlocked},
		{"refused by the kernel in any case", "lone", map[string]string{"etc/extensions/zfs.raw": "x",
			options: "version 6\noptions module_blacklist=lone\n"}, fact.VerdictBlocked},
		{"akmods", "nvidia", map[string]string{"usr/src/akmods/nvidia-kmod-560.src.rpm": "x"}, fact.VerdictUnknown},
		{"akmods, built", "other", map[string]string{"usr/src/akmods/nvidia-kmod-560.src.rpm": "x",
			"lib/modules/6/extra/nvidia/nvidia.ko": "x"}, fact.VerdictAbsent},
		{"DKMS", "zfs", map[string]string{source: conf, dkms: "", "lib/modules/6/build/Makefile": ""},
			fact.VerdictUnknown},
		{"DKMS, another module", "spl", map[string]string{source: conf, dkms: "", "lib/modules/6/build/Makefile": ""},
			fact.VerdictAbsent},
		{"DKMS, a computed name", "spl", map[string]string{source: "BUILT_MODULE_NAME=$x\nAUTOINSTALL=yes\n", dkms: "",
			"lib/modules/6/build/Makefile": ""}, fact.VerdictUnknown},
		{"DKMS, a source that is not read", "zfs", map[string]string{source: strings.Repeat("#", maxDKMSConf+1),
			dkms: "", "lib/modules/6/build/Makefile": ""}, fact.VerdictUnknown},
		{"DKMS without a source", "zfs", map[string]string{"var/lib/dkms/zfs/2.2/x": "", dkms: "",
			"lib/modules/6/build/Makefile": ""}, fact.VerdictAbsent},
		{"DKMS, its source below /usr/src", "zfs", map[string]string{"var/lib/dkms/zfs/2.2/x": "",
			"usr/src/zfs-2.2/dkms.conf": conf, dkms: "", "lib/modules/6/build/Makefile": ""}, fact.VerdictUnknown},
		{"DKMS, too many names", "spl", map[string]string{source: conf + strings.Repeat("BUILT_MODULE_NAME=x\n",
			maxDKMSNames), dkms: "", "lib/modules/6/build/Makefile": ""}, fact.VerdictUnknown},
		{"DKMS without headers", "zfs", map[string]string{source: conf, dkms: ""}, fact.VerdictAbsent},
		{"DKMS that does not run at boot", "zfs", map[string]string{source: conf, "lib/modules/6/build/Makefile": ""},
			fact.VerdictAbsent},
		{"IMA's policy on disk", "lone", map[string]string{"etc/ima/ima-policy": "dont_appraise fsmagic=1\n" +
			"appraise func=MODULE_CHECK appraise_type=imasig|modsig\n",
			"boot/config-6": "CONFIG_MODULES=y\nCONFIG_IMA_APPRAISE=y\n"}, fact.VerdictUnknown},
		{"a policy that measures", "lone", map[string]string{"etc/ima/ima-policy": "measure func=MODULE_CHECK\n",
			"boot/config-6": "CONFIG_MODULES=y\nCONFIG_IMA_APPRAISE=y\n"}, fact.VerdictLoadable},
	} {
		if v := checkOf(t, imageOf(tt.files), tt.query); v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v.Reasons)
		}
	}
}

// TestUnsupportedBySUSE: SUSE's modprobe refuses modules that are not marked as supported, on its own kernels.
func TestUnsupportedBySUSE(t *testing.T) {
	const file = "usr/lib/modprobe.d/10-unsupported-modules.conf"
	module := func(entries ...string) string {
		return string(moduleFor(0, false, append(linuxtest.EntriesOf("6", "lone"), entries...)...))
	}
	for _, tt := range []struct {
		name, config, line, file string
		want                     fact.VerdictOutcome
	}{
		{"not marked", "CONFIG_SUSE_KERNEL_SUPPORTED=y\n", "allow_unsupported_modules 0\n", module(),
			fact.VerdictUnknown},
		{"marked", "CONFIG_SUSE_KERNEL_SUPPORTED=y\n", "allow_unsupported_modules 0\n", module("supported=external"),
			fact.VerdictLoadable},
		{"allowed", "CONFIG_SUSE_KERNEL_SUPPORTED=y\n", "allow_unsupported_modules 1\n", module(),
			fact.VerdictLoadable},
		{"openSUSE", "", "allow_unsupported_modules 0\n", module(), fact.VerdictLoadable},
	} {
		v := checkOf(t, imageOf(map[string]string{file: tt.line, "lib/modules/6/kernel/lone.ko": tt.file,
			"boot/config-6": "CONFIG_MODULES=y\n" + tt.config}), "lone")
		if v.NextBoot.Outcome != tt.want || len(v.Problems) > 0 {
			t.Errorf("%s: %s, want %s: %+v %+v", tt.name, outcomes(v), tt.want, v.Reasons, v.Problems)
		}
	}
}

// TestDefaultEntry: what names the default.
func TestDefaultEntry(t *testing.T) {
	const a, b = "boot/loader/entries/a.conf", "boot/loader/entries/b-6.conf"
	const sd = "systemd-boot 257"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, ""},
		{"loader.conf", map[string]string{"boot/loader/loader.conf": "timeout 3\ndefault b-*\n"}, "b-6"},
		{"loader.conf, a whole name", map[string]string{"boot/loader/loader.conf": "default a.conf\n"}, "a"},
		{"the last one chosen", map[string]string{"boot/loader/loader.conf": "default @saved\n"}, ""},
		{"a variable", map[string]string{"boot/loader/loader.conf": "default b-*\n", loaderVar("Info"): efiText(sd),
			loaderVar("EntryDefault"): efiText("A.conf")}, "a"},
		{"a variable for once", map[string]string{loaderVar("Info"): efiText(sd),
			loaderVar("EntryDefault"): efiText("a.conf"), loaderVar("EntryOneShot"): efiText("b-6.conf")}, "b-6"},
		{"a variable of no entry", map[string]string{"boot/loader/loader.conf": "default b-*\n",
			loaderVar("Info"): efiText(sd), loaderVar("EntryDefault"): efiText("gone.conf")}, "b-6"},
		{"a variable, the last one chosen", map[string]string{"boot/loader/loader.conf": "default b-*\n",
			loaderVar("Info"): efiText(sd), loaderVar("EntryDefault"): efiText("@saved")}, ""},
		{"a variable of another loader", map[string]string{"boot/loader/loader.conf": "default b-*\n",
			loaderVar("Info"): efiText("GRUB 2.12"), loaderVar("EntryDefault"): efiText("a.conf")}, "b-6"},
		{"variables cut off", map[string]string{"boot/loader/loader.conf": "default b-*\n",
			loaderVar("Info"): efiText(sd), loaderVar("EntryDefault"): "\x07\x00"}, "b-6"},
		{"grub's saved entry", map[string]string{"boot/grub/grubenv": "saved_entry=b-6\n"}, "b-6"},
		{"grub's saved title", map[string]string{"boot/grub/grubenv": "saved_entry=More>Old one\n"}, "a"},
		{"extlinux", map[string]string{"boot/extlinux/extlinux.conf": "default l2\nlabel l1\nkernel /vmlinuz-6\n" +
			"label l2\nkernel /vmlinuz-6\nappend x\n"}, "l2"},
		{"syslinux, in the menu", map[string]string{"boot/syslinux/syslinux.cfg": "DEFAULT vesamenu.c32\nLABEL l1\n" +
			"MENU DEFAULT\nKERNEL /vmlinuz-6\nLABEL l2\nKERNEL /vmlinuz-6\nAPPEND x\n"}, "l1"},
		{"a number of an entry", map[string]string{"boot/grub/grub.cfg": "set default=\"1\"\nmenuentry 'x' {\n" +
			"linux /vmlinuz-6\n}\nmenuentry 'y' {\nlinux /vmlinuz-6 b\n}\n"}, "y"},
	} {
		files := map[string]string{a: "title Old one\nversion 6\noptions a\n", b: "version 6\noptions b\n",
			"lib/modules/6/modules.dep": ""}
		for name, text := range tt.files {
			files[name] = text
		}
		setup := boot.Read(linuxtest.Files(files), new(fact.Report))
		got := ""
		for _, e := range setup.Entries {
			if setup.IsDefault(e) {
				got += e.ID()
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// loaderVar is the file of a variable of the Boot Loader Interface.
func loaderVar(name string) string {
	return "sys/firmware/efi/efivars/Loader" + name + "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
}

// efiText is the file of a variable that holds a text.
func efiText(text string) string {
	return "\x07\x00\x00\x00" + string(utf16text.Encode(text+"\x00"))
}

// TestAppendBeforeLabels: syslinux takes the "append" line before the first label for labels without their own, U-Boot
// does not.
func TestAppendBeforeLabels(t *testing.T) {
	const always, label = "APPEND module_blacklist=lone\n", "LABEL a\nLINUX /vmlinuz-6\n"
	for _, tt := range []struct {
		file, text string
		want       fact.VerdictOutcome
	}{
		{"boot/syslinux/syslinux.cfg", always + label, fact.VerdictBlocked},
		{"boot/syslinux/syslinux.cfg", always + label + "APPEND quiet\n", fact.VerdictLoadable},
		{"boot/syslinux/syslinux.cfg", always + label + "APPEND -\n", fact.VerdictLoadable},
		{"boot/syslinux/syslinux.cfg", label + always, fact.VerdictBlocked},
		{"boot/extlinux/extlinux.conf", always + label, fact.VerdictUnknown},
		{"boot/extlinux/extlinux.conf", always + label + "APPEND quiet\n", fact.VerdictLoadable},
	} {
		v := checkOf(t, imageOf(map[string]string{"boot/loader/entries/a.conf": "-", tt.file: tt.text}), "lone")
		if v.NextBoot.Outcome != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, outcomes(v), tt.want)
		}
	}
}

// TestNearMisses: a line that names the module and does not count says why.
func TestNearMisses(t *testing.T) {
	v := checkOf(t, imageOf(map[string]string{
		"lib/modules/6/modules.dep": "kernel/usb-x.ko:\n", "lib/modules/6/modules.alias": "",
		"lib/modules/6/kernel/usb-x.ko": "",
		"etc/modprobe.d/a.conf":         "blacklist usb-x\r\nblacklist usb*\nblacklist other usb-x\nblacklist no\n",
		"boot/loader/entries/a.conf":    "version 6\noptions module_blacklist=usb-x modprobe.blacklist=usb-x\n",
	}), "usb-x")
	var got []string
	for _, r := range v.Reasons {
		if r.Code == ReasonIgnored {
			got = append(got, r.Text)
		}
	}
	for i, part := range []string{"carriage return", "no pattern", "only the first name", "command line letter by",
		"kernel compares letter by letter"} {
		if i >= len(got) || !strings.Contains(got[i], part) {
			t.Errorf("no %q at %d of %q", part, i, got)
		}
	}
	if v.NextBoot.Outcome != fact.VerdictLoadable || len(got) != 5 {
		t.Errorf("%s: %q", outcomes(v), got)
	}
}

// TestEffectOfWords: a word says what its value does.
func TestEffectOfWords(t *testing.T) {
	for word, want := range map[string]string{
		"module.sig_enforce": "only modules signed", "module.sig_enforce=1": "only modules signed",
		"module.sig_enforce=0": "cannot switch it off", "module.sig_enforce=maybe": "cannot switch it off",
		"nomodule": "no module can be", "nomodule=0": "does not switch loading off",
		"lockdown=integrity": "asked for", "lockdown=none": "no lockdown", "lockdown=on": "no lockdown",
		"sysctl.kernel.modules_disabled=1": "no module can be", "sysctl.kernel.modules_disabled=2": "only 1",
	} {
		p := readPolicy(policyMachine{FS: imageOf(nil), Release: "6",
			Entry: boot.Entry{File: "x", Text: word, Words: boot.ParseCmdline(word)}}).policy
		key, _, _ := strings.Cut(word, "=")
		i := slices.IndexFunc(p.Facts, func(f fact.PolicyFact) bool { return strings.TrimSuffix(f.Name, "=") == key })
		if i < 0 || !strings.Contains(p.Facts[i].Effect, want) {
			t.Errorf("%s: %+v, want %q", word, p.Facts, want)
		}
	}
}

// TestInstallFindings: one finding for each command, so that the odd one among many is seen.
func TestInstallFindings(t *testing.T) {
	var text strings.Builder
	for i := range 150 {
		text.WriteString("install m" + strings.Repeat("x", i) + " /usr/bin/refuse\n")
	}
	text.WriteString("install odd /opt/tool\n")
	root := imageOf(map[string]string{"etc/modprobe.d/a.conf": text.String()})
	config := modprobe.ReadConfig(root, modprobe.ConfigDirs, "", false)
	found := installCommands(config)
	if len(found) != 2 || found[1].Name != "odd" || found[0].Evidence[1].Value != "149" {
		t.Errorf("%d findings: %+v", len(found), found)
	}
}

// TestAndroidLists: what init loads, and what modprobe -b would not.
func TestAndroidLists(t *testing.T) {
	const dir = "vendor/lib/modules/"
	root := linuxtest.Files(map[string]string{dir + "modules.dep": "wifi.ko:\nnfc.ko:\n", dir + "wifi.ko": "",
		dir + "nfc.ko": "", dir + "modules.load": "wifi.ko\n", dir + "modules.blocklist": "# x\nblocklist nfc\n"})
	for name, want := range map[string]string{"wifi": ReasonTriggerList, "nfc": ReasonBlacklistIgnored} {
		verdicts, err := Open(machineOf(root), fact.Options{Image: true}).Check(t.Context(), name, new(fact.Report))
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %v, %v", name, verdicts, err)
		}
		v := verdicts[0]
		listed := slices.ContainsFunc(slices.Concat(v.Triggers, v.Reasons), func(r fact.Reason) bool {
			return r.Code == want && strings.HasPrefix(r.File, "/"+dir+"modules.")
		})
		if !listed || v.NextBoot.Outcome == fact.VerdictBlocked {
			t.Errorf("%s: no %s: %+v", name, want, v)
		}
	}
}

// TestAliasOfACommand: a command named exactly like an alias comes before the index, a pattern does not (kmod 30).
func TestAliasOfACommand(t *testing.T) {
	for _, tt := range []struct {
		line, query string
		want        fact.Tri // of the way by alias
	}{
		{"install net-pf-77 /bin/true", "net", fact.Yes}, {"install net-pf-77 /bin/true", "net-pf-77", fact.Yes},
		{"install net-pf-* /bin/true", "net", fact.No}, {"install net-pf-78 /bin/true", "net", fact.No},
		{"install net-pf-77 /opt/tool", "net", ""}, {"remove net-pf-77 /bin/true", "net", fact.Yes},
		{"install ne* /bin/true", "net-pf-77", fact.Yes}, {"alias net-pf-77 off", "net", fact.Yes},
	} {
		v := checkOf(t, imageOf(map[string]string{"etc/modprobe.d/a.conf": tt.line + "\n"}), tt.query)
		if w := wayOf(v, WayAutoloadAlias); w.Blocked != tt.want {
			t.Errorf("%s: %s: %q, want %q: %+v", tt.line, tt.query, w.Blocked, tt.want, v.Reasons)
		}
		if open := wayOf(v, WayModprobe).Blocked == fact.No; open != !strings.HasPrefix(tt.line, "install ne*") {
			t.Errorf("%s: %s: by its own name: open %v", tt.line, tt.query, open)
		}
	}
}

// TestKexec: another kernel in memory makes the next boot unknown, and says nothing of what is loadable anyway.
func TestKexec(t *testing.T) {
	for text, want := range map[string]fact.VerdictOutcome{"0\n": fact.VerdictBlocked, "1\n": fact.VerdictUnknown,
		"-": fact.VerdictBlocked} {
		root := imageOf(map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n", kexecFile: text})
		dir, _ := modprobe.FindRelease(root, "6")
		verdicts, err := check(t.Context(), checkedKernel{FS: root, Release: "6", Dir: dir, Live: true}, "lone",
			new(fact.Report))
		if err != nil || verdicts[0].NextBoot.Outcome != want {
			t.Errorf("%q: %+v, %v, want %s", text, verdicts, err, want)
		}
	}
}

// TestRootOfAContainer: the kernel asks the modprobe of the host, whose configuration a container does not have.
func TestRootOfAContainer(t *testing.T) {
	for _, tt := range []struct {
		name, mark string
		query      string
		want       fact.VerdictOutcome
	}{
		{"the host's root, blocked", "", "lone", fact.VerdictBlocked},
		{"the host's root, absent", "", "nosuch", fact.VerdictAbsent},
		{"blocked by the container's line", ".dockerenv", "lone", fact.VerdictUnknown},
		{"podman", "run/.containerenv", "lone", fact.VerdictUnknown},
		{"absent in the container", "run/systemd/container", "nosuch", fact.VerdictUnknown},
		{"another namespace", initNamespaceFile, "lone", fact.VerdictUnknown},
	} {
		files := map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n",
			ModulesFile: "other 1 0 - Live 0x0\n", modprobe.CmdlineFile: "quiet\n", modprobeFile: "/sbin/modprobe\n",
			disabledFile: "0\n", sigEnforceFile: "N\n", SysModuleDir + "/other/initstate": "live\n"}
		if tt.mark != "" {
			files[tt.mark] = ""
		}
		fsys := imageOf(files)
		fsys[initNamespaceFile] = linuxtest.Link(initNamespace)
		if tt.mark == initNamespaceFile {
			fsys[initNamespaceFile] = linuxtest.Link("pid:[4026532211]")
		}
		dir, err := modprobe.FindRelease(fsys, "6")
		v, checkErr := check(t.Context(), checkedKernel{FS: fsys, Release: "6", Dir: dir, DirErr: err, Running: true,
			Live: true}, tt.query, new(fact.Report))
		if checkErr != nil || v[0].Now.Outcome != tt.want || v[0].NextBoot.Outcome != tt.want {
			t.Errorf("%s: %v now, %s; want %s: %v %+v", tt.name, v[0].Now.Outcome, outcomes(v[0]), tt.want, checkErr,
				v[0].Problems)
		}
	}
}
