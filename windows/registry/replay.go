// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// MaxLog is the largest log file of a hive that is read, in bytes.
const MaxLog = 256 << 20

const (
	sectorSize    = 512
	binHeader     = 32
	binSize       = 4096 // of the smallest bin, and what all are multiples of
	checksumAt    = 508
	logPageMemory = 40 // memory of a logPage beside its bytes, in bytes
)

// What the file type of a base block says.
const (
	typePrimary = 0
	typeLogOld  = 1 // a bitmap and pages
	typeLogNT   = 2 // the same of Windows 2000
	typeLogNew  = 6 // entries, from Windows 8.1 on
)

// A Log is a log file of a hive, such as SYSTEM.LOG1.
type Log struct {
	// Name is for the texts of errors.
	Name string
	// Data is the whole file.
	Data []byte
}

// Replay writes the changes that a hive's log files hold into it, as the kernel does when it loads a hive that was not
// written back, and opens it. The logs are LOG1 and LOG2 of the hive, or the one LOG of old systems; one that is empty
// holds nothing. item pays; nil is no bound of a call.
//
// The kernel's rules are those of the "Windows registry file format specification" (github.com/msuhanov/regf). Where
// the kernel would go on with a part of the changes, or with those of another state of the hive, this is an error that
// says why. The hive is then unchanged; else the result may use its bytes. The bytes of the logs are used up.
func Replay(hive []byte, logs []Log, item *fact.Item) (*Hive, error) {
	if len(hive) < hiveBins+binHeader || string(hive[hiveBins:hiveBins+4]) != "hbin" {
		return nil, hiveError("log", "the hive has no bins")
	}
	r := replay{hive: hive, block: validBlock(hive), item: item}
	held := int64(len(hive))
	for _, l := range logs {
		held += int64(len(l.Data))
	}
	if err := item.Hold(held); err != nil {
		return nil, err
	}
	files, err := logFiles(logs)
	if err != nil {
		return nil, err
	}
	if files[0].kind() == typeLogNew {
		err = r.entries(files)
	} else {
		err = r.vector(files)
	}
	if err != nil {
		return nil, err
	}
	return r.write()
}

// A replay is what is known of a hive and of its changes before any is made.
type replay struct {
	hive  []byte
	block bool // the hive's own base block is valid
	item  *fact.Item

	from  *logFile  // whose base block replaces one that is damaged
	pages []logPage // in the order in which they are written
	size  uint32    // of the bins afterwards
	last  uint32    // the sequence number of the last change
}

// A logPage is a part of a hive that a log file has.
type logPage struct {
	at   int64 // in the hive's file
	data []byte
}

// add adds a page, whose offset is that from the first bin.
func (r *replay) add(at int64, data []byte) error {
	if err := r.item.Hold(logPageMemory); err != nil {
		return err
	}
	if err := r.item.Work(int64(2 * len(data))); err != nil { // written, and taken back if the result is invalid
		return err
	}
	r.pages = append(r.pages, logPage{hiveBins + at, data})
	return nil
}

// A logFile is a log file with a valid base block.
type logFile struct {
	name string
	b    []byte
}

func (l *logFile) word(at int) uint32 { return binary.LittleEndian.Uint32(l.b[at:]) }
func (l *logFile) sequence() uint32   { return l.word(4) }
func (l *logFile) written() uint64    { return binary.LittleEndian.Uint64(l.b[12:]) }
func (l *logFile) root() uint32       { return l.word(36) }
func (l *logFile) size() uint32       { return l.word(40) }
func (l *logFile) minor() uint32      { return l.word(24) }
func (l *logFile) fail(text string, args ...any) error {
	return hiveError("log", "%s: %s", l.name, fmt.Sprintf(text, args...))
}

// kind is the file type of the log: those of the old form are one.
func (l *logFile) kind() uint32 {
	if t := l.word(28); t != typeLogNT {
		return t
	}
	return typeLogOld
}

