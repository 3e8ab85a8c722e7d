// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Headed reports a text whose tool prints a header, and that has none: rows may have been taken out with it. A source
// that is partial already needs no second reason.
func Headed(r *fact.Report, source string, headed bool) {
	if headed || r.Count(source) > 0 {
		return
	}
	r.Add(fact.Problem{Source: source, Field: "modules", Code: fact.CodeOther,
		Text: "the text has no header: nothing shows that it is the whole list"})
}

// harmlessFilters are commands behind a pipe that leave no row out.
var harmlessFilters = [...]string{"sort", "tee", "cat", "column", "less", "more", "iconv", "nl", "clip", "clip.exe",
	"pbcopy", "xclip", "sort-object", "tee-object", "ft", "fl", "format-table", "format-list", "format-wide",
	"out-file", "out-string", "out-host", "out-default", "out-gridview", "convertto-json", "convertto-csv",
	"convertto-xml", "convertto-html", "export-csv", "export-clixml", "set-clipboard", "select", "select-object"}

// rowOptions are options of the harmless commands that leave rows out nevertheless.
var rowOptions = [...]string{"-first", "-last", "-skip", "-index", "-unique", "-u", "--unique"}

// Filters returns what in a command may leave rows out: a filter behind a pipe, or one of the options; empty if nothing
// does. A command that is not known may.
func Filters(command string, options []string) string {
	stages := strings.Split(command, "|")
	for _, stage := range stages[1:] {
		words := strings.Fields(strings.ToLower(stage))
		if len(words) == 0 {
			continue
		}
		if !slices.Contains(harmlessFilters[:], words[0]) {
			return "| " + words[0]
		}
		for _, w := range words[1:] {
			if slices.Contains(rowOptions[:], w) {
				return "| " + words[0] + " " + w
			}
		}
	}
	for _, w := range strings.Fields(stages[0]) {
		if slices.Contains(options, w) {
			return w
		}
	}
	return ""
}

// Part returns why a text can be but a part of what a tool printed: it shows a command that leaves rows out, or an
// ellipsis. tools are the commands of the form, options those of their options that choose rows.
func Part(text string, tools, options []string) error {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if elision(line) {
			return fmt.Errorf("line %d, %.20q: the text leaves lines out", n, line)
		}
		command, prompt := Prompt(line)
		if !prompt {
			command = line
		}
		if !runs(command, prompt, tools) {
			continue
		}
		if what := Filters(command, options); what != "" {
			return fmt.Errorf("line %d, %.60q: the command leaves rows out", n, what)
		}
	}
	return nil
}

// elision reports whether a line stands for lines that were left out, or for a page that was not turned.
func elision(line string) bool {
	switch strings.Trim(strings.ToLower(line), "[]<>()#/* ") {
	case "...", "....", ".....", "…", "……", "snip", "snipped", "...snip...", "... snip ...", "truncated", "cut",
		"--more--", "-- more  --", "-- more --", ":", "omitted", "output omitted":
		return line != ""
	}
	return strings.HasPrefix(line, "--More--") || strings.HasPrefix(line, "-- More")
}

// runs reports whether a line is a command of one of the tools. Without a prompt it has to begin with it, perhaps
// behind sudo, and pipe into another.
func runs(command string, prompt bool, tools []string) bool {
	first, _, _ := strings.Cut(command, "|")
	words := strings.Fields(first)
	if !prompt && !strings.Contains(command, "|") {
		return false
	}
	if len(words) > 0 && words[0] == "sudo" {
		words = words[1:]
	}
	if !prompt && len(words) > 1 {
		words = words[:1]
	}
	for _, w := range words {
		w = strings.TrimSuffix(strings.ToLower(w), ".exe")
		w = w[strings.LastIndexAny(w, `/\`)+1:]
		if slices.Contains(tools, w) {
			return true
		}
	}
	return false
}

// refusals are what tools print that were not allowed to look, folded.
var refusals = [...]string{"mac policy error", "access is denied", "access denied", "permission denied",
	"operation not permitted", "a password is required", "a terminal is required to", "is not in the sudoers file",
	"not allowed to execute", "0x80070005", "0x80041003", "must be run as root", "requires elevation",
	"administrator privileges", "run as administrator", "elevated command prompt"}

// Refusal returns the line of a text that says that its tool was not allowed to look; nil if there is none. The error
// satisfies fs.ErrPermission.
func Refusal(text string) error {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if strings.Contains(line, "Capabilities: <access denied>") { // lspci -v of a user: nothing about modules
			continue
		}
		folded := strings.ToLower(line)
		for _, words := range refusals {
			if strings.Contains(folded, words) {
				return fmt.Errorf("line %d says that the tool was not allowed to look, %.80q: %w", n,
					strings.TrimSpace(line), fs.ErrPermission)
			}
		}
	}
	return nil
}
