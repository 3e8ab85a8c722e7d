// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Names of sources of origin.
const (
	SourcePackages = "packages" // the package manager's lists of files
	SourceDKMS     = "dkms"     // DKMS's trees
)

// Where package managers with one list of files a package in one directory keep them (dpkg, opkg),
// and where DKMS keeps what it built.
var (
	packageListDirs = []string{dpkgDir, "usr/lib/opkg/info", "var/lib/opkg/info"}
	dkmsDir         = "var/lib/dkms"
)

// Caps of what is read of package lists and DKMS trees.
const (
	maxPackageLists = 50000
	maxPackageList  = 16 << 20
	maxPackageBytes = 1 << 30
	maxDKMS         = 10000
	maxDKMSConf     = 1 << 20
)

// fileOwners says which package a module file is of, and which DKMS build.
type fileOwners struct {
	// HasPackages is set when there are lists of files; without them a file without a package says
	// nothing.
	HasPackages bool

	whole    bool                   // every list was read: else a file without a package says nothing either
	packages map[string]string      // path below the root, with usr/ cut, to package
	details  map[string]packageInfo // of each package that owns a module file, by name
	dkms     map[string][]dkmsBuild // by name of the module file without endings
}

// A dkmsBuild is a package that DKMS built for the release.
type dkmsBuild struct {
	id    string   // name/version
	dests []string // directories that its dkms.conf names, relative to the release directory
}

// readOwners reads the package lists of a machine as far as they name files in module directories, and the DKMS builds
// for the release. It reports what it could not read under SourcePackages.
func readOwners(fsys fs.FS, release string, r *fact.Report) *fileOwners {
	b := ownersReader{fsys: fsys, report: r}
	b.packages, b.dkms = make(map[string]string), make(map[string][]dkmsBuild)
	b.details = make(map[string]packageInfo)
	before := r.Count(SourcePackages)
	for _, dir := range packageListDirs {
		b.readLists(dir)
	}
	b.readAPK()
	b.readPacman()
	b.readDKMS(release)
	b.whole = r.Count(SourcePackages) == before
	b.readStatus() // which says nothing of files: what is lost of it costs no origin
	return &b.fileOwners
}

// An ownersReader reads the package lists and DKMS trees of one machine.
type ownersReader struct {
	fileOwners
	fsys   fs.FS
	report *fact.Report
}

func (o *ownersReader) lose(err error) {
	if fact.CodeOf(err) != fact.CodeAbsent {
		o.report.Problem(SourcePackages, "", "origin", err)
	}
}

func (o *ownersReader) readLists(dir string) {
	entries, err := fs.ReadDir(o.fsys, dir)
	if err != nil {
		o.lose(err)
		return
	}
	var buf []byte
	total := 0
	for i, e := range entries {
		pkg, ok := strings.CutSuffix(e.Name(), ".list")
		if !ok {
			continue
		}
		if i > maxPackageLists || total > maxPackageBytes {
			o.lose(tooManyLists(dir))
			return
		}
		buf, err = limit.AppendFile(o.fsys, buf[:0], dir+"/"+e.Name(), maxPackageList)
		if err != nil {
			o.lose(err)
			continue
		}
		o.HasPackages = true
		total += len(buf)
		pkg, _, _ = strings.Cut(pkg, ":") // the architecture
		o.readList(buf, fact.Package{Manager: managerOf(dir), Name: escape.UTF8(pkg)})
	}
}

// managerOf returns the package manager of a directory of lists.
func managerOf(dir string) string {
	if dir == dpkgDir {
		return managerDpkg
	}
	return managerOpkg
}

// tooManyLists says that not every package's list was read: then no file is without a package.
func tooManyLists(dir string) error {
	return &fact.ParseError{Source: dir, Reason: fmt.Sprintf("more than %d lists or %d bytes", maxPackageLists,
		maxPackageBytes), Err: fact.ErrTooLarge}
}

var moduleDirMark = []byte("lib/modules/")

