// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) discrepancies() *cobra.Command {
	c := &cobra.Command{
		Use:   "discrepancies",
		Short: "Compare what the kernel's sources say with each other and with the disk",
		Long: `Compare what the kernel's sources say of its modules with each other and with the disk. Every finding
is evidence with a grade: transient, weak (has harmless explanations) or strong (three looks agree,
nothing moved meanwhile). None found does not mean that there is none. Exit code 1 when a finding is
above transient.`,
		Args: cobra.NoArgs,
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, _ []string) error {
			found, err := sys.Discrepancies(ctx)
			if err != nil {
				return err
			}
			if err := a.writeDiscrepancies(found); err != nil {
				return err
			}
			return a.discrepancyExit(found)
		}),
	}
	a.commonFlags(c)
	return c
}

// discrepancyExit is 1 for a finding above transient; under --strict 3 for a view that could not be
// compared though this machine has it.
func (a *app) discrepancyExit(found []lkm.Discrepancy) error {
	var incomplete []error
	for i := range found {
		if found[i].Grade != lkm.GradeTransient {
			return exit(exitFindings)
		}
		if found[i].Kind != linux.KindUnchecked {
			continue
		}
		for _, e := range found[i].Evidence {
			if code := lkm.Code(e.Fact); code != lkm.CodeUnsupported {
				incomplete = append(incomplete, lkm.Problem{Source: e.Source, Code: code, Text: e.Value})
			}
		}
	}
	return a.strictly(errors.Join(incomplete...))
}

func (a *app) writeDiscrepancies(found []lkm.Discrepancy) error {
	if a.flags.format != "table" {
		t := &table{head: []string{"GRADE", "KIND", "NAME", "VIEWS", "EVIDENCE", "SAMPLES"}}
		for _, d := range found {
			t.rows = append(t.rows, []string{string(d.Grade), d.Kind, d.Name, viewsText(d.Views), factsText(d.Evidence), fmt.Sprint(d.Samples)})
		}
		return writeRows(a, t, found)
	}
	counts := make(map[lkm.Grade]int)
	findings := 0
	for _, d := range found {
		if d.Kind == linux.KindUnchecked {
			continue
		}
		findings++
		counts[d.Grade]++
		line := fmt.Sprintf("%-9s  %s  %s", strings.ToUpper(string(d.Grade)), d.Kind, d.Name)
		if views := viewsText(d.Views); views != "" {
			line += "  " + views
		}
		if d.Samples > 1 {
			line += fmt.Sprintf("  (%d looks)", d.Samples)
		}
		fmt.Fprintln(a.stdout, escape.Text(line))
		if len(d.Evidence) > 0 {
			fmt.Fprintln(a.stdout, "           "+escape.Text(factsText(d.Evidence)))
		}
	}
	for _, d := range found {
		if d.Kind == linux.KindUnchecked {
			for _, e := range d.Evidence {
				fmt.Fprintf(a.stdout, "NOT CHECKED %s: %s\n", escape.Text(e.Source), escape.Text(e.Value))
			}
		}
	}
	fmt.Fprintf(a.stdout, "%d findings: %d strong, %d weak, %d transient. None found would not mean none.\n",
		findings, counts[lkm.GradeStrong], counts[lkm.GradeWeak], counts[lkm.GradeTransient])
	return nil
}

// viewsText names the views that showed it and those that did not.
func viewsText(views map[string]lkm.View) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(views)) {
		switch views[name] {
		case lkm.ViewSeen:
			parts = append(parts, name+" yes")
		case lkm.ViewMissing:
			parts = append(parts, name+" no")
		}
	}
	return strings.Join(parts, " · ")
}

func factsText(evidence []lkm.Evidence) string {
	parts := make([]string, len(evidence))
	for i, e := range evidence {
		parts[i] = e.Fact + ": " + e.Value
		if e.Source != "" && e.Source != e.Value {
			parts[i] += " (" + e.Source + ")"
		}
	}
	return strings.Join(parts, "; ")
}
