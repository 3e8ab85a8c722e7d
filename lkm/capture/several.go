// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	text "github.com/kernelext/kernelext/internal/capture"
)

// maxParts is how many commands of a session are read one by one.
const maxParts = 64

// several reads a text that shows what several tools printed, each after the prompt with its command: the captures of
// one machine are one Snapshot. ok is false if it is not such a text: less than two kinds, or no prompts.
func several(clean string) (all captured, ok bool) {
	parts := sessionParts(clean)
	if len(parts) < 2 {
		return captured{}, false
	}
	kinds := make(map[Kind]bool)
	var found []captured
	for _, p := range parts {
		c, kind := bestOf(p, func(Kind) bool { return true })
		if c.snapshot == nil || c.rows == 0 {
			continue
		}
		c.kind = kind
		kinds[kind] = true
		found = append(found, c)
	}
	if len(kinds) < 2 {
		return captured{}, false
	}
	all = found[0]
	for _, c := range found[1:] {
		if c.snapshot.OS != all.snapshot.OS {
			all.snapshot.Problems = append(all.snapshot.Problems, fact.Problem{Source: all.snapshot.Sources[0].Name,
				Field: "modules", Code: fact.CodeUnsupported,
				Text: fmt.Sprintf("the text also has a capture of %s, of another system: it is not read", c.kind)})
			continue
		}
		merge(all.snapshot, c.snapshot)
		all.rows += c.rows
		all.stray += c.stray
	}
	all.sure = true
	return all, true
}

// sessionParts splits a text at its prompts with a command, each part beginning with one. A command that printed
// nothing belongs to what the next one printed: its output may be in a file or in a variable.
func sessionParts(clean string) []string {
	var parts []string
	begin, at, printed := 0, 0, true
	for line := range strings.Lines(clean) {
		command, ok := text.Prompt(strings.TrimSpace(line))
		typed := ok && command != ""
		last := printed
		if strings.TrimSpace(line) != "" {
			printed = !typed
		}
		if typed && last && at > begin {
			if parts = append(parts, clean[begin:at]); len(parts) > maxParts {
				return nil
			}
			begin = at
		}
		at += len(line)
	}
	return append(parts, clean[begin:])
}

// mended reads a text again that has lines of another form with its broken lines joined. Each join has to make up for a
// line of another form, or the text was not broken there.
func mended(clean string, r reader, c captured) captured {
	if c.snapshot == nil || c.stray == 0 {
		return c
	}
	whole, joined := text.Unwrap(clean)
	if joined == 0 {
		return c
	}
	m := r.read(whole, &r.form)
	if m.fits() && m.rows >= c.rows && m.stray+joined <= c.stray {
		return m
	}
	return c
}

// untabled reads a text as a Markdown table whose cells are the columns of a form; c for any other text.
func untabled(clean string, r reader, c captured) captured {
	if plain, ok := text.Untable(clean); ok && (c.snapshot == nil || c.rows == 0) {
		if m := r.read(plain, &r.form); m.fits() && m.rows > 0 {
			return m
		}
	}
	return c
}
