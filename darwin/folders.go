// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Caps for the search for bundles.
const (
	maxFolderDepth = 6
	maxFolders     = 20000
)

// The folders of the system's own extensions and of all others, and one that only the volume of the latter has.
const (
	systemExtensions = "System/Library/Extensions"
	localExtensions  = "Library/Extensions"
	dataFolder       = "private/var/db"
)

// extensionFolders are where the system looks for extensions, in its order. Only a folder's own
// bundles and the plug-ins directly inside them count.
var extensionFolders = []string{
	systemExtensions,
	localExtensions,
	"System/Library/DriverExtensions",
	"Library/DriverExtensions",
	"Library/Apple/System/Library/Extensions",
	"AppleInternal/Library/Extensions",
}

// treeFolders hold bundles somewhere below: staged copies under their original path, system
// extensions under a UUID, vendors' own folders.
var treeFolders = []string{
	"Library/StagedExtensions",
	"Library/SystemExtensions",
	"Library/Application Support",
}

const filesystemsFolder = "Library/Filesystems" // X.fs/Contents/Extensions/OS/Y.kext

// findBundles returns the paths of the bundles in all the folders above, in a fixed order. A folder that does not
// exist is not a problem. One that cannot be read is reported and costs its content.
func findBundles(ctx context.Context, fsys fs.FS, r *fact.Report) []string {
	s := &search{ctx: ctx, fsys: fsys, report: r, left: maxFolders}
	for _, dir := range extensionFolders {
		s.folder(dir, true)
	}
	s.filesystems()
	for _, dir := range treeFolders {
		s.tree(dir, 0)
	}
	if len(s.found) == 0 && r.Count(SourceBundles) == 0 { // no macOS is without
		s.lose(extensionFolders[0], fmt.Errorf("no bundle at all: no system is in this root, or a disk of it is not "+
			"mounted: %w", fs.ErrNotExist))
	}
	return s.found
}

// reportUnmounted reports which volume of a root is missing: since macOS 10.15 the system's extensions are on one, and
// all others on another. Each is known by a file of its own that every Mac has.
func reportUnmounted(fsys fs.FS, r *fact.Report) {
	has := func(name string) bool {
		_, err := fs.Stat(fsys, name)
		return !errors.Is(err, fs.ErrNotExist)
	}
	missing := func(folder, volume string) {
		r.Problem(SourceBundles, "/"+folder, "", fmt.Errorf("this root has no such folder: its %s volume is not "+
			"mounted: %w", volume, fs.ErrNotExist))
	}
	switch system, data := has(versionFile), has(dataFolder); {
	case system && !data && !has(localExtensions):
		missing(localExtensions, "Data")
	case data && !system && !has(systemExtensions):
		missing(systemExtensions, "System")
	}
}

// folders returns the folders that findBundles reads, as paths from the machine's root.
func folders() []string {
	return slices.Concat(extensionFolders, []string{filesystemsFolder}, treeFolders)
}

type search struct {
	ctx     context.Context
	fsys    fs.FS
	report  *fact.Report
	found   []string
	stopped bool
	left    int // folders that may still be read
}

func (s *search) lose(dir string, err error) { s.report.Problem(SourceBundles, "/"+dir, "", err) }

// readDir lists a folder; ok is false when there is nothing to go on with.
func (s *search) readDir(dir string) (entries []fs.DirEntry, ok bool) {
	if s.stopped {
		return nil, false
	}
	if err := s.ctx.Err(); err != nil {
		s.stopped = true
		s.lose(dir, fmt.Errorf("%w: %w", fact.ErrBudget, err))
		return nil, false
	}
	if s.left--; s.left < 0 {
		s.stopped = true
		s.lose(dir, fmt.Errorf("%w: more than %d folders", fact.ErrTooLarge, maxFolders))
		return nil, false
	}
	entries, err := fs.ReadDir(s.fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.lose(dir, err)
	}
	return entries, len(entries) > 0
}

// isBundle reports whether an entry's name is that of an extension. "._X.kext" is what other file
// systems keep a Mac file's attributes in.
func isBundle(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return (ext == ".kext" || ext == ".dext") && !strings.HasPrefix(name, "._")
}

// isFolder follows a symbolic link.
func (s *search) isFolder(dir string, e fs.DirEntry) bool {
	if e.IsDir() {
		return true
	}
	if e.Type()&fs.ModeSymlink == 0 {
		return false
	}
	st, err := fs.Stat(s.fsys, path.Join(dir, e.Name()))
	return err == nil && st.IsDir()
}

// folder reports the bundles in dir and, for plugIns, those directly inside them.
func (s *search) folder(dir string, plugIns bool) {
	entries, _ := s.readDir(dir)
	for _, e := range entries {
		if !isBundle(e.Name()) {
			continue
		}
		s.bundle(path.Join(dir, e.Name()), s.isFolder(dir, e), plugIns)
	}
}

func (s *search) bundle(name string, folder, plugIns bool) {
	if s.stopped {
		return
	}
	if !folder {
		s.lose(name, &fact.ParseError{Reason: "it is named like a bundle and is not a folder"})
		return
	}
	s.found = append(s.found, name)
	if plugIns {
		s.folder(path.Join(name, "Contents/PlugIns"), false)
	}
}

func (s *search) filesystems() {
	entries, _ := s.readDir(filesystemsFolder)
	for _, e := range entries {
		if path.Ext(e.Name()) != ".fs" {
			continue
		}
		dir := path.Join(filesystemsFolder, e.Name(), "Contents/Extensions")
		versions, _ := s.readDir(dir)
		for _, v := range versions {
			switch {
			case isBundle(v.Name()):
				s.bundle(path.Join(dir, v.Name()), s.isFolder(dir, v), true)
			case s.isFolder(dir, v):
				s.folder(path.Join(dir, v.Name()), true)
			}
		}
	}
}

// tree walks dir without following links and without entering bundles, but for their plug-ins.
func (s *search) tree(dir string, depth int) {
	entries, ok := s.readDir(dir)
	if !ok || depth > maxFolderDepth {
		return
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case isBundle(e.Name()):
			s.bundle(name, s.isFolder(dir, e), true)
		case path.Ext(e.Name()) == ".fs" && e.IsDir():
			s.tree(path.Join(name, "Contents/Extensions"), depth+1)
		case e.IsDir() && path.Ext(e.Name()) != ".app":
			s.tree(name, depth+1)
		}
	}
}
