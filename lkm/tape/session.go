// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"

	"github.com/kernelext/kernelext/fact"
)

// A session is one open file of a recorder. Reads that go on from the file's start are one stream,
// whatever their sizes; reads elsewhere are pieces.
type session struct {
	r   *Recorder
	f   fs.File
	key string

	mu      sync.Mutex
	pos     int64 // where Read goes on
	stream  stream
	names   []fs.DirEntry
	touched bool // something was recorded
}

// record returns f with everything that is read of it recorded. The result is an io.ReaderAt and
// an io.Seeker when f is an io.ReaderAt.
func (r *Recorder) record(f fs.File, key string) fs.File {
	s := &session{r: r, f: f, key: key}
	s.stream.reset()
	r.mu.Lock()
	r.open[s] = struct{}{}
	r.mu.Unlock()
	if at, ok := f.(io.ReaderAt); ok {
		return &seekable{s, at}
	}
	return s
}

func (s *session) Stat() (fs.FileInfo, error) {
	fi, err := s.f.Stat()
	if err == nil {
		s.r.stated(opStat, s.key, fi)
		s.mu.Lock()
		s.touched = s.touched || fi.IsDir()
		s.mu.Unlock()
	}
	return fi, err
}

func (s *session) Read(p []byte) (int, error) {
	n, err := s.f.Read(p) // without the lock: it may block for ever
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) > 0 {
		s.keep(s.pos, p[:max(n, 0)], err)
	}
	s.pos += int64(max(n, 0))
	return n, err
}

// keep records that a read at off gave data and err.
func (s *session) keep(off int64, data []byte, err error) {
	if off == 0 && s.stream.read > 0 {
		s.flush()
	}
	if off != s.stream.read {
		if len(data) > 0 {
			s.touched = true
			s.r.piece(s.key, off, data, false)
		}
		return
	}
	s.stream.add(s.r, s.key, data)
	if err == nil && len(data) > 0 {
		return
	}
	end := failure{}
	if err != nil && !errors.Is(err, io.EOF) {
		end = s.r.failureOf(err)
	}
	s.touched = true
	s.stream.end(s.r, s.key, end)
	s.stream.reset()
}

// flush records a stream that was left before its end.
func (s *session) flush() {
	if s.stream.read > 0 {
		s.touched = true
		s.stream.part(s.r, s.key)
	}
	s.stream.reset()
}

// commit records what a file that may still be open has given so far.
func (s *session) commit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream.read > 0 {
		s.touched = true
		s.stream.part(s.r, s.key)
	}
	if !s.touched && s.names == nil {
		s.r.exists(s.key)
	}
	if s.names != nil {
		s.r.listed(s.key, s.names, fact.ErrUnrecorded)
	}
}

func (s *session) Close() error {
	s.commit()
	s.r.mu.Lock()
	delete(s.r.open, s)
	s.r.mu.Unlock()
	return s.f.Close()
}

// ReadDir lists the directory. It implements [fs.ReadDirFile].
func (s *session) ReadDir(n int) ([]fs.DirEntry, error) {
	d, ok := s.f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: opReadDir, Path: s.key, Err: errNotDir}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := d.ReadDir(n)
	s.names = append(s.names, entries...)
	switch {
	case n <= 0 && err == nil, errors.Is(err, io.EOF):
		s.r.listed(s.key, s.names, nil)
		s.names, s.touched = nil, true
	case err != nil && len(s.names) > 0:
		s.r.listed(s.key, s.names, err)
		s.names, s.touched = nil, true
	case err != nil:
		s.r.failed(opReadDir, s.key, err)
	}
	return s.r.wrap(s.key, entries), err
}

// A seekable is a session of a file that can be read at any place.
type seekable struct {
	*session
	at io.ReaderAt
}

func (s *seekable) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.at.ReadAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) > 0 && off >= 0 {
		s.keep(off, p[:max(n, 0)], err)
	}
	return n, err
}

