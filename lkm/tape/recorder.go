// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

// Options say what the header of a recording contains, and whether redaction is off.
type Options struct {
	// Header is written to the tape with the OS, the questions, the caps, the redactions and the count
	// of dropped answers set by the recorder. Release, Arch and Privilege can be given later, to Describe.
	Header Header
	// Unredacted keeps everything: kernel addresses, parameter values, the command line, serial
	// numbers, the header's Host.
	Unredacted bool
}

// A Recorder is a machine that passes every question on to another one and keeps the answers,
// refusals and absences included. It asks nothing by itself. It is safe for concurrent use.
type Recorder struct {
	m lkm.Machine
	redaction
	fold     bool
	entryCap int64
	tapeCap  int64

	mu      sync.Mutex
	header  Header
	entries map[id]*entry
	used    int64 // text size of the entries
	open    map[*session]struct{}
	waiting map[string]int // files that are being read whole
}

var (
	_ lkm.Machine      = (*Recorder)(nil)
	_ lkm.Redactor     = (*Recorder)(nil)
	_ fact.Accelerated = (*Recorder)(nil)
)

// headerReserve is how much of a tape's cap is left for its header.
const headerReserve = 1 << 20

// Record returns a recorder of m, a machine that runs os. Nothing is asked or written until the
// caller does. When the same question is asked again, the last whole answer is kept.
func Record(os lkm.OS, m lkm.Machine, o Options) *Recorder {
	r := &Recorder{
		m: m, fold: folds(os), entryCap: EntryCap, tapeCap: TapeCap - headerReserve,
		header: o.Header.clone(), entries: make(map[id]*entry), open: make(map[*session]struct{}),
		waiting: make(map[string]int),
	}
	red := redactionOf(os)
	if o.Unredacted {
		red = noRedaction
	} else {
		r.header.Host = ""
	}
	r.redaction = red
	r.header.OS, r.header.Redactions = os, red.kinds()
	r.header.EntryCap, r.header.TapeCap, r.header.Dropped = EntryCap, TapeCap, 0
	r.header.Questions = Questions
	return r
}

// Describe gives the header what is only known after the machine was asked.
func (r *Recorder) Describe(release, arch, privilege string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header.Release, r.header.Arch, r.header.Privilege = release, arch, privilege
}

