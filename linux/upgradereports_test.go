// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"maps"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestUpgradeReports are situations that people reported after a reboot, as roots made up for this test.
func TestUpgradeReports(t *testing.T) {
	entry := map[string]string{
		"boot/loader/entries/b.conf": "title b\nversion B\nlinux /vmlinuz-B\ninitrd /initrd-B\noptions quiet\n",
		"boot/initrd-B": string(linuxtest.Archive("lib/modules/B/kernel/nvme.ko", "x",
			"lib/modules/B/modules.dep", "kernel/nvme.ko:\n")),
		"etc/fstab": "UUID=1 / ext4 defaults 0 1\n",
	}
	for _, tt := range []struct {
		report string
		from   map[string]string
		to     map[string]string
		more   map[string]string
		want   []string
	}{
		{"dracut-ng/dracut issue 1321: ext4 is compiled into the kernel that runs, not into the other",
			releaseFiles("A", nil, "ext4"), releaseFiles("B", upgradeModules{"ext4": {"alias=fs-ext4"}, "nvme": nil}),
			nil,
			[]string{"boot boot_driver ext4 /boot/loader/entries/b.conf:5"}},
		{"the same, with ext4 in the initial file system",
			releaseFiles("A", nil, "ext4"), releaseFiles("B", upgradeModules{"ext4": {"alias=fs-ext4"}}),
			map[string]string{"boot/initrd-B": string(linuxtest.Archive("lib/modules/B/kernel/ext4.ko", "x"))}, nil},
		{"asahi-scripts pull 45: dracut's configuration adds a module that has another name now",
			releaseFiles("A", upgradeModules{"i2c-apple": {"alias=of:N*T*Capple,i2c"}}, "ext4"),
			releaseFiles("B", upgradeModules{"i2c-pasemi-platform": {"alias=of:N*T*Capple,i2c"}}, "ext4"),
			map[string]string{"etc/dracut.conf.d/10-asahi.conf": "# for the keyboard\nadd_drivers+=\" i2c-apple \"\n"},
			[]string{"lost listed i2c_apple /etc/dracut.conf.d/10-asahi.conf:2 [i2c_pasemi_platform]"}},
		{"kubernetes/kops pull 18179, magic_castle issue 592: the modules of iptables are gone",
			releaseFiles("A", upgradeModules{"ip_tables": nil, "iptable_nat": {"needs=ip_tables"}, "br_netfilter": nil},
				"ext4"),
			releaseFiles("B", upgradeModules{"br_netfilter": nil}, "ext4"),
			map[string]string{"etc/modules-load.d/k8s.conf": "br_netfilter\nip_tables\niptable_nat\n"},
			[]string{"lost listed ip_tables /etc/modules-load.d/k8s.conf:2",
				"lost listed iptable_nat /etc/modules-load.d/k8s.conf:3"}},
		{"realtek-r8125-dkms issue 51: DKMS built the driver for one kernel alone",
			releaseFiles("A", upgradeModules{"updates/r8125": {"alias=pci:v10EC*"}}, "ext4"),
			releaseFiles("B", upgradeModules{"r8169": {"alias=pci:v10EC*"}}, "ext4"),
			map[string]string{"etc/modules-load.d/net.conf": "r8125\n",
				"etc/modprobe.d/r8125.conf":                       "blacklist r8169\n",
				"var/lib/dkms/r8125/9.0/A/x86_64/module/r8125.ko": ""},
			[]string{"lost listed r8125 /etc/modules-load.d/net.conf:1 [r8169]",
				"changed headers  /lib/modules/B/build:0"}},
	} {
		files := maps.Clone(entry)
		maps.Copy(files, tt.from)
		maps.Copy(files, tt.to)
		maps.Copy(files, tt.more)
		u, err := Open(diskOf(linuxtest.Files(files)), fact.Options{Image: true, Kernel: "A"}).
			Upgrade(t.Context(), "B", new(fact.Report))
		if err != nil {
			t.Errorf("%s: %v", tt.report, err)
			continue
		}
		if got := upgradeLines(u); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%q, want\n%q", tt.report, got, tt.want)
		}
	}
}
