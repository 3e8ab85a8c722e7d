// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

// A Tape is a machine made of recorded bytes. It is immutable and safe for concurrent use.
type Tape struct {
	header  Header
	entries map[id]*entry
	fold    bool
	learned []lateQuestion // what the tape may be too old for
}

var (
	_ lkm.Machine      = (*Tape)(nil)
	_ lkm.Redactor     = (*Tape)(nil)
	_ fact.Accelerated = (*Tape)(nil)
)

// Header returns what the tape says of itself.
func (t *Tape) Header() Header { return t.header.clone() }

// Entries returns what each entry is about, in the tape's order: paths, then calls.
func (t *Tape) Entries() []Entry {
	entries := make([]Entry, 0, len(t.entries))
	for _, e := range t.sorted() {
		subject := e.subject
		if e.isCall() {
			subject = callKey(e.subject)
		}
		entries = append(entries, Entry{
			Kind: e.kind, Op: e.op, Subject: subject, Size: e.contentSize(), Code: e.end.code, Redacted: e.redacted,
		})
	}
	return entries
}

// folds reports whether the system's names mean the same in upper and lower case.
func folds(os lkm.OS) bool { return os == lkm.Windows }

func foldName(name string, fold bool) string {
	if fold {
		return strings.ToLower(name)
	}
	return name
}

// answer returns the entry that answers the question op about the very path, or nil.
func (t *Tape) answer(op, name string) *entry {
	if e := t.entries[id{KindError, op, name}]; e != nil {
		return e
	}
	kinds := []Kind{KindDir, KindFile}
	if op == opLstat || op == opReadLink {
		kinds = []Kind{KindLink, KindDir, KindFile}
	}
	for _, k := range kinds {
		if e := t.entries[id{kind: k, subject: name}]; e != nil {
			return e
		}
	}
	return t.absence(op, name)
}

// absence returns an entry for another question whose answer implies that there is nothing at
// name: what a link leads to may be missing though the link is there, and not the other way.
func (t *Tape) absence(op, name string) *entry {
	ops := []string{opLstat, opReadLink, opOpen, opStat, opReadDir}
	if op == opLstat || op == opReadLink {
		ops = ops[:2]
	}
	for _, other := range ops {
		if e := t.entries[id{KindError, other, name}]; e != nil && e.end.code == fact.CodeAbsent {
			return e
		}
	}
	return nil
}

// Bounds of a walk: how many symbolic links one path may lead through, as in the Linux kernel, and
// how long it may become by that, in bytes.
const (
	maxHops = 40
	maxPath = 16 << 10
)

// find returns the entry that answers the question op about name: the one recorded for this very
// path, else the one that the tape's links lead to. The error is a fs.PathError.
func (t *Tape) find(op, name string) (*entry, error) {
	fail := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, fail(fs.ErrInvalid)
	}
	e, err := t.walk(op, foldName(name, t.fold))
	switch {
	case err != nil:
		return nil, fail(err)
	case e == nil:
		return nil, fail(t.unanswered(op, name))
	case e.kind == KindError:
		return nil, fail(e.end.err())
	}
	return e, nil
}

// walk follows links, element by element, until the path that is left is answered. It returns nil
// when the tape leads no further.
func (t *Tape) walk(op, name string) (*entry, error) {
	if e := t.answer(op, name); e != nil {
		return e, nil
	}
	done, rest := "", name
	for hops := 0; rest != ""; {
		elem, tail, more := strings.Cut(rest, "/")
		rest = tail
		switch elem {
		case "", ".":
			continue
		case "..":
			done = parent(done)
			continue
		}
		next := join(done, elem)
		link := t.entries[id{kind: KindLink, subject: next}]
		if link == nil || !more && (op == opLstat || op == opReadLink) {
			done = next
			continue
		}
		if len(link.data) == 0 {
			return nil, nil // a link, but where it leads was not recorded
		}
		if hops++; hops > maxHops {
			return nil, fmt.Errorf("more than %d symbolic links", maxHops)
		}
		done, rest = t.follow(done, string(link.data), rest)
		if len(done)+len(rest) > max(maxPath, len(name)) {
			return nil, fmt.Errorf("the path becomes longer than %d bytes by its links: %w", maxPath, fact.ErrTooLarge)
		}
		if e := t.answer(op, join(done, rest)); e != nil {
			return e, nil
		}
	}
	if done == "" {
		done = "."
	}
	return t.answer(op, done), nil
}

