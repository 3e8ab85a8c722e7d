// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// upgradeModules are the modules of a kernel, each with more entries of its .modinfo.
type upgradeModules map[string][]string

// releaseFiles are the files of a kernel with modules. Each needs what its "needs=" entry names, and has its aliases.
func releaseFiles(release string, modules upgradeModules, builtin ...string) map[string]string {
	dir := "lib/modules/" + release + "/"
	files := map[string]string{dir + "modules.dep": "", dir + "modules.alias": "", dir + "modules.builtin": "",
		dir + "modules.symbols": "", "boot/config-" + release: "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n"}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		folder, base, ok := strings.Cut(name, "/")
		if !ok {
			folder, base = "kernel", name
		}
		var entries []string
		line := folder + "/" + base + ".ko:"
		for _, e := range modules[name] {
			if needs, ok := strings.CutPrefix(e, "needs="); ok {
				line += " kernel/" + needs + ".ko"
				continue
			}
			if alias, ok := strings.CutPrefix(e, "alias="); ok {
				files[dir+"modules.alias"] += "alias " + alias + " " + base + "\n"
			}
			entries = append(entries, e)
		}
		files[dir+"modules.dep"] += line + "\n"
		b := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf(release, base, entries...)...).Bytes()
		files[dir+folder+"/"+base+".ko"] = string(b)
	}
	for _, name := range builtin {
		files[dir+"modules.builtin"] += "kernel/" + name + ".ko\n"
	}
	return files
}

