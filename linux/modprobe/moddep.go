// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
)

// A DepLine is one line of modules.dep: a module file and the files it needs.
type DepLine struct {
	// Path is the module's file, relative to the release directory, or absolute for a file of an
	// external directory.
	Path string
	// Needs are the files that it needs, as depmod lists them: all, also those needed indirectly,
	// the ones to load last first. BusyBox lists in its own order.
	Needs []string
}

// Name returns the module's name, from its file's.
func (d *DepLine) Name() string { return ko.NameOfFile(d.Path) }

// parseDep reads modules.dep, of kmod or of BusyBox. Lines without a colon are not understood and
// counted in bad.
func parseDep(text []byte) (lines []DepLine, bad int) {
	lines = make([]DepLine, 0, min(bytes.Count(text, []byte{'\n'}), len(text)/8)+1)
	for rest := escape.UTF8(string(text)); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		d, ok := parseDepLine(line)
		if !ok {
			bad++
			continue
		}
		lines = append(lines, d)
	}
	return lines, bad
}

func parseDepLine(line string) (DepLine, bool) {
	file, needs, ok := strings.Cut(line, ":")
	if !ok || file == "" {
		return DepLine{}, false
	}
	d := DepLine{Path: strings.TrimPrefix(file, "./"), Needs: []string{}}
	if n := strings.Count(needs, " "); n > 0 {
		d.Needs = make([]string, 0, min(n, len(needs)/8+1))
	}
	for need := range strings.FieldsFuncSeq(needs, func(c rune) bool { return c == ' ' || c == '\t' }) {
		d.Needs = append(d.Needs, strings.TrimPrefix(need, "./"))
	}
	return d, true
}

// parseOrder reads modules.order or modules.builtin: one path a line.
func parseOrder(text []byte) []string {
	var paths []string
	for rest := escape.UTF8(string(text)); rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			paths = append(paths, line)
		}
	}
	return paths
}

func parseAliases(text []byte) []indexEntry {
	entries := make([]indexEntry, 0, min(bytes.Count(text, []byte{'\n'}), len(text)/16))
	order := make(map[string]uint32)
	for line := range bytes.Lines(text) {
		if len(entries) > maxIndexEntries {
			break // buildIndex refuses them
		}
		line, ok := trimComment(bytes.TrimSuffix(line, []byte("\n")))
		if !ok {
			continue
		}
		verb, rest := cutWord(string(line))
		alias, rest := cutWord(rest)
		name, _ := cutWord(rest)
		key, ok := NormalizeAlias(alias)
		if verb != "alias" || !ok || key == "" || name == "" {
			continue
		}
		name = strings.ReplaceAll(name, "-", "_")
		priority, known := order[name]
		if !known {
			priority = uint32(len(order))
			order[name] = priority
		}
		entries = append(entries, indexEntry{key, IndexValue{priority, escape.UTF8(name)}})
	}
	return entries
}
