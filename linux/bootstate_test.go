// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

const (
	signedConfig = "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y\n" +
		"CONFIG_LSM=\"lockdown,yama\"\n"
	options = "boot/loader/entries/a.conf"
)

// unsignedFile is a module file without a signature: "lone" of imageOf.
func unsignedFile(config string, more ...string) map[string]string {
	texts := map[string]string{"boot/config-6": config,
		"lib/modules/6/kernel/lone.ko": string(linuxtest.ModuleOf(binary.LittleEndian, true,
			linuxtest.EntriesOf("6", "lone")...).Bytes())}
	for i := 0; i+1 < len(more); i += 2 {
		texts[more[i]] = more[i+1]
	}
	return texts
}

// TestUnsignedAfterABoot: a word that asks for signatures counts only if the kernel reads it.
func TestUnsignedAfterABoot(t *testing.T) {
	for _, tt := range []struct {
		name, config, cmdline string
		insmod                fact.Tri
	}{
		{"nothing asks", signedConfig, "quiet", fact.No},
		{"sig_enforce", signedConfig, "module.sig_enforce=1", fact.Yes},
		{"a bare sig_enforce", signedConfig, "module.sig_enforce", fact.Yes},
		{"it can only be switched on", signedConfig, "module.sig_enforce=1 module.sig_enforce=0", fact.Yes},
		{"sig_enforce without signatures in the kernel", "CONFIG_MODULES=y\n", "module.sig_enforce=1", fact.No},
		{"lockdown", signedConfig, "lockdown=integrity", fact.Yes},
		{"lockdown, not among the modules that are started", signedConfig, "lockdown=integrity lsm=yama", fact.No},
		{"lockdown, early", signedConfig + "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y\n", "lockdown=integrity lsm=yama",
			fact.Yes},
		{"no lockdown in the kernel", "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n", "lockdown=integrity", fact.No},
		{"forced lockdown", signedConfig + "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", "quiet", fact.Yes},
		{"forced lockdown, and words that may leave it out", signedConfig +
			"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", "quiet $more", ""},
		{"forced early lockdown, and words", signedConfig + "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y\n" +
			"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y\n", "quiet $more", fact.Yes},
		{"Debian 10, Ubuntu 18.04", "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_LOCK_DOWN_KERNEL=y\n" +
			"CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", "quiet", ""},
		{"Red Hat Enterprise Linux 7", "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n" +
			"CONFIG_EFI_SECURE_BOOT_SECURELEVEL=y\n", "quiet", ""},
		{"lockdown by a patch, on the command line", "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n" +
			"CONFIG_LOCK_DOWN_KERNEL=y\n", "lockdown", ""},
		{"forced signatures", signedConfig + "CONFIG_MODULE_SIG_FORCE=y\n", "quiet", fact.Yes},
		{"Secure Boot would lock down", signedConfig + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", "quiet", ""},
		{"Secure Boot would enforce", signedConfig + "CONFIG_IMA_ARCH_POLICY=y\n", "quiet", ""},
		{"IMA asks for its own signatures", signedConfig + "CONFIG_IMA_APPRAISE=y\n" +
			"CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS=y\n", "quiet", ""},
		{"IMA's policy on the command line", signedConfig + "CONFIG_IMA_APPRAISE=y\n",
			"ima_policy=tcb|secure_boot", ""},
		{"LoadPin", signedConfig + "CONFIG_SECURITY_LOADPIN=y\nCONFIG_SECURITY_LOADPIN_ENFORCE=y\n", "lsm=loadpin", ""},
		{"LoadPin off", signedConfig + "CONFIG_SECURITY_LOADPIN=y\nCONFIG_SECURITY_LOADPIN_ENFORCE=y\n",
			"lsm=loadpin loadpin.enforce=0", fact.No},
		{"LoadPin that leaves modules alone", signedConfig + "CONFIG_SECURITY_LOADPIN=y\n" +
			"CONFIG_SECURITY_LOADPIN_ENFORCE=y\n", "lsm=loadpin loadpin.exclude=firmware,kernel-module", fact.No},
		{"LoadPin of Linux 4.19", "CONFIG_MODULES=y\nCONFIG_SECURITY_LOADPIN=y\n" +
			"CONFIG_SECURITY_LOADPIN_ENABLED=y\n", "quiet", ""},
		{"words of the kernel's own", signedConfig + "CONFIG_X86=y\nCONFIG_CMDLINE_BOOL=y\n" +
			"CONFIG_CMDLINE=\"module.sig_enforce=1\"\n", "quiet", fact.Yes},
		{"in place of the boot loader's", signedConfig + "CONFIG_CMDLINE=\"quiet\"\nCONFIG_CMDLINE_OVERRIDE=y\n",
			"module.sig_enforce=1", fact.No},
		{"only without one", signedConfig + "CONFIG_CMDLINE=\"module.sig_enforce=1\"\n" +
			"CONFIG_CMDLINE_FROM_BOOTLOADER=y\n", "quiet", fact.No},
		{"configuration not known", "-", "module.sig_enforce=1", ""},
	} {
		v := checkOf(t, imageOf(unsignedFile(tt.config, options, "version 6\noptions "+tt.cmdline+"\n")), "lone")
		for _, w := range v.NextBoot.Ways {
			if w.Way == WayInsmod && w.Blocked != tt.insmod {
				t.Errorf("%s: insmod blocked %q, want %q: %+v", tt.name, w.Blocked, tt.insmod, v.Reasons)
			}
		}
	}
}

// TestBuiltinCmdline: the words that a kernel was built with are before the boot loader's, after them, in place of
// them, or nowhere.
func TestBuiltinCmdline(t *testing.T) {
	const blocks, others = "module_blacklist=lone", "module_blacklist=other"
	for _, tt := range []struct {
		name, config, words, loader string // loader: "-" for no file
		want                        fact.VerdictOutcome
	}{
		{"no entry, replaced by any", "CONFIG_CMDLINE_FROM_BOOTLOADER=y", blocks, "-", fact.VerdictUnknown},
		{"no entry, before another", "CONFIG_X86=y", blocks, "-", fact.VerdictUnknown},
		{"no entry, in any case", "CONFIG_CMDLINE_FORCE=y", blocks, "-", fact.VerdictBlocked},
		{"no entry, nothing built in", "", "", "-", fact.VerdictLoadable},
		{"an entry that could not be read", "CONFIG_X86=y", blocks, "?", fact.VerdictUnknown},
		{"before, on a PC", "CONFIG_X86=y", blocks, "quiet", fact.VerdictBlocked},
		{"the entry's word is the last", "CONFIG_X86=y", blocks, others, fact.VerdictLoadable},
		{"words for init", "CONFIG_X86=y", "quiet -- x", blocks, fact.VerdictLoadable},
		{"of an entry with words", "CONFIG_CMDLINE_FALLBACK=y", blocks, "quiet", fact.VerdictLoadable},
		{"of an entry without words", "CONFIG_CMDLINE_FALLBACK=y", blocks, "", fact.VerdictUnknown},
		{"after", "CONFIG_CMDLINE_EXTEND=y", others, blocks, fact.VerdictLoadable},
		{"after, it blocks", "CONFIG_CMDLINE_EXTEND=y", blocks, others, fact.VerdictBlocked},
		{"after or before", "CONFIG_ARM=y\nCONFIG_CMDLINE_EXTEND=y", blocks, others, fact.VerdictUnknown},
		{"after words for init", "CONFIG_CMDLINE_EXTEND=y", blocks, "quiet -- x", fact.VerdictLoadable},
		{"nomodule, which the loader may undo", "CONFIG_X86=y", "nomodule", "$more", fact.VerdictUnknown},
	} {
		entry := "version 6\noptions " + tt.loader + "\n"
		texts := map[string]string{"boot/config-6": "CONFIG_MODULES=y\n" + tt.config + "\nCONFIG_CMDLINE=\"" +
			tt.words + "\"\n", options: entry}
		switch tt.loader {
		case "-":
			texts[options] = "-"
		case "?":
			texts[options], texts["boot/efi/EFI/Linux/b.efi"] = "-", "MZ"
		}
		if v := checkOf(t, imageOf(texts), "lone"); v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v.Reasons)
		}
	}
}

