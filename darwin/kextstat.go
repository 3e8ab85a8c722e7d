// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Capture is what the text of one of the system's tools says of kexts.
type Capture struct {
	// Kexts are the rows, in the text's order.
	Kexts []Loaded
	// Sure is set when something beside the rows says which tool printed the text.
	Sure bool
	// Header is set when the tool's header was seen.
	Header bool
	// Filtered is set when the command that shows asks for some kexts only, or its output went
	// through another command.
	Filtered bool
	// Stray counts the lines that are no rows and not known to be harmless; Bad are the first of
	// them.
	Stray int
	Bad   []*fact.ParseError
	// Truncated is set when the last line has no newline, so that its end may be missing.
	Truncated bool
}

func (c *Capture) stray(source string, n int, line string) {
	c.Stray++
	if len(c.Bad) < limit.Problems {
		c.Bad = append(c.Bad, &fact.ParseError{Source: source, Line: n, Reason: strconv.Quote(cutText(line, 60)) + " is no row"})
	}
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// kextstatHeader is how kextstat's header starts, in every version.
const kextstatHeader = "Index Refs Address"

// ParseKextstat reads the text that kextstat or kmutil showloaded prints, of any version of macOS:
// with or without header, UUIDs and links, with the notices of macOS 11, with prompts and stray
// lines around it. A text cut down to index and name is read too.
func ParseKextstat(text string) *Capture {
	c := &Capture{Kexts: []Loaded{}, Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || c.kextstatNotice(line):
		case len(c.Kexts) >= maxKexts:
			c.stray(SourceKextstat, n, line)
		default:
			if k, ok := kextstatRow(line); ok {
				c.Kexts = append(c.Kexts, k)
				c.Sure = c.Sure || k.Links != nil // a whole row is like nothing else
			} else {
				c.stray(SourceKextstat, n, line)
			}
		}
	}
	return c
}

// kextstatNotice recognises lines that are not rows and are known: the header, the notices of the
// tools, the command with or without a prompt.
func (c *Capture) kextstatNotice(line string) bool {
	switch {
	case strings.HasPrefix(line, kextstatHeader):
		c.Header, c.Sure = true, true
	case strings.HasPrefix(line, "Executing: /usr/bin/kmutil"):
		c.Sure = true
		if strings.Contains(line, "--bundle-identifier") || strings.Contains(line, "--filter") || strings.Contains(line, "--collection") || strings.Contains(line, " -b ") {
			c.Filtered = true
		}
	case strings.HasPrefix(line, "No variant specified, falling back to"):
		c.Sure = true
	case strings.HasPrefix(line, "Last login:"), strings.Trim(line, ".-… ") == "":
	default:
		return c.command(line, "kextstat", "kmutil")
	}
	return true
}

// command recognises a prompt, or a line that ends in, or starts with, one of the commands.
func (c *Capture) command(line string, names ...string) bool {
	text, prompt := capture.Prompt(line)
	if !prompt {
		text = line
	}
	for _, name := range names {
		words := strings.Fields(text)
		if len(words) == 0 {
			break
		}
		if words[0] != name && words[0] != "sudo" && words[len(words)-1] != name {
			continue
		}
		if strings.Contains(text, "|") || strings.Contains(text, " -b ") {
			c.Filtered = true
		}
		return true
	}
	return prompt
}

// A row is read from left to right, a word at a time.
type rowReader string

// word returns the next word.
func (r *rowReader) word() string {
	s := strings.TrimLeft(string(*r), " \t")
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		end = len(s)
	}
	*r = rowReader(s[end:])
	return s[:end]
}

