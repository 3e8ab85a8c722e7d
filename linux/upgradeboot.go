// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// SourceRootDisk is the root file system and the devices below it.
const SourceRootDisk = "root_disk"

// A bootNeed is one thing that must be driven before the root file system is there.
type bootNeed struct {
	what  string // "the root file system (ext4)", "the root disk's device 0000:01:00.0"
	alias string // what a module of the kernel must answer to
	owner string // the module of the device's driver, by sysfs; empty if the need is no device
	file  string
	line  int
}

// bootPath says whether the new kernel reaches its root file system: every need is answered by what is compiled in, or
// by a module in the initial file system of each boot entry.
func (u *upgrader) bootPath() {
	needs := u.rootNeeds()
	u.needs = len(needs)
	c := u.judge(&u.new)
	entries := c.setup.For(u.new.tree.Release)
	if len(entries) == 0 && c.bootErr == nil && len(c.setup.Entries) > 0 {
		u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeNoEntry, Text: "no boot entry starts " +
			u.new.tree.Release})
	}
	for _, n := range needs {
		before, _ := u.resolve(&u.old, n.alias)
		if n.owner != "" {
			before = ownedBy(before, n.owner)
		}
		for _, m := range before {
			u.used[m.Name] = true
		}
		u.need(n, before)
	}
}

// boots says whether all that the root file system needs is there at the boot of the new kernel. It is not known if
// any of the needs, a boot entry or an initial file system could not be read, or nothing shows how the kernel starts.
func (u *upgrader) boots() fact.Tri {
	known := len(u.judge(&u.new).setup.For(u.new.tree.Release)) > 0
	for _, c := range u.changes {
		if c.Grade == fact.UpgradeBoot {
			return fact.No
		}
		known = known && !(c.Grade == fact.UpgradeUnknown && c.Code == ChangeBootDriver)
	}
	if !known || u.needs == 0 || u.report.Count(SourceRootDisk)+u.report.Count(SourceTree)+
		u.report.Count(SourceCmdline)+u.report.Count(SourceInitramfs) > 0 {
		return ""
	}
	return fact.Yes
}

// need judges one need.
func (u *upgrader) need(n bootNeed, before []modprobe.Match) {
	after, known := u.resolve(&u.new, n.alias)
	if n.owner != "" {
		if same := ownedBy(after, n.owner); len(same) > 0 || len(before) == 0 {
			after = same
		}
	}
	switch {
	case len(after) == 0 && len(before) == 0: // driven by other means
	case len(after) == 0 && !known:
		u.add(fact.UpgradeChange{Grade: fact.UpgradeUnknown, Code: ChangeBootDriver, Module: before[0].Name,
			File: n.file, Line: n.line,
			Text: n.what + ": who answers to it there is not known"})
	case len(after) == 0:
		u.add(fact.UpgradeChange{Grade: fact.UpgradeBoot, Code: ChangeBootDriver, Module: before[0].Name, File: n.file,
			Line: n.line,
			Text: n.what + ": nothing answers to it in " + u.new.tree.Release})
	case slices.ContainsFunc(after, func(m modprobe.Match) bool { return m.Builtin || u.new.tree.IsBuiltin(m.Name) }):
	default:
		u.needModule(n, after)
	}
}

// needModule looks for one of the modules in the initial file system of each boot entry.
func (u *upgrader) needModule(n bootNeed, modules []modprobe.Match) {
	c := u.judge(&u.new)
	name := modules[0].Name
	for _, s := range c.next {
		entry := ""
		if s.entry.File != "" {
			entry = " of boot entry " + quote(s.entry.ID())
		}
		var lacks []string
		for _, m := range modules {
			missing := u.missingIn(s.initial, m.Name)
			if missing == nil {
				lacks = nil
				break
			}
			lacks = append(lacks, missing...)
		}
		change := fact.UpgradeChange{Grade: fact.UpgradeBoot, Code: ChangeBootDriver, Module: name, File: n.file,
			Line: n.line}
		if s.entry.File != "" {
			change.File, change.Line = s.entry.File, s.entry.Line
		}
		switch {
		case lacks == nil && len(s.initial.stages) > 0:
			continue
		case s.initial.unread.Applies():
			change.Grade = fact.UpgradeUnknown
			change.Text = n.what + " needs " + name + "; whether the initial file system has it is not known: " +
				s.initial.unread.Because().Text
		case len(s.initial.stages) == 0 && s.entry.File == "":
			continue // nothing shows how the machine boots
		case len(s.initial.stages) == 0:
			change.Text = n.what + " needs " + name + ", which is a module, and the boot entry " + quote(s.entry.ID()) +
				" starts without an initial file system"
		default:
			change.Text = n.what + " needs " + name + "; the initial file system" + entry + " lacks " +
				strings.Join(lacks[:min(len(lacks), maxAnswers)], ", ")
		}
		u.add(change)
	}
}

