// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// firmwareDirs are the directories that the kernel looks for firmware in, as paths below the
// machine's root; RELEASE stands for the kernel's release. The one of firmwarePathFile comes before
// them.
var firmwareDirs = []string{"lib/firmware/updates/RELEASE", "lib/firmware/updates",
	"lib/firmware/RELEASE", "lib/firmware"}

// firmwarePathFile holds the directory that the running kernel looks into first (firmware_class.path=),
// as on NixOS and Android.
const firmwarePathFile = "sys/module/firmware_class/parameters/path"

// A firmwareFinder reports which firmware files a machine has. It reads each directory once and is safe for concurrent
// use.
type firmwareFinder struct {
	fsys fs.FS
	dirs []string
	open error // why firmware may be in a directory that is not known; nil if all are known

	mu   sync.Mutex
	seen map[string]firmwareDir
}

// A firmwareDir is the names in one directory, each with its type, or why they are not known.
type firmwareDir struct {
	names map[string]fs.FileMode
	err   error
}

// maxFirmwareDirs caps the directories that are remembered.
const maxFirmwareDirs = 10000

// newFirmwareFinder returns a finder for the machine whose root is fsys and a kernel release. live says that its kernel
// runs, so its parameter shows where it looks.
func newFirmwareFinder(fsys fs.FS, release string, live bool) *firmwareFinder {
	f := &firmwareFinder{fsys: fsys, seen: make(map[string]firmwareDir)}
	if live {
		f.addOwnDir()
	}
	for _, dir := range firmwareDirs {
		if release == "" && strings.Contains(dir, "RELEASE") {
			continue
		}
		f.dirs = append(f.dirs, strings.ReplaceAll(dir, "RELEASE", release))
	}
	if !live && !slices.ContainsFunc(f.dirs, f.exists) {
		f.open = &fs.PathError{Op: "open", Path: "/" + firmwareDirs[len(firmwareDirs)-1], Err: fs.ErrNotExist}
	}
	return f
}

// addOwnDir adds the directory of the parameter firmware_class.path. Like the kernel it takes the text up to the first
// newline.
func (f *firmwareFinder) addOwnDir() {
	text, err := limit.AppendAttr(f.fsys, nil, firmwarePathFile, limit.Attr)
	if errors.Is(err, fs.ErrNotExist) {
		return // a kernel without a firmware loader has no such file
	}
	if err != nil {
		f.open = fact.ErrorAt("/", firmwarePathFile, err)
		return
	}
	dir, _, _ := strings.Cut(string(text), "\n")
	if dir == "" {
		return
	}
	dir = strings.Trim(path.Clean("/"+dir), "/")
	if !fs.ValidPath(dir) {
		f.open = &fact.ParseError{Source: "/" + firmwarePathFile, Reason: "is not a path"}
		return
	}
	f.dirs = append(f.dirs, dir)
}

func (f *firmwareFinder) exists(dir string) bool { return !errors.Is(f.dir(dir).err, fs.ErrNotExist) }

// Present reports whether a firmware file exists, plain or compressed; the name may be a pattern. It is unknown, with
// an error, if a directory that might hold it could not be read or is unknown, as on an image without firmwareDirs. It
// is also unknown for a name that no firmware has; [ko.Reader] reports those.
func (f *firmwareFinder) Present(name string) (fact.Tri, error) {
	if !ko.SensibleFirmware(name) {
		return "", nil
	}
	name = path.Clean(name)
	if name == ".." || strings.HasPrefix(name, "../") {
		return fact.No, nil
	}
	unread := f.open
	for _, dir := range f.dirs {
		holds, err := f.holds(f.holder(dir, strings.TrimPrefix(name, "/")))
		if holds {
			return fact.Yes, nil
		}
		unread = cmp.Or(unread, err)
	}
	if unread != nil {
		return "", unread
	}
	return fact.No, nil
}

// holds reports whether the directory dir, which is d, has the file, as it is or compressed. The error is why it may
// have it for all that.
func (f *firmwareFinder) holds(dir string, d firmwareDir, base string) (bool, error) {
	if errors.Is(d.err, fs.ErrNotExist) {
		return false, nil
	}
	if d.err != nil {
		return false, d.err
	}
	names := []string{base, base + ".xz", base + ".zst"}
	if strings.ContainsAny(base, "*?[") {
		names = slices.DeleteFunc(slices.Collect(maps.Keys(d.names)),
			func(name string) bool { return !modprobe.MatchAlias(base, name) })
	}
	var unread error
	for _, name := range names {
		is, err := f.isFile(dir, d, name)
		if is {
			return true, nil
		}
		unread = cmp.Or(unread, err)
	}
	return false, unread
}

// isFile reports whether a directory's entry is, or leads to, a regular file: the kernel takes
// nothing else for firmware.
func (f *firmwareFinder) isFile(dir string, d firmwareDir, name string) (bool, error) {
	mode, ok := d.names[name]
	if ok && mode&fs.ModeSymlink != 0 {
		info, err := fs.Stat(f.fsys, dir+"/"+name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if ok = err == nil; ok {
			mode = info.Mode()
		}
	}
	return ok && mode.IsRegular(), nil
}

// holder returns the directory below dir that would hold the named file, and the file's name in it.
// It goes down from dir and reads only what is there: most machines lack most of them.
func (f *firmwareFinder) holder(dir, name string) (string, firmwareDir, string) {
	d := f.dir(dir)
	for {
		element, rest, deeper := strings.Cut(name, "/")
		if !deeper || d.err != nil {
			return dir, d, name
		}
		if mode, ok := d.names[element]; !ok || mode&(fs.ModeDir|fs.ModeSymlink) == 0 {
			return dir, firmwareDir{err: fs.ErrNotExist}, name
		}
		dir, name = dir+"/"+element, rest
		d = f.dir(dir)
	}
}

// dir reads a directory.
func (f *firmwareFinder) dir(name string) firmwareDir {
	f.mu.Lock()
	d, ok := f.seen[name]
	f.mu.Unlock()
	if ok {
		return d
	}
	entries, err := fs.ReadDir(f.fsys, name)
	d.err = fact.ErrorAt("/", name, err)
	if err == nil {
		d.names = make(map[string]fs.FileMode, len(entries))
		for _, e := range entries {
			d.names[e.Name()] = e.Type()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) < maxFirmwareDirs {
		f.seen[name] = d
	}
	return d
}
