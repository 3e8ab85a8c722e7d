// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) upgrade() *cobra.Command {
	c := &cobra.Command{
		Use:   "upgrade RELEASE",
		Short: "Show what another kernel lacks of what this machine uses",
		Long: `Show what the kernel RELEASE, which is installed, lacks of what this machine uses of the running kernel,
or of the one that --kernel names: what the root file system needs, loaded modules, devices, lists of
modules, modules that do not load there, firmware, parameters, and lines of the configuration that stop
working.

Exit code 1: something in use would be lost. With --strict, 3 when something could not be read.`,
		Args: cobra.ExactArgs(1),
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, args []string) error {
			u, err := sys.Upgrade(ctx, args[0])
			if err != nil {
				return err
			}
			return a.writeUpgrade(u)
		}),
	}
	a.commonFlags(c)
	return c
}

func (a *app) writeUpgrade(u *lkm.Upgrade) error {
	t := &table{head: []string{"GRADE", "MODULE", "WHERE", "WHAT"}}
	for _, c := range u.Changes {
		where := none
		if c.File != "" {
			where = place(c.File, c.Line)
		}
		t.rows = append(t.rows, []string{strings.ToUpper(string(c.Grade)), orNone(c.Module), where, c.Text})
	}
	var err error
	switch {
	case a.flags.format == "json":
		err = writeJSON(a.stdout, u, "  ")
	case a.flags.format != "table" || len(t.rows) > 0:
		err = writeRows(a, t, u.Changes)
	}
	if err != nil {
		return err
	}
	if a.flags.format == "table" {
		if len(u.Changes) == 0 {
			fmt.Fprintln(a.stdout, "nothing that was looked at changes")
		}
		a.writeText("", 2, escape.Text(fmt.Sprintf(
			"%d of %d modules in use are unchanged in %s; of all modules of %s it lacks %d and has %d compiled in",
			u.Same, u.Used, u.To, u.From, len(u.Gone), len(u.NowBuiltin))))
		a.writeText("", 2, bootText(u.Boot))
		for _, p := range u.Problems {
			a.notSeen(strings.TrimSpace(p.Source + " " + p.Text))
		}
	}
	if u.Loses() {
		return exit(exitFindings)
	}
	return a.strictly(u.Err())
}

// bootText says whether what the root file system needs is there.
func bootText(t lkm.Tri) string {
	switch t {
	case lkm.Yes:
		return "root file system: what it needs is there at boot"
	case lkm.No:
		return "root file system: something that it needs is not there at boot"
	}
	return "root file system: whether what it needs is there at boot is not known"
}
