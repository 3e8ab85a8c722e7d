// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Where dpkg keeps the lists of its packages' files and their digests, what it says of each package (deb822 stanzas),
// and which files were renamed (dpkg-divert(1)).
const (
	dpkgDir    = "var/lib/dpkg/info"
	dpkgStatus = "var/lib/dpkg/status"
	dpkgDivert = "var/lib/dpkg/diversions"
)

// opkgDirs are where opkg keeps the lists of its packages' files.
var opkgDirs = []string{"usr/lib/opkg/info", "var/lib/opkg/info"}

// A debian is what dpkg says of the packages that own wanted files.
type debian struct {
	*reader
	listed   map[string]bool          // the packages with a list of files: NAME, or NAME:ARCH
	owners   map[string]*fact.Package // of wanted files, by NAME or NAME:ARCH
	entries  map[*fact.Package]string // the name of each list, without .list
	diverted map[string]diversion     // by the path that packages have
	known    map[string]bool          // the packages of the status file, by NAME; a list needs one
	adrift   bool                     // a file may be elsewhere: a diversion may not have been read
}

// A diversion renames a file of all packages but one.
type diversion struct{ to, by string }

// dpkg reads dpkg's lists of files, as dpkg -S does, and what else it says of the packages that own a wanted file. A
// file whose last line has no newline was cut: dpkg refuses it.
func (d *reader) dpkg() {
	b := &debian{reader: d, listed: map[string]bool{}, owners: map[string]*fact.Package{},
		entries: map[*fact.Package]string{}, diverted: map[string]diversion{}, known: map[string]bool{}}
	b.readDiversions()
	item := d.report.Budget.Item(0)
	defer item.Done()
	found := d.lists(dpkgDir, listName, func(entry string, list []byte) {
		item.Grow(int64(len(list)))
		key := strings.TrimSuffix(entry, ".list")
		b.listed[key] = true
		name, arch, _ := strings.Cut(key, ":")
		if !d.marked(list) {
			return
		}
		p := &fact.Package{Manager: string(Dpkg), Name: text(name), Arch: text(arch)}
		if owned, err := b.readList(item, list, p); err != nil {
			d.lose(err)
		} else if owned {
			b.owners[key] = p
			b.entries[p] = key
		}
	})
	if !found {
		return
	}
	b.readStatus()
	if !d.Sums || b.adrift {
		return
	}
	for p, key := range b.entries {
		b.readSums(key, p)
	}
}

// listName returns the name of an entry that is a package's list of files.
func listName(e fs.DirEntry) string {
	if strings.HasSuffix(e.Name(), ".list") {
		return e.Name()
	}
	return ""
}

// readList notes the wanted files of a list. It reports whether there is one.
func (b *debian) readList(item *fact.Item, list []byte, p *fact.Package) (owned bool, err error) {
	before := len(b.Files)
	for line := range bytes.Lines(list) {
		path := strings.TrimPrefix(string(bytes.TrimRight(line, "\r\n")), "/")
		if err := b.own(item, b.place(path, p), Owner{Package: p, Optional: b.adrift}); err != nil {
			return false, err
		}
	}
	return len(b.Files) > before, nil
}

// place returns where the file of a package is: elsewhere if another one diverts it (namenodetouse).
func (b *debian) place(path string, p *fact.Package) string {
	if to, ok := b.diverted[path]; ok && to.by != p.Name {
		return to.to
	}
	return path
}

// readDiversions reads the renamed files: three lines each, the path, the new one, and the package that renames, ":"
// for the administrator.
func (b *debian) readDiversions() {
	content, err := b.readLines(dpkgDivert)
	before := b.losses
	defer func() {
		b.adrift = b.losses > before
		b.Adrift = b.Adrift || b.adrift
	}()
	if err != nil {
		b.lose(err)
	}
	item := b.report.Budget.Item(int64(len(content)))
	defer item.Done()
	var lines [3]string
	n := 0
	for line := range bytes.Lines(content) {
		if err := item.Work(int64(len(line)) + lineWork); err != nil {
			b.lose(err)
			return
		}
		lines[n] = string(bytes.TrimSuffix(line[:min(len(line), maxPath+2)], []byte("\n")))
		if n++; n < len(lines) {
			continue
		}
		n = 0
		if err := b.divert(item, lines[0], lines[1], lines[2]); err != nil {
			b.lose(err)
			return
		}
	}
	if n > 0 {
		b.lose(&fact.ParseError{Source: dpkgDivert, Reason: "its last entry has less than three lines: it was cut"})
	}
}

// lineWork is what a line takes beside its bytes, in steps.
const lineWork = 32

// divert notes one renamed file.
func (b *debian) divert(item *fact.Item, from, to, by string) error {
	from = strings.TrimPrefix(from, "/")
	if !b.below(from) || len(from) > maxPath {
		return nil
	}
	if err := item.Keep(int64(len(from)+len(to)+len(by)) + ownerSize); err != nil {
		return err
	}
	by, _, _ = strings.Cut(by, ":")
	b.diverted[from] = diversion{to: strings.TrimPrefix(to, "/"), by: by}
	return nil
}

