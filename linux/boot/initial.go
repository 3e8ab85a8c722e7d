// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// An Initial says which initial file systems a boot entry starts its kernel with.
type Initial struct {
	// Sets are the files, as paths below the root. Those of one set are unpacked one over the other. There is more than
	// one set if the entry does not name it and several files may be meant. There is no set without an initial file
	// system.
	Sets [][]string
	// Bare is set for a root that shows nothing of a boot: no kernel, no boot entry and no line for /boot in
	// /etc/fstab, as that of a container. Its Sets are empty, and nothing says so.
	Bare bool
}

// Initial returns the initial file systems that an entry of the release's kernel starts with. The zero Entry stands for
// one that is not known. A problem of SourceInitramfs says why a set may be missing.
func (b *Setup) Initial(fsys fs.FS, e Entry, release string, r *fact.Report) Initial {
	if e.File == "" || e.bare {
		return b.usualInitial(fsys, release, r)
	}
	var i Initial
	names, missing, err := e.initrdFiles(fsys)
	if len(names) > 0 {
		i.Sets = [][]string{names}
	}
	switch {
	case err != nil:
		lose(r, err)
	case len(missing) > 0:
		lose(r, fmt.Errorf("/%s names the initial file system %s, which is not there: %w", e.File,
			escape.Text(missing[0]), fs.ErrNotExist))
	case len(e.initrdOpen) > 0:
		lose(r, fmt.Errorf("/%s names an initial file system by %s, which only the boot loader knows: %w", e.File,
			strings.Join(e.initrdOpen, " "), errors.ErrUnsupported))
	case e.unstated:
		lose(r, fmt.Errorf("/%s was recorded without its initial file systems: %w", e.File, fact.ErrUnrecorded))
	}
	return i
}

// usualInitial returns the initial file systems in the usual places of the release.
func (b *Setup) usualInitial(fsys fs.FS, release string, r *fact.Report) (i Initial) {
	var unread error
	for _, name := range initramfsFiles(release) {
		if release == "" || !fs.ValidPath(name) {
			continue
		}
		if _, err := fs.Stat(fsys, name); err == nil {
			i.Sets = append(i.Sets, []string{name})
		} else if !errors.Is(err, fs.ErrNotExist) {
			unread = err
		}
	}
	unmounted, named, err := unmountedBoot(fsys)
	switch {
	case unread != nil:
		lose(r, unread)
	case err != nil:
		lose(r, err)
	case unmounted != "":
		lose(r, fmt.Errorf("/etc/fstab names %s, which is not mounted: %w", unmounted, fs.ErrNotExist))
	case len(i.Sets) > 0:
	case named || hasKernel(fsys, release) || len(b.Entries) > 0:
		lose(r, fmt.Errorf("no initial file system in /boot, and no boot entry shows whether there is one: %w",
			fs.ErrNotExist))
	default:
		i.Bare = true
	}
	return i
}

// initramfsFiles are the names of a release's initial file system.
func initramfsFiles(release string) []string {
	return []string{"boot/initrd.img-" + release, "boot/initramfs-" + release + ".img", "boot/initrd-" + release,
		"boot/initramfs-" + release,
		"usr/lib/modules/" + release + "/initramfs.img", "usr/lib/modules/" + release + "/initrd",
		"lib/modules/" + release + "/initrd"}
}

// bootDirs are where boot loaders' files are mounted.
var bootDirs = []string{"boot", "boot/efi", "efi", "boot/firmware"}

// unmountedBoot returns the folder of boot loaders' files that /etc/fstab names and that holds nothing; empty if it
// names no such folder. named is set if it names any. A root without /etc/fstab has no line.
func unmountedBoot(fsys fs.FS) (dir string, named bool, err error) {
	text, err := limit.ReadFile(fsys, "etc/fstab", maxLoaderFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		return "", false, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0][0] == '#' {
			continue
		}
		dir := strings.TrimPrefix(path.Clean(fields[1]), "/")
		if !slices.Contains(bootDirs, dir) {
			continue
		}
		entries, err := fs.ReadDir(fsys, dir)
		switch named = true; {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", true, err
		case !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !isMountPoint(dir, e) }):
			return "/" + dir, true, nil
		}
	}
	return "", named, nil
}

// isMountPoint reports whether a folder's entry is only where another file system is mounted.
func isMountPoint(dir string, e fs.DirEntry) bool {
	return e.IsDir() && slices.Contains(bootDirs, dir+"/"+e.Name())
}

// hasKernel reports whether the root holds a kernel that a boot loader may start.
func hasKernel(fsys fs.FS, release string) bool {
	for _, dir := range []string{"lib/modules/" + release, "usr/lib/modules/" + release} {
		if _, err := fs.Stat(fsys, dir+"/vmlinuz"); release != "" && err == nil {
			return true
		}
	}
	for _, dir := range []string{"boot", "usr/lib/ostree-boot"} {
		entries, _ := fs.ReadDir(fsys, dir) // an unreadable one is a problem of the boot loaders' files
		for _, e := range entries {
			if isKernelName(e.Name()) {
				return true
			}
		}
	}
	return false
}

// isKernelName reports whether a file in /boot has the name of a kernel.
func isKernelName(name string) bool {
	for _, prefix := range []string{"vmlinu", "bzImage", "Image", "zImage", "uImage", "kernel", "linux"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// addInitrds adds the files of a loader entry's initrd lines, with the boot loader's variables replaced.
func (r *bootReader) addInitrds(e *Entry, lines []string) {
	for _, line := range lines {
		names := &Entry{}
		r.initrds(e, strings.Fields(r.expand(names, line)))
		e.initrdOpen = append(e.initrdOpen, names.Unresolved...)
	}
}

// initrdFiles returns the files of the initial file systems that the entry names, as paths below
// the root: of a unified kernel image, the image itself. missing names those that are not there. The error is that of
// one that may be there.
func (e *Entry) initrdFiles(fsys fs.FS) (names, missing []string, err error) {
	if e.unified {
		names = append(names, e.File)
	}
	for _, initrd := range e.Initrds {
		if strings.HasPrefix(initrd, "(") { // grub's name of a partition
			_, initrd, _ = strings.Cut(initrd, ")")
		}
		name := strings.TrimPrefix(path.Clean("/"+initrd), "/")
		found := false
		for _, root := range []string{"boot/", "", "boot/efi/", "efi/"} {
			_, statErr := fs.Stat(fsys, root+name)
			if statErr == nil && name != "" {
				names, found = append(names, root+name), true
				break
			}
			if !errors.Is(statErr, fs.ErrNotExist) && err == nil {
				err = statErr
			}
		}
		if !found {
			missing = append(missing, name)
		}
	}
	return names, missing, err
}
