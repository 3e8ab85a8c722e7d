// SPDX-License-Identifier: Apache-2.0

// Package pkgdb reads the databases of package managers: which package a file belongs to, and what the package brought
// there. The databases may be hostile: each reader has caps, and what it keeps is asked of the call's budget.
package pkgdb

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Manager is a package manager; its text is fact.Package's Manager.
type Manager string

// The managers.
const (
	Dpkg   Manager = "dpkg"   // Debian's
	Opkg   Manager = "opkg"   // OpenWrt's and Yocto's
	RPM    Manager = "rpm"    // Fedora's, SUSE's and their like
	APK    Manager = "apk"    // Alpine's
	Pacman Manager = "pacman" // Arch's
	Pkg    Manager = "pkg"    // FreeBSD's and DragonFly's
)

// Fields of Problems.
const (
	FieldOrigin  = "origin"  // whose file it is may be unknown
	FieldPackage = "package" // what is said of a package is unknown
	FieldHashes  = "hashes"  // what a package brought is unknown
)

// Caps.
const (
	maxPath  = 4096     // bytes of a path: the kernel takes no longer one
	maxLists = 50000    // packages with a list of files each
	maxList  = 16 << 20 // bytes of one of them
	maxLines = 1 << 30  // bytes of all of them
	maxText  = 64 << 20 // bytes of a database that is one text
)

// A Query says what is asked of the databases.
type Query struct {
	// FS is the machine's root.
	FS fs.FS
	// Source is the source of the Problems that are reported.
	Source string
	// Dirs are the directories that the wanted files are below, with a slash at their ends; empty means everywhere.
	Dirs []string
	// Wanted chooses files by their paths below the root.
	Wanted func(path string) bool
	// Sums asks for the files' digests, where they are not read with the rest.
	Sums bool
}

// A Sum is the digest of a file's content as its package brought it.
type Sum struct {
	// Algorithm is md5, sha1, sha224, sha256, sha384 or sha512; empty if the database has no digest.
	Algorithm string
	// Hex is the digest in lower-case hexadecimal.
	Hex string
}

// An Owner is the package of a file, and what it says of it.
type Owner struct {
	// Package is the package; its files share it.
	*fact.Package
	// Sum is the digest of the file; empty if the database has none, or none was asked for.
	Sum Sum
	// Base is set for a part of the system itself (pkgbase(8)).
	Base bool
	// Optional is set for a file that may be missing: rpm's %ghost and %config(missingok), and what is not there to be
	// verified.
	Optional bool
	// Config is set for a file that is meant to be changed.
	Config bool
}

// Owners are the files that a query chose, and how far the databases were read.
type Owners struct {
	// Files are the owners by the path that the package has, below the root.
	Files map[string]Owner
	// Adrift is set if a file may be elsewhere than its package says, because what renames files was not read.
	Adrift bool
	// Found is set if there is a database, or may be one that could not be read.
	Found bool
	// Whole is set if all that says whose a file is was read: a file that is not in Files has no package.
	Whole bool
}

// Unsure returns why a file that is not in Files may have an owner; nil if no package owns it. r is the report of
// reading them.
func (o *Owners) Unsure(source string, r *fact.Report) error {
	switch p, _ := r.First(source); {
	case !o.Whole:
		p.Source, p.Field = "", "" // the caller names them
		return p
	case !o.Found:
		return fmt.Errorf("no package database: %w", fs.ErrNotExist)
	}
	return nil
}

// A reader reads the databases of one machine for one query.
type reader struct {
	Query
	Owners
	ctx     context.Context
	report  *fact.Report
	losses  int                // how often FieldOrigin was reported
	unasked map[fact.Code]bool // what was said of a tape
}

// Read returns the packages of files, by the databases of the managers. Of two packages that have one file, the first
// is kept. What could not be read is reported; a manager that the machine has not is not a Problem.
func Read(ctx context.Context, q Query, r *fact.Report, managers ...Manager) *Owners {
	d := &reader{Query: q, ctx: ctx, report: r, Owners: Owners{Files: map[string]Owner{}},
		unasked: map[fact.Code]bool{}}
	for _, m := range managers {
		switch m {
		case Dpkg:
			d.dpkg()
		case Opkg:
			d.opkg()
		case RPM:
			d.rpm()
		case APK:
			d.apk()
		case Pacman:
			d.pacman()
		case Pkg:
			d.pkg()
		}
	}
	d.Whole = d.losses == 0 && ctx.Err() == nil
	return &d.Owners
}