// follow returns where a link in the directory dir leads, and what is left to walk from there.
func (t *Tape) follow(dir, target, rest string) (done, next string) {
	target = foldName(target, t.fold)
	if t.fold {
		target = strings.TrimPrefix(strings.ReplaceAll(target, `\`, "/"), "/??/")
	}
	if strings.HasPrefix(target, "/") || t.fold && len(target) > 1 && target[1] == ':' {
		dir = ""
	}
	return dir, join(strings.Trim(target, "/"), rest)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}

func parent(dir string) string {
	i := strings.LastIndexByte(dir, '/')
	return dir[:max(i, 0)]
}

// Open opens a recorded file or directory. It implements [fs.FS].
func (t *Tape) Open(name string) (fs.File, error) {
	e, err := t.find(opOpen, name)
	if err != nil {
		return nil, err
	}
	if e.kind == KindDir {
		return &openDir{opened: opened{tape: t, e: e, name: name}}, nil
	}
	return &openFile{opened: opened{tape: t, e: e, name: name}}, nil
}

// ReadDir returns a recorded directory's entries in order. When the recorder did not get them all,
// the error says why and the entries are those that it got. It implements [fs.ReadDirFS].
func (t *Tape) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find(opReadDir, name)
	if err != nil {
		return nil, err
	}
	if e.kind != KindDir {
		return nil, &fs.PathError{Op: opReadDir, Path: name, Err: errNotDir}
	}
	entries := t.list(name, e.data)
	if e.end != (failure{}) {
		return entries, &fs.PathError{Op: opReadDir, Path: name, Err: e.end.err()}
	}
	return entries, nil
}

// Stat returns what was recorded of the file that name leads to. A file or directory that was
// recorded whole without being asked for its mode is 0444 or 0555, with no time. It implements
// [fs.StatFS].
func (t *Tape) Stat(name string) (fs.FileInfo, error) { return t.stat(opStat, name) }

// Lstat is Stat without following a link at the end of name. It implements [fs.ReadLinkFS].
func (t *Tape) Lstat(name string) (fs.FileInfo, error) { return t.stat(opLstat, name) }

func (t *Tape) stat(op, name string) (fs.FileInfo, error) {
	e, err := t.find(op, name)
	if err != nil {
		return nil, err
	}
	return t.fileInfo(e, op, name)
}

// ReadLink returns the target of a recorded symbolic link. It implements [fs.ReadLinkFS].
func (t *Tape) ReadLink(name string) (string, error) {
	e, err := t.find(opReadLink, name)
	switch {
	case err != nil:
		return "", err
	case e.kind != KindLink:
		return "", &fs.PathError{Op: opReadLink, Path: name, Err: fs.ErrInvalid}
	case len(e.data) == 0:
		return "", &fs.PathError{Op: opReadLink, Path: name, Err: e.end.err()}
	}
	return string(e.data), nil
}

// FileReader returns what reads the tape's files whole. It implements [fact.Accelerated].
func (t *Tape) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(t) {
		return nil
	}
	return (*tapeReader)(t)
}

// A tapeReader is a Tape with methods that a type which embeds the Tape must not have.
type tapeReader Tape

// AppendFile implements [fact.FileReader].
func (r *tapeReader) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	t := (*Tape)(r)
	e, err := t.find(opOpen, name)
	if err != nil {
		return dst, err
	}
	if e.kind == KindDir {
		return dst, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	if e.pieces == nil && e.end == (failure{}) && int64(len(e.data)) <= max {
		return append(dst, e.data...), nil
	}
	f := openFile{opened: opened{tape: t, e: e, name: name}}
	return limit.AppendAll(&f, dst, name, max)
}

// AppendAttr is AppendFile; one read of a tape gives all there is, at most max bytes. It implements [fact.FileReader].
func (r *tapeReader) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	start := len(dst)
	dst, err := r.AppendFile(dst, name, max)
	if len(dst) > start {
		return dst, nil // what came before the error is what one read gave
	}
	return dst, err
}

// Call answers a recorded call. If it was not recorded, the error matches fact.ErrUnrecorded, or fact.ErrOlder if the
// recorder did not know the call.
func (t *Tape) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	subject := callSubject(op, args)
	if e := t.entries[id{KindError, opCall, subject}]; e != nil {
		return nil, callError(subject, e.end.err())
	}
	e := t.entries[id{kind: KindCall, subject: subject}]
	if e == nil {
		return nil, callError(subject, t.unanswered(opCall, callKey(subject)))
	}
	data := append([]byte(nil), e.data...)
	if e.end != (failure{}) {
		return data, callError(subject, e.end.err())
	}
	return data, nil
}

func callError(subject string, err error) error {
	return fmt.Errorf("call %s: %w", subject, err)
}

// callSubject writes a call's op and arguments as the words of an entry line.
func callSubject(op string, args []string) string {
	words := make([]string, 0, 1+len(args))
	words = append(words, escapeWord(op))
	for _, a := range args {
		words = append(words, escapeWord(a))
	}
	return strings.Join(words, " ")
}

// callKey returns the op and arguments of a subject, unescaped, with spaces between them.
func callKey(subject string) string {
	words := strings.Split(subject, " ")
	for i, w := range words {
		words[i], _ = unescape(w)
	}
	return strings.Join(words, " ")
}

// Redacted reports whether redaction took out something of what the machine answered for key: a
// path, or a call's op and arguments with spaces between them. It distinguishes a zeroed address from one that the
// kernel did not show.
func (t *Tape) Redacted(key string) bool {
	words := strings.Split(key, " ")
	subject := callSubject(words[0], words[1:])
	for _, i := range []id{{kind: KindCall, subject: subject}, {KindError, opCall, subject}} {
		if e := t.entries[i]; e != nil && (e.redacted || e.end.code == fact.CodeRedacted) {
			return true
		}
	}
	if !fs.ValidPath(key) {
		return false
	}
	e, _ := t.walk(opOpen, foldName(key, t.fold))
	return e != nil && (e.redacted || e.end.code == fact.CodeRedacted)
}

var (
	errNotDir = errors.New("not a directory")
	errIsDir  = errors.New("is a directory")
)
