// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// Where apk and pacman keep what belongs to which package, and where rpm keeps a database that is
// not read: it is in one of several binary formats.
const (
	apkFile   = "lib/apk/db/installed"
	pacmanDir = "var/lib/pacman/local"
)

var rpmDirs = []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}

// readAPK reads apk's database: in each record P: is the package's name, F: a directory, and R: a file
// in it.
func (o *Owners) readAPK(fsys fs.FS) {
	text, err := limit.ReadFile(fsys, apkFile, maxPackageBytes/16)
	if err != nil {
		o.lose(err)
		return
	}
	o.HasPackages = true
	pkg, dir := "", ""
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		switch key {
		case "":
			pkg, dir = "", ""
		case "P":
			pkg = escape.UTF8(value)
		case "F":
			dir = value
		case "R":
			o.own(dir+"/"+value, pkg)
		}
	}
}

// readPacman reads pacman's lists of files: NAME-VERSION-RELEASE/files.
func (o *Owners) readPacman(fsys fs.FS) {
	entries, err := fs.ReadDir(fsys, pacmanDir)
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
		buf, err = limit.AppendFile(fsys, buf[:0], pacmanDir+"/"+e.Name()+"/files", maxPackageList)
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
		o.readList(buf, escape.UTF8(name))
	}
}

// own notes the package of a file, a path below the root, if it is a module's.
func (o *Owners) own(file, pkg string) {
	if rel := unmerged(strings.TrimPrefix(file, "/")); strings.HasPrefix(rel, "lib/modules/") && ko.IsModuleFile(file) {
		o.packages[rel] = pkg
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