// lose reports that whose a file is may be unknown: there may be a database. What is absent is not a loss. A tape that
// has no answer does not say that there is one.
func (d *reader) lose(err error) {
	switch code := fact.CodeOf(err); code {
	case fact.CodeAbsent:
		return
	case fact.CodeOlder, fact.CodeUnrecorded: // one Problem for all databases that the tape does not know
		if d.losses++; !d.unasked[code] {
			d.unasked[code] = true
			d.report.Problem(d.Source, "", FieldOrigin, err)
		}
		return
	}
	d.losses++
	d.Found = true
	d.report.Problem(d.Source, "", FieldOrigin, err)
}

// loseOf is lose for a database that is there: what it lacks is a loss, too.
func (d *reader) loseOf(err error) {
	if fact.CodeOf(err) == fact.CodeAbsent {
		err = fmt.Errorf("%v: %w", err, fact.ErrMalformed)
	}
	d.lose(err)
}

// miss reports that something of a package is unknown. What is absent is not a loss.
func (d *reader) miss(field string, err error) {
	if fact.CodeOf(err) != fact.CodeAbsent {
		d.report.Problem(d.Source, "", field, err)
	}
}

// below reports whether a directory, with a slash at its end, may hold wanted files.
func (d *reader) below(dir string) bool {
	for _, want := range d.Dirs {
		if strings.HasPrefix(dir, want) {
			return true
		}
	}
	return len(d.Dirs) == 0
}

// own notes the owner of a file, if it is wanted. A path with a slash at its end is that of a directory.
func (d *reader) own(item *fact.Item, path string, o Owner) error {
	path = strings.TrimPrefix(path, "/")
	if path == "" || len(path) > maxPath || strings.HasSuffix(path, "/") || !d.below(path) || !d.Wanted(path) {
		return nil
	}
	if _, known := d.Files[path]; known {
		return nil
	}
	if err := item.Keep(int64(len(path)+len(o.Sum.Hex)) + ownerSize); err != nil {
		return err
	}
	d.Files[path] = o
	return nil
}

// ownerSize is what an entry of Owners.Files takes beside its texts, in bytes.
const ownerSize = 160

// readText reads a database that is one text.
func (d *reader) readText(name string) ([]byte, error) { return limit.ReadFile(d.FS, name, maxText) }

// readLines reads a database that is lines, of which each ends with a newline. What follows the last one is left out,
// and the error says so: then the lines before it are returned, too.
func (d *reader) readLines(name string) ([]byte, error) {
	content, err := d.readText(name)
	if err != nil {
		return nil, err
	}
	return wholeLines(name, content)
}

// wholeLines returns the lines of a file without what follows the last newline, which an error names.
func wholeLines(name string, content []byte) ([]byte, error) {
	end := bytes.LastIndexByte(content, '\n') + 1
	if end == len(content) {
		return content, nil
	}
	return content[:end], &fact.ParseError{Source: name, Reason: "its last line has no newline: it was cut"}
}

// marked reports whether a list of files may name a wanted one.
func (d *reader) marked(list []byte) bool {
	for _, dir := range d.Dirs {
		if bytes.Contains(list, []byte(dir)) {
			return true
		}
	}
	return len(d.Dirs) == 0
}

// lists calls each with the whole lines of one file for each entry of a directory, whose name of returns; it is empty
// for an entry that has none. It reports whether there is such a list.
func (d *reader) lists(dir string, of func(e fs.DirEntry) string, each func(entry string, list []byte)) bool {
	entries, err := fs.ReadDir(d.FS, dir)
	if err != nil {
		d.lose(err)
		return false
	}
	var buf []byte
	total, found := 0, false
	for i, e := range entries {
		name := of(e)
		if name == "" {
			continue
		}
		if i > maxLists || total > maxLines || d.ctx.Err() != nil {
			d.lose(tooMany(dir))
			break
		}
		if buf, err = limit.AppendFile(d.FS, buf[:0], dir+"/"+name, maxList); err != nil {
			d.loseOf(err)
			continue
		}
		found, total = true, total+len(buf)
		list, err := wholeLines(dir+"/"+name, buf)
		if err != nil {
			d.lose(err)
		}
		each(e.Name(), list)
	}
	d.Found = d.Found || found
	return found
}

// tooMany says that not every package's list was read: then no file is without a package.
func tooMany(dir string) error {
	return &fact.ParseError{Source: dir, Reason: fmt.Sprintf("more than %d lists or %d bytes", maxLists, maxLines),
		Err: fact.ErrTooLarge}
}

// text returns a text of a database as what a Package has.
func text(b string) string { return escape.UTF8(strings.TrimSpace(b)) }

// isHex reports whether s is n bytes in hexadecimal.
func isHex(s string, n int) bool {
	if len(s) != 2*n {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// sumOf returns a digest in hexadecimal; empty if it is not a digest of that algorithm.
func sumOf(algorithm, hex string) Sum {
	h := hashOf(algorithm)
	if h == 0 || !isHex(hex, h.Size()) {
		return Sum{}
	}
	return Sum{Algorithm: algorithm, Hex: strings.ToLower(hex)}
}
