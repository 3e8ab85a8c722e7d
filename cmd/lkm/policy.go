// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show what the system enforces on the loading of kernel code",
		Long: `Show what the system enforces on the loading of kernel code: each setting with what follows from it
and the file it was read from, or why it is not known. Of an image it is what is certain of the next boot.`,
		Args: cobra.NoArgs,
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, _ []string) error {
			p, err := sys.Policy(ctx)
			if err != nil {
				return err
			}
			if err := a.writePolicy(p); err != nil {
				return err
			}
			return a.strictly(lkm.PolicyErr(p))
		}),
	}
	a.commonFlags(c)
	return c
}

func (a *app) writePolicy(p *lkm.Policy) error {
	switch a.flags.format {
	case "json":
		return writeJSON(a.stdout, p, "  ")
	case "table":
		fmt.Fprintln(a.stdout, "Can new code enter this kernel?  "+loadingText(p))
		a.writeFacts(p)
		return nil
	}
	t := &table{head: []string{"FACT", "VALUE", "EFFECT", "WHERE"}}
	for _, f := range p.Facts {
		t.rows = append(t.rows, []string{f.Name, factValue(f), f.Effect, factPlace(f)})
	}
	return writeRows(a, t, p.Facts)
}

// loadingText is the conclusion in words.
func loadingText(p *lkm.Policy) string {
	switch p.Loading {
	case lkm.LoadingAny:
		return "YES: root may load unsigned modules"
	case lkm.LoadingSigned:
		return "ONLY SIGNED: by a key that the kernel trusts"
	case lkm.LoadingNone:
		return "NO: not before the next boot, or not at all"
	}
	return "UNKNOWN: a setting that decides it could not be read"
}

// writeFacts prints one fact a line, and what could not be known of a source in one line.
func (a *app) writeFacts(p *lkm.Policy) {
	var rows [][2]string
	width, valueWidth := 0, 0
	for _, f := range p.Facts {
		if !a.flags.verbose && unremarkable(f) {
			continue
		}
		rows = append(rows, [2]string{f.Name, factValue(f)})
		width, valueWidth = max(width, len(f.Name)), max(valueWidth, min(len(factValue(f)), 16))
	}
	i := 0
	hidden := 0
	for _, f := range p.Facts {
		if !a.flags.verbose && unremarkable(f) {
			hidden++
			continue
		}
		rest := strings.TrimSpace(factPlace(f))
		if f.Effect != "" {
			rest += "  " + f.Effect
		}
		fmt.Fprintf(a.stdout, "  %-*s  %-*s  %s\n", width, escape.Text(rows[i][0]), valueWidth, escape.Text(rows[i][1]), escape.Text(strings.TrimSpace(rest)))
		i++
	}
	if hidden > 0 {
		fmt.Fprintf(a.stdout, "%d more facts: --verbose\n", hidden)
	}
}

// unremarkable is a fact that says nothing of interest by itself: an option of the kernel's
// configuration that is off, a key of the command line that is not set, a thing that is not there.
func unremarkable(f lkm.PolicyFact) bool {
	switch {
	case f.Code == lkm.CodeAbsent:
		return strings.HasPrefix(f.Name, "CONFIG_") && f.Name != "CONFIG_MODULES" || strings.HasPrefix(f.Name, ".") || f.Name == "mok_sb_state" ||
			f.Name == "mok_list_trusted" || f.Name == "setup_mode"
	case f.Code != "":
		return strings.HasPrefix(f.Name, "CONFIG_") && f.Name != "CONFIG_MODULES" || strings.HasPrefix(f.Name, ".") && f.Name != ".builtin_trusted_keys"
	}
	return f.Value == "n" && strings.HasPrefix(f.Name, "CONFIG_") || f.Effect == "not on the command line" && f.Name != "module_blacklist"
}

func factValue(f lkm.PolicyFact) string {
	switch {
	case f.Code != "":
		return "unknown (" + string(f.Code) + ")"
	case f.Value == "":
		return "(not set)"
	}
	return f.Value
}

func factPlace(f lkm.PolicyFact) string {
	if f.Line > 0 {
		return f.File + ":" + strconv.Itoa(f.Line)
	}
	return f.File
}
