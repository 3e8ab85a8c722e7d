// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// builtinSource is the source that counts what is compiled in.
const builtinSource = linux.SourceBuiltin

func (a *app) sources() *cobra.Command {
	var plan bool
	c := &cobra.Command{
		Use:   "sources",
		Short: "Show what was, or would be, read, and how it went",
		Args:  cobra.NoArgs,
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, _ []string) error {
			if plan {
				return a.writePlan(sys.Sources())
			}
			scope := lkm.ScopeLoaded
			if a.flags.root != "" && !a.flags.live { // an image has only what is installed
				scope = lkm.ScopeInstalled
			}
			snap, err := sys.SnapshotOf(ctx, scope)
			if err != nil {
				return err
			}
			return a.writeSources(snap)
		}),
	}
	c.Flags().BoolVar(&plan, "plan", false, "show what would be read, and what that needs, without reading it")
	a.commonFlags(c)
	return c
}

// checkTabular is checkFormat for a command whose rows are not modules.
func (a *app) checkTabular() error {
	if len(a.flags.fields) > 0 {
		return fmt.Errorf("--fields goes with a list of modules")
	}
	return a.checkFormat()
}

func (a *app) writeSources(snap *lkm.Snapshot) error {
	t := &table{head: []string{"SOURCE", "OUTCOME", "COUNT", "WHY"}, right: []bool{false, false, true}}
	for _, src := range snap.Sources {
		count := none
		if _, ok := src.Count.Get(); ok {
			count = src.Count.String()
		}
		t.rows = append(t.rows, []string{src.Name, string(src.Outcome), count, firstProblem(snap, src)})
	}
	if err := writeRows(a, t, snap.Sources); err != nil {
		return err
	}
	if a.flags.format == "table" && a.flags.verbose {
		a.writeProblems(snap)
	}
	return a.strictly(snap.Err())
}

// firstProblem returns the text of the source's first problem, or its code.
func firstProblem(snap *lkm.Snapshot, src lkm.Source) string {
	for _, p := range snap.Problems {
		if p.Source == src.Name {
			return p.Text
		}
	}
	for i := range snap.Modules {
		for _, p := range snap.Modules[i].Problems {
			if p.Source == src.Name {
				return p.Subject + ": " + p.Text
			}
		}
	}
	return string(src.Code)
}

func (a *app) writePlan(plan []lkm.SourcePlan) error {
	t := &table{head: []string{"SOURCE", "ASKED", "FOR", "READS", "NEEDS"}}
	for _, p := range plan {
		asked := "no"
		if p.Asked {
			asked = "yes"
		}
		t.rows = append(t.rows, []string{p.Source, asked, p.For, strings.Join(p.Reads, " "), orNone(p.Needs)})
	}
	return writeRows(a, t, plan)
}

// writeRows writes rows in the format asked for: those of t, or the values as JSON.
func writeRows[T any](a *app, t *table, values []T) error {
	switch a.flags.format {
	case "json":
		if values == nil {
			values = []T{}
		}
		return writeJSON(a.stdout, values, "  ")
	case "jsonl":
		for _, v := range values {
			if err := writeJSON(a.stdout, v, ""); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		return writeCSV(a.stdout, t)
	case "markdown":
		t.markdown(a.stdout)
	default:
		a.print(t)
	}
	return nil
}