func kextstatRow(line string) (k Loaded, ok bool) {
	r := rowReader(line)
	if k.Tag, ok = decimal(r.word()); !ok {
		return k, false
	}
	if r.nameOnly(&k) {
		return k, true
	}
	if k.Refs, ok = decimal(r.word()); !ok {
		return k, false
	}
	address, ok := hexadecimal(r.word())
	if !ok {
		return k, false
	}
	if v, known := address.Get(); known {
		k.Address = fact.Address(v)
	}
	if k.Size, ok = sizeColumn(r.word()); !ok {
		return k, false
	}
	if k.Wired, ok = sizeColumn(r.word()); !ok {
		return k, false
	}
	return k, r.name(&k) && r.tail(&k)
}

// nameOnly takes "8   com.apple.kec.corecrypto", to which a text was cut down.
func (r *rowReader) nameOnly(k *Loaded) bool {
	rest := *r
	name := rest.word()
	if !isBundleID(name) || strings.TrimSpace(string(rest)) != "" {
		return false
	}
	k.BundleID = name
	return true
}

// name takes "[architecture] name (version)". A version may hold brackets of its own.
func (r *rowReader) name(k *Loaded) bool {
	head, rest, ok := strings.Cut(string(*r), " (")
	words := strings.Fields(head)
	if !ok || len(words) < 1 || len(words) > 2 {
		return false
	}
	if len(words) == 2 {
		if words[0] != "????/????" {
			k.Architecture = words[0]
		}
		words = words[1:]
	}
	if words[0] != "????" {
		k.BundleID = words[0]
	}
	depth := 1
	for i := range len(rest) {
		switch rest[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			if rest[:i] != "????" {
				k.Version = rest[:i]
			}
			*r = rowReader(rest[i+1:])
			return k.BundleID == "" || isBundleID(k.BundleID)
		}
	}
	return false
}

// tail takes "[UUID | no UUID] [<links>]".
func (r *rowReader) tail(k *Loaded) bool {
	rest := strings.TrimSpace(string(*r))
	if after, ok := strings.CutPrefix(rest, "no UUID"); ok {
		rest = strings.TrimSpace(after)
	} else if len(rest) >= 36 && isUUID(strings.ToUpper(rest[:36])) {
		k.UUID, rest = strings.ToUpper(rest[:36]), strings.TrimSpace(rest[36:])
	}
	if rest == "" {
		// kextstat prints no brackets where there are no links.
		k.Links = []int64{}
		return true
	}
	inner, ok := strings.CutPrefix(rest, "<")
	if !ok {
		return false
	}
	if inner, ok = strings.CutSuffix(inner, ">"); !ok {
		return false
	}
	k.Links = []int64{}
	for word := range strings.FieldsSeq(inner) {
		tag, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return false
		}
		k.Links = append(k.Links, int64(tag))
	}
	slices.Sort(k.Links)
	return true
}

// decimal reads a number, or "??" for one that the tool does not know.
func decimal(s string) (fact.Count, bool) {
	if s == "??" {
		return fact.Count{}, true
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return fact.Count{}, false
	}
	return fact.CountOf(int64(v)), true
}

// hexadecimal reads 0x…, a bare 0, or "????" for a number that the tool does not know.
func hexadecimal(s string) (fact.Count, bool) {
	switch s {
	case "????":
		return fact.Count{}, true
	case "0":
		return fact.CountOf(0), true
	}
	digits, ok := strings.CutPrefix(s, "0x")
	v, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return fact.Count{}, false
	}
	return fact.CountOf(int64(v)), true
}

// sizeColumn is a hexadecimal number of bytes.
func sizeColumn(s string) (fact.Count, bool) {
	n, ok := hexadecimal(s)
	if v, _ := n.Get(); v < 0 {
		return fact.Count{}, false
	}
	return n, ok
}

// isBundleID reports whether s looks like a bundle id in a text: words of letters, digits, "-" and
// "_" with dots between them, or the kernel's own name.
func isBundleID(s string) bool {
	if s == "__kernel__" {
		return true
	}
	if len(s) > 256 || !strings.Contains(s, ".") || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	letter := false
	for i := range len(s) {
		switch c := s[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letter = true
		case isDigit(c), c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return letter
}
