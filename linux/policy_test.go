// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// kernelFiles is a running Debian kernel's policy, seen by root.
func kernelFiles() map[string]string {
	return map[string]string{
		disabledFile:   "0\n",
		modprobeFile:   "/sbin/modprobe\n",
		sigEnforceFile: "N\n",
		lockdownFile:   "[none] integrity confidentiality\n",
		lsmFile:        "lockdown,capability,landlock,yama,apparmor",
		secureBootVar:  "\x06\x00\x00\x00\x01",
		setupModeVar:   "\x06\x00\x00\x00\x00",
		taintedFile:    "12289\n",
		modprobe.CmdlineFile: "BOOT_IMAGE=/vmlinuz root=/dev/vda1 module-blacklist=a,b module_blacklist=c quiet " +
			"initcall_blacklist=x initcall_blacklist=y\n",
		keysFile: rootKeys,
		"boot/config-6": "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n# CONFIG_MODULE_SIG_FORCE is not set\n" +
			"CONFIG_MODPROBE_PATH=\"/sbin/modprobe\"\nCONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_IMA_APPRAISE=y\n",
	}
}

const rootKeys = `02ab1c30 I------     1 perm 0f0b0000     0     0 keyring   .blacklist: 1
04c3b2a1 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 2
1e2d3c4b I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: ` +
	`6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []
2f3e4d5c I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 1
3a4b5c6d I--Q---     2 perm 1f3f0000  1000 65534 keyring   _uid.1000: empty
`

