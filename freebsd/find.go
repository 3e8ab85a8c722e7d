// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"path"
	"slices"
	"strings"
)

// This file finds files as the system does: the boot loader (stand/common/module.c) and the kernel
// (sys/kern/kern_linker.c).

// at returns the file of that path; nil if the file does not exist.
func (l *library) at(p string) *diskFile { return l.paths[p] }

// named returns the file that one of the names has in a directory, the first name first.
func (l *library) named(dir string, names ...string) *diskFile {
	for _, name := range names {
		if f := l.at(path.Clean("/"+dir) + "/" + name); f != nil {
			return f
		}
	}
	return nil
}

// loaderNames returns the names under which the boot loader opens a file: file_lookup tries the name with ".ko" and
// unchanged, and libsa opens a compressed file in the place of a missing one.
func loaderNames(name string) []string {
	var names []string
	for _, n := range []string{name + ".ko", name} {
		names = append(names, n)
		for _, suffix := range suffixes {
			names = append(names, n+suffix)
		}
	}
	return names
}

// byLoader returns the file that the boot loader loads for a name or a path; nil if it finds none.
func (l *library) byLoader(name string) *diskFile {
	if strings.Contains(name, "/") {
		return l.named(path.Dir(name), append([]string{path.Base(name), path.Base(name) + ".gz",
			path.Base(name) + ".bz2"}, loaderNames(path.Base(name))...)...)
	}
	if f, ok := l.provides(name, nil); ok {
		return f
	}
	for _, dir := range l.dirs {
		if f := l.named(dir, loaderNames(name)...); f != nil {
			return f
		}
	}
	return nil
}

// byKernel returns the file that kldload(2) loads for a name or a path; nil if it finds none. A name without a dot is
// that of an interface first (kern_kldload).
func (l *library) byKernel(name string) *diskFile {
	if strings.Contains(name, "/") {
		return l.named(path.Dir(name), path.Base(name), path.Base(name)+".ko")
	}
	if !strings.Contains(name, ".") {
		if f, ok := l.provides(name, nil); ok {
			return f
		}
	}
	for _, dir := range l.dirs {
		if f := l.named(dir, name, name+".ko"); f != nil {
			return f
		}
	}
	return nil
}

// provider returns the file that meets the dependency, as the kernel would choose it; nil if no file meets it. The
// kernel's own interface comes first, if its version is sufficient.
func (l *library) provider(d Depend) *diskFile {
	f, _ := l.provides(d.Name, &d)
	return f
}

// provides returns the file that provides an interface: the kernel, else the one of the first directory of the module
// path that knows the interface. d are the versions that will do; nil means any. ok is false if nothing knows it. As in
// linker_hints_lookup, the index of a directory is asked first: the preferred version, else the highest in range, and
// without a version the first. Its entry decides for the directory, even if its file is missing.
func (l *library) provides(name string, d *Depend) (f *diskFile, ok bool) {
	if l.Kernel != nil && l.Kernel.metadata != nil {
		for _, v := range l.Kernel.Versions {
			if v.Name == name && (d == nil || d.accepts(v.Version)) {
				return l.Kernel, true
			}
		}
	}
	for _, dir := range l.dirs {
		dir = path.Clean("/" + dir)
		if file, version, found := l.hinted(dir, name, d); found {
			if f := l.named(dir, file); f != nil && l.stillProvides(f, name, version) {
				return f, true
			}
		}
		if f := l.declared(dir, name, d); f != nil {
			return f, true
		}
	}
	return nil, false
}

// stillProvides reports whether the file declares the interface, or was not read: an index may be older than its files.
func (l *library) stillProvides(f *diskFile, name string, version int32) bool {
	return f.metadata == nil || slices.Contains(f.Versions, Version{Name: name, Version: version})
}

// hinted looks an interface up in the index of a directory.
func (l *library) hinted(dir, name string, d *Depend) (file string, version int32, ok bool) {
	h := l.hints[dir]
	if h == nil {
		return "", 0, false
	}
	var versions []int32
	var files []string
	for _, v := range h.Versions {
		if v.Name == name {
			versions, files = append(versions, v.Version), append(files, v.File)
		}
	}
	i := choose(versions, d)
	if i < 0 {
		return "", 0, false
	}
	return files[i], versions[i], true
}

// declared looks an interface up in what the files of a directory declare.
func (l *library) declared(dir, name string, d *Depend) *diskFile {
	var versions []int32
	var files []*diskFile
	for _, p := range l.interfaces[name] {
		if p.file != l.Kernel && !p.file.aside && path.Dir(p.file.Path) == dir {
			versions, files = append(versions, p.version), append(files, p.file)
		}
	}
	if i := choose(versions, d); i >= 0 {
		return files[i]
	}
	return nil
}

// choose is the choice among the versions of an interface; -1 if none will do.
func choose(versions []int32, d *Depend) int {
	switch {
	case d != nil:
		return d.choose(versions)
	case len(versions) > 0:
		return 0
	}
	return -1
}

// alsoNamed returns the files that are not called name, and have a module or an interface of that name, if a file is
// called so: then the name without suffix fits both. With a suffix or a path it fits one.
func (l *library) alsoNamed(name string) []*diskFile {
	if strings.ContainsAny(name, "/.") || len(l.names[name]) == 0 && len(l.names[name+".ko"]) == 0 {
		return nil
	}
	var out []*diskFile
	for _, f := range l.modules[name] {
		if f != l.Kernel && f.Name() != name && f.Name() != name+".ko" {
			out = append(out, f)
		}
	}
	return out
}

// find returns the files that a name means to a person: a file name with or without ".ko", else a path, else a
// module's, record's or interface's name, or the last part of a module's name. The kernel's own file is among them when
// the name is that of something compiled in.
func (l *library) find(name string) []*diskFile {
	if strings.HasPrefix(name, "/") {
		for _, p := range []string{name, name + ".ko", name + ".gz"} {
			if f := l.at(p); f != nil {
				return []*diskFile{f}
			}
		}
		return nil
	}
	for _, n := range []string{name, name + ".ko"} {
		if files := l.names[n]; len(files) > 0 {
			return files
		}
	}
	return l.modules[name]
}