// missingIn returns what of a module and all that it needs is in no initial file system of a boot entry; nil if all is.
func (u *upgrader) missingIn(s *initialState, module string) (missing []string) {
	names := []string{module}
	for _, file := range u.new.tree.Needs(module) {
		names = append(names, ko.NameOfFile(file))
	}
	for _, name := range names {
		if u.new.tree.IsBuiltin(name) {
			continue
		}
		if !slices.ContainsFunc(s.stages, func(i initialStage) bool {
			return slices.ContainsFunc(i.files.Modules,
				func(file string) bool { return ko.NameOfFile(path.Base(file)) == name })
		}) {
			missing = append(missing, name)
		}
	}
	return missing
}

// rootNeeds returns what the root file system needs: of a running machine its type and every device below it, of an
// image its type.
func (u *upgrader) rootNeeds() []bootNeed {
	if !u.kernel.live() {
		return u.fstabRoot()
	}
	text, err := limit.ReadFile(u.kernel.machine, mountInfoFile, maxTableFile)
	if err != nil {
		u.lose(SourceRootDisk, err)
		return u.fstabRoot()
	}
	kind, device, source := rootMount(string(text))
	if kind == "" {
		u.lose(SourceRootDisk, &fact.ParseError{Source: mountInfoFile, Reason: "no line for /"})
		return u.fstabRoot()
	}
	layered := slices.Contains([]string{"overlay", "tmpfs", "rootfs", "ramfs", "squashfs", "9p", "virtiofs", "nfs",
		"nfs4"}, kind)
	if layered {
		u.lose(SourceRootDisk, fmt.Errorf("the root is of type %s: what is below it is not looked at: %w", quote(kind),
			errors.ErrUnsupported))
	}
	needs := []bootNeed{{what: "the root file system (" + kind + ")", alias: "fs-" + kind, file: mountInfoFile}}
	block := "sys/dev/block/" + device
	if !strings.HasPrefix(device, "0:") {
		return append(needs, u.blockNeeds([]string{block})...)
	}
	if !strings.HasPrefix(source, "/dev/") { // zfs and what has no disk
		if !layered {
			u.lose(SourceRootDisk, fmt.Errorf("the root is %s of type %s: what is below it is not looked at: %w",
				quote(source), quote(kind), errors.ErrUnsupported))
		}
		return needs
	}
	return append(needs, u.blockNeeds(u.poolDevices(source))...)
}

// poolDevices returns the block devices of a file system that has no device number of its own: of btrfs all that the
// file system of the source is on, else the source.
func (u *upgrader) poolDevices(source string) []string {
	name, machine := path.Base(source), u.kernel.machine
	if strings.HasPrefix(source, "/dev/mapper/") {
		name = u.mappedName(name)
	}
	const pools = "sys/fs/btrfs"
	list, err := fs.ReadDir(machine, pools)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.lose(SourceRootDisk, err)
	}
	if list, err = limit.Most(list, maxTableFiles, "/"+pools); err != nil {
		u.lose(SourceRootDisk, err)
	}
	for _, pool := range list {
		devices, err := fs.ReadDir(machine, pools+"/"+pool.Name()+"/devices")
		if err != nil {
			continue // features and debug are not file systems
		}
		if !slices.ContainsFunc(devices, func(d fs.DirEntry) bool { return d.Name() == name }) {
			continue
		}
		var blocks []string
		for _, d := range devices {
			blocks = append(blocks, "sys/class/block/"+d.Name())
		}
		return blocks
	}
	return []string{"sys/class/block/" + name}
}

