// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sqlite"
)

// rpmDirs are where rpm keeps its database; the last is that of an image that ostree made.
var rpmDirs = []string{"usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"}

// maxRPM is the largest database that is read, in bytes: a workstation with thousands of packages has some 300 MB.
const maxRPM = 1 << 30

// maxHeader is the longest header of a package that is read, in bytes: that of a package with 100,000 files has some 20
// MB.
const maxHeader = 32 << 20

// rpmFormats are rpm's formats by the names of their files.
var rpmFormats = []struct {
	name string
	read func(d *reader, name string) error
}{
	{"rpmdb.sqlite", (*reader).rpmSQLite},
	{"Packages.db", (*reader).rpmNDB},
	{"Packages", (*reader).rpmBDB},
}

// An rpmFile is a database of rpm.
type rpmFile struct {
	name    string
	read    func(d *reader, name string) error
	id      string
	written time.Time
}

// rpm reads the database of rpm that was written last: one of another format, or at another place, may be left over.
func (d *reader) rpm() {
	var files []rpmFile
	for _, dir := range rpmDirs {
		for _, f := range rpmFormats {
			name := dir + "/" + f.name
			info, err := fs.Stat(d.FS, name)
			if err != nil {
				d.lose(err)
				continue
			}
			id := hostfs.FileID(d.FS, name, info)
			same := func(o rpmFile) bool { return o.id == id }
			if !slices.ContainsFunc(files, same) { // one place may be a link to the other
				files = append(files, rpmFile{name, f.read, id, info.ModTime()})
			}
		}
	}
	if len(files) == 0 {
		return
	}
	slices.SortStableFunc(files, func(a, b rpmFile) int { return b.written.Compare(a.written) })
	newest := files[0]
	for _, old := range files[1:] {
		d.report.Add(fact.Problem{Source: d.Source, Subject: "/" + old.name, Field: FieldPackage, Code: fact.CodeOther,
			Text: fmt.Sprintf("an older database of rpm beside /%s, not read", newest.name)})
	}
	d.Found = true
	if err := d.readRPM(newest); err != nil {
		d.loseOf(err)
	}
}

// readRPM reads a database, again if it changes meanwhile.
func (d *reader) readRPM(f rpmFile) error {
	for try := 1; ; try++ {
		err := f.read(d, f.name)
		if try == rpmTries || !errors.Is(err, fact.ErrGone) {
			return err
		}
		maps.DeleteFunc(d.Files, func(_ string, o Owner) bool { return o.Manager == string(RPM) })
	}
}

// rpmTries is how often a database that changes is read.
const rpmTries = 3

// rpmSQLite reads the format of rpm 4.16 and later. The index of directories says which packages have files in wanted
// ones.
func (d *reader) rpmSQLite(name string) error {
	db, err := sqlite.Open(d.FS, name, maxRPM, d.report.Budget)
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("rpm is in a transaction: %v", err) // over in a moment: not what a strict caller forgives
	}
	if err != nil {
		return err
	}
	defer db.Close()
	item := db.Item()
	numbers, err := d.rpmNumbers(db, item)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		var headErr error
		found, err := db.Row("Packages", []string{"blob"}, n, func(row []sqlite.Value) {
			headErr = d.rpmHeader(item, name, row[0].Bytes())
		})
		if err == nil && !found {
			err = &fact.ParseError{Source: name, Reason: fmt.Sprintf("package %d has directories and no header", n)}
		}
		if err := d.lost(cmp.Or(err, headErr, d.ctx.Err())); err != nil {
			return err
		}
	}
	return db.Steady()
}

