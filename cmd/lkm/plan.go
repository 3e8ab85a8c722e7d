// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) plan() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan NAME|ALIAS...",
		Short: "Show what loading a module would do, in order (modprobe -n -v --show-depends)",
		Long: `Show what the system's own loader would do for each name or alias if nothing were loaded yet: the
files it would load in their order, with their parameters, and the commands that its configuration runs
instead. Nothing is loaded and no command is run.`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.onSystem(a.runPlan),
	}
	a.commonFlags(c)
	return c
}

// A planned is a query with what loading it would do.
type planned struct {
	Query string     `json:"query"`
	Steps []lkm.Step `json:"steps"`
	// Blacklisted says why an alias loads nothing; empty otherwise.
	Blacklisted string `json:"blacklisted,omitzero"`
}

func (a *app) runPlan(ctx context.Context, sys *lkm.System, queries []string) error {
	t := &table{head: []string{"QUERY", "STEP", "DOES", "MODULE", "WHAT", "WHY"}, right: []bool{false, true}}
	answers := make([]planned, 0, len(queries))
	var failed []error
	for _, query := range queries {
		p := planned{Query: query, Steps: []lkm.Step{}}
		steps, err := sys.LoadPlan(ctx, query)
		switch {
		case errors.Is(err, lkm.ErrBlacklisted):
			p.Blacklisted = oneLine(err)
			t.rows = append(t.rows, []string{query, "0", "nothing", none, none, p.Blacklisted})
		case err != nil:
			failed = append(failed, err)
			continue
		case steps != nil:
			p.Steps = steps
		}
		answers = append(answers, p)
		if modules, err := sys.Resolve(ctx, query); err == nil && len(p.Steps) > 0 {
			a.sayTwo(query, modules)
		}
		for i := range p.Steps {
			t.rows = append(t.rows, stepRow(query, i+1, &p.Steps[i]))
		}
	}
	if a.flags.format != "table" || len(t.rows) > 0 {
		if err := writeRows(a, t, answers); err != nil {
			return err
		}
	}
	for _, err := range failed {
		fmt.Fprintln(a.stderr, escape.Text(oneLine(err)))
	}
	if failed != nil {
		return exit(exitFatal)
	}
	return nil
}

// stepRow is one step of a plan as a row.
func stepRow(query string, number int, s *lkm.Step) []string {
	does, what := "load", strings.TrimSpace(s.Path+" "+s.Params)
	switch {
	case s.Builtin:
		does, what = "builtin", none
	case s.Command != "":
		does, what = "run", s.Command
	}
	_, name, _ := strings.Cut(s.Module, ":")
	why := s.Reason
	if s.Optional {
		why += ", optional"
	}
	return []string{query, strconv.Itoa(number), does, name, what, why}
}
