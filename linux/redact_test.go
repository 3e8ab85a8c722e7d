// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/linux/boot"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ key, in, want string }{
		{ModulesFile, "nvme 57344 3 - Live 0xffffffffc0a00000 (OE)\n", "nvme 57344 3 - Live 0x0000000000000000 (OE)\n"},
		{ModulesFile, "a 1 - - Live 0xbf000000", "a 1 - - Live 0x00000000"}, // 32 bits, cut
		{ModulesFile, "0xdead 1 2 0xbeef,b, Live 0x00000000bf000000 (O)\n",
			"0xdead 1 2 0xbeef,b, Live 0x0000000000000000 (O)\n"},
		{ModulesFile, "hidden 1 0 - Live 0x0000000000000000\n", "hidden 1 0 - Live 0x0000000000000000\n"},
		{ModulesFile, "", ""},
		{ModulesFile, "\n\n", "\n\n"},
		{"proc/kallsyms", "ffffffffc0a01000 t a\t[nvme]\nffffffffc0a01001 t b\t[nvme]\n0 T x\n" +
			"ffffffffc0a01002 t c\t[x]\n", "0000000000000000 t a\t[nvme]\n0000000000000000 t c\t[x]\n"},
		{"proc/kallsyms", "ffffffff81000000 T _text\nffffffffc0a01000 t init_module\t[nvme]\nc0de d x\t[bpf]",
			"0000000000000000 t init_module\t[nvme]\n0000 d x\t[bpf]"},
		{"proc/kallsyms", "0000000000000000 t f\t[m]\n", "0000000000000000 t f\t[m]\n"},
		{"proc/kallsyms", "ffffffff81000000 T _text\n", ""},
		{ftraceFile, "schedule\nnvme_probe [nvme]\n", "nvme_probe [nvme]\n"},
		{ftraceOldFile, "schedule\n", ""},
		{ftraceUsedFile, "kfree (1) R I     \ttramp: 0xffffffffc0bd9000 (thunk+0x0/0x50 [hide])->x+0x0/0xf0\n",
			"kfree (1) R I     \ttramp: 0x0000000000000000 (thunk+0x0/0x50 [hide])->x+0x0/0xf0\n"},
		{dynamicDebugFile, "# filename:lineno [module]function flags format\ndrivers/a.c:1 [nvme]f =_ \"serial %s\"\n" +
			"nonsense\n", "# filename:lineno [module]function flags format\n- [nvme]\n"},
		{dynamicDebugProc, "- [nvme]\n", "- [nvme]\n"},
		{"etc/modprobe.d/a.conf", "# options a b=c\nalias x a=b\ninstall y A=b /bin/z\n" +
			"options wl key=secret flag \\\n  more=\"a b\" =\n", "# options a b=c\nalias x a=b\n" +
			"install y A=b /bin/z\noptions wl key=[redacted] flag \\\n  more=[redacted] =\n"},
		{"etc/fstab", "# mine\n//nas/home /mnt cifs user=a,password=b 0 0\nUUID=1-2\t/boot\text4 defaults 0 2\nx\n",
			"- /mnt cifs\n- /boot ext4\n"},
		{"proc/cmdline", "BOOT_IMAGE=/vmlinuz root=UUID=1-2 ro quiet\n",
			"BOOT_IMAGE=[redacted] root=[redacted] [redacted] [redacted]\n"},
		{"proc/cmdline", "modprobe.blacklist=a,b module-blacklist=c module_blacklist=d",
			"modprobe.blacklist=a,b module-blacklist=c module_blacklist=d"},
		{"proc/cmdline", "module.sig_enforce module.sig_enforce=1 lockdown=integrity lsm=a,b nomodule",
			"module.sig_enforce module.sig_enforce=1 lockdown=integrity lsm=a,b nomodule"},
		{"proc/cmdline", "rd.driver.blacklist=x initcall_blacklist=y", "rd.driver.blacklist=x initcall_blacklist=y"},
		{"proc/cmdline", "nvme.poll_queues=4 nvme.flag= -- --secret token\n",
			"nvme.poll_queues=[redacted] nvme.flag= -- [redacted] [redacted]\n"},
		{"proc/cmdline", `k="a b c" "q=a b" dyndbg="file x +p; y" end`,
			`k=[redacted] q=[redacted] dyndbg=[redacted] [redacted]`},
		{"proc/cmdline", `"module_blacklist=a,b" "unclosed=x y`, `"module_blacklist=a,b" unclosed=[redacted]`},
		{"proc/cmdline", "https://user:pw@host/?a=b " + strings.Repeat("k", 65) + "=v \t\v[redacted]",
			"[redacted] [redacted] \t\v[redacted]"},
		{"boot/grub/grub.cfg", "\tmultiboot2\t/xen.gz placeholder dom0=1\n\tmodule2 --nounzip /vmlinuz-6 root=UUID=1 " +
			"lockdown=none\n\tmodule2 --nounzip /initrd.img-6\n", "multiboot2\t/xen.gz [redacted] dom0=[redacted]\n" +
			"module2 --nounzip /vmlinuz-6 root=[redacted] lockdown=none\nmodule2 --nounzip /initrd.img-6\n"},
		{"etc/kernel/cmdline", "root=/dev/sda1\nmodule_blacklist=x\n", "root=[redacted]\nmodule_blacklist=x\n"},
		{"etc/cmdline.d/a.conf", "root=/dev/sda1", "root=[redacted]"},
		{"boot/loader/entries/a.conf", "title My Host\nlinux /vmlinuz\noptions root=UUID=1 lockdown=none\n",
			"title My Host\nlinux /vmlinuz\noptions root=[redacted] lockdown=none\n"},
		{"boot/loader/entries/a.conf", "\toptions\tx=1\noptions\noptionsx y\n", "\toptions\tx=[redacted]\n" +
			"options\noptionsx y\n"},
		{"sys/module/nvme/sections/.text", "0x0000000000000000\n", "0x0000000000000000\n"},
		{"sys/module/module/parameters/sig_enforce", "N\n", "N\n"},
		{"sys/module/firmware_class/parameters/path", "/fw\n", "/fw\n"},
		{"sys/bus/hid/devices/x/uevent", "DRIVER=hid\nHID_UNIQ=ab:cd\nMODALIAS=hid:b1\nSERIAL=\n" +
			"PRODUCT=1/2/3\nMACHINE_1=2\n",
			"DRIVER=hid\nHID_UNIQ=[redacted]\nMODALIAS=hid:b1\nSERIAL=\nPRODUCT=1/2/3\nMACHINE_1=2\n"},
		{"proc/sys/kernel/random/boot_id", "8a5ccf4e-0000-4000-8000-000000000000\n",
			"8a5ccf4e-0000-4000-8000-000000000000\n"},
		{"sys/module/nvme/version", "1.0\n", "1.0\n"},
		{"sys/kernel/uevent_seqnum", "1234\n", "1234\n"},
		{"sys/class/dmi/id/modalias", "dmi:bvnX:\n", "dmi:bvnX:\n"},
		{"sys/class/firmware/address", "0x1\n", "0x1\n"},
		{"etc/modprobe.d/sections/parameters/x", "options a b=1\n", "options a b=1\n"},
		{OpUname, "release 6.1\n", "release 6.1\n"},
	} {
		in := []byte(c.in)
		got := Redact(c.key, in)
		if got == nil || string(got) != c.want {
			t.Errorf("Redact(%q, %q) = %q, want %q", c.key, c.in, got, c.want)
		}
		if string(in) != c.in {
			t.Errorf("Redact(%q) wrote to its argument", c.key)
		}
		if c.in != c.want && !Redacts(c.key) {
			t.Errorf("Redacts(%q) is false", c.key)
		}
	}
}

