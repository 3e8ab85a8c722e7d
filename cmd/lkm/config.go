// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) config() *cobra.Command {
	lint := false
	c := &cobra.Command{
		Use:   "config",
		Short: "Show modprobe's effective configuration, or the lines of it that do nothing",
		Long: `Show modprobe's configuration as it takes effect, each line with its file (modprobe -c). With --lint show
the lines that do nothing for any kernel of the machine, or for the one that --kernel names, each with the reason:
a line that an earlier one overrides, a file that another of its name masks, a name that no module has, a pattern
where modprobe compares whole names, a dash where the kernel wants an underscore.

Exit code 1: --lint found a line.`,
		Args: cobra.NoArgs,
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, _ []string) error {
			read := sys.Config
			if lint {
				read = sys.Lint
			}
			cfg, err := read(ctx)
			if err != nil {
				return err
			}
			return a.writeConfig(cfg, lint)
		}),
	}
	c.Flags().BoolVar(&lint, "lint", false, "show the lines that do nothing, and why; exit 1 if any")
	a.commonFlags(c)
	return c
}

func (a *app) writeConfig(cfg *lkm.Config, lint bool) error {
	var err error
	switch {
	case a.flags.format == "json":
		err = writeJSON(a.stdout, cfg, "  ")
	case lint:
		t := &table{head: []string{"WHERE", "LINE", "WHY"}}
		for _, l := range cfg.Idle {
			t.rows = append(t.rows, []string{place(l.File, l.Line), orNone(l.Text), whyIdle(l.Reason)})
		}
		if a.flags.format != "table" || len(t.rows) > 0 {
			err = writeRows(a, t, cfg.Idle)
		}
	default:
		t := &table{head: []string{"DIRECTIVE", "NAME", "VALUE", "WHERE"}}
		for _, s := range cfg.Settings {
			t.rows = append(t.rows, []string{s.Directive, s.Name, orNone(s.Value), place(s.File, s.Line)})
		}
		err = writeRows(a, t, cfg.Settings)
	}
	if err != nil {
		return err
	}
	if a.flags.format == "table" {
		fmt.Fprintf(a.stdout, "lines: %d, files: %d", len(cfg.Settings), len(cfg.Files))
		if lint {
			fmt.Fprintf(a.stdout, ", idle: %d", len(cfg.Idle))
		}
		if len(cfg.Problems) > 0 {
			fmt.Fprintf(a.stdout, "; %d not read (--strict says which)", len(cfg.Problems))
		}
		fmt.Fprintln(a.stdout)
	}
	if lint && len(cfg.Idle) > 0 {
		return exit(exitFindings)
	}
	return a.strictly(cfg.Err())
}

// place is a file with its line, as compilers write it.
func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return file + ":" + strconv.Itoa(line)
}

// whyIdle is the reason of a line that does nothing, with the line that counts instead.
func whyIdle(r lkm.Reason) string {
	if r.File == "" {
		return r.Text
	}
	return r.Text + " (" + place(r.File, r.Line) + ")"
}
