// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// diskHost runs 6.1, with B installed, whose initial file system has nvme, ext4 and btrfs. The root disk nvme0n1 is
// behind a bridge that shpchp answers to and does not drive.
func diskHost(more map[string]string, links map[string]string) fstest.MapFS {
	modules := upgradeModules{"ext4": {"alias=fs-ext4"}, "btrfs": {"alias=fs-btrfs"}, "nvme": {"alias=pci:v1*"},
		"shpchp": {"alias=pci:bridge*"}, "dm-mod": nil, "dm-crypt": nil, "dm-verity": nil, "hba": {"alias=pci:v2*"}}
	files := releaseFiles("6.1", modules)
	maps.Copy(files, releaseFiles("B", modules))
	maps.Copy(files, map[string]string{
		"boot/loader/entries/b.conf": "title b\nversion B\nlinux /vmlinuz-B\ninitrd /initrd-B\noptions quiet\n",
		"boot/initrd-B": string(linuxtest.Archive("lib/modules/B/kernel/nvme.ko", "x",
			"lib/modules/B/kernel/ext4.ko", "x", "lib/modules/B/kernel/btrfs.ko", "x",
			"lib/modules/B/kernel/dm-mod.ko", "x")),
		"proc/sys/kernel/osrelease": "6.1\n", "proc/cmdline": "quiet\n", ModulesFile: "nvme 1 1 - Live 0x0\n",
		"sys/kernel/kexec_loaded":             "0\n",
		"proc/1/mountinfo":                    "1 0 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n",
		"sys/devices/pci/b0/modalias":         "pci:bridge1\n",
		"sys/devices/pci/b0/0000:01/modalias": "pci:v1d1\n",
		"sys/devices/pci/b0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1/partition": "1\n",
		"sys/devices/pci/b0/0000:02/modalias":                               "pci:v2d1\n",
		"sys/devices/pci/b0/0000:02/block/sdb/size":                         "1\n",
	})
	maps.Copy(files, more)
	disk := linuxtest.Files(files)
	all := map[string]string{
		"sys/dev/block/259:1":                             "../../devices/pci/b0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1",
		"sys/class/block/nvme0n1p1":                       "../../devices/pci/b0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1",
		"sys/class/block/sdb":                             "../../devices/pci/b0/0000:02/block/sdb",
		"sys/bus/pci/devices/b0":                          "../../../devices/pci/b0",
		"sys/devices/pci/b0/driver":                       "../../../bus/pci/drivers/pcieport",
		"sys/devices/pci/b0/0000:01/driver":               "../../../../bus/pci/drivers/nvme_by_another_name",
		"sys/bus/pci/drivers/nvme_by_another_name/module": "../../../../module/nvme",
		"sys/devices/pci/b0/0000:02/driver":               "../../../../bus/pci/drivers/hba",
	}
	maps.Copy(all, links)
	for name, target := range all {
		disk[name] = linuxtest.Link(target)
	}
	return disk
}

