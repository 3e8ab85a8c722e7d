// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourceSystemExtensionsCtl is the source of what systemextensionsctl list prints.
const SourceSystemExtensionsCtl = "systemextensionsctl"

// A systemExtensionsText is the text of systemextensionsctl list while it is read.
type systemExtensionsText struct {
	category string     // that of the rows below a heading
	count    fact.Count // how many the text's first line says there are
}

// ReadSystemExtensionsCtl reads the text of systemextensionsctl list. Tabs divide its columns; a text whose tabs became
// blanks is read as far as its columns can be distinguished.
func ReadSystemExtensionsCtl(text string, r *fact.Report) fact.Capture[Kext] {
	var t systemExtensionsText
	c := readText(text, SourceSystemExtensionsCtl, r, t.line)
	if n, ok := t.count.Get(); ok && n != int64(len(c.Records)) {
		r.Problem(c.source, "", "modules", &fact.ParseError{Source: c.source,
			Reason: fmt.Sprintf("%d of %d extensions are in the text", len(c.Records), n)})
	}
	return c.done()
}

func (t *systemExtensionsText) line(c *reading, line string) error {
	line = strings.TrimRight(line, "\r")
	trimmed := strings.TrimSpace(line)
	switch count, isCount := strings.CutSuffix(trimmed, " extension(s)"); {
	case trimmed == "":
	case isCount:
		if v, err := strconv.ParseInt(count, 10, 32); err == nil {
			t.count, c.Sure = fact.CountOf(v), true
		}
	case strings.HasPrefix(trimmed, "--- "):
		c.Sure = true
		t.category, _, _ = strings.Cut(strings.TrimPrefix(trimmed, "--- "), " ")
		t.category = strings.TrimPrefix(t.category, "com.apple.system_extension.")
	case strings.HasPrefix(trimmed, "enabled") && strings.Contains(trimmed, "bundleID"):
		c.Sure = true
	default:
		return t.row(c, line)
	}
	return nil
}

func (t *systemExtensionsText) row(c *reading, line string) error {
	s, ok := tabRow(line)
	if !ok {
		s, ok = blankRow(line)
	}
	if !ok {
		return noPrompt(line)
	}
	if c.full() {
		return noRow(line)
	}
	if t.category != "" {
		s.Categories = []string{t.category}
	}
	c.add(extensionRecord(&s))
	return nil
}

// tabRow reads "enabled TAB active TAB team TAB id (short/build) TAB name TAB [state]".
func tabRow(line string) (SystemExtension, bool) {
	f := strings.Split(line, "\t")
	if len(f) != 6 {
		return SystemExtension{}, false
	}
	starred := func(column string) fact.Tri { return fact.TriOf(strings.TrimSpace(column) == "*") }
	s := SystemExtension{Enabled: starred(f[0]), Active: starred(f[1]), TeamID: strings.TrimSpace(f[2]), Name: f[4]}
	return s, s.identity(f[3]) && s.state(f[5])
}

// blankRow reads a row whose tabs are gone. The flags are known only when both are there.
func blankRow(line string) (SystemExtension, bool) {
	var s SystemExtension
	head, state, ok := strings.Cut(strings.TrimSpace(line), "[")
	if !ok || !s.state("["+state) {
		return s, false
	}
	words := strings.Fields(head)
	stars := 0
	for len(words) > 0 && words[0] == "*" {
		words, stars = words[1:], stars+1
	}
	if stars == 2 {
		s.Enabled, s.Active = fact.Yes, fact.Yes
	}
	if len(words) > 0 && isTeamID(words[0]) {
		s.TeamID, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return s, false
	}
	id := words[0]
	if len(words) > 1 && strings.HasPrefix(words[1], "(") {
		id += " " + words[1]
		words = words[1:]
	}
	s.Name = strings.Join(words[1:], " ")
	return s, s.identity(id)
}

// identity reads "id (short/build)", where the version may be missing.
func (s *SystemExtension) identity(text string) bool {
	id, version, ok := strings.Cut(strings.TrimSpace(text), " (")
	s.BundleID = id
	if ok {
		s.ShortVersion, s.Version, _ = strings.Cut(strings.TrimSuffix(version, ")"), "/")
	}
	return isBundleID(id)
}

func (s *SystemExtension) state(text string) bool {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") {
		return false
	}
	s.State = strings.ReplaceAll(strings.Trim(text, "[]"), " ", "_")
	return s.State != ""
}

// isTeamID reports whether s looks like a team id: ten upper-case letters and digits.
func isTeamID(s string) bool {
	if len(s) != 10 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