// TestSysctlWords: the kernel applies sysctls on its command line before it starts init.
func TestSysctlWords(t *testing.T) {
	const off = "sysctl.kernel.modules_disabled=1"
	for _, tt := range []struct {
		words, config, sysctl string
		want                  fact.VerdictOutcome
		byName                fact.Tri
	}{
		{off, "", "", fact.VerdictBlocked, fact.Yes},
		{off + " sysctl.kernel.modules_disabled=0", "", "", fact.VerdictBlocked, fact.Yes},
		{"sysctl/kernel/modules_disabled=1", "", "", fact.VerdictBlocked, fact.Yes},
		{"sysctl.kernel.modules_disabled=0", "", "", fact.VerdictLoadable, fact.No},
		{"sysctl.kernel.modules_disabled", "", "", fact.VerdictLoadable, fact.No},
		{"-- " + off, "", "", fact.VerdictLoadable, fact.No},
		{off, "# CONFIG_PROC_SYSCTL is not set\n", "", fact.VerdictLoadable, fact.No},
		{"sysctl.kernel.modprobe=/bin/true", "", "", fact.VerdictLoadable, fact.Yes},
		{"sysctl.kernel.modprobe=/bin/true sysctl.kernel.modprobe=/sbin/modprobe", "", "",
			fact.VerdictLoadable, fact.No},
		{"sysctl.kernel.modprobe=", "", "", fact.VerdictLoadable, fact.No},
		{"sysctl.kernel.modprobe=/bin/true", "", "kernel.modprobe = /sbin/modprobe\n", fact.VerdictLoadable, ""},
		{"sysctl.kernel.modprobe=/bin/true $more", "", "", fact.VerdictLoadable, ""},
		{"quiet", "CONFIG_MODPROBE_PATH=\"\"\n", "", fact.VerdictLoadable, fact.Yes},
		{"quiet", "CONFIG_MODPROBE_PATH=\"\"\n", "kernel.modprobe = /sbin/modprobe\n", fact.VerdictLoadable, ""},
		{"quiet $more", "CONFIG_MODPROBE_PATH=\"\"\n", "", fact.VerdictLoadable, ""},
	} {
		v := checkOf(t,
			imageOf(map[string]string{options: "version 6\noptions " + tt.words + "\n",
				"boot/config-6": "CONFIG_MODULES=y\n" + tt.config, "etc/sysctl.d/a.conf": tt.sysctl}), "lone")
		if v.NextBoot.Outcome != tt.want ||
			!hasWay(v.NextBoot, WayAutoloadName, tt.byName) {
			t.Errorf("%s %s: %s, want %s by name %q", tt.words, tt.config, outcomes(v), tt.want, tt.byName)
		}
	}
	for release, want := range map[string]bool{"5.8.0-1": true, "5.10": true, "6": true, "10.1": true, "5.7.9": false,
		"4.19.0-cip": false, "": false, "x": false, "5": false} {
		if since(release, 5, 8) != want {
			t.Errorf("%s: %v", release, !want)
		}
	}
	p := policyOf(policyMachine{FS: imageOf(nil), Release: "6", Entry: boot.Entry{Words: boot.ParseCmdline(off)}})
	if f := factOf(t, p, "sysctl.kernel.modules_disabled"); p.Loading != fact.LoadingNone || f.Value != "1" {
		t.Errorf("%q %+v", p.Loading, f)
	}
	p = policyOf(policyMachine{FS: imageOf(nil), Release: "6",
		Entry: boot.Entry{Words: boot.ParseCmdline("sysctl.kernel.modprobe=")}})
	if f := factOf(t, p, "sysctl.kernel.modprobe"); !strings.HasPrefix(f.Effect, "does nothing") {
		t.Errorf("%+v", f)
	}
}