// upgradeOf is the upgrade of a made host to B.
func upgradeOf(t *testing.T, disk fs.FS) *fact.Upgrade {
	t.Helper()
	m := diskOf(disk.(fstest.MapFS))
	u, err := Open(m, fact.Options{Kernel: "6.1"}).Upgrade(t.Context(), "B", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUpgradeRootDisks: the devices below the root, and what it says of those that it does not look at.
func TestUpgradeRootDisks(t *testing.T) {
	btrfs := func(source string) map[string]string {
		return map[string]string{"proc/1/mountinfo": "1 0 0:30 /@ / rw - btrfs " + source + " rw\n"}
	}
	mapped := map[string]string{
		"sys/class/block/dm-0":                            "../../devices/virtual/block/dm-0",
		"sys/devices/virtual/block/dm-0/slaves/nvme0n1p1": "../../../../pci/b0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1",
	}
	withMapper := func(uuid string) map[string]string {
		files := btrfs("/dev/mapper/luks-1")
		files["sys/devices/virtual/block/dm-0/dm/uuid"] = uuid
		files["sys/devices/virtual/block/dm-0/dm/name"] = "luks-1\n"
		return files
	}
	multipath := map[string]string{
		"proc/1/mountinfo": "1 0 259:9 / / rw - ext4 /dev/nvme1n1 rw\n",
		"sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1n1/size": "1\n",
		"sys/devices/pci/b0/0000:02/nvme/nvme7/state":                  "live\n",
	}
	for _, tt := range []struct {
		name       string
		files      map[string]string
		links      map[string]string
		want       []string
		saysUnseen string
	}{
		{"a bridge that another module answers to", nil, nil, nil, ""},
		{"a driver of another name than its module", map[string]string{"boot/initrd-B": string(linuxtest.Archive(
			"lib/modules/B/kernel/ext4.ko", "x"))}, nil, []string{"boot boot_driver nvme"}, ""},
		{"btrfs on one disk", btrfs("/dev/nvme0n1p1"), nil, nil, ""},
		{"btrfs on two", btrfs("/dev/nvme0n1p1"), map[string]string{
			"sys/fs/btrfs/U/devices/nvme0n1p1": "../../../../devices/pci/b0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1",
			"sys/fs/btrfs/U/devices/sdb":       "../../../../devices/pci/b0/0000:02/block/sdb"},
			[]string{"boot boot_driver hba"}, ""},
		{"btrfs on a mapped device", withMapper("CRYPT-LUKS2-1\n"), mapped, []string{"boot boot_driver dm_crypt"}, ""},
		{"a verified device", withMapper("CRYPT-VERITY-1\n"), mapped, []string{"boot boot_driver dm_verity"}, ""},
		{"a volume", withMapper("LVM-1\n"), mapped, nil, ""},
		{"zfs", map[string]string{"proc/1/mountinfo": "1 0 0:30 / / rw - zfs rpool/ROOT rw\n"}, nil, nil, "rpool/ROOT"},
		{"no disk", map[string]string{"proc/1/mountinfo": "1 0 0:2 / / rw - rootfs rootfs rw\n"}, nil, nil, "rootfs"},
		{"a mapped device of nothing", withMapper("LVM-1\n"), map[string]string{
			"sys/class/block/dm-0": mapped["sys/class/block/dm-0"]}, nil, "dm-0"},
		{"several paths", multipath, map[string]string{
			"sys/dev/block/259:9": "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme1n1",
			"sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme7": "../../../pci/b0/0000:02/nvme/nvme7"},
			[]string{"boot boot_driver hba"}, ""},
		{"links that lead in a circle", map[string]string{"proc/1/mountinfo": "1 0 9:9 / / rw - ext4 /dev/x rw\n"},
			map[string]string{"sys/dev/block/9:9": "9:8", "sys/dev/block/9:8": "9:9"}, nil, "9:"},
	} {
		u := upgradeOf(t, diskHost(tt.files, tt.links))
		var got []string
		for _, line := range upgradeLines(u) {
			if strings.HasPrefix(line, "boot") || strings.HasPrefix(line, "lost") {
				got = append(got, strings.Join(strings.Fields(line)[:3], " "))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q; %v", tt.name, got, tt.want, u.Problems)
		}
		unseen := u.Err() != nil
		if unseen != (tt.saysUnseen != "") || unseen && !strings.Contains(u.Err().Error(), tt.saysUnseen) {
			t.Errorf("%s: not seen %v, want %q", tt.name, u.Err(), tt.saysUnseen)
		}
		if unseen && strings.Count(u.Err().Error(), "is not looked at") > 1 {
			t.Errorf("%s: said twice: %v", tt.name, u.Err())
		}
	}
}

// TestUpgradeFalseRows: apparent losses that are not losses, and those that are.
func TestUpgradeFalseRows(t *testing.T) {
	host := func(change func(files fstest.MapFS, old, to upgradeModules)) *fact.Upgrade {
		old, to := upgradeModules{"vfat": {"alias=fs-vfat"}, "fuse": {"alias=fs-fuse"}}, upgradeModules{}
		files := make(fstest.MapFS)
		change(files, old, to)
		disk := diskHost(nil, nil)
		more := releaseFiles("6.1", old)
		maps.Copy(more, releaseFiles("B", to))
		for name, f := range linuxtest.Files(more) {
			if base := name[strings.LastIndexByte(name, '/')+1:]; strings.HasPrefix(base, "modules.") {
				f = linuxtest.File(string(disk[name].Data) + string(f.Data))
			}
			disk[name] = f
		}
		maps.Copy(disk, files)
		return upgradeOf(t, disk)
	}
	for _, tt := range []struct {
		name   string
		change func(files fstest.MapFS, old, to upgradeModules)
		want   []string
	}{
		{"lines that nothing mounts at boot", func(files fstest.MapFS, _, _ upgradeModules) {
			files["etc/fstab"] = linuxtest.File("#UUID=1 /a vfat defaults 0 0\nUUID=2 /b vfat rw,noauto 0 0\n" +
				"none /c swap sw 0 0\nhost:/d /d nfs defaults 0 0\n")
		}, nil},
		{"a subtype", func(files fstest.MapFS, _, _ upgradeModules) {
			files["etc/fstab"] = linuxtest.File("h:/ /a fuse.sshfs x-systemd.automount 0 0\n")
		}, []string{"lost listed fuse /etc/fstab:1"}},
		{"only a module that a line keeps out answers", func(files fstest.MapFS, old, to upgradeModules) {
			old["r8125"], to["r8169"] = []string{"alias=pci:v3*"}, []string{"alias=pci:v3*"}
			files["etc/modprobe.d/a.conf"] = linuxtest.File("blacklist r8169\n")
			files["sys/devices/pci/n/modalias"] = linuxtest.File("pci:v3d1\n")
			files["sys/bus/pci/devices/n"] = linuxtest.Link("../../../devices/pci/n")
			files["sys/devices/pci/n/driver"] = linuxtest.Link("../../../bus/pci/drivers/r8125")
		}, []string{"lost device r8125 /sys/bus/pci/devices/n/modalias:0"}},
		{"firmware of one release", func(files fstest.MapFS, old, to upgradeModules) {
			for _, side := range []upgradeModules{old, to} {
				side["wifi"] = []string{"alias=pci:v4*", "firmware=w.bin", "firmware=nowhere.bin", "firmware=x-*.bin"}
			}
			files["lib/firmware/6.1/w.bin.xz"] = linuxtest.File("")
			files["etc/modules"] = linuxtest.File("wifi\n")
		}, []string{"firmware firmware wifi"}},
		{"units of merged directories", func(files fstest.MapFS, _, _ upgradeModules) {
			files["usr/lib/systemd/system/a.wants/modprobe@vfat.service"] = linuxtest.File("")
			files["lib/systemd"] = linuxtest.Link("../usr/lib/systemd")
		}, []string{"lost listed vfat /usr/lib/systemd/system/a.wants/modprobe@vfat.service:0"}},
	} {
		if got := upgradeLines(host(tt.change)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestUpgradeNoRelease: the error says which kernels there are.
func TestUpgradeNoRelease(t *testing.T) {
	_, err := Open(diskOf(diskHost(nil, nil)), fact.Options{Kernel: "6.1"}).Upgrade(t.Context(), "C", new(fact.Report))
	if err == nil || !strings.HasSuffix(err.Error(), "; installed: 6.1, B") {
		t.Errorf("%v", err)
	}
}

// FuzzUpgradeTexts: no text of a mount table, of a list or of a unit's name costs more than itself.
func FuzzUpgradeTexts(f *testing.F) {
	f.Add("1 0 259:1 / / rw - ext4 /dev/a rw\n")
	f.Add("MODULES=(a \"b\")\nadd_drivers+=\" c \" # d\n")
	f.Add("MODULES=\xc6")
	f.Add("UUID=1 / ext4,vfat noauto 0 0\n")
	f.Add("[Unit]\nWants=modprobe@a\\x2db.service modprobe@.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		if kind, _, source := rootMount(text); len(kind)+len(source) > len(text) {
			t.Errorf("more than the text: %q %q", kind, source)
		}
		for line := range strings.Lines(text) {
			for _, name := range assignedNames(line) {
				if name == "" || !strings.Contains(line, name) {
					t.Errorf("%q of %q", name, line)
				}
			}
		}
		fsys := linuxtest.Files(map[string]string{fstabFile: text, "etc/crypttab": text, "etc/dracut.conf": text,
			"etc/systemd/system/a.service": text})
		var r fact.Report
		list := slices.Concat(tables(fsys, &r), units(fsys, &r), initialLists(fsys, &r))
		if len(list) > 4*len(text) || len(r.Problems) > 0 {
			t.Errorf("%d names of %d bytes; %v", len(list), len(text), r.Problems)
		}
	})
}
