// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/tour"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

func (a *app) record() *cobra.Command {
	var out, comment string
	var unredacted bool
	c := &cobra.Command{
		Use:   "record",
		Short: "Record what this machine answers on a tape, to look at elsewhere",
		Long: `Record every answer that a look at this machine gets, refusals and absences too, on a tape: one text
file that --tape reads on any operating system. Kernel addresses, parameter values, most of the
command line and serial numbers are left out unless --unredacted keeps them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			t, err := recordTape(c.Context(), o, tape.Options{
				Header:     tape.Header{Producer: lkm.Producer, Comment: comment, Detail: o.Detail.String()},
				Unredacted: unredacted,
			})
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = t.WriteTo(a.stdout)
				return err
			}
			return writeFile(out, t)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&out, "output", "o", "", "write to `FILE` instead of standard output")
	f.StringVar(&comment, "comment", "", "a line for people, kept on the tape")
	f.BoolVar(&unredacted, "unredacted", false, "keep addresses, parameter values, command line and serial numbers")
	f.StringVar(&a.flags.detail, "detail", "", "also read: files,hashes,signatures,parameters,addresses,symbols,policy or all")
	f.StringVar(&a.flags.root, "root", "", "record the machine whose root is mounted at `DIR`")
	f.BoolVar(&a.flags.exec, "exec", false, "start the system's own tools where its calls refuse (macOS)")
	f.BoolVar(&a.flags.live, "live", false, "with --root: its kernel is the one that runs here")
	return c
}

// recordTape looks at the machine in every way that lkm has and returns the tape of it. A look
// that fails is recorded too: that is what the tape is for.
func recordTape(ctx context.Context, o lkm.Options, to tape.Options) (*tape.Tape, error) {
	system, machine, err := lkm.Live(o)
	if err != nil {
		return nil, err
	}
	r := tape.Record(system, machine, to)
	sys, err := lkm.OpenMachine(system, r, o)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	snap, err := tour.Take(ctx, sys)
	if err != nil {
		return nil, err
	}
	if snap != nil {
		r.Describe(snap.Release, snap.Arch, snap.Privilege)
	}
	return r.Tape(), nil
}

// writeFile writes w's content to a new file, or over an old one.
func writeFile(name string, w io.WriterTo) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := w.WriteTo(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
