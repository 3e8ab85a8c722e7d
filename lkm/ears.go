// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// Ears are the kernel's events as a watch hears them. What breaks is opened again, with growing pauses.
type ears struct {
	open func() (fact.Hints, error)
	err  error // why nothing is heard; nil while something is

	opened time.Time     // when the events were opened last, by this machine's clock
	pause  time.Duration // how long to wait before they are opened again; 0 for never
	first  time.Duration // the shortest pause

	mu    sync.Mutex // guards what follows
	hints fact.Hints // nil while nothing is heard
	woken bool       // the watch ends: nothing waits any more
}

// listen opens the kernel's events for a watch that ends with ctx. The caller must call the function that it returns,
// which closes them.
func (w *watch) listen(ctx context.Context) (done func()) {
	e := &w.ears
	e.first = w.o.Interval
	if w.o.PollOnly {
		e.err = fmt.Errorf("kernel events were not asked for: %w", errors.ErrUnsupported)
		return func() {}
	}
	e.open = func() (fact.Hints, error) { return w.s.backend.hints(w.o.Buffer) }
	e.try()
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { e.wake(); close(woken) })
	return func() {
		if !stop() {
			<-woken // it has begun: let it end
		}
		e.close()
	}
}

// hear reports whether there are events to wait for.
func (e *ears) hear() bool { return e.hints != nil }

// due reports whether it is time to open the events again.
func (e *ears) due() bool {
	return e.hints == nil && e.pause > 0 && time.Since(e.opened) >= e.pause
}

// try opens the events.
func (e *ears) try() {
	hints, err := e.open()
	e.opened, e.err = time.Now(), err
	if err != nil {
		e.rest(err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hints = hints
	if e.woken {
		hints.Wake()
	}
}

// broke closes events that cannot be read any more.
func (e *ears) broke(err error) {
	e.close()
	if time.Since(e.opened) > longestPause { // it was no vain try
		e.pause = 0
	}
	e.opened, e.err = time.Now(), err
	e.rest(err)
}

// rest says how long to wait before the next try: for ever where there are no events, long where they are refused.
func (e *ears) rest(err error) {
	first, last := e.first, max(longestPause, e.first)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		e.pause = 0
		return
	case errors.Is(err, fs.ErrPermission):
		first, last = firstBackOff, lastBackOff
	}
	e.pause = min(max(2*e.pause, first), last)
}

func (e *ears) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.woken = true
	if e.hints != nil {
		e.hints.Wake()
	}
}

func (e *ears) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hints != nil {
		e.hints.Close()
	}
	e.hints = nil
}