func (s *seekable) Seek(offset int64, whence int) (int64, error) {
	sk, ok := s.f.(io.Seeker)
	if !ok {
		return 0, &fs.PathError{Op: "seek", Path: s.key, Err: errors.ErrUnsupported}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pos, err := sk.Seek(offset, whence)
	if err == nil {
		s.pos = pos
	}
	return pos, err
}

// chunk is how much of a stream is redacted at once: as many whole lines as fit, since redaction works by lines.
const chunk = 256 << 10

// A stream is what was read from a file's start on, redacted, as much as a tape keeps.
type stream struct {
	read    int64  // bytes read
	pending []byte // read and not redacted yet
	kept    []byte
	altered bool // redaction took something out
	hidden  bool // redaction took everything out
	full    bool // there was more than a tape keeps
}

func (s *stream) reset() { *s = stream{} }

func (s *stream) add(r *Recorder, key string, data []byte) {
	s.read += int64(len(data))
	if s.full || s.hidden {
		return
	}
	s.pending = append(s.pending, data...)
	if len(s.pending) < chunk {
		return
	}
	if i := bytes.LastIndexByte(s.pending, '\n'); i >= 0 {
		s.redact(r, key, i+1)
	} else if int64(len(s.pending)) > r.entryCap {
		s.redact(r, key, len(s.pending))
	}
}

// redact moves n pending bytes to those that are kept.
func (s *stream) redact(r *Recorder, key string, n int) {
	data := s.pending[:n:n]
	s.pending = slices.Clone(s.pending[n:])
	out, altered, hidden := r.apply(key, data)
	if hidden {
		s.hidden, s.kept, s.pending = true, nil, nil
		return
	}
	s.altered = s.altered || altered
	s.kept = append(s.kept, out...)
	if int64(len(s.kept)) > r.entryCap {
		s.full, s.kept, s.pending = true, s.kept[:r.entryCap], nil
	}
}

// end records the stream, which ended with the file or an error.
func (s *stream) end(r *Recorder, key string, end failure) {
	s.redact(r, key, len(s.pending))
	switch {
	case s.hidden:
		r.failed(opOpen, key, fact.ErrRedacted)
		return
	case s.read == 0 && end != (failure{}):
		r.broken(key, end)
		return
	case s.full:
		end = tooLarge
	}
	r.whole(key, s.kept, end, s.altered)
}

// part records the stream as far as it went, unless the file is on the tape already.
func (s *stream) part(r *Recorder, key string) {
	c := *s
	c.pending, c.kept = slices.Clone(s.pending), slices.Clone(s.kept)
	c.redact(r, key, len(c.pending))
	switch {
	case c.hidden:
		r.failed(opOpen, key, fact.ErrRedacted)
	case r.redacts(key) || r.Redacted(key):
		r.mu.Lock()
		e := r.entries[id{kind: KindFile, subject: key}]
		r.mu.Unlock()
		if e == nil || len(e.data) < len(c.kept) && e.end != (failure{}) {
			r.whole(key, c.kept, unrecorded, c.altered)
		}
	default:
		r.piece(key, 0, c.kept, c.full)
	}
}

// wrap returns a directory's entries with their Info recorded.
func (r *Recorder) wrap(dir string, entries []fs.DirEntry) []fs.DirEntry {
	wrapped := make([]fs.DirEntry, len(entries))
	for i, d := range entries {
		wrapped[i] = &recordedEntry{d, r, path.Join(dir, d.Name())}
	}
	return wrapped
}

type recordedEntry struct {
	fs.DirEntry
	r    *Recorder
	name string
}

func (d *recordedEntry) Info() (fs.FileInfo, error) {
	fi, err := d.DirEntry.Info()
	return d.r.keepInfo(opLstat, d.name, fi, err)
}

// maxPieces is how many pieces a file's entry may have, so that its first line stays short.
const maxPieces = 1500

// addPiece adds data at off to the entry's pieces, at most limit bytes in all, and reports whether it was left out.
// Where old and new bytes differ the file has changed, and only the new ones are kept.
func (e *entry) addPiece(off int64, data []byte, limit int64) (full bool) {
	p := piece{off, bytes.Clone(data)}
	if slices.ContainsFunc(e.pieces, p.contradicts) {
		e.pieces = nil
	}
	var before, after []piece
	total := int64(0)
	for _, q := range e.pieces {
		switch {
		case q.end() < p.off:
			before = append(before, q)
		case q.off > p.end():
			after = append(after, q)
		default:
			p = p.joined(q)
			continue
		}
		total += int64(len(q.data))
	}
	if total+int64(len(p.data)) > limit || len(before)+len(after) >= maxPieces {
		return true
	}
	e.pieces = append(append(before, p), after...)
	return false
}

func (p piece) end() int64 { return p.off + int64(len(p.data)) }

// contradicts reports whether two pieces of one file differ where both have bytes.
func (p piece) contradicts(q piece) bool {
	from, to := max(p.off, q.off), min(p.end(), q.end())
	return from < to && !bytes.Equal(p.data[from-p.off:to-p.off], q.data[from-q.off:to-q.off])
}

// joined returns two pieces that touch as one. It may append to the memory of the first.
func (p piece) joined(q piece) piece {
	if q.off < p.off {
		p, q = q, p
	}
	if q.end() > p.end() {
		p.data = append(p.data, q.data[p.end()-q.off:]...)
	}
	return p
}