// Tape returns what was recorded so far. A file whose reader still waits for it is a timeout.
func (r *Recorder) Tape() *Tape {
	r.mu.Lock()
	open := make([]*session, 0, len(r.open))
	for s := range r.open {
		open = append(open, s)
	}
	r.mu.Unlock()
	for _, s := range open {
		s.commit()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &Tape{header: r.header.clone(), entries: make(map[id]*entry, len(r.entries)), fold: r.fold, learned: learned}
	for _, e := range r.entries {
		t.entries[e.id] = e.finished()
	}
	for key := range r.waiting {
		i := id{KindError, opOpen, key}
		if t.answer(opOpen, key) == nil && len(t.entries) < maxEntries {
			t.entries[i] = &entry{id: i, end: failure{code: fact.CodeTimeout}}
		}
	}
	return t
}

// WriteTo writes what was recorded so far as a tape.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) { return r.Tape().WriteTo(w) }

// Close closes the recorded machine if it can be closed. What was recorded stays.
func (r *Recorder) Close() error {
	if c, ok := r.m.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Redacted reports what the recorded machine says: answers are passed on before redaction.
func (r *Recorder) Redacted(key string) bool {
	m, ok := r.m.(lkm.Redactor)
	return ok && m.Redacted(key)
}

// finished returns the entry as it goes on a tape: of a file that was read both from its start and
// in pieces, the whole when there is one, else the pieces.
func (e *entry) finished() *entry {
	c := *e
	if c.pieces == nil {
		return &c
	}
	if c.end == (failure{}) || c.end != tooLarge && len(c.data) > 0 {
		c.pieces = nil
		return &c
	}
	c.data, c.pieces = nil, slices.Clone(c.pieces)
	return &c
}

// change lets f alter the entry for i, and makes it if it is missing. It keeps the tape within its
// caps: an answer that does not fit becomes too_large, and is dropped altogether when even that
// does not fit. The caller holds the lock.
func (r *Recorder) change(i id, f func(*entry)) {
	e, before := r.entries[i], int64(0)
	if e == nil {
		if len(r.entries) >= maxEntries || len(i.subject) > maxLine/8 {
			r.header.Dropped++
			return
		}
		e = &entry{id: i}
	} else {
		before = e.textSize()
	}
	f(e)
	r.used += e.textSize() - before
	if r.used > r.tapeCap {
		r.header.Dropped++
		r.used -= e.textSize()
		e.data, e.pieces, e.end = nil, nil, tooLarge
		r.used += e.textSize()
	}
	if r.used > r.tapeCap {
		r.used -= e.textSize()
		delete(r.entries, i)
		return
	}
	r.entries[i] = e
}

func (r *Recorder) remove(i id) {
	if e := r.entries[i]; e != nil {
		r.used -= e.textSize()
		delete(r.entries, i)
	}
}

// key returns the name as the tape writes it; ok is false if a tape cannot contain it: the machine was asked nothing
// then.
func (r *Recorder) key(name string) (string, bool) {
	return foldName(name, r.fold), fs.ValidPath(name)
}

// failureOf returns what a tape keeps of an error; zero for nil. That the recorded machine is a tape which is older
// than the question makes this tape as old as that one.
func (r *Recorder) failureOf(err error) failure {
	if err == nil {
		return failure{}
	}
	f := failureOf(err)
	if f.code != fact.CodeOlder {
		return f
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header.Questions = min(r.header.Questions, questionsOf(err))
	return unrecorded
}

// failed keeps that a question about a path has no answer. That the recorded machine is itself a tape without an answer
// is left out, which says the same.
func (r *Recorder) failed(op, key string, err error) {
	f := r.failureOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if op == opOpen {
		r.forget(key)
	}
	if f == unrecorded {
		return
	}
	r.change(id{KindError, op, key}, func(e *entry) { e.end = f })
}

// forget drops the content of a file, and keeps what stat said of it.
func (r *Recorder) forget(key string) {
	i := id{kind: KindFile, subject: key}
	e := r.entries[i]
	if e == nil {
		return
	}
	if e.info == nil {
		r.remove(i)
		return
	}
	r.change(i, func(e *entry) { e.data, e.pieces, e.end, e.redacted = nil, nil, unrecorded, false })
}

// answered drops the errors that an answer takes the place of.
func (r *Recorder) answered(key string, ops ...string) {
	for _, op := range ops {
		r.remove(id{KindError, op, key})
	}
}

// whole keeps the content of a file that was read from its start until end: the end of the file,
// or an error.
func (r *Recorder) whole(key string, data []byte, end failure, altered bool) {
	if int64(len(data)) > r.entryCap {
		data, end = data[:r.entryCap], tooLarge
	}
	altered = altered || r.Redacted(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(key, opOpen)
	r.remove(id{kind: KindDir, subject: key})
	r.change(id{kind: KindFile, subject: key}, func(e *entry) {
		e.data, e.end, e.redacted = bytes.Clone(data), end, altered
	})
}

// broken keeps that a file could be opened and not read.
func (r *Recorder) broken(key string, end failure) {
	r.mu.Lock()
	isDir := r.entries[id{kind: KindDir, subject: key}] != nil
	r.mu.Unlock()
	if isDir || end == unrecorded {
		r.exists(key)
		return
	}
	r.whole(key, nil, end, false)
}

// exists keeps that a file was opened, and nothing read of it.
func (r *Recorder) exists(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(key, opOpen)
	if r.entries[id{kind: KindDir, subject: key}] != nil || r.entries[id{kind: KindFile, subject: key}] != nil {
		return
	}
	r.change(id{kind: KindFile, subject: key}, func(e *entry) { e.end = unrecorded })
}

// piece keeps a part of a file. Of a file that redaction may alter nothing is kept, since what has
// to go may lie across the part's borders.
//
// full says that more than data was read there, and left out.
func (r *Recorder) piece(key string, off int64, data []byte, full bool) {
	if r.redacts(key) {
		r.failed(opOpen, key, fact.ErrRedacted)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[id{KindError, opOpen, key}]; e != nil && e.end == redacted {
		return
	}
	if e := r.entries[id{kind: KindFile, subject: key}]; e != nil && e.end == (failure{}) {
		return // the whole file is there
	}
	r.answered(key, opOpen)
	r.change(id{kind: KindFile, subject: key}, func(e *entry) {
		if e.end == (failure{}) {
			e.end = unrecorded
		}
		if e.addPiece(off, data, r.entryCap) || full {
			e.end = tooLarge
		}
	})
}

// listed keeps a directory's names.
func (r *Recorder) listed(key string, entries []fs.DirEntry, err error) {
	end := r.failureOf(err)
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var data []byte
	for i, d := range sorted {
		if !isDirName(d.Name()) || i > 0 && d.Name() == sorted[i-1].Name() {
			continue
		}
		n := len(data)
		data = appendDirLine(data, d.Type(), d.Name())
		if int64(len(data)) > r.entryCap {
			data, end = data[:n], tooLarge
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(key, opReadDir, opOpen)
	r.dir(key, func(e *entry) { e.data, e.end = data, end })
}

// dir alters the entry of a directory, in place of a file's that stands for its being there.
func (r *Recorder) dir(key string, f func(*entry)) {
	r.remove(id{kind: KindFile, subject: key})
	r.change(id{kind: KindDir, subject: key}, f)
}

// stated keeps what stat, or lstat, said.
func (r *Recorder) stated(op, key string, fi fs.FileInfo) {
	i := infoOf(fi)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(key, op)
	set := func(e *entry) {
		if r.entries[e.id] == nil {
			e.end = unrecorded
		}
		e.info = i
	}
	switch {
	case i.mode.IsDir():
		r.dir(key, set)
	case i.mode.Type() == fs.ModeSymlink:
		r.change(id{kind: KindLink, subject: key}, set)
	default:
		r.remove(id{kind: KindDir, subject: key})
		r.change(id{kind: KindFile, subject: key}, set)
	}
}

// Open opens the machine's file, and records what is read of it. It implements [fs.FS].
func (r *Recorder) Open(name string) (fs.File, error) {
	f, err := r.m.Open(name)
	key, ok := r.key(name)
	if !ok {
		return f, err
	}
	if err != nil {
		r.failed(opOpen, key, err)
		return nil, err
	}
	return r.record(f, key), nil
}

// ReadDir lists the machine's directory. It implements [fs.ReadDirFS].
func (r *Recorder) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := r.m.ReadDir(name)
	key, ok := r.key(name)
	if !ok {
		return entries, err
	}
	if err != nil && len(entries) == 0 {
		r.failed(opReadDir, key, err)
		return nil, err
	}
	r.listed(key, entries, err)
	return r.wrap(key, entries), err
}

// Stat asks the machine what name leads to. It implements [fs.StatFS].
func (r *Recorder) Stat(name string) (fs.FileInfo, error) {
	fi, err := fs.Stat(r.m, name)
	return r.keepInfo(opStat, name, fi, err)
}

// Lstat asks the machine what name is, links included. It implements [fs.ReadLinkFS].
func (r *Recorder) Lstat(name string) (fs.FileInfo, error) {
	fi, err := r.m.Lstat(name)
	return r.keepInfo(opLstat, name, fi, err)
}

func (r *Recorder) keepInfo(op, name string, fi fs.FileInfo, err error) (fs.FileInfo, error) {
	key, ok := r.key(name)
	switch {
	case !ok:
	case err != nil:
		r.failed(op, key, err)
	default:
		r.stated(op, key, fi)
	}
	return fi, err
}

// ReadLink asks the machine where a link leads. It implements [fs.ReadLinkFS].
func (r *Recorder) ReadLink(name string) (string, error) {
	target, err := r.m.ReadLink(name)
	key, ok := r.key(name)
	switch {
	case !ok:
	case err != nil:
		r.failed(opReadLink, key, err)
	case target == "" || len(target) > maxTarget:
		r.failed(opReadLink, key, fact.ErrTooLarge)
	default:
		r.mu.Lock()
		r.answered(key, opReadLink)
		r.change(id{kind: KindLink, subject: key}, func(e *entry) { e.data, e.end = []byte(target), failure{} })
		r.mu.Unlock()
	}
	return target, err
}

// FileReader returns what reads the machine's files whole and records them. It implements [fact.Accelerated].
func (r *Recorder) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(r) {
		return nil
	}
	return (*recordReader)(r)
}

// A recordReader is a Recorder with methods that a type which embeds the Recorder must not have.
type recordReader Recorder

// AppendFile implements [fact.FileReader].
func (f *recordReader) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	r := (*Recorder)(f)
	defer r.wait(name)()
	start := len(dst)
	dst, err := limit.AppendFile(r.m, dst, name, max)
	r.keepContent(name, dst[start:], err)
	return dst, err
}

// AppendAttr implements [fact.FileReader].
func (f *recordReader) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	r := (*Recorder)(f)
	defer r.wait(name)()
	start := len(dst)
	dst, err := limit.AppendAttr(r.m, dst, name, max)
	if data := dst[start:]; err == nil && (len(data) >= attrRead || int64(len(data)) >= max) {
		r.keepStart(name, data)
		return dst, err
	}
	r.keepContent(name, dst[start:], err)
	return dst, err
}

// attrRead is how much one read of an attribute asks for at least: a shorter answer is all there
// is.
const attrRead = 4096

// keepStart records the start of a file that may go on.
func (r *Recorder) keepStart(name string, data []byte) {
	key, ok := r.key(name)
	if !ok {
		return
	}
	var s stream
	s.add(r, key, data)
	s.part(r, key)
}

// wait notes that a file is being read, until the returned function is called.
func (r *Recorder) wait(name string) (done func()) {
	key, ok := r.key(name)
	if !ok {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[key]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.waiting[key]--; r.waiting[key] == 0 {
			delete(r.waiting, key)
		}
	}
}

func (r *Recorder) keepContent(name string, data []byte, err error) {
	key, ok := r.key(name)
	if !ok {
		return
	}
	end := r.failureOf(err)
	var pe *fs.PathError
	switch opened := errors.As(err, &pe) && pe.Op == "read"; {
	case err == nil || len(data) > 0:
	case opened && end.code != fact.CodeRedacted:
		r.broken(key, end)
		return
	default:
		r.failed(opOpen, key, err)
		return
	}
	out, altered, hidden := r.apply(key, data)
	if hidden {
		r.failed(opOpen, key, fact.ErrRedacted)
		return
	}
	r.whole(key, out, end, altered)
}

// apply redacts an answer: it may have been altered, or has to be hidden altogether.
func (r *Recorder) apply(key string, data []byte) (out []byte, altered, hidden bool) {
	if len(data) == 0 {
		return data, false, false
	}
	out = r.redact(key, data)
	return out, !bytes.Equal(out, data), out == nil
}

// Call asks the machine. An answer that came too late for ctx is not recorded.
func (r *Recorder) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	data, err := r.m.Call(ctx, op, args...)
	if err != nil && ctx.Err() != nil {
		return data, err
	}
	subject := callSubject(op, args)
	key := strings.Join(append([]string{op}, args...), " ")
	out, altered, hidden := r.apply(key, data)
	altered = altered || r.Redacted(key)
	end := r.failureOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	call, fail := id{kind: KindCall, subject: subject}, id{KindError, opCall, subject}
	r.remove(call)
	r.remove(fail)
	switch {
	case end == unrecorded:
	case err != nil && len(data) == 0:
		r.change(fail, func(e *entry) { e.end = end })
	case hidden:
		r.change(fail, func(e *entry) { e.end = redacted })
	default:
		r.change(call, func(e *entry) {
			e.end = end
			if int64(len(out)) > r.entryCap {
				out, e.end = out[:r.entryCap], tooLarge
			}
			e.data, e.redacted = bytes.Clone(out), altered
		})
	}
	return data, err
}
