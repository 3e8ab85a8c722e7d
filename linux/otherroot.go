// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A rootIdentity is by which names boot entries may call the root that is looked at: entries that name another one
// start another system, whose configuration is not this one's.
type rootIdentity struct {
	devices    []string         // empty if none is known: then all entries name this root
	subvolumes []boot.Subvolume // the same
	source     string           // the file that says so
}

// maxMountInfo is how long a list of mounts may be.
const maxMountInfo = 1 << 20

// rootIdentity returns the names of the root that is looked at: those of the running machine's, else what fstab(5) and
// the boot entries themselves say.
func (c *checker) rootIdentity() rootIdentity {
	if c.setup.Fallback {
		return rootIdentity{} // the file is on this root
	}
	if c.machine.Live {
		if here, ok := c.runningRoot(); ok {
			return here
		}
	}
	return c.imageRoot()
}

// runningRoot returns the names that the running kernel's command line has, and those of what is mounted on /. It is
// false if the command line could not be read.
func (c *checker) runningRoot() (here rootIdentity, ok bool) {
	text, err := limit.AppendFile(c.machine.FS, nil, modprobe.CmdlineFile, limit.Attr)
	if err != nil {
		return here, false
	}
	name := boot.RootNameOf(boot.ParseCmdline(string(text)))
	here = rootIdentity{subvolumes: []boot.Subvolume{name.Subvolume}, source: slash(modprobe.CmdlineFile)}
	if name.Device != "" {
		here.devices = append(here.devices, name.Device)
	}
	mount, mounted := c.mountedRoot()
	if !mounted {
		return here, true
	}
	if len(here.devices) > 0 {
		here.devices = append(here.devices, mount.Device)
	}
	if mount.Subvolume != (boot.Subvolume{}) {
		here.subvolumes = append(here.subvolumes, mount.Subvolume)
	}
	return here, true
}

// mountedRoot returns the source of the last mount on /, and of a btrfs the subvolume, by proc_pid_mountinfo(5). It is
// false if the list could not be read.
func (c *checker) mountedRoot() (name boot.RootName, ok bool) {
	text, err := limit.ReadFile(c.machine.FS, mountInfoFile, maxMountInfo)
	if err != nil {
		return name, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 || fields[4] != "/" {
			continue
		}
		name, ok = boot.RootName{Device: boot.DeviceName(fields[dash+2])}, true
		if fields[dash+1] == "btrfs" {
			name.Subvolume = boot.SubvolumeOf(fields[dash+3])
		}
	}
	return name, ok
}

// imageRoot returns the names of a root that does not run. Entries that agree name this one; of those that do not, the
// ones that /etc/fstab names, else the one that is the default.
func (c *checker) imageRoot() (here rootIdentity) {
	var devices []string
	var subvolumes []boot.Subvolume
	entries := c.setup.For(c.machine.Release)
	for _, e := range entries {
		name := boot.RootNameOf(e.Words)
		if name.Device != "" && !slices.Contains(devices, name.Device) {
			devices = append(devices, name.Device)
		}
		if !slices.ContainsFunc(subvolumes, name.Subvolume.Same) {
			subvolumes = append(subvolumes, name.Subvolume)
		}
	}
	if len(devices) < 2 && len(subvolumes) < 2 {
		return here
	}
	file := slash(fstabFile)
	listed := c.fstabRoot()
	i := slices.IndexFunc(entries, c.setup.IsDefault)
	if i >= 0 {
		file = slash(entries[i].File)
	}
	here.source = file
	if len(devices) > 1 {
		here.devices = []string{listed.Device}
		if i >= 0 && !slices.Contains(devices, listed.Device) {
			here.devices = append(here.devices, boot.RootNameOf(entries[i].Words).Device)
		}
	}
	if len(subvolumes) > 1 {
		here.subvolumes = []boot.Subvolume{listed.Subvolume}
		if i >= 0 && !(listed.Subvolume != boot.Subvolume{} && slices.ContainsFunc(subvolumes, listed.Subvolume.Same)) {
			here.subvolumes = []boot.Subvolume{boot.RootNameOf(entries[i].Words).Subvolume}
		}
	}
	return here
}