func (o *ownersReader) readList(list []byte, pkg fact.Package) {
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
func (o *ownersReader) readDKMS(release string) {
	left := maxDKMS
	list := func(dir string) []fs.DirEntry {
		entries, err := fs.ReadDir(o.fsys, dir)
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
			build := name.Name() + "/" + version.Name()
			var files []string
			for _, arch := range list(dkmsDir + "/" + build + "/" + release) {
				for _, file := range list(dkmsDir + "/" + build + "/" + release + "/" + arch.Name() + "/module") {
					if ko.IsModuleFile(file.Name()) {
						files = append(files, ko.NameOfFile(file.Name()))
					}
				}
			}
			if len(files) > 0 {
				o.addBuild(name.Name(), version.Name(), files)
			}
		}
	}
}

// addBuild notes a build of the modules of these names. Its dkms.conf is in the source directory,
// which by default is a link below /usr/src.
func (o *ownersReader) addBuild(name, version string, modules []string) {
	b := dkmsBuild{id: escape.UTF8(name + "/" + version)}
	conf, err := limit.ReadFile(o.fsys, dkmsDir+"/"+name+"/"+version+"/source/dkms.conf", maxDKMSConf)
	if err != nil {
		conf, err = limit.ReadFile(o.fsys, "usr/src/"+name+"-"+version+"/dkms.conf", maxDKMSConf)
	}
	if err != nil {
		o.lose(err)
	} else {
		b.dests = dkmsDests(conf)
	}
	for _, m := range modules {
		o.dkms[m] = append(o.dkms[m], b)
	}
}

// dkmsDests returns the directories that a dkms.conf installs modules into, relative to the release
// directory. It is a shell script; a value that is computed is not known.
func dkmsDests(conf []byte) []string {
	var dests []string
	for line := range bytes.Lines(conf) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || !strings.HasPrefix(name, "DEST_MODULE_LOCATION[") {
			continue
		}
		value = strings.Trim(value, `"'`)
		if dir := strings.Trim(path.Clean(value), "/"); !strings.ContainsAny(value, "$`\"'; ") && dir != "" {
			dests = append(dests, dir)
		}
	}
	return dests
}

// Package returns the package that owns a file, a path below the machine's root; "" for none.
func (o *fileOwners) Package(file string) string { return o.packages[unmerged(file)] }

// DKMS returns "name/version" of the DKMS build that a module file is of; "" for none. That one of
// its name was built is not enough: it may not be installed. The file must stand where DKMS puts what
// it builds, or where the build's dkms.conf says, and be no kernel package's. file is the path
// relative to the release directory, root the one below the machine's root.
func (o *fileOwners) DKMS(module, file, root string) string {
	builds := o.dkms[module]
	if len(builds) == 0 || isKernelPackage(o.Package(root)) {
		return ""
	}
	switch topDir(file) {
	case "updates", "extra", "weak-updates":
		return builds[len(builds)-1].id
	}
	for _, b := range builds {
		if slices.Contains(b.dests, path.Dir(file)) {
			return b.id
		}
	}
	return ""
}

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
// where those belong, or is of a kernel's package; otherwise undecided. What the file says is its
// own word, and anybody can put it anywhere: where packages say what is theirs, a file that none of
// them names is never the system's. file is the path relative to the release directory, empty for a
// file that lies in none, path the one below the machine's root.
func (o *fileOwners) Origin(m *Module, name, file, path string) fact.Origin {
	var origin fact.Origin
	say := func(fact_, value, source string) {
		origin.Evidence = append(origin.Evidence, fact.Evidence{Fact: fact_, Value: value, Source: source})
	}
	build, pkg := "", ""
	if o != nil {
		build, pkg = o.DKMS(name, file, path), o.Package(path)
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
	} else if o != nil && o.HasPackages && o.whole {
		say("package", "none", SourcePackages)
	}
	place := file != "" && (dir == "kernel" || dir == "")
	switch {
	case build != "" || m.Intree == fact.No:
		origin.Class = fact.OriginThirdParty
	case pkg == "" && o != nil && o.HasPackages:
		// Undecided, also when the list that names it may be among the lost.
	case m.Intree == fact.Yes && (place || isKernelPackage(pkg)):
		origin.Class = fact.OriginOS
	}
	return origin
}