// mappedName returns the kernel's name of a device of the device mapper, such as dm-0; the name itself if it is not
// such a device.
func (u *upgrader) mappedName(name string) string {
	const blocks = "sys/class/block"
	list, err := fs.ReadDir(u.kernel.machine, blocks)
	if err != nil {
		u.lose(SourceRootDisk, err)
	}
	if list, err = limit.Most(list, maxDevices, "/"+blocks); err != nil {
		u.lose(SourceRootDisk, err)
	}
	for _, b := range list {
		if !strings.HasPrefix(b.Name(), "dm-") {
			continue
		}
		if mapped, ok := u.attr(blocks + "/" + b.Name() + "/dm/name"); ok && mapped == name {
			return b.Name()
		}
	}
	return name
}

// mountInfoFile is what init has mounted.
const mountInfoFile = "proc/1/mountinfo"

// rootMount returns the type, the device and the source of the last mount on /, by proc_pid_mountinfo(5).
func rootMount(text string) (kind, device, source string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+3 || fields[4] != "/" {
			continue
		}
		kind, device, source = fields[dash+1], fields[2], fields[dash+2]
	}
	return kind, device, source
}

// fstabRoot returns the type of the root file system as fstab(5) has it.
func (u *upgrader) fstabRoot() (needs []bootNeed) {
	var lost fact.Report
	readLines(u.kernel.machine, fstabFile, &lost, func(line string, number int) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "/" && f[2] != "auto" {
			needs = append(needs, bootNeed{what: "the root file system (" + f[2] + ")", alias: "fs-" + f[2],
				file: fstabFile, line: number})
		}
	})
	for _, p := range lost.Problems {
		u.lose(SourceRootDisk, p)
	}
	if !u.kernel.live() {
		u.lose(SourceRootDisk,
			fmt.Errorf("which devices the root disk is behind is known of a running machine only: %w",
				errors.ErrUnsupported))
	}
	return needs
}

// maxBlocks is how many block devices below the root file system are looked at, and maxParents how many devices each is
// behind.
const (
	maxBlocks  = 64
	maxParents = 32
)

// blockNeeds returns what the devices below a block device need: of each the driver, and of device mapper and md what
// they are made of.
func (u *upgrader) blockNeeds(open []string) (needs []bootNeed) {
	machine := u.kernel.machine
	seen := make(map[string]bool)
	for len(open) > 0 {
		if len(seen) >= maxBlocks {
			u.lose(SourceRootDisk, fmt.Errorf("more than %d block devices below the root: %w", maxBlocks,
				fact.ErrTooLarge))
			break
		}
		dir, err := realPath(machine, open[0])
		open = open[1:]
		if err != nil {
			u.lose(SourceRootDisk, err)
			continue
		}
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := fs.Stat(machine, dir+"/partition"); err == nil {
			dir = path.Dir(dir)
		}
		needs = append(needs, u.mappedNeeds(dir)...)
		slaves, err := fs.ReadDir(machine, dir+"/slaves")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.lose(SourceRootDisk, err)
		}
		if slaves, err = limit.Most(slaves, maxBlocks, "/"+dir+"/slaves"); err != nil {
			u.lose(SourceRootDisk, err)
		}
		for _, s := range slaves {
			open = append(open, dir+"/slaves/"+s.Name())
		}
		switch {
		case !strings.HasPrefix(dir, "sys/devices/virtual/"):
			needs = append(needs, u.deviceNeeds(dir)...)
		case len(slaves) == 0:
			needs = append(needs, u.headNeeds(dir)...)
		}
	}
	return needs
}

// headNeeds returns what the controllers of an NVMe disk with several paths need: the disk is below its subsystem,
// which has a link to each. Of another disk without a device it says that it is not looked at.
func (u *upgrader) headNeeds(dir string) (needs []bootNeed) {
	subsystem := path.Dir(dir)
	if strings.HasPrefix(path.Base(subsystem), "nvme-subsys") {
		entries, err := fs.ReadDir(u.kernel.machine, subsystem)
		if err != nil {
			u.lose(SourceRootDisk, err)
		}
		if entries, err = limit.Most(entries, maxBlocks, "/"+subsystem); err != nil {
			u.lose(SourceRootDisk, err)
		}
		for _, e := range entries {
			link := subsystem + "/" + e.Name()
			if _, err := fs.ReadLink(u.kernel.machine, link); err != nil || !strings.HasPrefix(e.Name(), "nvme") {
				continue
			}
			controller, err := realPath(u.kernel.machine, link)
			if err != nil {
				u.lose(SourceRootDisk, err)
				continue
			}
			needs = append(needs, u.deviceNeeds(controller)...)
		}
	}
	if len(needs) == 0 {
		u.lose(SourceRootDisk, fmt.Errorf("what the root disk's %s is behind is not looked at: %w", path.Base(dir),
			errors.ErrUnsupported))
	}
	return needs
}

