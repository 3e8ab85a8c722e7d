// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
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

// Anchored reports that a text with a header shows some rows only, if it lacks a row that every list has.
func Anchored(r *fact.Report, source string, anchored bool, row string) {
	if anchored || r.Count(source) > 0 {
		return
	}
	r.Add(fact.Problem{Source: source, Field: "modules", Code: fact.CodeOther,
		Text: "the text has no row of " + row + " and one more, as every list has: it shows some modules only"})
}

// Part returns why a text can be but a part of what a tool printed: it shows a command that leaves rows out, or an
// ellipsis. tools are the commands of the form, options those of their options that choose rows.
func Part(text string, tools, options []string) error {
	return part(text, tools, options, true)
}

// LeavesOut is Part without the errors of the tool itself: those may be about other items than the text lists.
func LeavesOut(text string, tools, options []string) error {
	return part(text, tools, options, false)
}

func part(text string, tools, options []string, errors bool) error {
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
		if what := chooses(command, prompt); what != "" {
			return fmt.Errorf("line %d, %.60q: the query leaves rows out", n, what)
		}
		if errors && failed(line, tools) {
			return fmt.Errorf("line %d, %.80q: the tool reports an error: it may not have listed all", n, line)
		}
		if shellFailed(line) {
			return fmt.Errorf("line %d, %.80q: the shell reports an error: the tool may not have run", n, line)
		}
		if what := Filters(command, prompt, tools, options); what != "" {
			return fmt.Errorf("line %d, %.60q: the command leaves rows out", n, what)
		}
	}
	return nil
}

// The lines that stand for others that are not there.
var (
	// pagePattern matches the prompt of a pager, in any language: cmd's "-- Fortsetzung --", less's "lines 1-23/120",
	// PowerShell's "<SPACE> next page".
	pagePattern = lazy.Regexp{Pattern: `(?i)^(?:--\s*\pL[^|:=]{0,30}?\s*--.{0,12}|lines \d+-\d+(?:/\d+)?.{0,12}|` +
		`\(end\)|<space> next page.*|<press .*>|press any key .*|standard input|manual page .* line \d+.*)$`}
	// lossPattern matches what people and tools write where they left lines out.
	lossPattern = lazy.Regexp{Pattern: `(?i)^\W*(?:\.{3}|…)?\W*(?:(?:and|plus) )?(?:\d[\d,.]* )?(?:[\pL-]+ ){0,4}` +
		`(?:omitted|truncated|snipped|snip|skipped|elided|removed|trimmed|abbreviated|shortened|clipped|redacted|cut)` +
		`(?: [\pL-]+){0,4}\W*$`}
	// morePattern matches a count of what is left.
	morePattern = lazy.Regexp{Pattern: `(?i)^\W*(?:(?:and|plus|\+) ?)?\d[\d,.]* ` +
		`(?:more|other|further|additional|remaining)(?: [\pL-]+){0,3}\W*$`}
	// brokenPattern matches what a shell or a terminal says of a command that did not come to its end.
	brokenPattern = lazy.Regexp{Pattern: `(?i)^(?:\^[CZ\\].*|killed|terminated|aborted|interrupt(?:ed)?|` +
		`.*broken pipe|.*write error.*|.*connection (?:to \S+ )?(?:closed|reset|lost).*|.*client_loop: .*|` +
		`\[?(?:etc\.?|and so on|to be continued|usw\.?|等等?|以下省略|中略|省略)[\])]?)$`}
	// watchPattern matches the head of watch(1), which shows a screen of what its command prints.
	watchPattern = lazy.Regexp{Pattern: `^Every \d+[.,]\d+s: `}
)

// elision reports whether a line stands for lines that were left out, for a page that was not turned, or for the end of
// a command that did not come to its own.
func elision(line string) bool {
	word := strings.Trim(strings.ToLower(line), "[]<>()#/*{}~-=_ \t")
	if dots := strings.Join(strings.Fields(word), ""); dots != "" && strings.Trim(dots, ".…⋯⋮︙·•。・") == "" {
		return true
	}
	switch word {
	case ":":
		return line == ":"
	case "snip", "snipped", "truncated", "cut",
		"more", "omitted", "output omitted":
		return line != ""
	}
	if line == "" || len(line) > 160 {
		return false
	}
	return strings.HasPrefix(line, "--More--") || strings.HasPrefix(line, "-- More") ||
		brokenPattern.MatchString(line) || watchPattern.MatchString(line) || pagePattern.MatchString(line) ||
		!strings.ContainsAny(line, ":=\t|\\") && (lossPattern.MatchString(line) || morePattern.MatchString(line))
}

// clauses are words of SQL that leave rows out.
var clauses = [...]string{"where", "limit", "having", "distinct", "except", "intersect", "join", "group"}

// chooses returns the word of an SQL query that leaves rows out; empty for any other line. A shell such as osquery's or
// sqlite3's shows the query at its prompt, perhaps over several lines ("...> where").
func chooses(command string, prompt bool) string {
	words := strings.Fields(strings.ToLower(command))
	if len(words) < 2 {
		return ""
	}
	query := words[0] == "select" && slices.Contains(words, "from")
	if !query && (!prompt || !slices.Contains(clauses[:], words[0])) {
		return ""
	}
	for _, w := range words {
		if slices.Contains(clauses[:], strings.TrimRight(w, "(;")) {
			return w
		}
	}
	return ""
}

// serviceControlError matches what sc prints of a call that failed, in any language.
var serviceControlError = lazy.Regexp{Pattern: `^\[SC\] (?:Enum|Query|Get|OpenS)\w+(?::\w+)? \pL+ \d+:`}

// failed reports whether a line is an error of one of the tools: its name, a colon, and a message that is no warning.
// A module that was unloaded while kldstat listed its file is only missing in that file's row.
func failed(line string, tools []string) bool {
	name, message, ok := strings.Cut(line, ": ")
	if !ok || strings.ContainsAny(name, " \t") {
		return slices.Contains(tools, "sc") && serviceControlError.MatchString(line)
	}
	name = strings.ToLower(name[strings.LastIndexAny(name, `/\`)+1:])
	message = strings.TrimSpace(strings.ToLower(message))
	return message != "" && slices.Contains(tools, name) && !strings.HasPrefix(message, "warning") &&
		!strings.HasPrefix(message, "can't stat module")
}

// refusals are what tools print that were not allowed to look, folded.
var refusals = [...]string{"mac policy error", "access is denied", "access denied", "permission denied",
	"operation not permitted", "a password is required", "a terminal is required to", "is not in the sudoers file",
	"not allowed to execute", "0x80070005", "0x80041003", "must be run as root", "requires elevation",
	"administrator privileges", "run as administrator", "elevated command prompt"}

// Refusal returns the line of a text that says that its tool was not allowed to look; nil if no line does. The error
// matches fs.ErrPermission.
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
