// SPDX-License-Identifier: Apache-2.0

package fakelinux

import (
	"fmt"
	"strings"
)

// Debian is a workstation with Debian 12: a file system on NVMe, a network card, sound, virtual
// machines, one out-of-tree driver and one proprietary one.
func Debian() Host {
	return Host{
		Release: "6.1.0-56-amd64", Taint: 1<<0 | 1<<12 | 1<<13, Modules: debianModules(), Builtin: builtinModules(),
		CommandLine: `BOOT_IMAGE=/vmlinuz-6.1.0-56-amd64 root=UUID=0f3c6f0e-5d4c-4a53-8b1a-1d8f7a1d9c11 ro quiet ` +
			`modprobe.blacklist=nouveau kvm.ignore_msrs=1`,
	}
}

// NoModules is a small virtual machine whose kernel was built without loadable modules.
func NoModules() Host {
	return Host{
		Release: "6.6.31-microvm", Builtin: builtinModules(), NoModuleSupport: true,
		CommandLine: "console=ttyS0 root=/dev/vda lockdown=integrity",
	}
}

// Container is Debian seen from a container that has no /sys/module.
func Container() Host {
	h := Debian()
	h.NoSysModule = true
	return h
}

// ProcSubsetPID is Debian seen from a service with ProcSubset=pid.
func ProcSubsetPID() Host {
	h := Debian()
	h.User, h.ProcSubsetPID = true, true
	return h
}

// ProtectKernelModules is Debian seen from an ordinary user's service with that setting.
func ProtectKernelModules() Host {
	h := Debian()
	h.User, h.ProtectKernelModules = true, true
	return h
}

// Many is a machine with n modules, for benchmarks: each but the first few is used by the next
// one, as long chains and short lists as on a real machine.
func Many(n int) Host {
	h := Host{Release: "6.12.0-many", Modules: make([]Module, n)}
	for i := range h.Modules {
		m := Module{Name: fmt.Sprintf("module_%04d", i), Size: 16384 * (1 + i%20), Version: []string{"", "1.2"}[i/7%2]}
		if i > 0 && i%3 != 0 {
			m.UsedBy, m.Refs = []string{h.Modules[i-1].Name}, 1
		}
		if i > 10 && i%10 == 0 {
			m.UsedBy, m.Refs = append(m.UsedBy, h.Modules[i-10].Name, h.Modules[i-5].Name), 3
		}
		h.Modules[i] = m
	}
	return h
}

// debianModules are the modules of Debian, newest first.
func debianModules() []Module {
	const table = `
nvidia_drm 77824 2 - POE 535.183.01 -
nvidia_modeset 1318912 4 nvidia_drm POE 535.183.01 -
nvidia 56754176 158 nvidia_modeset POE 535.183.01 -
vboxdrv 581632 0 - OE 7.0.20 5DF9A7C1B2E3D4F506172839
kvm_intel 380928 0 - - - -
kvm 1142784 1 kvm_intel - - -
irqbypass 16384 1 kvm - - -
snd_hda_codec_realtek 167936 1 - - - -
snd_hda_codec_generic 98304 1 snd_hda_codec_realtek - - -
snd_hda_intel 57344 0 - - - -
snd_intel_dspcfg 36864 1 snd_hda_intel - - -
snd_hda_codec 184320 3 snd_hda_codec_realtek,snd_hda_codec_generic,snd_hda_intel - - -
snd_hda_core 122880 4 snd_hda_codec_realtek,snd_hda_codec_generic,snd_hda_intel,snd_hda_codec - - -
snd_pcm 159744 3 snd_hda_intel,snd_hda_codec,snd_hda_core - - -
snd_timer 49152 1 snd_pcm - - -
snd 126976 6 snd_hda_codec_realtek,snd_hda_codec_generic,snd_hda_intel,snd_hda_codec,snd_pcm,snd_timer - - -
soundcore 16384 1 snd - - -
binfmt_misc 24576 1 - - - -
efi_pstore 16384 0 - - - -
ext4 983040 2 - - - -
crc16 16384 1 ext4 - - -
mbcache 16384 1 ext4 - - -
jbd2 167936 1 ext4 - - -
sd_mod 65536 0 - - - -
ahci 49152 0 - - 3.0 -
libahci 49152 1 ahci - - -
libata 405504 2 libahci,ahci - 3.00 -
scsi_mod 286720 2 sd_mod,libata - - -
scsi_common 16384 1 scsi_mod - - -
e1000e 315392 0 - - - -
ptp 32768 1 e1000e - - -
pps_core 24576 1 ptp - - -
nvme 57344 4 - - 1.0 -
nvme_core 180224 6 nvme - 1.0 -
crc32c_intel 24576 5 - - - -
`
	parameters := map[string][]Parameter{
		"nvidia":        {{"NVreg_EnableMSI", "1", 0o444}, {"NVreg_RegistryDwords", "(null)", 0o600}},
		"kvm":           {{"ignore_msrs", "Y", 0o644}, {"halt_poll_ns", "200000", 0o644}},
		"kvm_intel":     {{"nested", "Y", 0o444}, {"ple_gap", "128", 0o444}},
		"nvme":          {{"poll_queues", "0", 0o644}, {"use_cmb_sqes", "Y", 0o444}},
		"nvme_core":     {{"default_ps_max_latency_us", "100000", 0o644}, {"io_timeout", "30", 0o644}},
		"snd_hda_intel": {{"model", "(null),(null)", 0o444}, {"power_save", "10", 0o644}},
		"libata":        {{"force", "", 0o400}},
	}
	var modules []Module
	for line := range strings.Lines(strings.TrimPrefix(table, "\n")) {
		var m Module
		var users, taints string
		if _, err := fmt.Sscanf(line, "%s %d %d %s %s %s %s", &m.Name, &m.Size, &m.Refs, &users, &taints, &m.Version,
			&m.Srcversion); err != nil {
			panic(fmt.Sprintf("fakelinux: %q: %v", line, err))
		}
		m.UsedBy, m.Taints = list(users), strings.Trim(taints, "-")
		m.Version, m.Srcversion = strings.Trim(m.Version, "-"), strings.Trim(m.Srcversion, "-")
		m.Parameters = parameters[m.Name]
		m.Permanent = m.Name == "efi_pstore"
		modules = append(modules, m)
	}
	return modules
}

func list(s string) []string {
	if s == "-" {
		return nil
	}
	return strings.Split(s, ",")
}

func builtinModules() []Module {
	return []Module{
		{Name: "kernel", Parameters: []Parameter{{"panic", "0", 0o644}, {"consoleblank", "0", 0o444}}},
		{Name: "module", Parameters: []Parameter{{"sig_enforce", "N", 0o444}}},
		{Name: "printk", Parameters: []Parameter{{"time", "Y", 0o644}, {"always_kmsg_dump", "N", 0o644}}},
		{Name: "tcp_cubic", Parameters: []Parameter{{"beta", "717", 0o644}}},
		{Name: "xhci_hcd", Parameters: []Parameter{{"quirks", "0", 0o444}}},
		{Name: "pstore", Parameters: []Parameter{{"backend", "(null)", 0o444}}},
		{Name: "bridge", Version: "2.3"},
		{Name: "dns_resolver", Parameters: []Parameter{{"debug", "0", 0o644}}},
		{Name: "crc32_generic"},
	}
}