// mappedNeeds returns what a block device of the device mapper or of md needs.
func (u *upgrader) mappedNeeds(dir string) (needs []bootNeed) {
	base := path.Base(dir)
	if uuid, ok := u.attr(dir + "/dm/uuid"); ok {
		needs = append(needs, bootNeed{what: "the root disk's " + base, alias: "dm-mod", file: dir + "/dm/uuid"})
		if target := mappedTarget(uuid); target != "" {
			needs = append(needs, bootNeed{what: "the root disk's " + base, alias: target, file: dir + "/dm/uuid"})
		}
	}
	if level, ok := u.attr(dir + "/md/level"); ok && level != "" {
		needs = append(needs, bootNeed{what: "the root disk's array " + base, alias: "md-" + level, file: dir +
			"/md/level"})
	}
	return needs
}

// mappedTarget returns the module of a device mapper's target by its UUID, in which cryptsetup(8) and multipath(8) put
// a word in front, and lvm(8) one of a layer behind; empty for linear and striped ones, and where nothing says it.
func mappedTarget(uuid string) string {
	for _, t := range []struct{ start, end, module string }{
		{"CRYPT-VERITY-", "", "dm-verity"},
		{"CRYPT-INTEGRITY-", "", "dm-integrity"},
		{"CRYPT-", "", "dm-crypt"},
		{"mpath-", "", "dm-multipath"},
		{"LVM-", "-tpool", "dm-thin-pool"},
		{"LVM-", "-cow", "dm-snapshot"},
		{"LVM-", "-vpool", "dm-vdo"},
		{"LVM-", "-cpool", "dm-cache"},
		{"LVM-", "-cvol", "dm-cache"},
	} {
		if strings.HasPrefix(uuid, t.start) && strings.HasSuffix(uuid, t.end) {
			return t.module
		}
	}
	return ""
}

// attr returns an attribute of a block device, and whether there is one.
func (u *upgrader) attr(file string) (string, bool) {
	b, err := limit.AppendAttr(u.kernel.machine, nil, file, limit.Attr)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.lose(SourceRootDisk, err)
	}
	return strings.TrimSpace(string(b)), err == nil
}

// deviceNeeds returns the devices that a block device is behind, each with a driver and a modalias.
func (u *upgrader) deviceNeeds(dir string) (needs []bootNeed) {
	for range maxParents {
		if dir == "sys/devices" || !strings.HasPrefix(dir, "sys/devices/") {
			return needs
		}
		driver, err := u.driver(dir)
		if err != nil {
			u.lose(SourceRootDisk, err)
		}
		if driver != "" {
			owner := u.owner(dir, driver)
			alias, err := modaliasOf(u.kernel.machine, dir)
			if err != nil {
				u.lose(SourceRootDisk, err)
			}
			if alias != "" {
				needs = append(needs, bootNeed{what: "the root disk's device " + path.Base(dir), alias: alias,
					owner: owner, file: dir + "/modalias"})
			}
		}
		dir = path.Dir(dir)
	}
	return needs
}

// realPath follows the links of sysfs to a directory's own path.
func realPath(fsys fs.FS, name string) (string, error) {
	for range maxParents {
		target, err := fs.ReadLink(fsys, name)
		if err != nil {
			if errors.Is(err, fs.ErrInvalid) {
				err = nil
			}
			if _, statErr := fs.Stat(fsys, name); statErr == nil {
				return name, nil // a directory
			}
			return name, cmp.Or(err, error(&fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}))
		}
		if path.IsAbs(target) {
			return "", &fact.ParseError{Source: name, Reason: "a link out of sysfs"}
		}
		name = path.Join(path.Dir(name), target)
	}
	return "", &fact.ParseError{Source: name, Reason: "too many links"}
}