// rpmNumbers returns the numbers of the packages that have files in wanted directories.
func (d *reader) rpmNumbers(db *sqlite.DB, item *fact.Item) ([]int64, error) {
	const table, key = "Dirnames", "key"
	numbers := map[int64]bool{}
	var keepErr error
	note := func(row []sqlite.Value) {
		if n, ok := row[0].Int(); ok && !numbers[n] {
			numbers[n] = true
			keepErr = item.Keep(32)
		}
	}
	var rows []int64
	err := d.dirRows(db, item, &rows)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // no index: the table as a whole
		err = db.Scan(table, []string{"hnum", key}, func(row []sqlite.Value) bool {
			if d.belowRoot(row[1].Text()) {
				note(row)
			}
			return keepErr == nil && d.ctx.Err() == nil
		})
	case err == nil:
		slices.Sort(rows)
		for _, row := range slices.Compact(rows) {
			if err = item.Work(1000); err != nil {
				break
			}
			if _, err = db.Row(table, []string{"hnum"}, row, note); err != nil || keepErr != nil {
				break
			}
		}
	}
	if err = errors.Join(err, keepErr, d.ctx.Err()); err != nil {
		return nil, err
	}
	all := make([]int64, 0, len(numbers))
	for n := range numbers {
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}

// dirRows adds the rows of the wanted directories, by the index.
func (d *reader) dirRows(db *sqlite.DB, item *fact.Item, rows *[]int64) error {
	for _, dir := range d.Dirs {
		var keepErr error
		err := db.Prefix("Dirnames", "key", "/"+dir, func(row int64) bool {
			*rows = append(*rows, row)
			keepErr = item.Hold(16)
			return keepErr == nil && len(*rows) < math.MaxInt32
		})
		if err != nil || keepErr != nil {
			return errors.Join(err, keepErr)
		}
	}
	if len(d.Dirs) == 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// belowRoot is below for a path from the root.
func (d *reader) belowRoot(dir string) bool { return len(dir) > 0 && dir[0] == '/' && d.below(dir[1:]) }

// An rpmBlobs reads the headers of all packages, for a format without a useful index.
type rpmBlobs struct {
	*reader
	name string
	file *limit.ReadAtFile
	item *fact.Item
	room int64 // bytes of headers that may still be read: headers that overlap cannot make it endless
	blob []byte
}

// openBlobs opens a database whose packages are read one after the other.
func (d *reader) openBlobs(name string) (*rpmBlobs, error) {
	f, err := limit.OpenAt(d.FS, name, maxRPM)
	if err != nil {
		return nil, err
	}
	item := d.report.Budget.Item(f.Size())
	return &rpmBlobs{reader: d, name: name, file: f, item: item, room: 2*f.Size() + 1<<20}, nil
}

func (b *rpmBlobs) close() {
	b.item.Done()
	b.file.Close()
}

// malformed says what is wrong at an offset.
func (b *rpmBlobs) malformed(at int64, format string, args ...any) error {
	return &fact.ParseError{Source: b.name, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// take asks for the memory of a header of that size, and gives it.
func (b *rpmBlobs) take(size int64) error {
	if size > maxHeader {
		return fmt.Errorf("%s: %w: a header of %d bytes", b.name, fact.ErrTooLarge, size)
	}
	if b.room -= size + 1; b.room < 0 {
		return b.malformed(0, "headers overlap")
	}
	if more := size - int64(cap(b.blob)); more > 0 {
		if err := b.item.Hold(more); err != nil {
			return err
		}
		b.blob = make([]byte, 0, size)
	}
	return b.ctx.Err()
}

// done returns an error if the file changed while it was read.
func (b *rpmBlobs) done() error {
	if !b.file.Steady() {
		return b.changed()
	}
	return nil
}

func (b *rpmBlobs) changed() error {
	return fmt.Errorf("%s: changed while it was read: %w", b.name, fact.ErrGone)
}

// lost reports a package that could not be read, which costs itself, and returns the error of a call that ends.
func (d *reader) lost(err error) error {
	if err == nil || fact.CodeOf(err) == fact.CodeBudget || d.ctx.Err() != nil {
		return err
	}
	d.loseOf(err)
	return nil
}
