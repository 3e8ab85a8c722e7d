// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

// thisMachine is how diff names the running machine.
const thisMachine = "live"

func (a *app) diff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what changed between two looks at a machine",
		Long: `Show what changed from OLD to NEW. Each is a snapshot (lkm list --format json), a tape, demo:NAME for
a tape that comes with lkm, "-" for standard input, or "live" for this machine as it is now.
Reference counts, users, addresses and parameter values do not count. What could no longer be seen,
because a source could not be read any more, is listed separately and is not a change. What only one
has, because it was taken with more details, counts as changed: a line on stderr says so. So does one if
a list is not whole, as of a filter or a text that was cut: what is added may have been there before.

Exits 1 when something was added, removed or changed.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return a.runDiff(c.Context(), args[0], args[1]) },
	}
	a.formatFlags(c)
	c.Flags().StringVar(&a.flags.detail, "detail", "",
		"with live: also read files,hashes,signatures,parameters,addresses,symbols,policy or all")
	return c
}

func (a *app) runDiff(ctx context.Context, oldName, newName string) error {
	if err := a.checkTabular(); err != nil {
		return err
	}
	old, err := a.snapshot(ctx, oldName)
	if err != nil {
		return err
	}
	new, err := a.snapshot(ctx, newName)
	if err != nil {
		return err
	}
	if old.OS != new.OS {
		return fmt.Errorf("%s is of %s, %s of %s", oldName, old.OS, newName, new.OS)
	}
	if old.Detail != new.Detail {
		a.note(fmt.Errorf("%s was read %s, %s %s: what only one has counts as changed",
			oldName, withDetail(old.Detail), newName, withDetail(new.Detail)))
	}
	a.noteCut(oldName, old)
	a.noteCut(newName, new)
	d := lkm.Diff(old, new)
	if err := a.writeDelta(d); err != nil {
		return err
	}
	if len(d.Added)+len(d.Removed)+len(d.Changed) > 0 {
		return exit(exitFindings)
	}
	return nil
}

// noteCut prints that a list is known not to be whole: what is added or not there may have been, or be, there.
func (a *app) noteCut(name string, s *lkm.Snapshot) {
	for _, p := range s.Problems {
		if p.Field == "modules" && p.Code != lkm.CodeUnsupported {
			a.note(fmt.Errorf("%s: the list of modules is not whole: %w", name, p))
			return
		}
	}
}

// withDetail says which details a snapshot has.
func withDetail(d lkm.Detail) string {
	if d == 0 {
		return "without details"
	}
	return "with details " + d.String()
}

// snapshot reads a snapshot or a tape, or looks at this machine.
func (a *app) snapshot(ctx context.Context, name string) (*lkm.Snapshot, error) {
	if name == thisMachine {
		sys, err := a.open(0)
		if err != nil {
			return nil, err
		}
		defer sys.Close()
		return snapshotOf(ctx, name, sys)
	}
	if strings.HasPrefix(name, "demo:") {
		return a.demo(ctx, name)
	}
	s, t, err := a.readRecord(name)
	if s != nil || err != nil {
		return s, err
	}
	return replayed(ctx, name, t)
}

// demo is the snapshot of a tape that comes with lkm, with the details that the flags ask for. Those that name the
// machine of the command are not about it.
func (a *app) demo(ctx context.Context, name string) (*lkm.Snapshot, error) {
	t, err := a.openTape(name)
	if err != nil {
		return nil, err
	}
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.HostRoot, o.OS, o.Kernel = "", "", ""
	sys, err := replay(t, o)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	return snapshotOf(ctx, name, sys)
}

// replayed is the snapshot of a tape, with the details that it was recorded with.
func replayed(ctx context.Context, name string, t *tape.Tape) (*lkm.Snapshot, error) {
	detail, err := lkm.ParseDetail(t.Header().Detail)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	sys, err := replay(t, lkm.Options{Detail: detail})
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	return snapshotOf(ctx, name, sys)
}

// snapshotOf takes a Snapshot; an error names what the argument is.
func snapshotOf(ctx context.Context, name string, sys *lkm.System) (*lkm.Snapshot, error) {
	s, err := sys.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (a *app) writeDelta(d *lkm.Delta) error {
	if a.flags.format == "json" {
		return writeJSON(a.stdout, d, "  ")
	}
	type row struct {
		Change string   `json:"change"`
		ID     string   `json:"id"`
		Fields []string `json:"fields,omitzero"`
	}
	var rows []row
	for i := range d.Added {
		rows = append(rows, row{"added", d.Added[i].ID, nil})
	}
	for i := range d.Removed {
		rows = append(rows, row{"removed", d.Removed[i].ID, nil})
	}
	for _, c := range d.Changed {
		rows = append(rows, row{"changed", c.ID, c.Fields})
	}
	for _, c := range d.Unobserved {
		rows = append(rows, row{"unobserved", c.ID, c.Fields})
	}
	t := &table{head: []string{"CHANGE", "MODULE", "FIELDS"}}
	for _, r := range rows {
		t.rows = append(t.rows, []string{r.Change, r.ID, strings.Join(r.Fields, ",")})
	}
	if a.flags.format != "table" {
		return writeRows(a, t, rows)
	}
	if len(rows) > 0 {
		a.print(t)
	}
	fmt.Fprintf(a.stdout, "%d added · %d removed · %d changed · %d unobserved\n", len(d.Added), len(d.Removed),
		len(d.Changed), len(d.Unobserved))
	return nil
}
