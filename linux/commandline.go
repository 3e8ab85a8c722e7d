// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// A commandLine is a kernel's command line at one boot.
type commandLine struct {
	words []boot.Word
	file  string // its file, with a leading slash
	line  int
	open  []string // variables of the boot loader in it, which may add any word
}

// commandLineOf returns the command line of a boot entry.
func commandLineOf(e boot.Entry) commandLine {
	return commandLine{words: e.Words, file: slash(e.File), line: e.Line, open: e.Unresolved}
}

// reason returns a reason from the command line.
func (l *commandLine) reason(code, text string) fact.Reason {
	return fact.Reason{Code: code, Text: text, File: l.file, Line: l.line}
}

// unsure returns the answer of a step whose outcome the boot loader may change by a word.
func (l *commandLine) unsure(code, text string) fact.Answer {
	r := l.reason(code, text)
	r.Unread = "the boot loader's " + strings.Join(l.open, " ")
	return fact.UnsureOf(r)
}

// isEverSet reports whether a boolean is ever set: a later word does not switch it off again.
func (l *commandLine) isEverSet(key string) bool {
	return slices.ContainsFunc(l.words, func(w boot.Word) bool { return boot.SameKey(w.Key, key) && w.IsSet() })
}

// isSet reports whether the last word for a boolean sets it.
func (l *commandLine) isSet(key string) bool {
	word, ok := boot.LastValue(l.words, key)
	return ok && word.IsSet()
}

// lockdown returns the lockdown level that the command line asks for; empty for none.
func (l *commandLine) lockdown() string {
	for _, w := range l.words {
		if w.Key == "lockdown" && (w.Value == "integrity" || w.Value == "confidentiality") {
			return w.Value
		}
	}
	return ""
}

// disablesModules reports whether the command line switches loading off by a sysctl, which takes only the value 1
// and keeps it.
func (l *commandLine) disablesModules(p *policyReader) bool {
	return slices.Contains(l.sysctls(p, FactModulesDisabled), "1")
}

// sysctls returns the values that sysctl.kernel.KEY=VALUE assigns (Linux 5.8 and later). The kernel rejects words
// without a value.
func (l *commandLine) sysctls(p *policyReader, key string) (values []string) {
	if p.isOff("CONFIG_PROC_SYSCTL") || p.isOff("CONFIG_SYSCTL") || !since(p.Release, 5, 8) {
		return nil
	}
	for _, w := range l.words {
		if strings.ReplaceAll(w.Key, "/", ".") == sysctlPrefix+key && w.Value != "" && !w.Redacted {
			values = append(values, w.Value)
		}
	}
	return values
}

// since reports whether a kernel's release is that version or a later one. It is false for a release that does not
// begin with a version.
func since(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	a, err := strconv.Atoi(first)
	if err != nil || a != major {
		return err == nil && a > major
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	b, err := strconv.Atoi(digits)
	return err == nil && b >= minor
}

// builtinCmdline returns the command line that the kernel was built with; without words if it has none.
func builtinCmdline(p *policyReader) boot.Entry {
	if p.config == nil {
		return boot.Entry{}
	}
	text, line := p.config.Get("CONFIG_CMDLINE")
	if text == "n" {
		return boot.Entry{}
	}
	text = strings.ReplaceAll(text, `\"`, `"`)
	return boot.Entry{Text: text, Words: boot.ParseCmdline(text), File: p.config.File, Line: line}
}

// nextCmdlines returns the command lines that a boot entry may come to with the words that the kernel was built
// with. If there are several, only what holds for all is certain. Without known, the entry itself is a guess.
func nextCmdlines(p *policyReader, e boot.Entry, known bool) []boot.Entry {
	builtin := builtinCmdline(p)
	switch {
	case len(builtin.Words) == 0 && (known || len(e.Words) == 0):
		return []boot.Entry{e}
	case len(builtin.Words) > 0 && (p.is("CONFIG_CMDLINE_OVERRIDE", "y") || p.is("CONFIG_CMDLINE_FORCE", "y")):
		return []boot.Entry{builtin}
	case !known:
		guess := entryWith(e, builtin, e)
		guess.Unresolved = slices.Concat(e.Unresolved, []string{"the boot loader's words"})
		return []boot.Entry{guess, {}}
	case p.is("CONFIG_X86", "y"):
		return []boot.Entry{entryWith(e, builtin, e)}
	case p.is("CONFIG_CMDLINE_EXTEND", "y") && p.is("CONFIG_ARM", "y"):
		// Without a device tree, the boot loader's words follow.
		return []boot.Entry{entryWith(e, e, builtin), entryWith(e, builtin, e)}
	case p.is("CONFIG_CMDLINE_EXTEND", "y"):
		return []boot.Entry{entryWith(e, e, builtin)}
	case len(e.Words) == 0 && len(e.Unresolved) == 0: // a word that the boot loader adds would replace them
		return []boot.Entry{builtin, e}
	}
	return []boot.Entry{e}
}

// entryWith returns the entry with two command lines in a row in place of its own. Behind "--", words are for init.
func entryWith(e, first, then boot.Entry) boot.Entry {
	if e.File == "" {
		e.File, e.Line = first.File, first.Line
	}
	e.Text, e.Words = first.Text, first.Words
	if !slices.Contains(strings.Fields(first.Text), "--") {
		e.Text, e.Words = first.Text+" "+then.Text, slices.Concat(first.Words, then.Words)
	}
	return e
}
