// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"iter"
	"sync"

	"github.com/kernelext/kernelext/internal/limit"
)

// Attrs implements [limit.AttrReader]. One goroutine reads all that is not known to fail. If one attribute blocks it is
// abandoned as any read is, and another goroutine goes on with the next attribute.
func (g *guard) Attrs(_ []byte, dir string, names []string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(names) > 0 {
			n, known := g.untried(dir, names)
			if n == 0 {
				if !yield(nil, known) {
					return
				}
				names = names[1:]
				continue
			}
			b := g.readBatch(dir, names[:n])
			for i := range b.ends {
				if !yield(b.result(i)) {
					return
				}
			}
			names = names[len(b.ends):]
			g.recycle(b.text)
		}
	}
}

// untried returns how many of the first attributes are not known to fail, and the error of the one that follows.
func (g *guard) untried(dir string, names []string) (int, error) {
	g.mu.Lock()
	none := len(g.refused) == 0 && len(g.stuck) == 0 && g.hanging == 0
	g.mu.Unlock()
	if none {
		return len(names), nil
	}
	for i, name := range names {
		if err := g.known("read", dir+"/"+name); err != nil {
			return i, err
		}
	}
	return len(names), nil
}

// A batch is what one goroutine read of several attributes.
type batch struct {
	text []byte
	ends []int // of each attribute in text
	errs []error
}

// result returns what was read of one attribute.
func (b *batch) result(i int) ([]byte, error) {
	start := 0
	if i > 0 {
		start = b.ends[i-1]
	}
	return b.text[start:b.ends[i]:b.ends[i]], b.errs[i]
}

func (b *batch) add(text []byte, err error) {
	if err == nil {
		b.text = append(b.text, text...)
	}
	b.ends, b.errs = append(b.ends, len(b.text)), append(b.errs, err)
}

// A batchRead is a batch that is being read.
type batchRead struct {
	mu   sync.Mutex // guards what follows
	done batch
	left bool // nobody waits any more
}

// readBatch reads attributes until the first one that does not answer in time, which is the last of the batch.
func (g *guard) readBatch(dir string, names []string) batch {
	r := new(batchRead)
	r.done = batch{g.buffer()[:0], make([]int, 0, len(names)), make([]error, 0, len(names))}
	finished := make(chan struct{})
	go func() {
		if g.readAttrs(r, dir, names) {
			close(finished)
			return
		}
		g.returned(nil)
	}()
	timer := g.timer()
	defer g.timers.Put(timer)
	for before := 0; ; {
		select {
		case <-finished:
			timer.Stop()
			return g.remembered(r.done, dir, names)
		case <-timer.C:
		}
		r.mu.Lock()
		at := len(r.done.ends)
		if at == before && at < len(names) {
			r.left = true
			b := batch{append(g.buffer()[:0], r.done.text...), append([]int(nil), r.done.ends...),
				append([]error(nil), r.done.errs...)}
			r.mu.Unlock()
			b = g.remembered(b, dir, names[:at])
			b.add(nil, g.abandon("read", dir+"/"+names[at]))
			return b
		}
		r.mu.Unlock()
		before = at
		timer.Reset(g.patience)
	}
}

// readAttrs reads into r. It returns false if nobody waits any more.
func (g *guard) readAttrs(r *batchRead, dir string, names []string) bool {
	buf := g.buffer()
	defer g.recycle(buf)
	for text, err := range limit.Attrs(g.machine, buf, dir, names) {
		r.mu.Lock()
		left := r.left
		if !left {
			r.done.add(text, err)
		}
		r.mu.Unlock()
		if left {
			return false
		}
	}
	return true
}

// remembered notes refusals and puts the user's path in the errors of a batch.
func (g *guard) remembered(b batch, dir string, names []string) batch {
	g.mu.Lock()
	quiet := g.log == nil && len(g.refused) == 0
	g.mu.Unlock()
	for i, err := range b.errs {
		if err != nil || !quiet {
			b.errs[i] = g.remember("read", dir+"/"+names[i], err)
		}
	}
	return b
}

// buffer returns memory that holds an attribute.
func (g *guard) buffer() []byte {
	if buf, ok := g.buffers.Get().(*[]byte); ok && cap(*buf) >= limit.Attr {
		return *buf
	}
	return make([]byte, 0, limit.Attr)
}

func (g *guard) recycle(buf []byte) {
	if cap(buf) <= maxKept {
		g.buffers.Put(&buf)
	}
}
