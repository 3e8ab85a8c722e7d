// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) watch() *cobra.Command {
	var o lkm.WatchOptions
	var since string
	c := &cobra.Command{
		Use:   "watch",
		Short: "Watch modules load and unload, one JSON object a line",
		Long: `Watch modules load and unload, one JSON object a line: first a baseline, with everything that is loaded,
then a line for each load, unload and change. It goes on until it is interrupted or terminated, which is exit
code 0, or until nobody reads the pipe that it writes to.

When the list, or a part of it, cannot be read any more, a line "degraded" has the reason, and "recovered"
follows when it can be read again. "lost" means that kernel events were not heard; the differences follow. With
--heartbeat a line says after so much silence that the watch goes on. Each line has the id of the stream, a
number, and a digest of the state after it: lkm mirror adds lines up, and finds a gap, which the next line
with everything (--refresh) mends.

With --since the baseline is only the difference from FILE, a snapshot that the receiver has already.
A recorded machine (--tape) does not change: its watch ends after the first line.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for name, negative := range map[string]bool{"interval": o.Interval < 0, "max-age": o.MaxAge < 0,
				"heartbeat": o.Heartbeat < 0, "refresh": o.Refresh < 0, "buffer": o.Buffer < 0} {
				if negative {
					return misuse(c, "--%s %s is negative", name, c.Flag(name).Value)
				}
			}
			return a.runWatch(c.Context(), o, since)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.DurationVar(&o.Interval, "interval", time.Second, "how often to ask whether something changed")
	f.DurationVar(&o.MaxAge, "max-age", 5*time.Minute, "look at everything at least this often")
	f.DurationVar(&o.Heartbeat, "heartbeat", 0, "print a line after this much silence (0: never)")
	f.DurationVar(&o.Refresh, "refresh", 0, "print everything again this often (0: never)")
	f.StringVar(&since, "since", "", "begin with the difference from the snapshot in `FILE`")
	f.BoolVar(&o.PollOnly, "poll", false, "compare lists only; do not read the kernel's events")
	f.IntVar(&o.Buffer, "buffer", 0, "`BYTES` of events that the kernel keeps for us (0: 1 MiB)")
	a.commonFlags(c)
	ignore(c, "jsonl", "format", "fields", "strict", "verbose", "kernel")
	return c
}

func (a *app) runWatch(ctx context.Context, o lkm.WatchOptions, since string) error {
	if since != "" {
		s, err := a.snapshot(ctx, since)
		if err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		o.Since = s
	}
	sys, err := a.open(0)
	if err != nil {
		return err
	}
	defer sys.Close()
	ctx, abandoned := a.whileRead(ctx)
	for e, err := range sys.Watch(ctx, o) {
		if err != nil {
			return err
		}
		if err := writeJSON(a.stdout, e, ""); err != nil {
			return err
		}
		if err := a.stdout.Flush(); err != nil {
			return err
		}
		if a.flags.tape == "" {
			continue
		}
		if e.Type == lkm.EventDegraded {
			return exit(exitFatal) // the line says why
		}
		return nil
	}
	return abandoned()
}

// whileRead returns a context that ends when nobody reads the pipe any more that stdout is, and a function that then
// ends as the next line would: by the signal SIGPIPE, or with the error of writing.
func (a *app) whileRead(ctx context.Context) (context.Context, func() error) {
	ctx, stop := context.WithCancelCause(ctx)
	if f, ok := a.target.(*os.File); ok && !a.flags.quiet {
		go func() {
			if readerLeft(f) {
				stop(errAbandoned)
			}
		}()
	}
	return ctx, func() error {
		defer stop(nil)
		if context.Cause(ctx) != errAbandoned {
			return nil
		}
		a.stdout.WriteByte('\n')
		return a.stdout.Flush()
	}
}

// errAbandoned says that nobody reads what a watch prints.
var errAbandoned = errors.New("nobody reads the output")
