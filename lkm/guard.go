// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// Bounds of what a System tries again.
const (
	patience     = 2 * time.Second // how long one read may take before it is abandoned
	maxAbandoned = 2               // how many goroutines one path may cost
	maxHanging   = 64              // how many reads may hang at once, on whatever path
	firstBackOff = time.Minute     // how long a refusal is believed at first; doubled each time
	lastBackOff  = time.Hour       // and at most
	maxRemember  = 4096            // how many paths are remembered
)

// A guard is between a System and its Machine. A read that blocks is abandoned, and after two such reads its path is
// not tried again, nor is any while many hang; a refusal is remembered and tried again with back-off, so that a denied
// path does not fill the audit log.
type guard struct {
	machine  Machine
	prefix   string // what to put before a path in an error
	log      *slog.Logger
	now      func() time.Time
	patience time.Duration

	mu      sync.Mutex
	refused map[question]refusal
	stuck   map[string]int
	hanging int           // abandoned reads that have not come back
	keeping int           // how many calls keep goroutines
	kept    chan struct{} // closed when none does any more; nil if none does
	next    chan func()   // what a kept goroutine runs next
	timers  sync.Pool     // of *time.Timer
	pending sync.Pool     // of *pending[T]
	buffers sync.Pool     // of *[]byte
}

// A question is what may be refused: a file's content may be, and not what stat says of it.
type question struct {
	about bool // only what kind of thing it is
	name  string
}

func questionOf(op, name string) question {
	return question{op == "stat" || op == "lstat", name}
}

type refusal struct {
	err   error
	until time.Time
	wait  time.Duration
}

func newGuard(m Machine, root string, log *slog.Logger) *guard {
	return &guard{
		machine:  m,
		prefix:   strings.TrimSuffix(root, "/"),
		log:      log,
		now:      time.Now,
		patience: patience,
		refused:  make(map[question]refusal),
		stuck:    make(map[string]int),
		next:     make(chan func()),
	}
}

// guarded runs f, which may block, for the path name. If f is abandoned the error matches os.ErrDeadlineExceeded, and
// f's result is closed, or dropped, whenever it comes.
func guarded[T any](g *guard, op, name string, f func() (T, error)) (T, error) {
	var none T
	if err := g.known(op, name); err != nil {
		return none, err
	}
	p, ok := g.pending.Get().(*pending[T])
	if !ok {
		p = &pending[T]{make(chan result[T]), make(chan struct{})}
	}
	g.run(func() {
		value, err := f()
		select {
		case p.done <- result[T]{value, err}:
		case <-p.left:
			g.returned(any(value))
		}
	})
	timer := g.timer()
	defer g.timers.Put(timer)
	select {
	case r := <-p.done:
		timer.Stop()
		g.pending.Put(p)
		return r.value, g.remember(op, name, r.err)
	case <-timer.C:
		err := g.abandon(op, name)
		close(p.left) // so that it is not used again
		return none, err
	}
}

// keep makes goroutines that have answered wait for the next read, until release is called: a new one for each of
// thousands of files would grow its stack each time.
func (g *guard) keep() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeping++; g.kept == nil {
		g.kept = make(chan struct{})
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.keeping--; g.keeping == 0 {
			close(g.kept)
			g.kept = nil
		}
	}
}

// run runs f in a goroutine that waits, else in a new one.
func (g *guard) run(f func()) {
	select {
	case g.next <- f:
	default:
		go g.answer(f)
	}
}

// answer runs f, and what comes next as long as goroutines are kept.
func (g *guard) answer(f func()) {
	for {
		f()
		g.mu.Lock()
		kept := g.kept
		g.mu.Unlock()
		if kept == nil {
			return
		}
		select {
		case f = <-g.next:
		case <-kept:
			return
		}
	}
}

// A pending is a question that f answers, or that is abandoned.
type pending[T any] struct {
	done chan result[T]
	left chan struct{}
}

type result[T any] struct {
	value T
	err   error
}

