// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourcePanic is the source of what a panic report says.
const SourcePanic = "panic_report"

// lastKext matches what a panic report says of the kext loaded or unloaded last.
var lastKext = lazy.Regexp{Pattern: `^last (loaded|started|unloaded|stopped) kext at \d+: (\S+)\s+(\S+)` +
	`(?: \(addr (0x[0-9a-f]+), size (\d+)\))?$`}

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

// A panicText is what a panic report says of kexts.
type panicText struct {
	*reading
	inside bool              // between "loaded kexts:" and the end of the list
	last   map[string]Record // the address and the size of kexts that were loaded last, by bundle id
}

// ReadPanic reads the list of loaded kexts in a panic report: from the line "loaded kexts:" on, a bundle id and a
// version a line, and the kext that was loaded last with its address and size. A report file of macOS 11 and later
// (.ips, .panic) is JSON that holds the text.
func ReadPanic(text string, r *fact.Report) fact.Capture[Kext] {
	p := panicText{last: make(map[string]Record)}
	file := strings.HasPrefix(strings.TrimSpace(text), "{")
	cut := isCut(text)
	if file {
		text, cut = panicFile(text)
	}
	p.reading = readText(text, SourcePanic, r, func(c *reading, line string) error {
		p.reading = c
		return p.line(strings.TrimRight(line, " \t\n"))
	})
	p.loadedKexts()
	p.ends(cut || file && p.inside && !strings.HasSuffix(text, "\n"))
	return p.done()
}

func (p *panicText) line(line string) error {
	if m := lastKext.FindStringSubmatch(line); m != nil {
		if m[1] == "loaded" || m[1] == "started" {
			p.last[expandPanicID(m[2])] = Record{Address: addressOf(m[4]), Size: sizeOf(m[5])}
		}
		return nil
	}
	switch {
	case line == "loaded kexts:":
		again := p.Sure
		if p.inside, p.Sure = true, true; again {
			return errors.New("the text has another list of loaded kexts, of another panic")
		}
	case p.inside && (line == "" || line == "EOF" || strings.HasPrefix(line, "** ")):
		p.inside = false
	case p.inside && !p.full():
		return p.row(line)
	}
	return nil
}

func (p *panicText) row(line string) error {
	name, version, ok := strings.Cut(line, "\t")
	if !ok {
		name, version, ok = strings.Cut(strings.TrimSpace(line), " ")
	}
	id, version := expandPanicID(strings.TrimSpace(name)), strings.TrimSpace(version)
	if !ok || !isBundleID(id) || strings.ContainsAny(version, " \t") {
		return noRow(line)
	}
	p.add(Record{Kind: fact.KindMacOSKext, Name: id, State: fact.StateLoaded, Version: version,
		Address: p.last[id].Address, Size: p.last[id].Size, Own: &Kext{BundleID: id}})
	return nil
}

// panicFile returns the panic's text in a report file: a line of JSON about the file, and an object whose panicString
// is the text. A Mac with a T2 chip has its own in macOSPanicString, and in panicString that of the chip, whose kexts
// are not the Mac's. The file is cut if its JSON does not end.
func panicFile(text string) (found string, cut bool) {
	d := json.NewDecoder(strings.NewReader(text))
	mac, other, product := "", "", ""
	for {
		token, err := d.Token()
		if err != nil {
			cut = !errors.Is(err, io.EOF)
			break
		}
		if token != json.Delim('{') {
			continue
		}
		cut = !panicFields(d, map[string]*string{"macOSPanicString": &mac, "panicString": &other, "product": &product})
		if cut {
			break
		}
	}
	if mac == "" && !strings.HasPrefix(product, "iBridge") {
		mac = other
	}
	return mac, cut
}

// panicFields reads the texts of an object whose keys are in fields, to its end.
func panicFields(d *json.Decoder, fields map[string]*string) (whole bool) {
	for d.More() {
		token, err := d.Token()
		key, _ := token.(string)
		if err != nil {
			return false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return false
		}
		if f := fields[key]; f != nil {
			var s string
			if json.Unmarshal(value, &s) == nil {
				*f = s
			}
		}
	}
	_, err := d.Token() // the object's end
	return err == nil
}
