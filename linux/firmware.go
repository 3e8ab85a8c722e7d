// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"path"
	"slices"
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
// pattern. It is unknown when a directory that might hold it could not be read.
func (f *FirmwareFinder) Present(name string) fact.Tri {
	answer := fact.No
	for _, dir := range f.dirs {
		file := path.Join(dir, name)
		if !strings.HasPrefix(file, dir+"/") {
			return fact.No
		}
		d := f.dir(path.Dir(file))
		switch {
		case d.has(path.Base(file)):
			return fact.Yes
		case d.err != nil && !errors.Is(d.err, fs.ErrNotExist):
			answer = ""
		}
	}
	return answer
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

// dir reads a directory, the one above it first: most machines lack most of them.
func (f *FirmwareFinder) dir(name string) firmwareDir {
	f.mu.Lock()
	d, ok := f.seen[name]
	f.mu.Unlock()
	if ok {
		return d
	}
	if !slices.Contains(f.dirs, name) && !strings.HasSuffix(name, "lib/firmware") && name != "." {
		if above := f.dir(path.Dir(name)); above.err != nil {
			d.err = above.err
		} else if !above.names[path.Base(name)] {
			d.err = fs.ErrNotExist
		}
	}
	if d.err == nil {
		var entries []fs.DirEntry
		if entries, d.err = fs.ReadDir(f.fsys, name); d.err == nil {
			d.names = make(map[string]bool, len(entries))
			for _, e := range entries {
				d.names[e.Name()] = true
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) < maxFirmwareDirs {
		f.seen[name] = d
	}
	return d
}
