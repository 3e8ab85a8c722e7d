// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A Kind is the first word of an entry: what sort of answer it holds.
type Kind string

// The kinds.
const (
	KindFile  Kind = "file"  // what reading a file gave
	KindLink  Kind = "link"  // where a symbolic link leads
	KindDir   Kind = "dir"   // the names in a directory
	KindCall  Kind = "call"  // what a call gave
	KindError Kind = "error" // why a question has no answer
)

// The questions that can have no answer: the second word of an error entry.
const (
	opOpen     = "open"     // opening a file or directory, or reading a file whole
	opReadDir  = "readdir"  // listing a directory
	opStat     = "stat"     // its size, mode and time, links followed
	opLstat    = "lstat"    // the same of a link itself
	opReadLink = "readlink" // where a link leads
	opCall     = "call"     // a call
)

// opRead is reading a file, the op of an error and of a row of learned. A tape has no error entry for it: what follows
// a file's content is said at the content.
const opRead = "read"

// An id is what an entry answers. No two entries of a tape have the same.
type id struct {
	kind    Kind
	op      string // of an error entry
	subject string // a path, folded if need be; or the words of a call, escaped
}

// isCall reports whether the subject is a call and not a path.
func (i id) isCall() bool { return i.kind == KindCall || i.op == opCall }

// compare orders entries: paths before calls, then by subject, kind and op.
func (i id) compare(j id) int {
	if i.isCall() != j.isCall() {
		if j.isCall() {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(i.subject, j.subject), cmp.Compare(i.kind, j.kind), cmp.Compare(i.op, j.op))
}

// An entry is one recorded answer.
type entry struct {
	id
	info     *info   // file, dir, link: what stat said; nil when it was not asked
	data     []byte  // file, call: content; dir: one "type name" line each; link: the target
	pieces   []piece // file: the parts that were read, when data is not the whole
	end      failure // what follows data, or lies outside the pieces; zero is the end of the file
	redacted bool    // the content was altered by redaction
}

// A piece is a part of a file.
type piece struct {
	off  int64
	data []byte
}

// A failure is an error as a tape keeps it: a word, and a text when the word says nothing.
type failure struct {
	code fact.Code
	text string // only with code other
}

// maxText is how much of an error's text is kept, in bytes.
const maxText = 200

func failureOf(err error) failure {
	f := failure{code: fact.CodeOf(err)}
	if f.code != fact.CodeOther {
		return f
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	f.text = escape.Text(err.Error())
	if len(f.text) > maxText {
		f.text = strings.ToValidUTF8(f.text[:maxText], "") + "..."
	}
	return f
}

// err returns the error that the failure stands for, to be wrapped.
func (f failure) err() error {
	if err := f.code.Err(); err != nil {
		return err
	}
	if f.text != "" {
		return errors.New(f.text)
	}
	return errors.New("error with code " + string(f.code))
}

func (f failure) String() string {
	if f.text == "" {
		return string(f.code)
	}
	return string(f.code) + ": " + f.text
}

func parseFailure(s string) (failure, error) {
	code, text, _ := strings.Cut(s, ": ")
	if code == "" || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return failure{}, fmt.Errorf("%q is not an error word", code)
	}
	if len(text) > maxText+len("...") {
		return failure{}, errors.New("the error's text is too long")
	}
	return failure{fact.Code(code), text}, nil
}

var (
	unrecorded = failure{code: fact.CodeUnrecorded}
	tooLarge   = failure{code: fact.CodeTooLarge}
	redacted   = failure{code: fact.CodeRedacted}
)

// An info is what stat says of a file: a fs.FileInfo without its name.
type info struct {
	mode  fs.FileMode
	size  int64
	mtime time.Time
}

func infoOf(fi fs.FileInfo) *info {
	return &info{fi.Mode(), max(fi.Size(), 0), fi.ModTime().UTC().Round(0)}
}

// stat returns the info of a file or directory: what was recorded or, of an answer that is whole,
// what it implies.
func (e *entry) stat() (info, bool) {
	switch {
	case e.info != nil:
		return *e.info, true
	case e.kind == KindLink:
		return info{mode: fs.ModeSymlink | 0o777, size: int64(len(e.data))}, true
	case e.end != failure{} || e.pieces != nil:
		return info{}, false
	case e.kind == KindDir:
		return info{mode: fs.ModeDir | 0o555}, true
	}
	return info{mode: 0o444, size: int64(len(e.data))}, true
}

// contentSize is how many bytes of content the entry holds.
func (e *entry) contentSize() int64 {
	n := int64(len(e.data))
	for _, p := range e.pieces {
		n += int64(len(p.data))
	}
	return n
}

// isText reports whether a tape can contain data unchanged: printable, harmless on a terminal, and
// without a line that looks like an entry's first.
func isText(data []byte) bool {
	if bytes.HasPrefix(data, []byte(marker)) || bytes.Contains(data, []byte("\n"+marker)) {
		return false
	}
	for i := 0; i < len(data); i++ {
		if c := data[i]; c >= 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return isUnicodeText(data[i:])
		}
	}
	return true
}

func isUnicodeText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for _, r := range string(data) {
		if r != '\n' && r != '\t' && !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// An Entry describes one entry of a tape.
type Entry struct {
	// Kind is the sort of answer.
	Kind Kind
	// Op is the question without an answer, of an error entry: open, readdir, stat, lstat, readlink
	// or call. Else empty.
	Op string
	// Subject is the path, or the call's op and arguments with spaces between them. Both may hold
	// any character, as the recorded machine's names may.
	Subject string
	// Size is how many bytes of content the tape holds.
	Size int64
	// Code is why there is no answer, or no complete one; empty for a whole answer.
	Code fact.Code
	// Redacted is set when redaction took something out of the content.
	Redacted bool
}
