// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourceIDList is the source of a text of bundle ids.
const SourceIDList = "id_list"

// ReadIDList reads a text of bundle ids, one a line. A text without one of Apple's ids is not recognized, because many
// other things are names with dots. The text does not say what it lists, so the records have no state.
func ReadIDList(text string, r *fact.Report) fact.Capture[Kext] {
	apple := false
	c := readText(text, SourceIDList, r, func(c *reading, line string) error {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.Trim(line, ".-… ") == "":
			return nil
		case !isBundleID(line), strings.Count(line, ".") < 2, c.full():
			return noRow(line)
		}
		apple = apple || strings.HasPrefix(line, "com.apple.")
		c.add(Record{Kind: fact.KindMacOSKext, Name: line, Own: &Kext{BundleID: line}})
		return nil
	})
	if !apple {
		return fact.Capture[Kext]{}
	}
	c.ends(isCut(text))
	c.selects(true)
	return c.done()
}

// SourceKextutil is the source of what kextutil -v 6 prints of loaded kexts.
const SourceKextutil = "kextutil"

// ReadKextutil reads the "Loaded kext info" that kextutil -v 6 prints: a dictionary in old style, without the
// semicolons that would make it a property list, with long values on a line of their own. The text may end anywhere.
func ReadKextutil(text string, r *fact.Report) fact.Capture[Kext] {
	var p kextutilReader
	p.reading = readText(text, SourceKextutil, r, func(c *reading, line string) error {
		p.reading = c
		if line = strings.TrimSpace(line); line == "" {
			return nil
		}
		return p.line(line)
	})
	p.end()
	p.loadedKexts()
	p.ends(p.depth != 0)
	return p.done()
}

// A kextutilReader keeps what is open between two lines.
type kextutilReader struct {
	*reading
	depth int    // open braces
	skip  int    // open brackets of a value that is not read
	id    string // of the open kext
	info  node   // its properties
	key   string // whose value is on the next line
}

func (p *kextutilReader) line(line string) error {
	switch {
	case strings.HasPrefix(line, "Loaded kext info:"):
		p.Sure = true
	case p.skip > 0:
		p.skip += depthOf(line)
	case p.key != "":
		p.value(p.key, line)
		p.key = ""
	case line == "{":
		p.depth++
	case line == "}" || line == "},":
		p.depth--
		p.end()
	default:
		return p.pair(line)
	}
	return nil
}

// depthOf returns how many brackets a text opens and does not close.
func depthOf(text string) int {
	return strings.Count(text, "{") + strings.Count(text, "(") - strings.Count(text, "}") - strings.Count(text, ")")
}

// pair reads `"key" = value`, where a value of { opens a kext.
func (p *kextutilReader) pair(line string) error {
	quoted, value, ok := strings.Cut(line, " =")
	key := strings.Trim(quoted, `"`)
	if !ok || p.depth == 0 || key == "" {
		return noRow(line)
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
		p.skip = depthOf(value)
	default:
		p.value(key, value)
	}
	return nil
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
	if p.id != "" && p.info.dict != nil && !p.full() {
		p.add(loadedRecord(p.id, p.info))
	}
	p.id, p.info = "", node{}
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