// logFiles returns the logs that hold something: all of one kind, at least one.
func logFiles(logs []Log) ([]*logFile, error) {
	var files []*logFile
	for _, l := range logs {
		if len(bytes.TrimLeft(l.Data[:min(len(l.Data), sectorSize)], "\x00")) == 0 {
			continue // never used
		}
		f := &logFile{l.Name, l.Data}
		if !f.valid() {
			return nil, f.fail("its header is damaged")
		}
		if len(files) > 0 && f.kind() != files[0].kind() {
			return nil, f.fail("its form is not that of %s", files[0].name)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, hiveError("log", "no log file holds anything")
	}
	return files, nil
}

// valid reports whether the base block of a log file is what the kernel expects.
func (l *logFile) valid() bool {
	if len(l.b) <= sectorSize || !validBlock(l.b) {
		return false
	}
	kind := l.kind()
	return (kind == typeLogOld || kind == typeLogNew) && l.sequence() == l.word(8) && l.word(20) == 1 &&
		l.minor() >= 3 && l.minor() <= 6 && l.word(32) == 1 && l.word(44) == 1 && validSize(l.size())
}

// validSize reports whether the bins of a hive may have that size.
func validSize(n uint32) bool { return n >= binSize && n%binSize == 0 && n <= MaxHive-hiveBins }

// validBlock reports whether a base block has its mark and its checksum.
func validBlock(b []byte) bool {
	return len(b) >= sectorSize && string(b[:4]) == "regf" &&
		blockSum(b) == binary.LittleEndian.Uint32(b[checksumAt:])
}

// blockSum returns the checksum of a base block.
func blockSum(b []byte) uint32 {
	var sum uint32
	for at := 0; at < checksumAt; at += 4 {
		sum ^= binary.LittleEndian.Uint32(b[at:])
	}
	switch sum {
	case 0:
		return 1
	case 0xffffffff:
		return 0xfffffffe
	}
	return sum
}

// write makes the changes and opens the result. It takes them back if that is not a hive.
func (r *replay) write() (*Hive, error) {
	b, err := r.grown()
	if err != nil {
		return nil, err
	}
	r.pages = append(r.pages, logPage{0, r.header()})
	for _, p := range r.pages {
		swap(b[p.at:], p.data)
	}
	whole := b[:hiveBins+int(r.size)]
	err = r.bins(whole)
	if err == nil {
		var h *Hive
		if h, err = OpenHive(whole); err == nil {
			return h, nil
		}
	}
	for i := len(r.pages) - 1; i >= 0; i-- {
		swap(b[r.pages[i].at:], r.pages[i].data)
	}
	return nil, err
}

// swap exchanges the bytes of page with those that are at its place.
func swap(place, page []byte) {
	for i, c := range page {
		place[i], page[i] = c, place[i]
	}
}

// grown returns the hive's bytes, with room for the pages beyond its end. These follow each other: what was added to a
// hive is in its log, so that a hive does not grow by more than the log has.
func (r *replay) grown() ([]byte, error) {
	end := int64(len(r.hive))
	for _, p := range r.pages {
		if p.at > end {
			return nil, hiveError("log", "a page at %#x, beyond the hive's end", p.at)
		}
		end = max(end, p.at+int64(len(p.data)))
	}
	if hiveBins+int64(r.size) > end {
		return nil, hiveError("log", "the hive lacks some of its %d bytes of bins", r.size)
	}
	more := end - int64(len(r.hive))
	if more == 0 {
		return r.hive, nil
	}
	if err := r.item.Hold(end); err != nil {
		return nil, err
	}
	b := make([]byte, end)
	copy(b, r.hive)
	return b, nil
}

// header returns the base block of the result: the hive's own, or the log's if that is damaged.
func (r *replay) header() []byte {
	from := r.hive
	if !r.block {
		from = r.from.b
	}
	b := bytes.Clone(from[:sectorSize])
	for at, n := range map[int]uint32{4: r.last, 8: r.last, 28: typePrimary, 40: r.size} {
		binary.LittleEndian.PutUint32(b[at:], n)
	}
	binary.LittleEndian.PutUint32(b[checksumAt:], blockSum(b))
	return b
}

// bins reports whether the bins of a hive follow each other to its end.
func (r *replay) bins(b []byte) error {
	for at := hiveBins; at < len(b); {
		if err := r.item.Work(keyWork); err != nil {
			return err
		}
		h := b[at:]
		offset, size := binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
		if string(h[:4]) != "hbin" || int64(offset) != int64(at-hiveBins) || !validSize(size) || int(size) > len(h) {
			return hiveError("log", "with its changes the hive has no valid bin at %#x", at-hiveBins)
		}
		at += int(size)
	}
	return nil
}

// fits reports whether a log is one of this hive: what never changes of a base block is the same.
func (r *replay) fits(l *logFile) error {
	if !r.block {
		return nil
	}
	if root := binary.LittleEndian.Uint32(r.hive[36:]); root != l.root() {
		return l.fail("its root key is at %#x, the hive's at %#x", l.root(), root)
	}
	if minor := binary.LittleEndian.Uint32(r.hive[24:]); minor != l.minor() {
		return l.fail("its version is 1.%d, the hive's 1.%d", l.minor(), minor)
	}
	return nil
}