// TestFallbackIsAGuess: the file from which entries are made is named as such.
func TestFallbackIsAGuess(t *testing.T) {
	fsys := imageOf(map[string]string{options: "-", "etc/kernel/cmdline": "nomodule module.sig_enforce\n",
		"boot/config-6": signedConfig})
	v := checkOf(t, fsys, "lone")
	told := func(p fact.Problem) bool {
		return p.Source == SourceCmdline && p.Subject == "etc/kernel/cmdline" && errors.Is(p, fs.ErrNotExist)
	}
	if v.NextBoot.Outcome != fact.VerdictUnknown || !slices.ContainsFunc(v.Problems, told) {
		t.Errorf("%s %+v", outcomes(v), v.Problems)
	}
	p := policyOf(policyMachine{FS: fsys, Release: "6", Entry: boot.Entry{
		Words: boot.ParseCmdline("nomodule module.sig_enforce"), File: "etc/kernel/cmdline"}})
	if f := factOf(t, p, "module.sig_enforce"); p.Loading != "" || f.Value == "" ||
		!strings.Contains(f.Effect, "unless") {
		t.Errorf("%q %+v", p.Loading, f)
	}
}

// TestPolicyOfBuiltinWords: words that may be replaced are reported as such, and decide nothing.
func TestPolicyOfBuiltinWords(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{"boot/config-6": "CONFIG_MODULES=y\nCONFIG_CMDLINE_FALLBACK=y\n" +
		"CONFIG_CMDLINE=\"nomodule module_blacklist=a\"\n"})
	p := policyOf(policyMachine{FS: fsys, Release: "6"})
	if f := factOf(t, p, FactModuleBlacklist); p.Loading != "" || f.Value != "a" ||
		!strings.Contains(f.Effect, "unless") {
		t.Errorf("%q %+v", p.Loading, f)
	}
	if p :=
		policyOf(policyMachine{FS: fsys, Release: "6",
			Entry: boot.Entry{Words: boot.ParseCmdline("quiet")}}); p.Loading != fact.LoadingAny {
		t.Errorf("%q", p.Loading)
	}
}