func TestRedactWhole(t *testing.T) {
	for _, key := range []string{
		"sys/module/nvme/sections/.text", "sys/module/nvme/parameters/poll_queues",
		"sys/bus/pci/drivers/nvme/module/parameters/x",
		"sys/class/net/eth0/address", "sys/class/dmi/id/product_serial", "sys/class/dmi/id/product_uuid",
		"sys/bus/usb/devices/1-1/serial", vmallocFile, "sys/block/sda/device/wwid", "sys/block/sda/device/vpd_pg80",
	} {
		if got := Redact(key, []byte("0xffffffffc0a00000\n")); got != nil || !Redacts(key) {
			t.Errorf("Redact(%q) keeps %q", key, got)
		}
	}
}

// What is redacted stays so, and a text in two parts is redacted as the whole is.
func FuzzRedact(f *testing.F) {
	keys := []string{ModulesFile, "proc/kallsyms", "proc/cmdline", "boot/loader/entries/x", "sys/a/uevent",
		"sys/module/a/sections/b", "sys/module/a/parameters/b",
		ftraceFile, ftraceUsedFile, dynamicDebugFile, "etc/modprobe.d/a.conf"}
	f.Add(10, "options wl key=secret flag \\\n  more=\"a b\"\n")
	f.Add(10, "0\"=\" ")
	f.Add(7, "schedule\nnvme_probe [nvme]\n")
	f.Add(8, "kfree (1) R I     \ttramp: 0xffffffffc0bd9000 (thunk+0x0/0x50 [hide])->x+0x0/0xf0\n")
	f.Add(9, "# f\ndrivers/a.c:1 [nvme]f =_ \"x\"\n")
	f.Add(0, "nvme 57344 3 - Live 0xffffffffc0a00000 (OE)\nx\n")
	f.Add(1, "ffffffffc0a01000 t init_module\t[nvme]\nffff T x\n")
	f.Add(2, "root=UUID=1 k=\"a b\" module_blacklist=x --\n")
	f.Add(3, "options a=b\n\n")
	f.Add(4, "HID_UNIQ=1\nA=B\n")
	f.Add(5, "0xffff\n")
	f.Fuzz(func(t *testing.T, which int, text string) {
		key := keys[uint(which)%uint(len(keys))]
		got := Redact(key, []byte(text))
		if got == nil && Redact(key, nil) != nil && text == "" {
			t.Fatal("nothing was taken for something")
		}
		if again := Redact(key, got); got != nil && !bytes.Equal(again, got) {
			t.Fatalf("%s: redacted twice: %q, once: %q", key, again, got)
		}
		if len(got) > len(text)+strings.Count(text, " ")*len(boot.RedactedValue)+
			(1+len(text))*(len(boot.RedactedValue)+1) {
			t.Fatalf("%s: %d bytes of %d", key, len(got), len(text))
		}
		i := strings.IndexByte(text, '\n') + 1
		if got == nil || i == 0 {
			return
		}
		parts := append(bytes.Clone(Redact(key, []byte(text[:i]))), Redact(key, []byte(text[i:]))...)
		if slices.Contains([]string{kallsymsFile, ftraceFile, dynamicDebugFile}, key) {
			parts = Redact(key, parts) // a line may appear twice where the parts meet
		}
		if !bytes.Equal(parts, got) && key != keys[5] {
			t.Fatalf("%s: in parts %q, as a whole %q", key, parts, got)
		}
		if key != ModulesFile {
			return
		}
		for line := range strings.Lines(string(got)) {
			for _, field := range strings.Split(strings.TrimSuffix(line, "\n"), " ")[1:] {
				if hex, ok := strings.CutPrefix(field, "0x"); ok && isAddress([]byte(hex)) {
					t.Fatalf("an address is left: %q", line)
				}
			}
		}
	})
}
