// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// kextstatHeader is how kextstat's header starts, in every version.
const kextstatHeader = "Index Refs Address"

// A kextstatText is what the text of kextstat or kmutil showloaded says beside its rows.
type kextstatText struct {
	sure     bool // something beside the rows says which tool printed it
	headed   bool // the header was seen
	filtered bool // the command that kextstat runs asks for some kexts only
	rows     []Record
}

// ReadKextstat reads the text that kextstat or kmutil showloaded prints, of any version of macOS: with or without
// header, UUIDs and links, with the notices of macOS 11, with prompts and stray lines around it. A text cut down to
// index and name is read too. A line that is not a row is reported.
func ReadKextstat(text string, r *fact.Report) fact.Capture[Kext] {
	var k kextstatText
	c := readText(text, SourceKextstat, r, func(_ *reading, line string) error { return k.line(line) })
	c.Records, c.Sure = k.rows, k.sure
	c.loadedKexts()
	c.ends(isCut(text))
	c.selects(k.filtered || missingTags(k.rows))
	if !c.some {
		capture.Headed(r, SourceKextstat, k.headed)
	}
	if err := capture.Part(text, kextstatTools[:], kextstatSelects[:]); err != nil && !c.some {
		r.Problem(SourceKextstat, "", "modules", err)
	}
	if r.Count(SourceKextstat) > 0 { // kexts that have no row may be linked against any
		for i := range c.Records {
			c.Records[i].UsedBy = nil
		}
	}
	return c.done()
}

// kextstatTools are the tools that print the list, kextstatSelects the options that leave kexts out of it.
var kextstatTools = [...]string{"kextstat", "kmutil"}

var kextstatSelects = [...]string{"-b", "--bundle-identifier", "-B", "--bundle-path", "--filter",
	"--collection", "-k", "--no-kernel-components"}

// missingTags reports whether a kext is linked against a load tag that has no row. A kext is never unloaded before
// those that are linked against it, so the row was left out.
func missingTags(rows []Record) bool {
	tags := make(map[int64]bool, len(rows))
	for i := range rows {
		if tag, ok := rows[i].Own.LoadTag.Get(); ok {
			tags[tag] = true
		}
	}
	for i := range rows {
		for _, link := range rows[i].Own.LinkedAgainst {
			if tag, ok := link.Tag.Get(); ok && !tags[tag] {
				return true
			}
		}
	}
	return false
}

// readToolList reads the whole output of kmutil or kextstat. A line that is not a row is reported: it may hide a kext.
// An output without header is not a list.
func readToolList(text, source string, r *fact.Report) ([]Record, error) {
	if !hasHeader(text) {
		return nil, &fact.ParseError{Source: source, Reason: "the output has no header: it is not a list"}
	}
	var k kextstatText
	n := 0
	for line := range strings.Lines(text) {
		n++
		if err := k.line(line); err != nil {
			r.Problem(source, "", "modules", &fact.ParseError{Source: source, Line: n, Reason: err.Error()})
		}
	}
	r.Done(source, fact.CountOf(int64(len(k.rows))))
	connect(k.rows, source)
	return k.rows, nil
}

// hasHeader reports whether a line of the text is kextstat's header.
func hasHeader(text string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), kextstatHeader) {
			return true
		}
	}
	return false
}

// line reads one line. It returns an error for a line that is neither a row nor known to be harmless.
func (k *kextstatText) line(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || k.notice(line) {
		return nil
	}
	if m, ok := kextstatRow(line); ok && len(k.rows) < maxKexts {
		k.rows = append(k.rows, m)
		k.sure = k.sure || m.Own.LinkedAgainst != nil // a whole row is like nothing else
		return nil
	}
	return noRow(line)
}