// TestOtherWorlds: what is not the same after a boot, or not certain, never makes a module blocked.
func TestOtherWorlds(t *testing.T) {
	const install = "install lone /bin/false\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  fact.VerdictOutcome
		code  string // of a reason
	}{
		{"below /etc", map[string]string{"etc/modprobe.d/a.conf": install}, fact.VerdictBlocked, ReasonInstall},
		{"below /run", map[string]string{"run/modprobe.d/a.conf": install}, fact.VerdictLoadable, ReasonVolatile},
		{"below both", map[string]string{"run/modprobe.d/a.conf": install, "etc/modprobe.d/b.conf": install},
			fact.VerdictBlocked, ReasonInstall},
		{"/run hides it", map[string]string{"run/modprobe.d/a.conf": "", "usr/lib/modprobe.d/a.conf": install},
			fact.VerdictLoadable, ""},
		{"kmod before 33 reads more", map[string]string{"etc/modprobe.d/a.conf": install, "etc/modprobe.d/b.alias": ""},
			fact.VerdictUnknown, ""},
		{"a softdep of the module", map[string]string{"etc/modprobe.d/a.conf": install + "softdep lone pre: net\n"},
			fact.VerdictLoadable, ReasonInstallIgnored},
		{"the first line counts", map[string]string{"etc/modprobe.d/a.conf": "install lone modprobe -i lone\n" +
			install}, fact.VerdictLoadable, ReasonInstallIgnored},
		{"no helper for anything", map[string]string{"boot/config-6": "CONFIG_MODULES=y\n" +
			"CONFIG_STATIC_USERMODEHELPER=y\nCONFIG_STATIC_USERMODEHELPER_PATH=\"/sbin/h\"\n"},
			fact.VerdictLoadable, ReasonHelper},
		{"a boot entry that could not be read", map[string]string{options: "version 6\noptions module_blacklist=lone\n",
			"boot/efi/EFI/Linux/b.efi": "MZ"}, fact.VerdictUnknown, ReasonModuleBlacklist},
		{"an entry of a kernel without modules, which may be ours by another name",
			map[string]string{options: "version 6\noptions module_blacklist=lone\n",
				"boot/grub/grub.cfg": "linux /vmlinuz-7.1-custom quiet\n"}, fact.VerdictUnknown, ReasonModuleBlacklist},
		{"an entry that does not name its kernel",
			map[string]string{options: "version 6\noptions module_blacklist=lone\n",
				"boot/loader/entries/b.conf": "version 1@6\nlinux /suse/6/linux-e7ee7b7d1f0ad2\noptions quiet\n"},
			fact.VerdictLoadable, ReasonModuleBlacklist},
		{"an entry that goes on elsewhere", map[string]string{options: "version 6\noptions module_blacklist=lone\n",
			"boot/grub/grub.cfg": "configfile (hd1)/x.cfg\n"}, fact.VerdictUnknown, ReasonModuleBlacklist},
		{"only what entries are made from",
			map[string]string{options: "-", "etc/kernel/cmdline": "root=x module_blacklist=lone\n"},
			fact.VerdictUnknown,
			ReasonModuleBlacklist},
		{"only what entries are made from, and an install line",
			map[string]string{options: "-", "usr/lib/kernel/cmdline": "root=x\n", "etc/modprobe.d/a.conf": install},
			fact.VerdictUnknown, ReasonInstall}, // whether there is an initial file system is not known
		{"the boot loader may say otherwise",
			map[string]string{options: "version 6\noptions module_blacklist=lone $more\n"}, fact.VerdictUnknown,
			ReasonModuleBlacklist},
	} {
		v := checkOf(t, imageOf(tt.files), "lone")
		if v.NextBoot.Outcome != tt.want {
			t.Errorf("%s: %s, want %s: %+v %+v", tt.name, outcomes(v), tt.want, v.Reasons, v.Problems)
		}
		if tt.code != "" &&
			!slices.ContainsFunc(v.Reasons,
				func(r fact.Reason) bool { return r.Code == tt.code && (r.File != "" || r.Text != "") }) {
			t.Errorf("%s: no %s in %+v", tt.name, tt.code, v.Reasons)
		}
	}
}

