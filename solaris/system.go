// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
)

// The directives that say whether a module is loaded at boot.
const (
	wordExclude   = "exclude"
	wordForceload = "forceload"
)

// directiveWords are the words of a directive; otherWords are directives that name no module.
var (
	directiveWords = []string{wordExclude, wordForceload, "moddir", "rootfs", "rootdev"}
	otherWords     = []string{"include", "swapdev", "swapfs"}
)

// A directive is one line of /etc/system that is about loading modules.
type directive struct {
	// Word is "exclude", "forceload", "moddir", "rootfs" or "rootdev".
	Word string
	// Module is what it is about, such as "drv/fd"; for moddir a search path.
	Module string
	// File and Line are its place; File is a slash path, Line counts from 1.
	File string
	Line int
}

// Name returns the module's name without its kind: "fd" of "drv/fd".
func (d directive) Name() string { return d.Module[strings.LastIndexByte(d.Module, '/')+1:] }

// readSystem returns the directives about modules in the text of a file such as /etc/system, in order. A line that
// begins with "*" or "#" is a comment; "set" lines are left out. Lines that are not a directive are reported as one
// Problem of SourceSystem. The error says that the lines take more than item allows.
func readSystem(file, text string, item *fact.Item, r *fact.Report) ([]directive, error) {
	out := []directive{}
	n, stray := 0, 0
	var first error
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '*' || line[0] == '#' {
			continue
		}
		d, err := parseDirective(line)
		switch {
		case err != nil:
			if stray++; first == nil {
				first = &fact.ParseError{Source: "/" + file, Line: n, Reason: err.Error()}
			}
		case d.Word != "":
			d.File, d.Line = file, n
			if err := item.Keep(int64(directiveSize + len(d.Module))); err != nil {
				return out, fmt.Errorf("/%s: %w", file, err)
			}
			out = append(out, d)
		}
	}
	capture.Stray(r, SourceSystem, first, stray)
	return out, nil
}

// directiveSize is the memory of a directive beside its texts, in bytes.
const directiveSize = 96

// parseDirective reads one line that is not a comment. Word is empty for a line that is not about modules.
func parseDirective(line string) (directive, error) {
	switch first, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " "); strings.ToLower(first) {
	case "set", "set32", "set64":
		return directive{}, nil
	}
	word, rest, ok := strings.Cut(line, ":")
	if word = strings.TrimSpace(word); word == strings.ToUpper(word) {
		word = strings.ToLower(word) // modcmd has each word twice
	}
	rest = strings.TrimSpace(rest)
	if word != "moddir" { // a blank ends the name (do_sysfile_cmd)
		rest, _, _ = strings.Cut(strings.ReplaceAll(rest, "\t", " "), " ")
	}
	switch {
	case ok && slices.Contains([]string{wordExclude, wordForceload, "rootfs"}, word) && !isName(rest):
		return directive{}, errors.New("no name follows " + word)
	case ok && slices.Contains(directiveWords, word):
		return directive{Word: word, Module: escape.UTF8(rest)}, nil
	case ok && slices.Contains(otherWords, word):
		return directive{}, nil
	}
	return directive{}, errors.New("unknown directive")
}

// isName reports whether a word begins as a name does (kobj_lex): the kernel ignores a directive with another one.
func isName(word string) bool {
	if word == "" {
		return false
	}
	c := word[0]
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '\\'
}
