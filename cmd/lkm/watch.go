// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) watch() *cobra.Command {
	var o lkm.WatchOptions
	c := &cobra.Command{
		Use:   "watch",
		Short: "Tell what comes and goes, one JSON object a line",
		Long: `Tell what comes and goes: first a baseline with everything there is, then a line for each load, unload
and change. "lost" means that the kernel dropped events; what changed meanwhile follows. It ends when
it is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.runWatch(c.Context(), o) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.DurationVar(&o.Interval, "interval", time.Second, "how often to look at the kernel's counter")
	f.DurationVar(&o.MaxAge, "max-age", 5*time.Minute, "look at everything at least this often")
	f.BoolVar(&o.PollOnly, "poll", false, "compare lists only; do not listen to the kernel's events")
	f.IntVar(&o.Buffer, "buffer", 0, "`BYTES` of events that the kernel keeps for us (0: 1 MiB)")
	a.commonFlags(c)
	for _, unused := range []string{"format", "fields", "strict", "verbose", "kernel"} {
		f.MarkHidden(unused)
	}
	return c
}

func (a *app) runWatch(ctx context.Context, o lkm.WatchOptions) error {
	sys, err := a.open(0)
	if err != nil {
		return err
	}
	defer sys.Close()
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
	}
	return nil
}
