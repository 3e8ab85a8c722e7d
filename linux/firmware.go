// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
)

// FirmwareDirs are the directories that the kernel looks for firmware in, as paths below the
// machine's root; RELEASE stands for the kernel's release. A path given on the command line
// (firmware_class.path=) is not among them.
var FirmwareDirs = []string{"lib/firmware/updates/RELEASE", "lib/firmware/updates", "lib/firmware/RELEASE", "lib/firmware"}

// A FirmwareFinder tells which firmware files a machine has. It reads each directory once and is
// safe for concurrent use.
type FirmwareFinder struct {
	fsys fs.FS
	dirs []string

	mu   sync.Mutex
	seen map[string]firmwareDir
}

// A firmwareDir is the names in one directory, or why they are not known.
type firmwareDir struct {
	names map[string]bool
	err   error
}

// maxFirmwareDirs caps the directories that are remembered.
const maxFirmwareDirs = 10000

// NewFirmwareFinder returns a finder for the machine whose root is fsys and a kernel release.
func NewFirmwareFinder(fsys fs.FS, release string) *FirmwareFinder {
	f := &FirmwareFinder{fsys: fsys, seen: make(map[string]firmwareDir)}
	for _, dir := range FirmwareDirs {
		if release == "" && strings.Contains(dir, "RELEASE") {
			continue
		}
		f.dirs = append(f.dirs, strings.ReplaceAll(dir, "RELEASE", release))
	}
	return f
}

// Present reports whether a firmware file is there, as it is or compressed; the name may be a
// pattern. It is unknown when a directory that might hold it could not be read, and for a name that
// no firmware has ([File.Lost] tells of those).
func (f *FirmwareFinder) Present(name string) fact.Tri {
	if !sensibleFirmware(name) {
		return ""
	}
	name = path.Clean(name)
	if name == ".." || strings.HasPrefix(name, "../") {
		return fact.No
	}
	answer := fact.No
	for _, dir := range f.dirs {
		d, base := f.holder(dir, strings.TrimPrefix(name, "/"))
		switch {
		case d.has(base):
			return fact.Yes
		case d.err != nil && !errors.Is(d.err, fs.ErrNotExist):
			answer = ""
		}
	}
	return answer
}

// Caps of a firmware's name. The longest in Debian's modules has 44 bytes and 4 elements.
const (
	maxFirmwareName     = 256
	maxFirmwareElements = 16
)

func sensibleFirmware(name string) bool {
	return len(name) <= maxFirmwareName && strings.Count(name, "/") < maxFirmwareElements
}

func (d firmwareDir) has(base string) bool {
	if strings.ContainsAny(base, "*?[") {
		for name := range d.names {
			if MatchAlias(base, name) {
				return true
			}
		}
		return false
	}
	return d.names[base] || d.names[base+".xz"] || d.names[base+".zst"]
}

// holder returns the directory below dir that would hold the named file, and the file's name in it.
// It goes down from dir and reads only what is there: most machines lack most of them.
func (f *FirmwareFinder) holder(dir, name string) (firmwareDir, string) {
	d := f.dir(dir)
	for {
		element, rest, deeper := strings.Cut(name, "/")
		if !deeper || d.err != nil {
			return d, name
		}
		if !d.names[element] {
			return firmwareDir{err: fs.ErrNotExist}, name
		}
		dir, name = dir+"/"+element, rest
		d = f.dir(dir)
	}
}

// dir reads a directory.
func (f *FirmwareFinder) dir(name string) firmwareDir {
	f.mu.Lock()
	d, ok := f.seen[name]
	f.mu.Unlock()
	if ok {
		return d
	}
	entries, err := fs.ReadDir(f.fsys, name)
	d.err = err
	if err == nil {
		d.names = make(map[string]bool, len(entries))
		for _, e := range entries {
			d.names[e.Name()] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) < maxFirmwareDirs {
		f.seen[name] = d
	}
	return d
}