// fstabRoot returns what /etc/fstab has for /; empty if it has no line or could not be read.
func (c *checker) fstabRoot() (name boot.RootName) {
	readLines(c.machine.FS, fstabFile, c.other, func(line string, _ int) {
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != "/" {
			return
		}
		name = boot.RootName{Device: boot.DeviceName(f[0])}
		if f[2] == "btrfs" {
			name.Subvolume = boot.SubvolumeOf(f[3])
		}
	})
	return name
}

// otherRoot returns why an entry may start another root than the one that is looked at; it does not apply to one that
// starts this one.
func (c *checker) otherRoot(e boot.Entry) fact.Answer {
	name, what := boot.RootNameOf(e.Words), ""
	switch {
	case name.Device != "" && len(c.root.devices) > 0 && !c.isRootDevice(name.Device):
		what = "root=" + name.Device
	case len(c.root.subvolumes) > 0 && !slices.ContainsFunc(c.root.subvolumes, name.Subvolume.Same):
		what = name.Subvolume.String()
	default:
		return fact.Answer{}
	}
	text := fmt.Sprintf("boot entry %q starts %s, which may not be the root that is looked at", e.ID(), what)
	r := textReason(ReasonOtherRoot, text, slash(e.File), e.Line)
	r.Unread = "the root that the entry starts"
	return fact.UnsureOf(r)
}

// isRootDevice reports whether the root is on a device: one of its names is the same, or leads to the same device of
// the running machine.
func (c *checker) isRootDevice(name string) bool {
	if slices.Contains(c.root.devices, name) {
		return true
	}
	node := c.deviceNode(name)
	return node != "" && slices.ContainsFunc(c.root.devices, func(known string) bool {
		return c.deviceNode(known) == node
	})
}

// deviceNode returns the base name of a device on the running machine, by udev's links; empty if it is not known.
func (c *checker) deviceNode(name string) string {
	if !c.machine.Live {
		return ""
	}
	file, ok := strings.CutPrefix(boot.DeviceLink(name), "/")
	if !ok {
		return ""
	}
	if target, err := fs.ReadLink(c.machine.FS, file); err == nil {
		return path.Base(target)
	}
	if file == strings.TrimPrefix(name, "/") && path.Dir(file) == "dev" && name != rootDevice {
		return path.Base(file)
	}
	return ""
}

// rootDevice is what the kernel calls the device that it mounts itself; there is no such node.
const rootDevice = "/dev/root"

// snapshotsDir holds snapper's snapshots of the root, each with a file that describes it.
const snapshotsDir = ".snapshots"

// pendingDescriptions begin the descriptions of snapshots that are made to be the next root: those of
// transactional-update and of snapper rollback. Both change the default subvolume, which no file shows.
var pendingDescriptions = []string{"<description>Snapshot Update of #", "<description>writable copy of #"}

// maxSnapshots is how many snapshots are looked at.
const maxSnapshots = 4096

// readPending looks whether a newer snapshot than the running root was made to be the root of the next boot. It counts
// where a boot entry leaves the subvolume to the file system's default.
func (c *checker) readPending() {
	mount, ok := c.mountedRoot()
	dir, _ := path.Split(mount.Subvolume.Path)
	running, err := strconv.Atoi(path.Base(dir))
	if !ok || err != nil || path.Base(path.Dir(path.Clean(dir))) != snapshotsDir ||
		!slices.ContainsFunc(c.setup.For(c.machine.Release), startsDefault) {
		return
	}
	entries, err := fs.ReadDir(c.machine.FS, snapshotsDir)
	if err == nil && len(entries) > maxSnapshots {
		err = fact.ErrTooLarge
	}
	if err != nil {
		c.kexec = fact.UnsureOf(unread(ReasonStaged, slash(snapshotsDir), err))
		return
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil || number <= running {
			continue
		}
		file := path.Join(snapshotsDir, e.Name(), "info.xml")
		text, err := limit.ReadFile(c.machine.FS, file, limit.Attr)
		if err != nil {
			c.kexec = fact.UnsureOf(unread(ReasonStaged, slash(file), err))
			return
		}
		if slices.ContainsFunc(pendingDescriptions, func(d string) bool { return strings.Contains(string(text), d) }) {
			c.kexec = fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: slash(file),
				Text:   "a newer snapshot was made to be the root: the next boot may start it",
				Unread: "the default subvolume of the root file system"})
			return
		}
	}
}

// startsDefault reports whether an entry leaves the subvolume to the file system.
func startsDefault(e boot.Entry) bool {
	return boot.RootNameOf(e.Words).Subvolume == boot.Subvolume{}
}
