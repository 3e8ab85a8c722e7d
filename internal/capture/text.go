// SPDX-License-Identifier: Apache-2.0

// Package capture cleans up text that somebody copied from a terminal or saved from a tool, before
// a parser looks for rows in it.
package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// Max is the largest capture that is read, in bytes: many times what the tools print. Every reader
// looks at all of it, and each of its lines may become a module.
const Max = 8 << 20

// Read reads a capture from r and cleans it up: UTF-16 (detected by its byte-order mark, or by its NULs) becomes UTF-8,
// a byte-order mark, terminal escape sequences and carriage returns go, and so do quoting, Markdown fences, entities
// and an indentation of all lines. Line numbers stay those of the original. The error comes from reading, or matches
// fact.ErrTooLarge. encoding is what it was decoded from, as Encoding says.
func Read(r io.Reader) (text, encoding string, err error) {
	b, err := limit.AppendAll(r, nil, "capture", Max)
	if err != nil {
		return "", "", err
	}
	return Clean(b), Encoding(b), nil
}

// ansi matches the escape sequences that terminals understand: CSI and OSC sequences, character
// set choices and the two-character ones.
var ansi = lazy.Regexp{Pattern: "\x1b(?:\\[[0-?]*[ -/]*[@-~]|" +
	"\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z]|[=>NOM78cDEHZ])"}

// Clean does what Read does with bytes that are in memory.
func Clean(b []byte) string {
	s := decode(b)
	if strings.Contains(s, "\x1b") {
		s = ansi.ReplaceAllString(s, "")
	}
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "")
	}
	return unpaste(s)
}

// The names of UTF-16.
const (
	little = "utf-16le"
	big    = "utf-16be"
)

// Encoding returns utf-16le or utf-16be for a text in UTF-16; empty for any other.
func Encoding(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return little
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return big
	case len(b) < 4 || len(b)%2 != 0: // Without a mark, ASCII in UTF-16 shows as every other byte being NUL.
	case b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return little
	case b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
		return big
	}
	return ""
}

func decode(b []byte) string {
	encoding := Encoding(b)
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		b = b[2:]
	}
	switch encoding {
	case little:
		return utf16Text(b, binary.LittleEndian)
	case big:
		return utf16Text(b, binary.BigEndian)
	}
	return string(bytes.TrimPrefix(b, []byte{0xef, 0xbb, 0xbf}))
}

func utf16Text(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// prompt matches the start of a shell's prompt with the command after it: "$ lsmod",
// "root@host:~# kldstat -v", "fc:9970> lsmod", "C:\>driverquery".
var prompt = lazy.Regexp{Pattern: `^(?:[^\s$#%>]{0,80}(?:\s[^\s$#%>]{1,80}){0,3}\s?)?[$#%>]\s*([A-Za-z./].*)?$`}

// Prompt reports whether line is a shell's prompt, and returns the command after it.
func Prompt(line string) (command string, ok bool) {
	const longest = 4 * 400 // of the text before the prompt's last character, in bytes
	if !strings.ContainsAny(line[:min(len(line), longest)], "$#%>") {
		return "", false
	}
	if rest, ok := strings.CutPrefix(line, "PS "); ok { // of PowerShell, with a path that may have blanks
		if _, command, ok := strings.Cut(rest, ">"); ok {
			return strings.TrimSpace(command), true
		}
	}
	if command, ok := strings.CutPrefix(line, "PS>"); ok {
		return strings.TrimSpace(command), true
	}
	m := prompt.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// entities are how a web page writes the characters that mean something to it.
var entities = lazy.Value[*strings.Replacer]{New: func() *strings.Replacer {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'", "&nbsp;", " ", "&amp;", "&")
}}

// Tags of web pages and forums around a text.
var (
	webTags   = lazy.Regexp{Pattern: `(?m)^[ \t]*(?:<summary>.*</summary>|</?(?:details|summary|p|pre|code)>)[ \t]*$`}
	forumTags = lazy.Regexp{Pattern: `(?i)\[/?(?:color|code|quote|size|font|b|i|u)(?:=[^\]\n]{0,40})?\]`}
)

// unpaste undoes what mail programs and web pages do to a text: quoting with "> ", a Markdown fence, entities, and an
// indentation of all lines. Line numbers stay.
func unpaste(s string) string {
	if strings.Contains(s, "<details>") || strings.Contains(s, "<summary>") {
		s = webTags.ReplaceAllString(s, "")
	}
	if strings.Contains(s, "[/") || strings.Contains(s, "[CO") {
		s = forumTags.ReplaceAllString(s, "")
	}
	if strings.Contains(s, `\_`) && !strings.Contains(s, `:\`) { // Markdown's, if no path of Windows has it
		s = strings.ReplaceAll(s, `\_`, "_")
	}
	if strings.HasPrefix(strings.TrimLeft(s, " \t\n"), "<") {
		return s // XML has entities of its own
	}
	lines := strings.Split(s, "\n")
	unquote(lines)
	unfence(lines)
	unindent(lines)
	s = strings.Join(lines, "\n")
	if strings.Contains(s, "&lt;") || strings.Contains(s, "&gt;") || strings.Contains(s, "&amp;") {
		s = entities.Get().Replace(s)
	}
	return s
}

// maxQuotes is how deep a mail may quote another.
const maxQuotes = 16

// unquote removes "> " from two or more lines in a row that have it, as often as they do. A single one may be a prompt.
func unquote(lines []string) {
	quoted := func(i int) bool {
		return i >= 0 && i < len(lines) && (lines[i] == ">" || strings.HasPrefix(lines[i], "> ") ||
			strings.HasPrefix(lines[i], ">>"))
	}
	for range maxQuotes {
		changed := false
		for i, last := 0, false; i < len(lines); i++ {
			if is := quoted(i); is && (last || quoted(i+1)) {
				lines[i], last, changed = strings.TrimPrefix(lines[i][1:], " "), true, true
			} else {
				last = false
			}
		}
		if !changed {
			return
		}
	}
}

// unfence empties the lines of Markdown that fence code.
func unfence(lines []string) {
	for i, line := range lines {
		if isFence(strings.TrimSpace(line)) {
			lines[i] = ""
		}
	}
}

// isFence reports whether a line is three or more marks with at most a language after them: "~~~ snip ~~~" is not a
// fence.
func isFence(line string) bool {
	for _, mark := range []string{"`", "~"} {
		if strings.HasPrefix(line, strings.Repeat(mark, 3)) {
			return !strings.Contains(strings.TrimLeft(line, mark), mark)
		}
	}
	return false
}

// leastIndent is the indentation of Markdown's code, in blanks: less may be the tool's own.
const leastIndent = 4

// unindent removes the blanks that all lines begin with, if they are leastIndent or more, or a tab.
func unindent(lines []string) {
	prefix, first := "", true
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		blanks := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if first {
			prefix, first = blanks, false
			continue
		}
		for !strings.HasPrefix(blanks, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if len(prefix) < leastIndent && !strings.HasPrefix(prefix, "\t") {
		return
	}
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], prefix)
	}
}
