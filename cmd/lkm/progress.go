// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

// A progress is the line on a terminal that says that work goes on. It appears when the work has taken a while, and
// goes away before anything else is written.
type progress struct {
	w     io.Writer
	after time.Duration // how long the work is silent
	read  atomic.Int64  // how many modules were read
	stop  chan struct{} // nil: the line is not wanted, or is gone
	done  chan struct{}
}

// progressEvery is how often the line changes.
const progressEvery = 250 * time.Millisecond

// clearLine goes back to the beginning of a terminal's line and clears it (CR, and EL of ECMA-48).
const clearLine = "\r\x1b[K"

// begin starts to wait for the time when the line appears.
func (p *progress) begin(what string) {
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.done)
		started := time.Now()
		for next := time.NewTimer(p.after); ; next.Reset(progressEvery) {
			select {
			case <-p.stop:
				next.Stop()
				if time.Since(started) >= p.after {
					fmt.Fprint(p.w, clearLine)
				}
				return
			case now := <-next.C:
				fmt.Fprint(p.w, clearLine+progressText(what, p.read.Load(), now.Sub(started)))
			}
		}
	}()
}

// progressText is what the line says.
func progressText(what string, read int64, since time.Duration) string {
	text := what + ": reading"
	if read > 0 {
		text += ": " + modulesText(int(read))
	}
	return fmt.Sprintf("%s … %.0f s", text, since.Seconds())
}

// end takes the line away. It may be called often.
func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
		<-p.done
		p.stop = nil
	}
}

// count counts a module that was read, which is kept.
func (p *progress) count(*lkm.Module) bool {
	p.read.Add(1)
	return true
}

// A clearing is a stream that a progress gives way to.
type clearing struct {
	w io.Writer
	p *progress
}

func (c clearing) Write(b []byte) (int, error) {
	c.p.end()
	return c.w.Write(b)
}

// waits reports whether a command waits for what comes, or has nothing to read.
func waits(c *cobra.Command) bool {
	switch c.Name() {
	case "watch", "mirror", "help", "lkm", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true
	}
	return false
}