// TestRemedyOfAModuleWithSoftdeps: an install line alone would do nothing.
func TestRemedyOfAModuleWithSoftdeps(t *testing.T) {
	v := checkOf(t, imageOf(map[string]string{"lib/modules/6/modules.softdep": "softdep lone pre: net\n"}), "lone")
	if len(v.Remedies) == 0 || !strings.HasPrefix(v.Remedies[0].Text, "softdep lone pre: ") {
		t.Fatalf("%+v", v.Remedies)
	}
	v = checkOf(t,
		imageOf(map[string]string{"lib/modules/6/modules.softdep": "softdep lone pre: net\n",
			"etc/modprobe.d/a.conf": "softdep lone pre:\ninstall lone /bin/false\n"}), "lone")
	if v.NextBoot.Outcome != fact.VerdictBlocked {
		t.Errorf("the remedy does not hold: %s", outcomes(v))
	}
}

// TestModprobeOfBusybox: it knows no install lines.
func TestModprobeOfBusybox(t *testing.T) {
	fsys := imageOf(map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n",
		"bin/busybox": "x", "bin/kmod": "x"})
	for target, want := range map[string]fact.VerdictOutcome{"/bin/busybox": fact.VerdictUnknown,
		"../bin/busybox": fact.VerdictUnknown, "/bin/kmod": fact.VerdictBlocked} {
		fsys["sbin/modprobe"] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		v := checkOf(t, fsys, "lone")
		if v.NextBoot.Outcome != want {
			t.Errorf("%s: %s, want %s", target, outcomes(v), want)
		}
		told := slices.ContainsFunc(v.Problems,
			func(p fact.Problem) bool { return p.Source == SourceConfig && errors.Is(p, errors.ErrUnsupported) })
		if told != (want == fact.VerdictUnknown) {
			t.Errorf("%s: %+v", target, v.Problems)
		}
	}
	fsys[options] = &fstest.MapFile{Data: []byte("version 6\noptions module_blacklist=lone\n")}
	fsys["sbin/modprobe"] = &fstest.MapFile{Data: []byte("/bin/busybox"), Mode: fs.ModeSymlink | 0o777}
	if v := checkOf(t, fsys, "lone"); v.NextBoot.Outcome != fact.VerdictBlocked {
		t.Errorf("the kernel refuses it, whatever modprobe is: %s", outcomes(v))
	}
}