// upgradeHost is a host that runs 6.1, with 6.12 installed, of which every kind of change is there once.
func upgradeHost() fstest.MapFS {
	files := releaseFiles("6.1", upgradeModules{
		"ext4":        {"alias=fs-ext4", "needs=jbd2"},
		"jbd2":        nil,
		"nvme":        {"alias=pci:v1*"},
		"dm-mod":      nil,
		"dm-crypt":    nil,
		"oldnet":      {"alias=pci:v2*"},
		"twonet":      {"alias=pci:v3*"},
		"leaving":     {"alias=usb:gone*"},
		"floppy":      nil,
		"nosign":      nil,
		"wifi":        {"alias=pci:v4*", "firmware=wifi-1.bin"},
		"gpu":         {"parm=fbc:compress (int)", "parm=psr:panel"},
		"fuse":        nil,
		"initial":     nil,
		"unit-mod":    nil,
		"beside":      nil,
		"updates/ext": nil,
		"extra/idle":  nil,
	}, "loop")
	maps.Copy(files, releaseFiles("6.12", upgradeModules{
		"ext4":              {"alias=fs-ext4", "needs=jbd2"},
		"jbd2":              nil,
		"nvme":              {"alias=pci:v1*"},
		"dm-mod":            nil,
		"dm-crypt":          nil,
		"newnet":            {"alias=pci:v3*"},
		"heir":              {"alias=usb:gone*"},
		"nosign":            nil,
		"wifi":              {"alias=pci:v4*", "firmware=wifi-1.bin", "firmware=wifi-2.bin"},
		"gpu":               {"parm=psr:panel"},
		"weak-updates/weak": nil,
	}, "fuse"))
	maps.Copy(files, map[string]string{
		"boot/config-6.12": "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=n\n",
		"boot/loader/entries/new.conf": "title new\nversion 6.12\nlinux /vmlinuz-6.12\ninitrd /initrd-6.12\n" +
			"options quiet gpu.fbc=1 modules_load=initial\n",
		"boot/loader/entries/old.conf": "title old\nversion 6.1\ninitrd /initrd-6.1\noptions quiet\n",
		"boot/initrd-6.12": string(linuxtest.Archive("lib/modules/6.12/kernel/ext4.ko", "x",
			"lib/modules/6.12/kernel/nvme.ko", "x",
			"lib/modules/6.12/modules.dep", "kernel/ext4.ko:\nkernel/nvme.ko:\n")),
		"boot/initrd-6.1": string(linuxtest.Archive("lib/modules/6.1/kernel/ext4.ko", "x",
			"lib/modules/6.1/modules.dep", "kernel/ext4.ko:\n")),
		ModulesFile: "oldnet 1 1 - Live 0x0\nleaving 1 0 - Live 0x0\nnosign 1 0 - Live 0x0\nfuse 1 2 - Live 0x0\n" +
			"ext 1 0 - Live 0x0\nwifi 1 0 - Live 0x0\next4 1 1 - Live 0x0\ngpu 1 1 - Live 0x0\n",
		"etc/modules": "floppy\nnothing\n",
		"etc/modprobe.d/a.conf": "options gpu fbc=1 psr=1 mystery=1\noptions fuse a=1\nblacklist fuse\n" +
			"softdep gpu post: beside\n",
		"etc/initramfs-tools/modules":                                     "initial\n",
		"etc/crypttab":                                                    "root UUID=1 none luks\n",
		"etc/systemd/system/x.wants/README":                               "",
		"etc/systemd/system/x.service":                                    "# Unit\nWants=modprobe@unit_mod.service\n",
		"lib/firmware/wifi-1.bin":                                         "",
		"var/lib/dkms/ext/2.0/6.1/x86_64/module/ext.ko":                   "",
		"proc/1/mountinfo":                                                "1 0 254:0 / / rw - ext4 /dev/dm rw\n",
		"sys/devices/virtual/block/dm-0/dm/uuid":                          "CRYPT-LUKS2-1-root\n",
		"sys/devices/pci0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1/partition": "1\n",
		"sys/devices/pci0/0000:01/modalias":                               "pci:v1d1\n",
		"sys/devices/pci0/0000:02/modalias":                               "pci:v2d1\n",
		"sys/devices/pci0/0000:03/modalias":                               "pci:v3d1\n",
		"sys/devices/pci0/0000:04/modalias":                               "pci:v4d1\n",
		"sys/devices/pci0/0000:05/modalias":                               "pci:v5d1\n",
		"sys/kernel/kexec_loaded":                                         "0\n",
		"proc/cmdline":                                                    "quiet\n",
	})
	disk := linuxtest.Files(files)
	for name, target := range map[string]string{
		"sys/dev/block/254:0":                                "../../devices/virtual/block/dm-0",
		"sys/devices/virtual/block/dm-0/slaves/nvme0n1p1":    "../../../../pci0/0000:01/nvme/nvme0/nvme0n1/nvme0n1p1",
		"sys/bus/pci/devices/0000:01":                        "../../../devices/pci0/0000:01",
		"sys/bus/pci/devices/0000:02":                        "../../../devices/pci0/0000:02",
		"sys/bus/pci/devices/0000:03":                        "../../../devices/pci0/0000:03",
		"sys/bus/pci/devices/0000:04":                        "../../../devices/pci0/0000:04",
		"sys/bus/pci/devices/0000:05":                        "../../../devices/pci0/0000:05",
		"sys/devices/pci0/0000:01/driver":                    "../../../bus/pci/drivers/nvme",
		"sys/devices/pci0/0000:02/driver":                    "../../../bus/pci/drivers/oldnet",
		"sys/devices/pci0/0000:03/driver":                    "../../../bus/pci/drivers/twonet",
		"sys/devices/pci0/0000:04/driver":                    "../../../bus/pci/drivers/wifi",
		"sys/devices/pci0/0000:05/driver":                    "../../../bus/pci/drivers/by_other_means",
		"lib/modules/6.12/weak-updates/weak.ko":              "/lib/modules/6.0/extra/weak.ko",
		"etc/systemd/system/x.wants/modprobe@floppy.service": "/usr/lib/systemd/system/modprobe@.service",
	} {
		disk[name] = linuxtest.Link(target)
	}
	return disk
}