func factOf(t *testing.T, p *fact.Policy, name string) fact.PolicyFact {
	t.Helper()
	for _, f := range p.Facts {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no fact %s in %+v", name, p.Facts)
	return fact.PolicyFact{}
}

func TestPolicyOfARunningKernel(t *testing.T) {
	p := policyOf(policyMachine{FS: linuxtest.Files(kernelFiles()), Release: "6", Live: true})
	if p.Loading != fact.LoadingAny {
		t.Errorf("loading %q", p.Loading)
	}
	for _, tt := range []struct {
		name, value, file string
		line              int
		code              fact.Code
	}{
		{FactModulesDisabled, "0", "/" + disabledFile, 0, ""},
		{FactSigEnforce, "N", "/" + sigEnforceFile, 0, ""},
		{FactLockdown, "none", "/" + lockdownFile, 0, ""},
		{FactSecureBoot, "1", "/" + secureBootVar, 0, ""},
		{FactSetupMode, "0", "/" + setupModeVar, 0, ""},
		{FactMokSBState, "", "/" + mokSBStateVar, 0, fact.CodeAbsent},
		{FactLSM, "lockdown,capability,landlock,yama,apparmor", "/" + lsmFile, 0, ""},
		{FactLoadPin, "", "/" + loadPinFile, 0, fact.CodeAbsent},
		{FactModprobe, "/sbin/modprobe", "/" + modprobeFile, 0, ""},
		{FactModuleBlacklist, "c", "/" + modprobe.CmdlineFile, 0, ""},
		{FactInitcalls, "x,y", "/" + modprobe.CmdlineFile, 0, ""},
		{"CONFIG_MODULES", "y", "/boot/config-6", 1, ""},
		{"CONFIG_MODULE_SIG_FORCE", "n", "/boot/config-6", 3, ""},
		{"CONFIG_MODPROBE_PATH", "/sbin/modprobe", "/boot/config-6", 4, ""},
		{FactTaint, "12289", "/" + taintedFile, 0, ""},
		{".builtin_trusted_keys", "2", "/" + keysFile, 2, ""},
		{".machine", "", "/" + keysFile, 0, fact.CodeAbsent},
		{FactKey, "Debian Secure Boot CA: 6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []",
			"/" + keysFile, 3, ""},
	} {
		f := factOf(t, p, tt.name)
		if f.Value != tt.value || f.File != tt.file || f.Line != tt.line || f.Code != tt.code || f.Source == "" {
			t.Errorf("%s = %+v, want %+v", tt.name, f, tt)
		}
	}
}

// TestPolicyOfPatchedLockdown: kernels before 5.4 are locked down by patches, without a file that shows it.
func TestPolicyOfPatchedLockdown(t *testing.T) {
	const config = "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n"
	const on, off = "\x06\x00\x00\x00\x01", "\x06\x00\x00\x00\x00"
	for _, tt := range []struct {
		config, secureBoot, words string
		want                      fact.Loading
		now                       fact.Tri // whether an unsigned file is refused
	}{
		{config + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", on, "quiet", fact.LoadingSigned, fact.Yes},
		{config + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", off, "quiet", fact.LoadingAny, fact.No},
		{config + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", off, "lockdown", "", ""},
		{config + "CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n", "", "quiet", "", ""},
		{config + "CONFIG_EFI_SECURE_BOOT_SECURELEVEL=y\n", on, "quiet", fact.LoadingSigned, fact.Yes},
		{config, on, "quiet", fact.LoadingAny, fact.No},
		{"-", on, "quiet", "", ""},
	} {
		files := kernelFiles()
		delete(files, lockdownFile)
		files["boot/config-4.19"], files[modprobe.CmdlineFile] = tt.config, tt.words+"\n"
		files[secureBootVar] = tt.secureBoot
		for _, name := range []string{"boot/config-4.19", secureBootVar} {
			if files[name] == "-" || files[name] == "" {
				delete(files, name)
			}
		}
		p := readPolicy(policyMachine{FS: linuxtest.Files(files), Release: "4.19", Live: true})
		if got := unsignedNow(p).Blocked(); p.policy.Loading != tt.want || got != tt.now {
			t.Errorf("%q %q: loading %q, unsigned refused %q", tt.config, tt.words, p.policy.Loading, got)
		}
	}
}

// TestPolicyOfKexec: a value that is invalid, and a kernel that starts no other one.
func TestPolicyOfKexec(t *testing.T) {
	for name, c := range map[string]struct {
		files   map[string]string
		effects [3]string // beginnings, of the kernel, the crash kernel, and what switches loading off
	}{
		"none": {map[string]string{kexecFile: "0\n", kexecCrashFile: "0\n", kexecOffFile: "0\n"},
			[3]string{"no other kernel is loaded", "no crash kernel", "root may load another kernel"}},
		"all": {map[string]string{kexecFile: "1\n", kexecCrashFile: "1\n", kexecOffFile: "1\n"},
			[3]string{"another kernel is loaded", "a crash kernel is loaded", "no other kernel can be loaded"}},
		"nonsense": {map[string]string{kexecFile: "x\n", kexecCrashFile: "", kexecOffFile: "2\n"},
			[3]string{"not known", "not known", "not known"}},
		"without": {map[string]string{"boot/config-6": "CONFIG_MODULES=y\n"},
			[3]string{"this kernel starts no other one", "this kernel starts no other one",
				"this kernel starts no other one"}},
		"absent": {map[string]string{"boot/config-6": "CONFIG_MODULES=y\nCONFIG_KEXEC_CORE=y\n"},
			[3]string{"not known", "not known", "not known"}},
	} {
		files := kernelFiles()
		maps.Copy(files, c.files)
		p := policyOf(policyMachine{FS: linuxtest.Files(files), Release: "6", Live: true})
		for i, fact := range []string{FactKexecLoaded, FactKexecCrash, FactKexecDisabled} {
			f := factOf(t, p, fact)
			if !strings.HasPrefix(f.Effect, c.effects[i]) || f.Unknown != strings.HasPrefix(f.Effect, "not known") {
				t.Errorf("%s: %+v, want %s", name, f, c.effects[i])
			}
		}
	}
}

func TestPolicyConclusion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change map[string]string // "-" removes a file; a name that ends in / removes all below
		want   fact.Loading
	}{
		{"plain", nil, fact.LoadingAny},
		{"modules_disabled", map[string]string{disabledFile: "1\n"}, fact.LoadingNone},
		{"sig_enforce", map[string]string{sigEnforceFile: "Y\n"}, fact.LoadingSigned},
		{"lockdown integrity", map[string]string{lockdownFile: "none [integrity] confidentiality\n"},
			fact.LoadingSigned},
		{"disabled beats lockdown",
			map[string]string{disabledFile: "1\n", lockdownFile: "none integrity [confidentiality]\n"},
			fact.LoadingNone},
		{"ima appraises modules", map[string]string{imaPolicyFile: "measure func=MODULE_CHECK\n" +
			"appraise func=MODULE_CHECK appraise_type=imasig\n"}, fact.LoadingSigned},
		{"ima only measures them", map[string]string{imaPolicyFile: "measure func=MODULE_CHECK\n"}, fact.LoadingAny},
		{"no securityfs: lockdown unknown", map[string]string{securityDir + "/": "-"}, ""},
		{"no lockdown among the active modules", map[string]string{lockdownFile: "-"}, fact.LoadingAny},
		{"no securityfs, but no such thing either",
			map[string]string{securityDir + "/": "-", "boot/config-6": "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n"},
			fact.LoadingAny},
		{"no /sys/module: enforcement unknown", map[string]string{"sys/module/": "-"}, ""},
		{"kernel without signatures", map[string]string{sigEnforceFile: "-", "boot/config-6": "CONFIG_MODULES=y\n"},
			fact.LoadingAny},
		{"no /proc/sys", map[string]string{"proc/sys/": "-"}, ""},
		{"kernel without modules", map[string]string{disabledFile: "-", "boot/config-6": "CONFIG_NET=y\n"},
			fact.LoadingNone},
		{"a part of /proc/sys beside the list", map[string]string{disabledFile: "-", "boot/": "-",
			ModulesFile: "nvme 57344 3 - Live 0x0000000000000000\n"}, ""},
		{"a part of /proc/sys of a kernel with modules",
			map[string]string{disabledFile: "-", "boot/config-6": "CONFIG_MODULES=y\n"}, ""},
		{"nothing at all", map[string]string{"proc/": "-", "sys/": "-", "boot/": "-"}, ""},
		{"lockdown is invalid", map[string]string{lockdownFile: "none\n"}, ""},
	} {
		texts := kernelFiles()
		for name, text := range tt.change {
			if text != "-" {
				texts[name] = text
				continue
			}
			for file := range texts {
				if file == name || strings.HasSuffix(name, "/") && strings.HasPrefix(file, name) {
					delete(texts, file)
				}
			}
		}
		p := policyOf(policyMachine{FS: linuxtest.Files(texts), Release: "6", Live: true})
		if p.Loading != tt.want {
			t.Errorf("%s: loading %q, want %q", tt.name, p.Loading, tt.want)
		}
		for _, f := range p.Facts {
			if f.Code != "" && f.Value != "" || f.Source == "" {
				t.Errorf("%s: fact %+v", tt.name, f)
			}
		}
	}
}

func TestPolicyOfAnImageTakesNothingOfTheRunningMachine(t *testing.T) {
	texts := kernelFiles()
	texts[disabledFile] = "1\n"
	texts["boot/config-6"] = "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\n"
	p := policyOf(policyMachine{FS: linuxtest.Files(texts), Release: "6", Unread: noEntry()})
	if p.Loading != fact.LoadingSigned {
		t.Errorf("loading %q", p.Loading)
	}
	for _, f := range p.Facts {
		if strings.HasPrefix(f.File, "/proc") || strings.HasPrefix(f.File, "/sys") {
			t.Errorf("fact of the running machine: %+v", f)
		}
		if f.Source == SourceCmdline && f.Code != fact.CodeAbsent {
			t.Errorf("the command line is not known: %+v", f)
		}
	}
	p = policyOf(policyMachine{FS: linuxtest.Files(texts), Release: "6", Entry: boot.Entry{
		Words: boot.ParseCmdline("nomodule"), File: "boot/grub/grub.cfg", Line: 7}})
	if f := factOf(t, p, "nomodule"); p.Loading != fact.LoadingNone || f.File != "/boot/grub/grub.cfg" ||
		f.Line != 7 || f.Value != "nomodule" {
		t.Errorf("loading %q, %+v", p.Loading, f)
	}
}

func TestPolicyToAnOrdinaryUser(t *testing.T) {
	texts := kernelFiles()
	texts[keysFile] = "3a4b5c6d I--Q---     2 perm 1f3f0000  1000 65534 keyring   _uid.1000: empty\nnonsense\n"
	p := policyOf(policyMachine{FS: linuxtest.Refusing(linuxtest.Files(texts), imaPolicyFile, fs.ErrPermission),
		Release: "6", Live: true})
	if f := factOf(t, p, ".builtin_trusted_keys"); f.Code != fact.CodeRestricted {
		t.Errorf("%+v", f)
	}
	if f := factOf(t, p, FactIMAAppraise); f.Code != fact.CodePermission {
		t.Errorf("%+v", f)
	}
	if f := factOf(t, p, FactKey); f.Code != fact.CodeMalformed || f.Line != 2 {
		t.Errorf("%+v", f)
	}
	if p.Loading != fact.LoadingAny {
		t.Errorf("loading %q", p.Loading)
	}
}

// TestFactsSayWhatTheirEffectSays: a program asks a field for what the effect says to a person.
func TestFactsSayWhatTheirEffectSays(t *testing.T) {
	for name, m := range map[string]policyMachine{
		"running":    {FS: linuxtest.Files(kernelFiles()), Release: "6.1.0", Live: true},
		"no files":   {FS: linuxtest.Files(nil), Live: true},
		"EFI":        {FS: linuxtest.Files(map[string]string{"sys/firmware/efi/x": ""}), Live: true},
		"image":      {FS: linuxtest.Files(nil), Entry: boot.Entry{Words: boot.ParseCmdline("quiet nomodule")}},
		"open words": {FS: linuxtest.Files(nil), Entry: boot.Entry{Unresolved: []string{"$more"}}},
		"no entry":   {FS: linuxtest.Files(nil), Unread: noEntry()},
	} {
		for _, f := range policyOf(m).Facts {
			if f.Unknown != strings.HasPrefix(f.Effect, "not known") ||
				f.Unset != (f.Effect == "not on the command line") {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

func TestKernelConfigPlaces(t *testing.T) {
	const text = "#\n# Linux\n#\nCONFIG_MODULES=y\n# CONFIG_X is not set\nCONFIG_S=\"a \\\"b\"\nnonsense\n"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(text))
	z.Close()
	for _, tt := range []struct {
		file    string
		content string
		live    bool
		found   bool
	}{
		{kernelConfigFile, zipped.String(), true, true},
		{kernelConfigFile, zipped.String(), false, false},
		{"boot/config-6.1", text, false, true},
		{"lib/modules/6.1/config", text, true, true},
		{"usr/lib/modules/6.1/config", text, true, true},
		{"lib/modules/6.1/build/.config", text, false, true},
		{"boot/config-6.2", text, true, false},
	} {
		c, err := readKernelConfig(linuxtest.Files(map[string]string{tt.file: tt.content}), "6.1", tt.live)
		if found := err == nil; found != tt.found {
			t.Fatalf("%s: %v", tt.file, err)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", tt.file, err)
			}
			continue
		}
		v, line := c.Get("CONFIG_MODULES")
		off, offLine := c.Get("CONFIG_X")
		other, otherLine := c.Get("CONFIG_OTHER")
		if c.File != tt.file || v != "y" || line != 4 || off != "n" || offLine != 5 || other != "n" || otherLine != 0 {
			t.Errorf("%s: %+v", tt.file, c)
		}
	}
	for _, bad := range []string{"", "nonsense\n", "\x1f\x8b\x08cut", "\x7fELF"} {
		_, err := readKernelConfig(linuxtest.Files(map[string]string{"boot/config-6.1": bad}), "6.1", false)
		if !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, release := range []string{"", "..", "a/b", "../../etc"} {
		if _, err := readKernelConfig(fstest.MapFS{}, release, false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("release %q: %v", release, err)
		}
	}
}

func TestUevent(t *testing.T) {
	e, err :=
		parseUevent([]byte("add@/module/snd_seq\x00ACTION=add\x00DEVPATH=/module/" +
			"snd_seq\x00SUBSYSTEM=module\x00SEQNUM=1234\x00"))
	if err != nil || e.Module() != "snd_seq" || e.Action != "add" || e.Seq != 1234 {
		t.Errorf("%+v, %v", e, err)
	}
	for _, other := range []string{"add@/module/x/y\x00SUBSYSTEM=module\x00", "add@/module/x\x00SUBSYSTEM=drivers\x00",
		"change@/devices/x\x00SUBSYSTEM=module\x00"} {
		if e, err := parseUevent([]byte(other)); err != nil || e.Module() != "" {
			t.Errorf("%q: %+v, %v", other, e, err)
		}
	}
	for _, bad := range []string{"", "libudev\x00\xfe\xed\xca\xfe", "add@module/x", "@/module/x",
		"add@/module/x\x00SEQNUM=-1\x00"} {
		if _, err := parseUevent([]byte(bad)); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzPolicyTexts(f *testing.F) {
	f.Add([]byte(rootKeys), []byte("a=\"b c\" d -- e"), []byte("CONFIG_A=y\n"))
	f.Add(linuxtest.ImageOf(map[string]string{".cmdline": "a"}), []byte("linux /vmlinuz-1 $x ${y} ${z"),
		[]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var r fact.Report
		keys := parseKeyFile(a, &r)
		if lines := bytes.Count(a, []byte("\n")) + 1; len(keys)+r.Count(SourceKeys) > lines {
			t.Fatal("more keys than lines")
		}
		if words := boot.ParseCmdline(string(b)); len(words) > len(b) {
			t.Fatal("more words than bytes")
		}
		if cfg, err := parseKernelConfig(c); (cfg == nil) == (err == nil) {
			t.Fatal("value xor error")
		}
		if _, err := parseUevent(a); err != nil && !errors.Is(err, fact.ErrMalformed) {
			t.Fatal(err)
		}
		boot.Read(fstest.MapFS{
			"boot/efi/EFI/Linux/a.efi": {Data: a}, "boot/grub/grub.cfg": {Data: b},
			"boot/loader/entries/a.conf": {Data: c}, "boot/grub/grubenv": {Data: a},
		}, new(fact.Report))
	})
}

func policyOf(m policyMachine) *fact.Policy { return readPolicy(m).policy }

// noEntry says that no boot entry is known.
func noEntry() (r fact.Report) {
	r.Problem(SourceCmdline, "", "", boot.ErrNoEntry)
	return r
}