// TestAnotherKernelOfARunningMachine: nothing of the kernel that runs is taken for it but the firmware.
func TestAnotherKernelOfARunningMachine(t *testing.T) {
	texts := unsignedFile(signedConfig + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n")
	for name, text := range map[string]string{
		"proc/config.gz": string(linuxtest.Gzip([]byte("CONFIG_NET=y\n"))), // the running kernel has no modules
		disabledFile:     "1\n", lockdownFile: "none [integrity] confidentiality\n", sigEnforceFile: "Y\n",
		modprobe.CmdlineFile: "module_blacklist=lone\n",
		secureBootVar:        "\x06\x00\x00\x00\x01", mokSBStateVar: "\x06\x00\x00\x00\x01",
	} {
		texts[name] = text
	}
	fsys := imageOf(texts)
	dir, err := modprobe.FindRelease(fsys, "6")
	if err != nil {
		t.Fatal(err)
	}
	verdict := func() fact.Verdict {
		v, err := check(t.Context(), checkedKernel{FS: fsys, Release: "6", Dir: dir, Live: true},
			"lone", new(fact.Report))
		if err != nil || len(v) != 1 || v[0].Now != nil {
			t.Fatalf("%+v, %v", v, err)
		}
		return v[0]
	}
	if v := verdict(); v.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("shim does not validate: %s %+v", outcomes(v), v.Reasons)
	}
	delete(fsys, mokSBStateVar)
	if v := verdict(); v.NextBoot.Outcome != fact.VerdictBlocked {
		t.Errorf("Secure Boot is on: %s %+v", outcomes(v), v.Reasons)
	}
	entry := boot.Entry{File: options, Words: boot.ParseCmdline("quiet")}
	p := policyOf(policyMachine{FS: fsys, Release: "6", Firmware: true, Entry: entry})
	if p.Loading != fact.LoadingSigned || factOf(t, p, FactSecureBoot).Value != "1" ||
		factOf(t, p, "CONFIG_MODULES").Value != "y" {
		t.Errorf("%q %+v", p.Loading, p.Facts)
	}
	if slices.ContainsFunc(p.Facts, func(f fact.PolicyFact) bool {
		return f.Name == FactModulesDisabled ||
			f.Name == FactLockdown
	}) {
		t.Errorf("facts of the running kernel: %+v", p.Facts)
	}
}

// TestBuiltinByTheKernelItself: without any list, /sys/module decides.
func TestBuiltinByTheKernelItself(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{ModulesFile: "lone 1 0 - Live 0x0\n", disabledFile: "0\n",
		"sys/module/printk/parameters/time": "Y\n",
		"sys/module/lone/initstate":         "live\n", "sys/module/coming/initstate": "coming\n",
		"sys/module/compression": "xz\n"})
	_, err := modprobe.FindRelease(fsys, "6")
	m := checkedKernel{FS: fsys, Release: "6", DirErr: err, Running: true, Live: true}
	for query, want := range map[string]fact.VerdictOutcome{"printk": fact.VerdictBuiltin, "lone": fact.VerdictLoaded,
		"coming": fact.VerdictUnknown, "compression": fact.VerdictUnknown, "nosuch": fact.VerdictUnknown} {
		v, err := check(t.Context(), m, query, new(fact.Report))
		if err != nil || len(v) != 1 || v[0].Now.Outcome != want {
			t.Errorf("%s: %+v, %v", query, v[0].Now, err)
		}
	}
}

// A file system that cannot say of one path what is there.
type unstatable struct {
	fstest.MapFS
	path string
}

