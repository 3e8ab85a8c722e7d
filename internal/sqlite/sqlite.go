// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

const (
	magic      = "SQLite format 3\x00"
	headerSize = 100
	// maxRow is the longest row that is read, in bytes: a package's header in rpm's database may have megabytes.
	maxRow    = 32 << 20
	maxTables = 1000
	// What may be read by need, beside the scans: a row of a table is in a few pages, and an index is read once or
	// twice.
	roomBase    = 64 << 20
	roomPerByte = 16
)

// A DB is an open database. It is not safe for concurrent use.
type DB struct {
	name     string
	file     io.ReaderAt
	size     int64
	closers  []io.Closer
	pageSize int
	usable   int    // bytes of a page that hold content
	pages    uint32 // how many pages the database has
	order    binary.ByteOrder
	version  int32
	head     []byte // the first bytes of the file as they were when it was opened
	log      *wal
	tables   map[string]*table
	indexes  map[string]uint32 // the root pages of indexes of one column, by TABLE.COLUMN
	room     int64             // bytes that may still be read by need
	page     []byte            // the page of a tree that is being read
	more     []byte            // the overflow page that is being read
	scratch  []byte            // a row that goes on in overflow pages
	item     *fact.Item        // pays for what is read
}

// Open opens the named database of fsys, of at most max bytes, and its write-ahead log NAME-wal if there is one. The
// DB must be closed. If a transaction was cut off, which NAME-journal shows, the error matches errors.ErrUnsupported:
// SQLite itself would undo it first. What is read of it counts in the budget.
func Open(fsys fs.FS, name string, max int64, budget *fact.Budget) (*DB, error) {
	if err := unfinished(fsys, name+"-journal"); err != nil {
		return nil, err
	}
	d := &DB{name: name}
	err := d.open(fsys, max, budget)
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *DB) open(fsys fs.FS, max int64, budget *fact.Budget) error {
	// The log is opened first: what is moved from it into the file meanwhile is the same.
	logFile, logSize, err := d.openFile(fsys, d.name+"-wal", max)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.file, d.size, err = d.openFile(fsys, d.name, max); err != nil {
		return err
	}
	d.item = budget.Item(d.size + logSize)
	return d.start(logFile, logSize)
}

// Item returns what pays for what is read of the database, which Close ends.
func (d *DB) Item() *fact.Item { return d.item }

// openFile opens a file that is read by need.
func (d *DB) openFile(fsys fs.FS, name string, max int64) (io.ReaderAt, int64, error) {
	f, err := limit.OpenAt(fsys, name, max)
	if err != nil {
		return nil, 0, err
	}
	d.closers = append(d.closers, f)
	return f, f.Size(), nil
}

// journalMagic begins a rollback journal that was not finished: a finished one is removed, emptied or zeroed.
const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// unfinished returns an error if the file is the journal of a transaction that was not finished.
func unfinished(fsys fs.FS, name string) error {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(journalMagic))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != journalMagic {
		return nil
	}
	return fmt.Errorf("%s: a transaction is not finished: %w", name, errors.ErrUnsupported)
}

// New opens the database that b holds; log is its write-ahead log, nil without one. name is for error texts.
func New(name string, b, log []byte) (*DB, error) {
	d := &DB{name: name, file: bytes.NewReader(b), size: int64(len(b))}
	var r io.ReaderAt
	if log != nil {
		r = bytes.NewReader(log)
	}
	return d, d.start(r, int64(len(log)))
}

// Close closes the files.
func (d *DB) Close() error {
	var errs []error
	for _, c := range d.closers {
		errs = append(errs, c.Close())
	}
	d.closers = nil
	d.item.Done()
	return errors.Join(errs...)
}

// Version returns the number that the database's user gave its form (user_version).
func (d *DB) Version() int32 { return d.version }

func (d *DB) malformed(page uint32, format string, args ...any) error {
	e := &fact.ParseError{Source: d.name, Field: "sqlite", Reason: fmt.Sprintf(format, args...)}
	if page > 0 {
		e.Offset = int64(page-1) * int64(d.pageSize)
	}
	return e
}

// start reads the header, the log and the schema.
func (d *DB) start(logFile io.ReaderAt, logSize int64) error {
	d.head = make([]byte, headerSize)
	if _, err := d.file.ReadAt(d.head, 0); err != nil || string(d.head[:16]) != magic {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return d.malformed(0, "not an SQLite 3 database")
	}
	d.pageSize = int(binary.BigEndian.Uint16(d.head[16:]))
	if d.pageSize == 1 {
		d.pageSize = 65536
	}
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 {
		return d.malformed(0, "page size %d", d.pageSize)
	}
	d.pages = uint32(min(d.size/int64(d.pageSize), 1<<32-2))
	if logFile != nil {
		var err error
		if d.log, err = openWAL(logFile, logSize, d.pageSize, d.item); err != nil {
			return fmt.Errorf("%s-wal: %w", d.name, err)
		}
		if d.log != nil { // every page is in the file or in the log
			d.pages = uint32(min(uint64(d.log.pages), uint64(d.pages)+uint64(len(d.log.at))))
		}
	}
	d.room = roomBase + roomPerByte*int64(d.pages)*int64(d.pageSize)
	if err := d.item.Hold(2 * int64(d.pageSize)); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	d.page, d.more = make([]byte, d.pageSize), make([]byte, d.pageSize)
	return d.header()
}

// header reads what page 1 says, which the log may have anew, and the schema.
func (d *DB) header() error {
	if err := d.read(1, d.page); err != nil {
		return err
	}
	d.usable = d.pageSize - int(d.page[20])
	if d.usable < 480 {
		return d.malformed(1, "%d bytes of each page are reserved", d.page[20])
	}
	d.version = int32(binary.BigEndian.Uint32(d.page[60:]))
	switch encoding := binary.BigEndian.Uint32(d.page[56:]); encoding {
	case 0, 1:
	case 2:
		d.order = binary.LittleEndian
	case 3:
		d.order = binary.BigEndian
	default:
		return d.malformed(1, "text encoding %d", encoding)
	}
	return d.schema()
}

// read reads a page into b.
func (d *DB) read(number uint32, b []byte) error {
	if number == 0 || number > d.pages {
		return d.malformed(0, "page %d of %d", number, d.pages)
	}
	if err := d.item.Work(int64(d.pageSize)); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	var err error
	n := 0
	if at, ok := d.log.find(number); ok {
		n, err = d.log.file.ReadAt(b, at)
	} else {
		n, err = d.file.ReadAt(b, int64(number-1)*int64(d.pageSize))
	}
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return d.malformed(number, "the file ends within page %d", number)
	}
	return err
}

// Steady returns an error that matches fact.ErrGone if the files changed since they were opened. A
// caller of [DB.Prefix] and [DB.Row] asks it once, after the last of them.
func (d *DB) Steady() error {
	head := make([]byte, headerSize)
	if _, err := d.file.ReadAt(head, 0); err != nil {
		return err
	}
	if !bytes.Equal(head, d.head) || !d.log.steady() {
		return fmt.Errorf("%s: changed while it was read: %w", d.name, fact.ErrGone)
	}
	return nil
}
