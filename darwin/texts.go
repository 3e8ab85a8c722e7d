// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceIDList is the source of a text of bundle ids.
const SourceIDList = "id_list"

// ParseIDList reads a text of bundle ids, one a line.
func ParseIDList(text string) *Capture {
	c := &Capture{Kexts: []Loaded{}, Truncated: text != "" && !strings.HasSuffix(text, "\n"), Filtered: true}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.Trim(line, ".-… ") == "":
		case isBundleID(line) && strings.Count(line, ".") >= 2 && len(c.Kexts) < maxKexts:
			c.Kexts = append(c.Kexts, Loaded{BundleID: line})
		default:
			c.stray(SourceIDList, n, line)
		}
	}
	return c
}

// SourcePanic is the source of what a panic report says.
const SourcePanic = "panic_report"

// lastKext matches what a panic report says of the kext loaded or unloaded last.
var lastKext = lazy.Regexp{Pattern: `^last (loaded|started|unloaded|stopped) kext at \d+: (\S+)\s+(\S+)(?: \(addr (0x[0-9a-f]+), size (\d+)\))?$`}

// panicWords undoes the shortening of words in a panic report's bundle ids.
var panicWords = lazy.Value[*strings.Replacer]{New: func() *strings.Replacer {
	return strings.NewReplacer("!U", "AppleUSB", "!A", "Apple", "!F", "Family", "!S", "Storage",
		"!C", "Controller", "!B", "Bluetooth", "!I", "Intel")
}}

// expandPanicID undoes the shortening of a bundle id.
func expandPanicID(s string) string {
	s = panicWords.Get().Replace(s)
	if s == "" {
		return s
	}
	switch s[0] {
	case '>':
		return "com.apple.driver." + s[1:]
	case '|':
		return "com.apple.iokit." + s[1:]
	case '$':
		return "com.apple.security." + s[1:]
	case '@':
		return "com.apple." + s[1:]
	}
	return s
}

// ParsePanic reads the list of loaded kexts in a panic report: from the line "loaded kexts:" on, a
// bundle id and a version a line, and the kext that was loaded last with its address and size.
func ParsePanic(text string) *Capture {
	c := &Capture{Kexts: []Loaded{}, Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	last := make(map[string]Loaded)
	inside, n := false, 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\n")
		if m := lastKext.FindStringSubmatch(line); m != nil {
			if m[1] == "loaded" || m[1] == "started" {
				last[expandPanicID(m[2])] = Loaded{Address: addressOf(m[4]), Size: sizeOf(m[5])}
			}
			continue
		}
		switch {
		case line == "loaded kexts:":
			inside, c.Sure, c.Header = true, true, true
		case inside && (line == "" || line == "EOF" || strings.HasPrefix(line, "** ")):
			inside = false
		case inside && len(c.Kexts) < maxKexts:
			c.panicRow(n, line, last)
		}
	}
	return c
}

func (c *Capture) panicRow(n int, line string, last map[string]Loaded) {
	name, version, ok := strings.Cut(line, "\t")
	if !ok {
		name, version, ok = strings.Cut(strings.TrimSpace(line), " ")
	}
	k := Loaded{BundleID: expandPanicID(strings.TrimSpace(name)), Version: strings.TrimSpace(version)}
	if !ok || !isBundleID(k.BundleID) || strings.ContainsAny(k.Version, " \t") {
		c.stray(SourcePanic, n, line)
		return
	}
	if l, ok := last[k.BundleID]; ok {
		k.Address, k.Size = l.Address, l.Size
	}
	c.Kexts = append(c.Kexts, k)
}

func addressOf(s string) fact.Address {
	v, _ := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	return fact.Address(v)
}

func sizeOf(s string) fact.Count {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fact.Count{}
	}
	return fact.CountOf(v)
}

// SourceKextutil is the source of what kextutil -v 6 prints of loaded kexts.
const SourceKextutil = "kextutil"

// ParseKextutilInfo reads the "Loaded kext info" that kextutil -v 6 prints: a dictionary in old
// style, without the semicolons that would make it a property list, with long values on a line of
// their own. The text may end anywhere.
func ParseKextutilInfo(text string) *Capture {
	c := &Capture{Kexts: []Loaded{}}
	p := &kextutilReader{c: c}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line != "" {
			p.line(n, line)
		}
	}
	p.end()
	c.Truncated = p.depth != 0
	return c
}

// A kextutilReader keeps what is open between two lines.
type kextutilReader struct {
	c     *Capture
	depth int    // open braces
	skip  int    // open brackets of a value that is not read
	id    string // of the open kext
	info  node   // its properties
	key   string // whose value is on the next line
}

func (p *kextutilReader) line(n int, line string) {
	switch {
	case strings.HasPrefix(line, "Loaded kext info:"):
		p.c.Sure, p.c.Header = true, true
	case p.skip > 0:
		p.skip += strings.Count(line, "{") + strings.Count(line, "(") - strings.Count(line, "}") - strings.Count(line, ")")
	case p.key != "":
		p.value(p.key, line)
		p.key = ""
	case line == "{":
		p.depth++
	case line == "}" || line == "},":
		p.depth--
		p.end()
	default:
		p.pair(n, line)
	}
}

// pair reads `"key" = value`, where a value of { opens a kext.
func (p *kextutilReader) pair(n int, line string) {
	quoted, value, ok := strings.Cut(line, " =")
	key := strings.Trim(quoted, `"`)
	if !ok || p.depth == 0 || key == "" {
		p.c.stray(SourceKextutil, n, line)
		return
	}
	value = strings.TrimSpace(value)
	switch {
	case value == "{" && p.depth == 1:
		p.end()
		p.depth++
		p.id, p.info = key, node{kind: dictNode, dict: map[string]node{}}
	case value == "":
		p.key = key
	case strings.HasPrefix(value, "{"), strings.HasPrefix(value, "("):
		p.skip = strings.Count(value, "{") + strings.Count(value, "(") - strings.Count(value, "}") - strings.Count(value, ")")
	default:
		p.value(key, value)
	}
}

func (p *kextutilReader) value(key, text string) {
	if p.info.dict == nil {
		return
	}
	text = strings.TrimSuffix(text, ";")
	v := node{kind: stringNode, str: strings.Trim(text, `"`)}
	switch number, err := strconv.ParseInt(text, 0, 64); {
	case strings.HasPrefix(text, `"`):
	case strings.HasPrefix(text, "<"):
		data, err := hex.DecodeString(strings.ReplaceAll(strings.Trim(text, "<>"), " ", ""))
		if err == nil {
			v = node{kind: dataNode, data: data}
		}
	case text == "true" || text == "false":
		v = node{kind: boolNode, num: bit(text == "true")}
	case err == nil:
		v = node{kind: integerNode, num: uint64(number)}
	}
	if len(p.info.dict) < 256 {
		p.info.dict[key] = v
	}
}

// end adds the kext that is open.
func (p *kextutilReader) end() {
	if p.id != "" && p.info.dict != nil && len(p.c.Kexts) < maxKexts {
		k := loadedOf(p.id, p.info)
		p.c.Kexts = append(p.c.Kexts, k)
	}
	p.id, p.info = "", node{}
}
