// SPDX-License-Identifier: Apache-2.0

// Package wmi asks WMI about drivers, as a cross-check of what the service manager, the registry
// and SetupAPI say. It is never needed for the list. A program that imports it puts [Call] into
// lkm.Options.Call; one that does not links nothing of it.
//
// What is read: Win32_SystemDriver and Win32_PnPSignedDriver of root\cimv2, with explicit
// properties, dates as text. No privilege is needed.
//
// Limits: the library below has no deadline of its own and holds one lock for the whole process,
// so a query that hangs blocks every later one. Call therefore runs one query at a time, gives up
// after a deadline, and answers at once while an abandoned query still hangs. All queries run on one
// thread, which is started by the first and kept: COM loses memory where threads come and go.
package wmi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/windows"
)

// timeLimit is how long one query may take; a context may end it earlier.
const timeLimit = 30 * time.Second

// A source answers the two queries.
type source interface {
	// Drivers returns the rows of Win32_SystemDriver.
	Drivers() ([]windows.WMIDriver, error)
	// SignedDrivers returns the rows of Win32_PnPSignedDriver.
	SignedDrivers() ([]windows.WMISignedDriver, error)
}

// A client asks a source, one query at a time. It is safe for concurrent use.
type client struct {
	source  source
	timeout time.Duration
	start   sync.Once
	jobs    chan func()
	turn    chan struct{} // held by the call whose query runs; guards hung
	hung    chan struct{} // closed when the query that was abandoned ends
}

// newClient returns a client of a source of the caller's, such as a fake. Its thread is started by the
// first query and lives as long as the process.
func newClient(s source, timeout time.Duration) *client {
	return &client{source: s, timeout: timeout, jobs: make(chan func()), turn: make(chan struct{}, 1)}
}

// work runs the queries, all on one thread.
func (c *client) work() {
	runtime.LockOSThread()
	if s, ok := c.source.(interface{ begin() }); ok {
		s.begin()
	}
	for job := range c.jobs {
		job()
	}
}

// process is the client of the running system. It is one for the whole process because the lock
// below it is.
var process = lazy.Value[*client]{New: func() *client { return newClient(live{}, timeLimit) }}

// Call answers windows.OpWMIDrivers and windows.OpWMIPnP on the running system; for any other op, and for every op on
// other systems, the error matches errors.ErrUnsupported.
func Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	return process.Get().Call(ctx, op, args...)
}

// Call answers the two ops. The error matches os.ErrDeadlineExceeded if the query took too long, or if an earlier one
// still runs.
func (c *client) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	var query func() ([]byte, error)
	switch {
	case len(args) > 0:
		return nil, fmt.Errorf("call %s with arguments: %w", op, errors.ErrUnsupported)
	case op == windows.OpWMIDrivers:
		query = c.drivers
	case op == windows.OpWMIPnP:
		query = c.signed
	default:
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	b, err := c.run(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", op, err)
	}
	return b, nil
}

func (c *client) drivers() ([]byte, error) {
	rows, err := c.source.Drivers()
	return windows.AppendWMIDrivers([]byte{}, rows), err
}

func (c *client) signed() ([]byte, error) {
	rows, err := c.source.SignedDrivers()
	return windows.AppendWMISigned([]byte{}, rows), err
}

type answer struct {
	b   []byte
	err error
}

// run runs query, which is abandoned when the time is over. While it hangs, no other is started.
func (c *client) run(ctx context.Context, query func() ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, os.ErrDeadlineExceeded)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("another query still runs: %w", context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	if c.stuck() {
		return nil, fmt.Errorf("an earlier query still hangs: %w", os.ErrDeadlineExceeded)
	}
	c.start.Do(func() { go c.work() })
	done, result := make(chan struct{}), make(chan answer, 1)
	c.jobs <- func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				result <- answer{err: fmt.Errorf("query panicked: %v", r)}
			}
		}()
		b, err := query()
		result <- answer{b, err}
	}
	select {
	case a := <-result:
		if a.err != nil {
			return nil, a.err
		}
		return a.b, nil
	case <-ctx.Done():
		c.hung = done
		return nil, fmt.Errorf("query did not end: %w", context.Cause(ctx))
	}
}

// stuck reports whether an abandoned query still runs.
func (c *client) stuck() bool {
	if c.hung == nil {
		return false
	}
	select {
	case <-c.hung:
		c.hung = nil
		return false
	default:
		return true
	}
}
