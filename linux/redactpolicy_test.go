// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"reflect"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/boot"
)

func TestRedactKeys(t *testing.T) {
	const private = "11111111 I--Q---     1 perm 3f010000  1000  1000 user      krb_ccache:alice: 12\n" +
		"22222222 I--Q---     2 perm 1f3f0000  1000 65534 keyring   _uid.1000: empty\n"
	got := string(Redact(keysFile, []byte(private+rootKeys)))
	if strings.Contains(got, "alice") || strings.Contains(got, "_uid") {
		t.Errorf("users' keys stay: %s", got)
	}
	var r fact.Report
	want := parseKeyFile([]byte(rootKeys), &r)
	kept := parseKeyFile([]byte(got), &r)
	if len(r.Problems) != 0 || len(kept) != len(want)-1 {
		t.Errorf("%+v of %+v, %v", kept, want, r.Problems)
	}
}

func TestRedactGrub(t *testing.T) {
	const text = "set superusers=\"root\"\npassword_pbkdf2 root grub.pbkdf2.sha512.1\nmenuentry 'Debian' {\n" +
		"\tlinux /boot/vmlinuz-6.1 root=UUID=123 module_blacklist=a cryptokey=secret ro\n}\n"
	got := string(Redact("boot/grub/grub.cfg", []byte(text)))
	for _, secret := range []string{"pbkdf2", "123", "secret"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q stays in %q", secret, got)
		}
	}
	if again := string(Redact("boot/grub/grub.cfg", []byte(got))); !strings.HasSuffix(got, noInitrd+"\n") ||
		again != got {
		t.Errorf("%q, and again %q", got, again)
	}
	if with := string(Redact("boot/grub/grub.cfg", []byte(text+"\tinitrd /boot/i\n"))); strings.Contains(with,
		noInitrd) {
		t.Errorf("%q has an initrd command", with)
	}
	b := boot.Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": got}), new(fact.Report))
	if len(b.Entries) != 1 || b.Entries[0].Release != "6.1" ||
		!reflect.DeepEqual(boot.ListValues(b.Entries[0].Words, FactModuleBlacklist, false), []string{"a"}) {
		t.Errorf("%q: %+v", got, b.Entries)
	}
	if w, _ := boot.LastValue(b.Entries[0].Words, "cryptokey"); !w.Redacted {
		t.Errorf("%+v", w)
	}
}

func TestRedactBootFiles(t *testing.T) {
	for key, text := range map[string]string{
		"boot/grub2/grubenv": "# GRUB Environment Block\n" +
			"kernelopts=root=UUID=secret module_blacklist=a secret\n",
		"boot/extlinux/extlinux.conf": "label l\n  kernel /vmlinuz-1\n  APPEND root=secret module_blacklist=a\n",
		"boot/firmware/cmdline.txt":   "root=secret module_blacklist=a\n",
		"efi/EFI/Linux/a.efi":         "MZ secret",
		"boot/initrd.img-6":           "secret",
		"usr/lib/modules/6/initrd":    "secret",
		"efi/EFI/fedora/grub.cfg":     "linux /vmlinuz root=secret module_blacklist=a\n",
		"etc/default/grub": "# secret\nGRUB_TIMEOUT=5\nGRUB_PASSWORD=secret\n" +
			"GRUB_CMDLINE_LINUX=\"root=secret secret module_blacklist=a\"\n" +
			"GRUB_CMDLINE_LINUX_DEFAULT='x=\"secret a\"'\n" +
			"GRUB_CMDLINE_LINUX+=\" a=secret \\\nb=secret\"\n",
		"etc/default/grub.d/a.cfg":       "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX module_blacklist=a k=secret\"\n",
		"etc/cmdline.d/a.conf":           "root=secret module_blacklist=a\n",
		"boot/grub/custom.cfg":           "linux /vmlinuz root=secret module_blacklist=a\n",
		"boot/efi/loader/entries/a.conf": "options root=secret module_blacklist=a\n",
	} {
		got := string(Redact(key, []byte(text)))
		if strings.Contains(got, "secret") || strings.Contains(text, "blacklist") &&
			!strings.Contains(got, "module_blacklist=a") || !Redacts(key) {
			t.Errorf("%s: %q", key, got)
		}
	}
	if Redacts("boot/vmlinuz-6") || Redacts("etc/initramfs.conf") {
		t.Error("what holds nothing private is redacted")
	}
}

// TestGrubGoesOn: entries may be in another file; one that is not read may hold any.
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
		var lost, keptLost fact.Report
		b := boot.Read(linuxtest.Files(texts), &lost)
		if len(b.Entries) != tt.entries || (len(lost.Problems) > 0) != tt.lost {
			t.Errorf("%s: %+v, lost %v", tt.name, b.Entries, lost.Problems)
		}
		kept := make(map[string]string)
		for name, text := range texts {
			kept[name] = string(Redact(name, []byte(text)))
		}
		r := boot.Read(linuxtest.Files(kept), &keptLost)
		if len(r.Entries) != tt.entries || (len(keptLost.Problems) > 0) != tt.lost {
			t.Errorf("%s: of a recording: %+v, lost %v", tt.name, r.Entries, keptLost.Problems)
		}
	}
}