// upgradeLines are the changes as "GRADE CODE MODULE FILE:LINE [answers]".
func upgradeLines(u *fact.Upgrade) []string {
	var lines []string
	for _, c := range u.Changes {
		line := fmt.Sprintf("%s %s %s", c.Grade, c.Code, c.Module)
		if c.File != "" {
			line += fmt.Sprintf(" %s:%d", c.File, c.Line)
		}
		if c.Answers != nil {
			line += fmt.Sprint(" ", c.Answers)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestUpgrade(t *testing.T) {
	var r fact.Report
	u, err := Open(diskOf(upgradeHost()), fact.Options{}).Upgrade(t.Context(), "6.12", &r)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"boot boot_driver dm_crypt /boot/loader/entries/new.conf:5",
		"boot boot_driver dm_mod /boot/loader/entries/new.conf:5",
		"boot boot_driver ext4 /boot/loader/entries/new.conf:5", // jbd2 is not in the initial file system
		"lost listed beside /etc/modprobe.d/a.conf:4",
		"lost absent ext",
		"lost listed floppy /etc/modules:1",
		"lost listed floppy /etc/systemd/system/x.wants/modprobe@floppy.service:0",
		"lost listed initial /etc/initramfs-tools/modules:1",
		"lost listed initial /boot/loader/entries/new.conf:5",
		"lost absent leaving [heir]",
		"lost absent oldnet",
		"lost device oldnet /sys/bus/pci/devices/0000:02/modalias:0",
		"lost listed unit_mod /etc/systemd/system/x.service:2",
		"firmware firmware wifi",
		"changed headers  /lib/modules/6.12/build:0",
		"changed builtin fuse",
		"changed builtin fuse /etc/modprobe.d/a.conf:3",
		"changed builtin fuse /etc/modprobe.d/a.conf:2",
		"changed parameter gpu /etc/modprobe.d/a.conf:1",
		"changed parameter gpu /boot/loader/entries/new.conf:5",
		"changed out_of_tree idle /lib/modules/6.1/extra/idle.ko:0",
		"changed driver twonet /sys/bus/pci/devices/0000:03/modalias:0 [newnet]",
		"changed out_of_tree weak /lib/modules/6.12/weak-updates/weak.ko:0",
	}
	got := upgradeLines(u)
	slices.Sort(got)
	slices.Sort(want)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("says also %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("does not say %s", line)
		}
	}
	if t.Failed() {
		for _, c := range u.Changes {
			t.Logf("%+v", c)
		}
	}
	if u.From != "6.1" || u.To != "6.12" || !slices.Equal(u.NowBuiltin, []string{"fuse"}) || len(u.Gone) != 9 ||
		!u.Loses() || u.Same == 0 || u.Same >= u.Used || u.Boot != fact.No {
		t.Errorf("%+v", u)
	}
	for _, p := range u.Problems {
		t.Errorf("problem %v", p)
	}
}

// TestUpgradeRefusal: what the new kernel has and does not load.
func TestUpgradeRefusal(t *testing.T) {
	files := upgradeHost()
	files["boot/config-6.12"] = linuxtest.File("CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_FORCE=y\n")
	u, err := Open(diskOf(files), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, c := range u.Changes {
		if c.Grade == fact.UpgradeRefused {
			refused++
		}
	}
	if refused == 0 || !slices.ContainsFunc(u.Changes,
		func(c fact.UpgradeChange) bool { return c.Code == ChangeEnforcement }) {
		t.Errorf("%d refused: %q", refused, upgradeLines(u))
	}
}

// TestUpgradeFailsClosed: whatever cannot be read makes no change vanish without a problem.
func TestUpgradeFailsClosed(t *testing.T) {
	base := upgradeHost()
	whole, err := Open(diskOf(base), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.Err(); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name := range base {
		m := diskOf(base)
		m.madeMachine = machineOf(linuxtest.Refusing(base, name, fs.ErrPermission))
		u, err := Open(refusedDisk{m, name}, fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
		if err != nil {
			continue
		}
		compared++
		if len(u.Changes) < len(whole.Changes) && u.Err() == nil {
			t.Errorf("%s refused: %d changes of %d, and nothing says why", name, len(u.Changes), len(whole.Changes))
		}
	}
	if compared < 40 {
		t.Errorf("only %d files refused", compared)
	}
}

// refusedDisk is a disk of which one file or link cannot be read.
type refusedDisk struct {
	diskMachine
	name string
}

func (d refusedDisk) refuse(op, name string) error {
	if name == d.name {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
	}
	return nil
}

func (d refusedDisk) Open(name string) (fs.File, error) {
	if err := d.refuse("open", name); err != nil {
		return nil, err
	}
	return d.diskMachine.Open(name)
}

func (d refusedDisk) ReadLink(name string) (string, error) {
	if err := d.refuse("readlink", name); err != nil {
		return "", err
	}
	return d.diskMachine.ReadLink(name)
}

// TestUpgradeBoot: whether the root file system is reached, and that this is said only if everything was read.
func TestUpgradeBoot(t *testing.T) {
	whole := func() fstest.MapFS {
		files := upgradeHost()
		files["boot/initrd-6.12"] = linuxtest.File(string(linuxtest.Archive("lib/modules/6.12/kernel/ext4.ko", "x",
			"lib/modules/6.12/kernel/jbd2.ko", "x", "lib/modules/6.12/kernel/nvme.ko", "x",
			"lib/modules/6.12/kernel/dm-mod.ko", "x", "lib/modules/6.12/kernel/dm-crypt.ko", "x")))
		return files
	}
	for _, tt := range []struct {
		name    string
		without string
		want    fact.Tri
	}{
		{"everything is there", "", fact.Yes},
		{"no initial file system", "boot/initrd-6.12", ""},
		{"no list of mounts", "proc/1/mountinfo", ""},
		{"no boot entry", "boot/loader/entries/new.conf", ""},
		{"no list of what is compiled in", "lib/modules/6.12/modules.builtin", ""},
		{"no such disk", "sys/dev/block/254:0", ""},
		{"no modules.dep", "lib/modules/6.12/modules.dep", fact.No},
	} {
		files := whole()
		delete(files, tt.without)
		u, err := Open(diskOf(files), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
		if err != nil || u.Boot != tt.want {
			t.Errorf("%s: %q, want %q; %v, problems %v", tt.name, u.Boot, tt.want, err, u.Problems)
		}
	}
	image, err := Open(diskOf(whole()), fact.Options{Image: true, Kernel: "6.1"}).Upgrade(t.Context(), "6.12",
		new(fact.Report))
	if err != nil || image.Boot != "" {
		t.Errorf("an image does not show its root disk: %q, %v", image.Boot, err)
	}
}

// TestUpgradePacking: modules that the installed kmod cannot unpack.
func TestUpgradePacking(t *testing.T) {
	const dynamic = "\x7fELF libc.so.6 liblzma.so.5 "
	for _, tt := range []struct {
		name, program, ending, config string
		want                          fact.UpgradeGrade
	}{
		{"the library is linked", dynamic + "libzstd.so.1", ".zst", "", ""},
		{"another packing", dynamic, ".xz", "", ""},
		{"not packed", dynamic, "", "", ""},
		{"without the library", dynamic, ".zst", "", fact.UpgradeBoot},
		{"without the library, and the kernel unpacks", dynamic, ".zst", "CONFIG_MODULE_DECOMPRESS=y\n",
			fact.UpgradeUnknown},
		{"linked as a whole", "\x7fELF", ".zst", "", ""},
		{"no kmod", "", ".zst", "", ""},
	} {
		files := upgradeHost()
		if tt.program != "" {
			files["usr/bin/kmod"] = linuxtest.File(tt.program)
		}
		files["lib/modules/6.12/modules.dep"] = linuxtest.File("kernel/nvme.ko" + tt.ending + ":\n")
		files["boot/config-6.12"] = linuxtest.File("CONFIG_MODULES=y\n" + tt.config)
		u, err := Open(diskOf(files), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		var got fact.UpgradeGrade
		for _, c := range u.Changes {
			if c.Code == ChangePacking {
				got = c.Grade
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestUpgradeAkmods: what akmods may build is said.
func TestUpgradeAkmods(t *testing.T) {
	files := upgradeHost()
	files["usr/src/akmods/leaving-kmod-1.0-1.src.rpm"] = linuxtest.File("x")
	u, err := Open(diskOf(files), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(u.Changes, func(c fact.UpgradeChange) bool {
		return c.Module == "leaving" && strings.Contains(c.Text,
			"akmods has its source in /usr/src/akmods/leaving-kmod-1.0")
	}) {
		t.Errorf("%q", upgradeLines(u))
	}
}

func TestUpgradeOfNothing(t *testing.T) {
	k := Open(diskOf(upgradeHost()), fact.Options{})
	if _, err := k.Upgrade(t.Context(), "7", new(fact.Report)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	image := Open(diskOf(upgradeHost()), fact.Options{Image: true})
	u, err := image.Upgrade(t.Context(), "6.1", new(fact.Report))
	if err != nil || u.From != "6.12" || u.To != "6.1" {
		t.Errorf("%+v, %v", u, err)
	}
	bare := upgradeHost()
	delete(bare, "lib/modules/6.12/modules.dep")
	u, err = Open(diskOf(bare), fact.Options{}).Upgrade(t.Context(), "6.12", new(fact.Report))
	if err != nil || u.Changes[0].Grade != fact.UpgradeBoot || u.Changes[0].Code != ChangeNoIndex {
		t.Errorf("without modules.dep: %+v, %v", u, err)
	}
}
