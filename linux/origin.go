// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// Names of sources of origin.
const (
	SourcePackages = "packages" // the package manager's lists of files
	SourceDKMS     = "dkms"     // DKMS's trees
)

// Where package managers with one list of files a package in one directory keep them (dpkg, opkg),
// and where DKMS keeps what it built.
var (
	packageListDirs = []string{"var/lib/dpkg/info", "usr/lib/opkg/info", "var/lib/opkg/info"}
	dkmsDir         = "var/lib/dkms"
)

// Caps of what is read of package lists and DKMS trees.
const (
	maxPackageLists = 50000
	maxPackageList  = 16 << 20
	maxPackageBytes = 1 << 30
	maxDKMS         = 10000
)

// Owners says which package a module file is of, and which DKMS build.
type Owners struct {
	// HasPackages is set when there are lists of files; without them a file without a package says
	// nothing.
	HasPackages bool
	// Lost are lists that could not be read.
	Lost []error

	packages map[string]string // path below the root, with usr/ cut, to package
	dkms     map[string]string // name of the module file without endings, to "name/version"
}

// ReadOwners reads the package lists of a machine as far as they name files in module directories,
// and the DKMS builds for the release.
func ReadOwners(fsys fs.FS, release string) *Owners {
	o := &Owners{packages: make(map[string]string), dkms: make(map[string]string)}
	for _, dir := range packageListDirs {
		o.readLists(fsys, dir)
	}
	o.readAPK(fsys)
	o.readPacman(fsys)
	o.readDKMS(fsys, release)
	return o
}

func (o *Owners) lose(err error) {
	if len(o.Lost) < maxConfigLost && fact.CodeOf(err) != fact.CodeAbsent {
		o.Lost = append(o.Lost, err)
	}
}

func (o *Owners) readLists(fsys fs.FS, dir string) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		o.lose(err)
		return
	}
	var buf []byte
	total := 0
	for i, e := range entries {
		pkg, ok := strings.CutSuffix(e.Name(), ".list")
		if !ok || i > maxPackageLists || total > maxPackageBytes {
			continue
		}
		buf, err = limit.AppendFile(fsys, buf[:0], dir+"/"+e.Name(), maxPackageList)
		if err != nil {
			o.lose(err)
			continue
		}
		o.HasPackages = true
		total += len(buf)
		pkg, _, _ = strings.Cut(pkg, ":") // the architecture
		o.readList(buf, escape.UTF8(pkg))
	}
}

var moduleDirMark = []byte("lib/modules/")

func (o *Owners) readList(list []byte, pkg string) {
	if !bytes.Contains(list, moduleDirMark) {
		return
	}
	for line := range bytes.Lines(list) {
		o.own(string(bytes.TrimRight(line, "\r\n")), pkg)
	}
}

// unmerged cuts the usr/ of systems where /lib is a link to usr/lib: packages may name either.
func unmerged(file string) string { return strings.TrimPrefix(file, "usr/") }

// readDKMS finds the modules that DKMS built for the release: NAME/VERSION/RELEASE/ARCH/module/*.
func (o *Owners) readDKMS(fsys fs.FS, release string) {
	left := maxDKMS
	list := func(dir string) []fs.DirEntry {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil {
			o.lose(err)
		}
		left -= len(entries)
		if left < 0 {
			return nil
		}
		return entries
	}
	for _, name := range list(dkmsDir) {
		if !name.IsDir() {
			continue
		}
		for _, version := range list(dkmsDir + "/" + name.Name()) {
			if !version.IsDir() {
				continue
			}
			dir := dkmsDir + "/" + name.Name() + "/" + version.Name() + "/" + release
			for _, arch := range list(dir) {
				for _, file := range list(dir + "/" + arch.Name() + "/module") {
					if IsModuleFile(file.Name()) {
						o.dkms[NameOfFile(file.Name())] = escape.UTF8(name.Name() + "/" + version.Name())
					}
				}
			}
		}
	}
}

// Package returns the package that owns a file, a path below the machine's root; "" for none.
func (o *Owners) Package(file string) string { return o.packages[unmerged(file)] }

// DKMS returns "name/version" of the DKMS build that the module is of; "" for none.
func (o *Owners) DKMS(module string) string { return o.dkms[module] }

// isKernelPackage reports whether a package's name is that of a distribution's kernel.
func isKernelPackage(pkg string) bool {
	for _, prefix := range []string{"linux-image-", "linux-modules-", "kernel", "kmod-"} {
		if strings.HasPrefix(pkg, prefix) && !strings.Contains(pkg, "nvidia") && !strings.Contains(pkg, "dkms") {
			return true
		}
	}
	return false
}

// Origin judges whose code a module file is: third party when DKMS built it or the file does not
// say that it was built with the kernel's own sources; the system's when it says so and stands
// where those belong, or is of a kernel's package; otherwise undecided. file is the path relative
// to the release directory, path the one below the machine's root. What the file says is its own
// word.
func (o *Owners) Origin(m *Module, name, file, path string) fact.Origin {
	var origin fact.Origin
	say := func(fact_, value, source string) {
		origin.Evidence = append(origin.Evidence, fact.Evidence{Fact: fact_, Value: value, Source: source})
	}
	build, pkg := "", ""
	if o != nil {
		build, pkg = o.DKMS(name), o.Package(path)
	}
	if build != "" {
		say("dkms", build, SourceDKMS)
	}
	if m.Intree != "" {
		say("intree", string(m.Intree), SourceTree)
	}
	dir := topDir(file)
	if dir != "" {
		say("directory", dir, SourceTree)
	}
	if pkg != "" {
		say("package", pkg, SourcePackages)
	} else if o != nil && o.HasPackages {
		say("package", "none", SourcePackages)
	}
	switch {
	case build != "" || m.Intree == fact.No:
		origin.Class = fact.OriginThirdParty
	case m.Intree == fact.Yes && (dir == "kernel" || dir == "" || isKernelPackage(pkg)):
		origin.Class = fact.OriginOS
	}
	return origin
}

// topDir returns the first directory of a file in a release directory: kernel, updates, extra, …;
// "" for a file that is in none.
func topDir(file string) string {
	if strings.HasPrefix(file, "/") {
		return path.Dir(file)
	}
	dir, _, ok := strings.Cut(file, "/")
	if !ok {
		return ""
	}
	return dir
}