// notice recognizes lines that are not rows and are known: the header, the notices of the tools, the command with or
// without a prompt.
func (k *kextstatText) notice(line string) bool {
	switch {
	case strings.HasPrefix(line, kextstatHeader):
		k.sure, k.headed = true, true
	case strings.HasPrefix(line, "Executing: /usr/bin/kmutil"):
		k.sure = true
		_, command, _ := strings.Cut(line, " ")
		k.filtered = k.filtered || capture.Filters(command, true, kextstatTools[:], kextstatSelects[:]) != ""
	case strings.HasPrefix(line, "No variant specified, falling back to"):
		k.sure = true
	case strings.HasPrefix(line, "Last login:"), strings.Trim(line, "-") == "":
	default:
		return k.command(line, "kextstat", "kmutil")
	}
	return true
}

// command recognizes a prompt, or a line that ends in, or starts with, one of the commands.
func (k *kextstatText) command(line string, names ...string) bool {
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
		return true
	}
	return prompt
}

// A rowReader reads a row from left to right, a word at a time.
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

func kextstatRow(line string) (m Record, ok bool) {
	m = Record{Kind: fact.KindMacOSKext, State: fact.StateLoaded, Own: &Kext{}}
	r := rowReader(line)
	if m.Own.LoadTag, ok = decimal(r.word()); !ok {
		return m, false
	}
	if r.nameOnly(&m) {
		return m, true
	}
	if m.Refs, ok = decimal(r.word()); !ok {
		return m, false
	}
	address, ok := hexadecimal(r.word())
	if !ok {
		return m, false
	}
	if v, known := address.Get(); known {
		m.Address = fact.Address(v)
	}
	if m.Size, ok = sizeColumn(r.word()); !ok {
		return m, false
	}
	if m.Own.WiredSize, ok = sizeColumn(r.word()); !ok {
		return m, false
	}
	return m, r.name(&m) && r.tail(&m)
}

// nameOnly takes "8   com.apple.kec.corecrypto", to which a text was cut down.
func (r *rowReader) nameOnly(m *Record) bool {
	rest := *r
	name := rest.word()
	if !isBundleID(name) || strings.TrimSpace(string(rest)) != "" {
		return false
	}
	m.Name, m.Own.BundleID = name, name
	return true
}

// name takes "[architecture] name (version)". A version may hold brackets of its own.
func (r *rowReader) name(m *Record) bool {
	head, rest, ok := strings.Cut(string(*r), " (")
	words := strings.Fields(head)
	if !ok || len(words) < 1 || len(words) > 2 {
		return false
	}
	if len(words) == 2 {
		if words[0] != "????/????" {
			m.Own.Architectures = words[:1:1]
		}
		words = words[1:]
	}
	if words[0] != "????" {
		m.Name, m.Own.BundleID = words[0], words[0]
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
				m.Version = rest[:i]
			}
			*r = rowReader(rest[i+1:])
			return m.Name == "" || isBundleID(m.Name)
		}
	}
	return false
}

// tail takes "[UUID | no UUID] [<links>]".
func (r *rowReader) tail(m *Record) bool {
	rest := strings.TrimSpace(string(*r))
	if after, ok := strings.CutPrefix(rest, "no UUID"); ok {
		rest = strings.TrimSpace(after)
	} else if len(rest) >= 36 && isUUID(strings.ToUpper(rest[:36])) {
		m.ContentID, rest = strings.ToUpper(rest[:36]), strings.TrimSpace(rest[36:])
		m.Own.UUID = m.ContentID
	}
	if rest == "" {
		// kextstat prints no brackets where there are no links.
		m.Own.LinkedAgainst = []Link{}
		return true
	}
	inner, ok := strings.CutPrefix(rest, "<")
	if !ok {
		return false
	}
	if inner, ok = strings.CutSuffix(inner, ">"); !ok {
		return false
	}
	tags := []int64{}
	for word := range strings.FieldsSeq(inner) {
		tag, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return false
		}
		tags = append(tags, int64(tag))
	}
	m.Own.LinkedAgainst = links(tags)
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
	if len(s) > 256 || !strings.Contains(s, ".") || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") ||
		strings.Contains(s, "..") {
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
