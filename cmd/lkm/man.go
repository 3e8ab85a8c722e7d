// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kernelext/kernelext/lkm"
)

// man is the hidden command that writes the manual pages, from what help shows.
func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			pages := manualPages(c.Root())
			for _, p := range pages {
				file := filepath.Join(args[0], pageName(p)+".1")
				if err := os.WriteFile(file, []byte(manualPage(p, pages)), 0o644); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.stdout, "%d pages\n", len(pages))
			return nil
		},
	}
}

// manualPages are the commands that have a page: the root and those below it that people see.
func manualPages(root *cobra.Command) []*cobra.Command {
	pages := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			pages = append(pages, c)
		}
	}
	return pages
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// roff escapes text for a manual page: man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

// manualPage returns the manual page of a command.
func manualPage(c *cobra.Command, pages []*cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH %s 1 "" "lkm %s" "kernelext"`, roff(strings.ToUpper(pageName(c))), lkm.Version)
	line(".SH NAME\n%s \\- %s", roff(pageName(c)), roff(c.Short))
	line(".SH SYNOPSIS")
	if c.HasParent() {
		line(`\fB%s\fR`, roff(strings.TrimSuffix(c.UseLine(), " [flags]")+" [FLAGS]"))
	} else {
		line(`\fB%s\fR`, roff("lkm COMMAND [FLAGS]"))
	}
	line(".SH DESCRIPTION")
	writeProse(line, c.Long, c.Short)
	if !c.HasParent() {
		line(".SH COMMANDS")
		for _, p := range pages[1:] {
			line(".TP\n\\fB%s\\fR(1)\n%s", roff(pageName(p)), roff(p.Short))
		}
	}
	if c.HasAvailableSubCommands() && c.HasParent() {
		line(".SH COMMANDS")
		for _, sub := range c.Commands() {
			line(".TP\n\\fB%s\\fR\n%s", roff(sub.CommandPath()), roff(sub.Short))
		}
	}
	line(".SH OPTIONS")
	c.InitDefaultHelpFlag()
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { writeOption(line, f) })
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) { writeOption(line, f) })
	if c.Example != "" {
		line(".SH EXAMPLES\n.nf")
		for text := range strings.Lines(c.Example) {
			line("%s", roff(strings.TrimPrefix(strings.TrimRight(text, "\n"), "  ")))
		}
		line(".fi")
	}
	line(".SH EXIT STATUS\n0 fine; 1 findings or differences; " +
		"2 wrong usage, a fatal error, or a name that matches nothing;")
	line("3 unknown (check, audit, a block list), or incomplete under \\fB\\-\\-strict\\fR.")
	line(".SH SEE ALSO")
	var others []string
	for _, p := range pages {
		if p != c {
			others = append(others, `\fB`+roff(pageName(p))+`\fR(1)`)
		}
	}
	line("%s", strings.Join(others, ",\n"))
	return b.String()
}

// writeProse writes paragraphs; lines that are indented stay lines.
func writeProse(line func(string, ...any), long, short string) {
	if long == "" {
		long = short + "."
	}
	for i, paragraph := range strings.Split(long, "\n\n") {
		if i > 0 {
			line(".PP")
		}
		fixed := false
		for text := range strings.Lines(paragraph) {
			text = strings.TrimRight(text, "\n")
			if indented := strings.HasPrefix(text, "  "); indented != fixed {
				line("%s", map[bool]string{true: ".nf", false: ".fi"}[indented])
				fixed = indented
			}
			line("%s", roff(text))
		}
		if fixed {
			line(".fi")
		}
	}
}

// writeOption writes a flag as an item of a list.
func writeOption(line func(string, ...any), f *pflag.Flag) {
	if f.Hidden {
		return
	}
	word, usage := pflag.UnquoteUsage(f)
	name := `\fB` + roff("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		name = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + name
	}
	if word != "" {
		name += `=\fI` + roff(strings.ToUpper(word)) + `\fR`
	}
	switch f.DefValue {
	case "", "0", "0s", "false", "[]":
	default:
		usage += " (default " + f.DefValue + ")"
	}
	line(".TP\n%s\n%s", name, roff(usage))
}