// returned takes the result of an abandoned read that came back after all.
func (g *guard) returned(value any) {
	if c, ok := value.(io.Closer); ok {
		c.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hanging--
}

func (g *guard) timer() *time.Timer {
	if t, ok := g.timers.Get().(*time.Timer); ok {
		t.Reset(g.patience)
		return t
	}
	return time.NewTimer(g.patience)
}

// known returns the error that name is known to give, or nil when it is to be tried.
func (g *guard) known(op, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stuck[name] >= maxAbandoned || g.hanging >= maxHanging {
		return g.blocked(op, name)
	}
	if r, ok := g.refused[questionOf(op, name)]; ok && g.now().Before(r.until) {
		return r.err
	}
	return nil
}

func (g *guard) blocked(op, name string) error {
	return &fs.PathError{Op: op, Path: g.path(name), Err: fmt.Errorf("no answer in %v: %w", g.patience,
		os.ErrDeadlineExceeded)}
}

func (g *guard) abandon(op, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hanging++
	if len(g.stuck) < maxRemember || g.stuck[name] > 0 {
		g.stuck[name]++
	}
	return g.blocked(op, name)
}

// remember notes a refusal, forgets one that is over, and returns err with the path as the
// machine's user knows it.
func (g *guard) remember(op, name string, err error) error {
	if g.log != nil {
		g.log.Debug(op, "path", name, "err", err)
	}
	err = g.named(name, err)
	refusedNow := errors.Is(err, fs.ErrPermission)
	g.mu.Lock()
	defer g.mu.Unlock()
	q := questionOf(op, name)
	old, before := g.refused[q]
	if !refusedNow {
		if before {
			delete(g.refused, q)
		}
		return err
	}
	if !before && len(g.refused) >= maxRemember {
		return err
	}
	wait := min(max(2*old.wait, firstBackOff), lastBackOff)
	g.refused[q] = refusal{err, g.now().Add(wait), wait}
	return err
}

// forget drops all that is remembered of refusals.
func (g *guard) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.refused)
}

func (g *guard) path(name string) string { return fact.PathAt(g.prefix, name) }

// named puts the user's path in an error about name.
func (g *guard) named(name string, err error) error { return fact.ErrorAt(g.prefix, name, err) }

func (g *guard) Open(name string) (fs.File, error) {
	return guarded(g, "open", name, func() (fs.File, error) { return g.machine.Open(name) })
}

func (g *guard) ReadDir(name string) ([]fs.DirEntry, error) {
	return guarded(g, "readdir", name, func() ([]fs.DirEntry, error) { return g.machine.ReadDir(name) })
}

func (g *guard) Stat(name string) (fs.FileInfo, error) {
	return guarded(g, "stat", name, func() (fs.FileInfo, error) { return fs.Stat(g.machine, name) })
}

func (g *guard) Lstat(name string) (fs.FileInfo, error) {
	return guarded(g, "lstat", name, func() (fs.FileInfo, error) { return g.machine.Lstat(name) })
}

func (g *guard) ReadLink(name string) (string, error) {
	return guarded(g, "readlink", name, func() (string, error) { return g.machine.ReadLink(name) })
}

// FileReader implements [fact.Accelerated].
func (g *guard) FileReader(self fs.FS) fact.FileReader {
	if self != fs.FS(g) {
		return nil
	}
	return g
}

func (g *guard) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	return g.append(dst, name, max, limit.AppendFile)
}

func (g *guard) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	return g.append(dst, name, max, limit.AppendAttr)
}

// Of the buffers of reads.
const (
	maxKept  = 1 << 20   // the largest that is kept for the next read
	minGiven = 128 << 10 // the smallest content that is not copied out of it
)

// append reads into a buffer of its own, because an abandoned read may still write to it when the
// caller has long gone on with dst.
func (g *guard) append(dst []byte, name string, max int64, read func(fs.FS, []byte, string, int64) ([]byte,
	error)) ([]byte, error) {
	buf, err := guarded(g, "read", name, func() (*[]byte, error) {
		buf, ok := g.buffers.Get().(*[]byte)
		if !ok {
			buf = new([]byte)
		}
		var err error
		*buf, err = read(g.machine, (*buf)[:0], name, max)
		return buf, err
	})
	if buf == nil {
		return dst, err
	}
	if dst == nil && err == nil && len(*buf) >= minGiven && cap(*buf) <= 2*len(*buf) {
		return *buf, nil
	}
	if err == nil || errors.Is(err, ErrTooLarge) {
		dst = append(dst, *buf...)
	}
	if cap(*buf) <= maxKept {
		g.buffers.Put(buf)
	}
	return dst, err
}

// Call passes on, bounded by ctx alone: a call may take long.
func (g *guard) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	b, err := g.machine.Call(ctx, op, args...)
	if g.log != nil {
		g.log.Debug("call", "op", op, "args", args, "err", err)
	}
	return b, err
}

// Redacted reports whether something was taken out of the machine's answer for key.
func (g *guard) Redacted(key string) bool { return fact.IsRedacted(g.machine, key) }

// Events opens the stream of a machine that gives its kernel's events.
func (g *guard) Events(buffer int) (fact.EventSource, error) {
	l, ok := g.machine.(fact.Listener)
	if !ok {
		return nil, fmt.Errorf("listen for kernel events: not a running machine: %w", errors.ErrUnsupported)
	}
	return l.Events(buffer)
}
