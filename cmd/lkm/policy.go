// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

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
			return a.strictly(p.Err())
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
		a.writeText(a.paint(boldStyle, "Can new code enter this kernel?")+"  ", 33, loadingText(p))
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

// writeFacts prints one fact a line; several of one source that are unknown for one reason share it.
func (a *app) writeFacts(p *lkm.Policy) {
	type row struct{ name, value, rest string }
	var rows []row
	width, valueWidth, hidden := 0, 0, 0
	for i := 0; i < len(p.Facts); {
		f, next := p.Facts[i], i+1
		for f.Code != "" && next < len(p.Facts) && alike(f, p.Facts[next]) {
			next++
		}
		name := f.Name
		if n := next - i; n > 1 {
			name += fmt.Sprintf(" and %d more", n-1)
		}
		if !a.flags.verbose && unremarkable(f) {
			hidden += next - i
			i = next
			continue
		}
		i = next
		r := row{name, factValue(f), strings.TrimSpace(factPlace(f) + "  " + f.Effect)}
		rows = append(rows, r)
		width = max(width, len(r.name))
		if len(r.value) <= maxFactValue {
			valueWidth = max(valueWidth, len(r.value))
		}
	}
	for _, r := range rows {
		a.writeFact(r.name, r.value, r.rest, width, valueWidth)
	}
	if hidden > 0 {
		fmt.Fprintf(a.stdout, "%s: --verbose\n", countText(hidden, "more fact", "more facts"))
	}
}

// roomForRest is how many columns the consequence of a fact needs to be printed beside it; with fewer it is printed
// below.
const roomForRest = 50

// maxFactValue is how wide the column of the values is at most. What follows from a longer value is printed below it.
const maxFactValue = 20

// writeFact prints one fact: its name, its value, and where it is from with what follows.
func (a *app) writeFact(name, value, rest string, width, valueWidth int) {
	name, value, rest = fmt.Sprintf("  %-*s  ", width, escape.Text(name)), escape.Text(value), escape.Text(rest)
	at, style := utf8.RuneCountInString(name), cellStyle("VALUE", value)
	indent, blanks := at+valueWidth+2, valueWidth-utf8.RuneCountInString(value)
	beside := a.out.width == 0 || a.out.width-indent >= max(roomForRest, longestWord(rest))
	if beside && (blanks >= 0 || a.out.width == 0) {
		a.writeText(name+a.paint(style, value)+strings.Repeat(" ", max(blanks, 0)+2), indent, rest)
		return
	}
	room := max(a.out.width-at, wrapWidth)
	lines := words(value, room)
	if longestWord(value) > room && strings.Contains(value, ",") {
		lines = wrap(value, room)
	}
	fmt.Fprintln(a.stdout, name+a.paint(style, lines[0]))
	for _, line := range lines[1:] {
		a.writeText(strings.Repeat(" ", at), at, line)
	}
	if !beside {
		indent = 6
	}
	if rest != "" {
		a.writeText(strings.Repeat(" ", indent), indent, rest)
	}
}

// alike reports whether two facts of one source are unknown for one reason.
func alike(f, g lkm.PolicyFact) bool {
	return f.Source == g.Source && f.File == g.File && f.Code == g.Code && f.Effect == g.Effect
}

// isDetail reports whether an option of the kernel's configuration matters only beside others.
func isDetail(option string) bool {
	switch option {
	case "CONFIG_MODULE_SIG_ALL", "CONFIG_MODULE_SIG_HASH", "CONFIG_MODULE_FORCE_LOAD", "CONFIG_MODULE_UNLOAD",
		"CONFIG_MODPROBE_PATH", "CONFIG_SECURITY_LOCKDOWN_LSM", "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY", "CONFIG_LSM":
		return true
	}
	return false
}

// unremarkable is a fact that says nothing of interest by itself: an option of the kernel's
// configuration that is off, a key of the command line that is not set, a thing that is not there.
func unremarkable(f lkm.PolicyFact) bool {
	isConfig := strings.HasPrefix(f.Name, "CONFIG_") && f.Name != "CONFIG_MODULES"
	switch {
	case f.Code == lkm.CodeAbsent && !isUnknown(f):
		return isConfig || strings.HasPrefix(f.Name, ".") || f.Name == "mok_sb_state" || f.Name == "mok_list_trusted" ||
			f.Name == "setup_mode"
	case f.Code != "":
		return isConfig || strings.HasPrefix(f.Name, ".") && f.Name != ".builtin_trusted_keys"
	}
	return isConfig && (f.Value == "n" || f.Value == "" || isDetail(f.Name)) ||
		f.Unset && f.Name != "module_blacklist"
}

// isUnknown distinguishes a fact that could not be read from a thing that is known to be missing.
func isUnknown(f lkm.PolicyFact) bool {
	return f.Code != "" && (f.Code != lkm.CodeAbsent || f.Unknown)
}

// unknownValue is the value of a fact that could not be read.
const unknownValue = "unknown"

func factValue(f lkm.PolicyFact) string {
	switch {
	case isUnknown(f) && f.Value != "": // what follows from it is not known
		return f.Value
	case isUnknown(f) && f.Code != lkm.CodeAbsent:
		return unknownValue + " (" + string(f.Code) + ")"
	case isUnknown(f):
		return unknownValue
	case f.Code != "":
		return "absent"
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