// inRelease splits the path of a file, below the machine's root, that lies in a directory of modules:
// the release, empty in a flat directory, and the path relative to that directory; "" for a file that
// lies in none.
func inRelease(name string) (release, file string) {
	for _, root := range modprobe.ModuleRoots {
		if rest, ok := strings.CutPrefix(name, root+"/"); ok {
			release, file, _ = strings.Cut(rest, "/")
			return release, file
		}
	}
	for _, root := range modprobe.FlatRoots {
		if rest, ok := strings.CutPrefix(name, root+"/"); ok {
			return "", rest
		}
	}
	return "", ""
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

// Where apk and pacman keep what belongs to which package, and where rpm keeps a database that is
// not read: it is in one of several binary formats.
const (
	apkFile   = "lib/apk/db/installed"
	pacmanDir = "var/lib/pacman/local"
)

var rpmDirs = []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}

// readAPK reads apk's database: in each record P: is the package's name, F: a directory, and R: a file
// in it.
func (o *ownersReader) readAPK() {
	text, err := limit.ReadFile(o.fsys, apkFile, maxPackageBytes/16)
	if err != nil {
		o.lose(err)
		return
	}
	o.HasPackages = true
	pkg, dir := fact.Package{}, ""
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		switch key {
		case "":
			pkg, dir = fact.Package{}, ""
		case "P":
			pkg.Manager, pkg.Name = managerApk, escape.UTF8(value)
		case "V":
			pkg.Version = escape.UTF8(value)
		case "A":
			pkg.Arch = escape.UTF8(value)
		case "F":
			dir = value
		case "R":
			o.own(dir+"/"+value, pkg)
		}
	}
}

// readPacman reads pacman's lists of files: NAME-VERSION-RELEASE/files.
func (o *ownersReader) readPacman() {
	entries, err := fs.ReadDir(o.fsys, pacmanDir)
	if err != nil {
		o.lose(err)
		return
	}
	var buf []byte
	total := 0
	for i, e := range entries {
		if !e.IsDir() {
			continue
		}
		if i > maxPackageLists || total > maxPackageBytes {
			o.lose(tooManyLists(pacmanDir))
			return
		}
		buf, err = limit.AppendFile(o.fsys, buf[:0], pacmanDir+"/"+e.Name()+"/files", maxPackageList)
		if err != nil {
			o.lose(err)
			continue
		}
		o.HasPackages = true
		total += len(buf)
		name := e.Name()
		for range 2 { // the release, and the version
			if i := strings.LastIndexByte(name, '-'); i > 0 {
				name = name[:i]
			}
		}
		version := strings.TrimPrefix(strings.TrimPrefix(e.Name(), name), "-")
		o.readList(buf, fact.Package{Manager: managerPacman, Name: escape.UTF8(name), Version: escape.UTF8(version)})
	}
}

// own notes the package of a file, a path below the root, if it is a module's.
func (o *ownersReader) own(file string, pkg fact.Package) {
	if rel := unmerged(strings.TrimPrefix(file, "/")); strings.HasPrefix(rel, "lib/modules/") && ko.IsModuleFile(file) {
		o.packages[rel] = pkg.Name
		if _, known := o.details[pkg.Name]; !known {
			o.details[pkg.Name] = packageInfo{Package: &pkg}
		}
	}
}

// noPackages is why no package is known to own a module file.
func noPackages(fsys fs.FS) error {
	for _, dir := range rpmDirs {
		if _, err := fs.Stat(fsys, dir); err == nil {
			return fmt.Errorf("/%s: rpm's database is not read: %w", dir, errors.ErrUnsupported)
		}
	}
	return fmt.Errorf("no package database that lists module files: %w", fs.ErrNotExist)
}
