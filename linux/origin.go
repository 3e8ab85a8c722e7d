// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Names of sources of origin.
const (
	SourcePackages = "packages" // the package manager's lists of files
	SourceDKMS     = "dkms"     // DKMS's trees
)

// fileOwners says which package a module file is of, and which DKMS build. Without a database of packages a file
// without a package says nothing.
type fileOwners struct {
	*packages
	dkms map[string][]dkmsBuild // by name of the module file without endings
}

// A dkmsBuild is a package that DKMS built for the release.
type dkmsBuild struct {
	id    string   // name/version
	dests []string // directories that its dkms.conf names, relative to the release directory
}

// readOwners finds the DKMS builds for the release, beside the packages. It reports what it could not read under
// SourcePackages.
func readOwners(fsys fs.FS, release string, p *packages, r *fact.Report) *fileOwners {
	b := ownersReader{fsys: fsys, report: r, fileOwners: fileOwners{packages: p, dkms: make(map[string][]dkmsBuild)}}
	b.readDKMS(release)
	return &b.fileOwners
}

// An ownersReader reads the DKMS trees of one machine.
type ownersReader struct {
	fileOwners
	fsys   fs.FS
	report *fact.Report
}

func (o *ownersReader) lose(err error) {
	if fact.CodeOf(err) != fact.CodeAbsent {
		o.report.Problem(SourcePackages, "", pkgdb.FieldOrigin, err)
	}
}

// readDKMS finds the modules that DKMS built for the release: NAME/VERSION/RELEASE/ARCH/module/*.
func (o *ownersReader) readDKMS(release string) {
	tree := dkmsTree{fsys: o.fsys, lose: o.lose, left: maxDKMS}
	tree.each(func(name, version string) {
		var files []string
		built := path.Join(dkmsDir, name, version, release)
		for _, arch := range tree.list(built) {
			for _, file := range tree.list(built + "/" + arch.Name() + "/module") {
				if ko.IsModuleFile(file.Name()) {
					files = append(files, ko.NameOfFile(file.Name()))
				}
			}
		}
		if len(files) > 0 {
			o.addBuild(&tree, name, version, files)
		}
	})
}

// addBuild notes a build of the modules of these names.
func (o *ownersReader) addBuild(tree *dkmsTree, name, version string, modules []string) {
	b := dkmsBuild{id: escape.UTF8(name + "/" + version)}
	if _, conf, err := tree.conf(name, version); err != nil {
		o.lose(err)
	} else {
		b.dests = dkmsDests(conf)
	}
	for _, m := range modules {
		o.dkms[m] = append(o.dkms[m], b)
	}
}

// DKMS returns "name/version" of the DKMS build that a module file is of; "" for none. That one of
// its name was built is not enough: it may not be installed. The file must be where DKMS puts what it builds, or where
// the build's dkms.conf says, and be no kernel package's. file is the path relative to the release directory, root the
// one below the machine's root.
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
// say that it was built with the kernel's own sources; the system's if it says so and is where those belong, or is of a
// kernel's package; otherwise undecided. What the file says is its own word, and anybody can put it anywhere: where
// packages say what is theirs, a file that none of them names is never the system's. file is the path relative to the
// release directory, empty for a file that lies in none, path the one below the machine's root.
func (o *fileOwners) Origin(m *Module, name, file, path string) fact.Origin {
	origin := fact.Origin{Evidence: make([]fact.Evidence, 0, 2)} // a module of the kernel has two
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
	} else if o != nil && o.noneOwns() {
		say("package", "none", SourcePackages)
	}
	place := file != "" && (dir == "kernel" || dir == "")
	switch {
	case build != "" || m.Intree == fact.No:
		origin.Class = fact.OriginThirdParty
	case o != nil && o.Found && (pkg == "" || o.Adrift):
		// Undecided, also when the list that names it may be among the lost.
	case m.Intree == fact.Yes && (place || isKernelPackage(pkg)):
		origin.Class = fact.OriginOS
	}
	if len(origin.Evidence) == 0 {
		origin.Evidence = nil
	}
	return origin
}

// unsure returns why a file without a package may have one, or be DKMS's; nil if neither is so. lost is what reading
// the owners reported.
func (o *fileOwners) unsure(lost *fact.Report) error {
	if err := o.Unsure(SourcePackages, lost); err != nil {
		return err
	}
	for _, p := range lost.Problems {
		if p.Field == pkgdb.FieldOrigin {
			p.Source, p.Field = "", "" // the caller names them
			return p
		}
	}
	if len(o.Files) == 0 {
		return fmt.Errorf("no package has a module file: %w", fs.ErrNotExist)
	}
	return nil
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