// readStatus adds the versions, architectures and maintainers of the packages that own wanted files. An installed
// package without a list of files may own any.
func (b *debian) readStatus() {
	content, err := b.readLines(dpkgStatus)
	switch {
	case err != nil && content == nil:
		b.miss(FieldPackage, err)
		return
	case err != nil:
		b.lose(err)
	}
	item := b.report.Budget.Item(int64(len(content)))
	defer item.Done()
	described := map[*fact.Package]bool{}
	for stanza := range bytes.SplitSeq(content, []byte("\n\n")) {
		if err := item.Work(int64(len(stanza)) + lineWork); err != nil {
			b.miss(FieldPackage, err)
			return
		}
		b.addStanza(stanza, described)
	}
	maps.DeleteFunc(b.Files, func(_ string, o Owner) bool { return b.entries[o.Package] != "" && !b.known[o.Name] })
}

// A stanza is what dpkg's status says of one package.
type stanza struct{ name, status, version, arch, vendor string }

func parseStanza(b []byte) stanza {
	var s stanza
	origin := ""
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		switch string(key) {
		case "Package":
			s.name = text(string(value))
		case "Status":
			s.status = text(string(value))
		case "Version":
			s.version = text(string(value))
		case "Architecture":
			s.arch = text(string(value))
		case "Maintainer":
			s.vendor = text(string(value))
		case "Origin":
			origin = text(string(value))
		}
	}
	s.vendor = cmp.Or(origin, s.vendor)
	return s
}

// addStanza adds what a stanza says of a package whose files are there. Of one that is installed for two architectures
// with one list it is not known which of them owns it.
func (b *debian) addStanza(text []byte, described map[*fact.Package]bool) {
	s := parseStanza(text)
	if s.name == "" || s.status == "" {
		if len(bytes.TrimSpace(text)) > 0 {
			b.lose(&fact.ParseError{Source: dpkgStatus, Reason: "a package without its name or its status"})
		}
		return
	}
	_, status, _ := strings.Cut(s.status, " ok ")
	if status == "" || status == "not-installed" {
		return
	}
	if b.known[s.name] = true; status == "config-files" {
		return
	}
	if status == "installed" && !b.listed[s.name] && !b.listed[s.name+":"+s.arch] {
		b.lose(&fact.ParseError{Source: dpkgStatus,
			Reason: fmt.Sprintf("%s is installed, and its list of files is not in /%s", escape.Text(s.name), dpkgDir)})
		return
	}
	for _, key := range [...]string{s.name, s.name + ":" + s.arch} {
		p := b.owners[key]
		switch {
		case p == nil:
			continue
		case !described[p]:
			p.Version, p.Arch, p.Vendor = s.version, s.arch, s.vendor
		case p.Arch != s.arch:
			p.Arch = ""
			if p.Version != s.version {
				p.Version = ""
			}
		}
		described[p] = true
	}
}

// readSums adds the digests of a package's files: "HEX  PATH" lines.
func (b *debian) readSums(key string, p *fact.Package) {
	name := dpkgDir + "/" + key + ".md5sums"
	content, err := b.readLines(name)
	if err != nil {
		b.miss(FieldHashes, err)
	}
	for line := range bytes.Lines(content) {
		hex, path, ok := strings.Cut(string(bytes.TrimRight(line, "\r\n")), "  ")
		if !ok {
			continue
		}
		path = b.place(path, p)
		if o, owned := b.Files[path]; owned && o.Package == p {
			o.Sum = sumOf("md5", hex)
			b.Files[path] = o
		}
	}
}

// opkg reads opkg's lists of files, a path a line with what else it says after a tab, and the stanza of each package
// that owns a wanted file.
func (d *reader) opkg() {
	for _, dir := range opkgDirs {
		item := d.report.Budget.Item(0)
		var owners []*fact.Package
		d.lists(dir, listName, func(entry string, list []byte) {
			item.Grow(int64(len(list)))
			p := &fact.Package{Manager: string(Opkg), Name: text(strings.TrimSuffix(entry, ".list"))}
			if !d.marked(list) {
				return
			}
			before := len(d.Files)
			for line := range bytes.Lines(list) {
				path, _, _ := strings.Cut(string(bytes.TrimRight(line, "\r\n")), "\t")
				if err := d.own(item, path, Owner{Package: p}); err != nil {
					d.lose(err)
					return
				}
			}
			if len(d.Files) > before {
				owners = append(owners, p)
			}
		})
		for _, p := range owners {
			control, err := d.readText(dir + "/" + p.Name + ".control")
			if err != nil {
				d.miss(FieldPackage, err)
				continue
			}
			s := parseStanza(control)
			p.Version, p.Arch, p.Vendor = s.version, s.arch, s.vendor
		}
		item.Done()
	}
}
