// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/fleet/report"
	"github.com/kernelext/kernelext/internal/parallel"
	"github.com/kernelext/kernelext/lkm"
)

// reportDetails are read of a machine for a report, unless --detail says others.
const reportDetails = lkm.DetailFiles | lkm.DetailSignatures | lkm.DetailPolicy

func (a *app) report() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "report -o FILE.html [SNAPSHOT|DIR...]",
		Short: "Write one HTML page of a machine, or of many",
		Long: `Write one HTML page that needs no network: what is third-party, not signed, changed, and what could
get in; the modules in a table that can be sorted and filtered; what needs what; the policy; the findings;
what could not be read. Each SNAPSHOT is a snapshot (lkm list --format json), a tape, or demo:NAME; of a DIR
all files that end in .json or .tape are read. Without one it is this machine, or that of --tape or --root,
with its files, signatures and policy. What cannot be read costs itself: the page says why. Exits 2 when a
file that is named could not be read, or no file at all.`,
		Example: `  lkm report -o machine.html --tape demo:synthetic-debian-root  # one machine
  lkm report -o fleet.html old.json new.json        # several, one line each`,
		RunE: func(c *cobra.Command, args []string) error { return a.runReport(c.Context(), args, out) },
	}
	a.commonFlags(c)
	c.Flags().Lookup("format").Hidden = true
	c.Flags().Lookup("fields").Hidden = true
	c.Flags().StringVarP(&out, "output", "o", "", "write the page to `FILE`; - is standard output")
	return c
}

func (a *app) runReport(ctx context.Context, args []string, out string) error {
	switch {
	case a.flags.format != "table" || len(a.flags.fields) > 0:
		return errors.New("--format and --fields do not go with report")
	case out == "":
		return errors.New("report needs a file to write the page to: -o FILE.html, or -o - for standard output")
	}
	page := report.New()
	var incomplete []error
	add := func(s *lkm.Snapshot) {
		page.Add(s)
		incomplete = append(incomplete, a.notListed(s), s.Err())
	}
	names, closed := reportFiles(args)
	switch {
	case len(args) == 0:
		s, err := a.oneSnapshot(ctx, reportDetails)
		if err != nil {
			return err
		}
		add(s)
	case len(names)+len(closed) == 0:
		return fmt.Errorf("no file in %s ends in .json or .tape", strings.Join(args, ", "))
	case a.flags.detail == "":
		a.flags.detail = reportDetails.String() // of a tape that comes with lkm, and of "live"
	}
	reads := func(yield func(hostRead) bool) {
		for _, h := range closed {
			if !yield(h) {
				return
			}
		}
		readListed(ctx, names, args)(yield)
	}
	lost, named := a.addListed(ctx, page, reads, args, add)
	incomplete = append(incomplete, lost...)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.deliverPage(page, out); err != nil {
		return err
	}
	if named || len(args) > 0 && len(lost) == len(names) { // the page says why, and so did stderr
		return exit(exitFatal)
	}
	return a.strictly(errors.Join(incomplete...))
}

// addListed adds the snapshots of the files, and returns why some could not be read, which the page and stderr say.
// named is whether an argument names one of them.
func (a *app) addListed(
	ctx context.Context, page *report.Report, reads iter.Seq[hostRead], args []string, add func(*lkm.Snapshot),
) (lost []error, named bool) {
	isArg := setOf(args)
	for h := range reads {
		if h.snapshot == nil && h.err == nil { // named by an argument: in its turn
			h.snapshot, h.err = a.snapshot(ctx, h.name)
		}
		if h.err != nil {
			a.note(h.err)
			page.Failed(hostOfFile(h.name), h.err)
			lost, named = append(lost, h.err), named || isArg[h.name]
			continue
		}
		h.snapshot.Host = cmp.Or(h.snapshot.Host, a.flags.host, hostOfFile(h.name))
		add(h.snapshot)
	}
	return lost, named
}

func (a *app) deliverPage(page *report.Report, out string) error {
	var text bytes.Buffer
	if err := page.Write(&text); err != nil {
		return err
	}
	return a.deliver(out, text.Bytes())
}

// A hostRead is what was read of one host.
type hostRead struct {
	name     string
	snapshot *lkm.Snapshot
	err      error
}

// readListed reads the files that a folder lists, several at once, in the order of names. It gives nothing for those
// that args name: one of them may be standard input, a pipe or a machine.
func readListed(ctx context.Context, names, args []string) iter.Seq[hostRead] {
	isArg := setOf(args)
	return parallel.Ordered(ctx, min(runtime.GOMAXPROCS(0), maxReaders), len(names), func() func(int) hostRead {
		return func(i int) hostRead {
			h := hostRead{name: names[i]}
			if !isArg[names[i]] {
				h.snapshot, h.err = readSnapshot(ctx, names[i])
			}
			return h
		}
	})
}

// setOf returns the texts as a set.
func setOf(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, s := range texts {
		set[s] = true
	}
	return set
}

// maxReaders bounds how many snapshots wait in memory for their turn.
const maxReaders = 4

// readSnapshot reads a regular file: a snapshot, or a tape.
func readSnapshot(ctx context.Context, name string) (*lkm.Snapshot, error) {
	if err := notLonger(name, maxRecord); err != nil {
		return nil, err
	}
	f, err := regular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, t, err := readRecord(name, f)
	if s != nil || err != nil {
		return s, err
	}
	return replayed(ctx, name, t)
}

// reportFiles puts in the place of each directory its snapshots and tapes. closed are the directories that could not be
// listed.
func reportFiles(args []string) (names []string, closed []hostRead) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			names = append(names, arg) // a missing one gives an error when it is read
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			closed = append(closed, hostRead{name: arg, err: err})
		}
		for _, e := range entries {
			if slices.Contains([]string{".json", ".tape"}, filepath.Ext(e.Name())) && !e.IsDir() {
				names = append(names, filepath.Join(arg, e.Name()))
			}
		}
	}
	return names, closed
}
