// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"path"
	"strings"
)

// A RootName is what a command line says of the file system that becomes the root.
type RootName struct {
	// Device is the value of the last root=, with udev's links in the form of a tag (UUID=…); empty for none.
	Device string
	// Subvolume is the subvolume of a btrfs that rootflags= names.
	Subvolume Subvolume
}

// A Subvolume names a subvolume of a btrfs. The zero Subvolume is the file system's own default.
type Subvolume struct {
	// Path leads to it from the top of the file system, and begins with a slash; empty if it is not named so.
	Path string
	// ID is its number; empty if it is not named so.
	ID string
}

// rootKey and rootFlagsKey are the words that name the root. The last root= counts for the kernel (root_dev_setup) and
// for dracut (getarg). systemd joins several rootflags=, of whose options btrfs takes the last.
const (
	rootKey      = "root"
	rootFlagsKey = "rootflags"
)

// deviceTags are udev's links to block devices, and the tags of blkid that mean the same.
var deviceTags = []struct{ dir, tag string }{
	{"/dev/disk/by-uuid/", "UUID="}, {"/dev/disk/by-label/", "LABEL="},
	{"/dev/disk/by-partuuid/", "PARTUUID="}, {"/dev/disk/by-partlabel/", "PARTLABEL="},
}

// RootNameOf returns what the words say of the root.
func RootNameOf(words []Word) (name RootName) {
	var flags []string
	for _, w := range words {
		switch w.Key {
		case rootKey:
			name.Device = DeviceName(w.Value)
		case rootFlagsKey:
			flags = append(flags, w.Value)
		}
	}
	name.Subvolume = SubvolumeOf(strings.Join(flags, ","))
	return name
}

// DeviceName returns the name of a block device, as root= and fstab(5) have it, in one form.
func DeviceName(name string) string {
	for _, t := range deviceTags {
		if value, ok := strings.CutPrefix(name, t.dir); ok {
			name = t.tag + value
		}
	}
	tag, value, ok := strings.Cut(name, "=")
	if ok && (tag == "UUID" || tag == "PARTUUID") {
		return tag + "=" + strings.ToLower(strings.Trim(value, `"`))
	}
	return name
}

// DeviceLink returns the path of a device that root= or fstab(5) names, which for a tag is a link of udev's; empty for
// another name.
func DeviceLink(name string) string {
	for _, t := range deviceTags {
		if value, ok := strings.CutPrefix(name, t.tag); ok {
			return path.Join(t.dir, strings.ReplaceAll(value, "/", `\x2f`))
		}
	}
	if strings.HasPrefix(name, "/dev/") {
		return path.Clean(name)
	}
	return ""
}

// SubvolumeOf returns the subvolume that mount options name (btrfs(5)): the last of each kind counts. Options that a
// recording left out are a name that equals itself only.
func SubvolumeOf(options string) (v Subvolume) {
	for option := range strings.SplitSeq(options, ",") {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "subvol":
			v.Path = path.Clean("/" + value)
		case "subvolid":
			v.ID = value
		case RedactedValue:
			v.Path = RedactedValue
		}
	}
	return v
}

// Same reports whether two names are known to be those of one subvolume.
func (v Subvolume) Same(other Subvolume) bool {
	switch {
	case v.Path != "" && other.Path != "":
		return v.Path == other.Path
	case v.ID != "" && other.ID != "":
		return v.ID == other.ID
	}
	return v == other
}

// String returns the name as a mount option; "the default subvolume" for the zero Subvolume.
func (v Subvolume) String() string {
	switch {
	case v.Path != "":
		return "subvol=" + v.Path
	case v.ID != "":
		return "subvolid=" + v.ID
	}
	return "the default subvolume"
}