func (u unstatable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == u.path {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.ReadDir(name)
}

func (u unstatable) Stat(name string) (fs.FileInfo, error) {
	if name == u.path {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Stat(name)
}

// TestUnreadBuiltinIsNotAbsent: a name may be compiled in if /sys/module, or its directory there, cannot be read.
func TestUnreadBuiltinIsNotAbsent(t *testing.T) {
	files := imageOf(map[string]string{ModulesFile: "lone 1 0 - Live 0x0\n", disabledFile: "0\n",
		"proc/cmdline": "quiet\n", "sys/module/shown/version": "1\n"})
	for path, want := range map[string]fact.VerdictOutcome{"": fact.VerdictBuiltin,
		SysModuleDir: fact.VerdictUnknown, "sys/module/shown/initstate": fact.VerdictUnknown} {
		fsys := unstatable{files, path}
		dir, err := modprobe.FindRelease(fsys, "6")
		m := checkedKernel{FS: fsys, Release: "6", Dir: dir, DirErr: err, Running: true, Live: true}
		v, err := check(t.Context(), m, "shown", new(fact.Report))
		if err != nil || len(v) != 1 || v[0].Now.Outcome != want {
			t.Errorf("%q: %+v, %v", path, v, err)
		}
		unknownReasons(t, v[0])
		if len(v[0].Problems) == 0 && want == fact.VerdictUnknown {
			t.Errorf("%q: no problem", path)
		}
	}
	dir, err := modprobe.FindRelease(files, "6")
	m := checkedKernel{FS: files, Release: "6", Dir: dir, DirErr: err, Running: true, Live: true}
	v, err := check(t.Context(), m, "nosuch", new(fact.Report))
	if err != nil || v[0].Now.Outcome != fact.VerdictAbsent {
		t.Errorf("nosuch: %+v, %v", v, err)
	}
}

// TestWordsThatLoad: systemd and initial file systems load what the command line names.
func TestWordsThatLoad(t *testing.T) {
	for _, word := range []string{"modules-load=x,lone", "modules=loop,lone", "rd.modules_load=lone",
		"rd.driver.pre=lone", "rd.driver.post=lone", "earlymodules=lone"} {
		text := "version 6\noptions " + word + " rd.driver.pre=net\n"
		v := checkOf(t, imageOf(map[string]string{options: text}), "lone")
		if !slices.ContainsFunc(v.Triggers, func(r fact.Reason) bool {
			return r.Code == ReasonTriggerList && r.File == "/"+options && r.Line == 2
		}) {
			t.Errorf("%s: %+v", word, v.Triggers)
		}
	}
}

// TestKeysOfACheck: a signature that a given key verifies passes, one that it does not fit does not,
// and one of another key is not known, where the kernel asks for signatures.
func TestKeysOfACheck(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	key, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	signed := key.Sign(t, module, nil)
	broken := append([]byte{}, signed...)
	broken[100] ^= 1
	const force = signedConfig + "CONFIG_MODULE_SIG_FORCE=y\n"
	for _, tt := range []struct {
		name, config string
		file         []byte
		keys         *keyFinder
		want         fact.Tri
		code         string
	}{
		{"signed, no keys", force, signed, nil, fact.No, ReasonSigned},
		{"signed by the key", force, signed, siteKeys(t, key, "site"), fact.No, ReasonSigned},
		{"signed by another", force, signed, siteKeys(t, other, "site"), "", ReasonSigned},
		{"unsigned", force, module, siteKeys(t, key, "site"), fact.Yes, ReasonUnsigned},
		{"broken", force, broken, siteKeys(t, key, "site"), fact.Yes, ReasonBadSignature},
		{"broken, not enforced", signedConfig, broken, siteKeys(t, key, "site"), "", ReasonBadSignature},
		{"broken, not looked at", "CONFIG_MODULES=y\n", broken, siteKeys(t, key, "site"), fact.No, ""},
		{"unsigned, not enforced", signedConfig, module, siteKeys(t, key, "site"), fact.No, ""},
		{"by another, not enforced", signedConfig, signed, siteKeys(t, other, "site"), fact.No, ""},
	} {
		fsys := imageOf(map[string]string{"boot/config-6": tt.config, "lib/modules/6/kernel/lone.ko": string(tt.file)})
		dir, _ := modprobe.FindRelease(fsys, "6")
		v, err := check(t.Context(), checkedKernel{FS: fsys, Release: "6", Dir: dir, Keys: tt.keys},
			"lone", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		if !hasWay(v[0].NextBoot, WayInsmod, tt.want) {
			t.Errorf("%s: %s %+v", tt.name, outcomes(v[0]), v[0].Reasons)
		}
		if tt.code != "" &&
			!slices.ContainsFunc(v[0].Reasons, func(r fact.Reason) bool { return r.Code == tt.code && r.Text != "" }) {
			t.Errorf("%s: no %s in %+v", tt.name, tt.code, v[0].Reasons)
		}
	}
}

// siteKeys are the keys of one set with the key's certificate, and no others.
func siteKeys(t testing.TB, k linuxtest.Key, name string) *keyFinder {
	t.Helper()
	f := &keyFinder{sets: []fact.KeySet{{Name: name, Certificates: []*x509.Certificate{k.Cert}}},
		trust: fact.TrustCaller}
	var r fact.Report
	if f.given(&r, "", ""); r.Problems != nil {
		t.Fatal(r.Problems)
	}
	return f
}
