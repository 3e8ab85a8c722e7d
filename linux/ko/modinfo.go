// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// A Entry is one key and value of a module's .modinfo section.
type Entry struct {
	// Key is the text before the first '='.
	Key string `json:"key"`
	// Value is the rest; it may hold newlines. Bytes that are not UTF-8 are written \xNN.
	Value string `json:"value"`
}

// A Modinfo is a module's .modinfo section: every entry, in the file's order, repeated keys kept.
type Modinfo []Entry

// ParseModinfo splits a .modinfo section: strings that end in NUL, separated by one or more NULs,
// each a key, '=' and a value. A string without '=' is a key with an empty value. Nothing is
// dropped, and nothing is an error: any bytes are some list of strings.
func ParseModinfo(section []byte) Modinfo {
	// One string holds them all, so that a module costs two allocations, not two an entry.
	return parseModinfo(escape.UTF8(string(section)))
}

func parseModinfo(text string) Modinfo {
	entries := 0
	for i := range len(text) {
		if text[i] != 0 && (i == 0 || text[i-1] == 0) {
			entries++
		}
	}
	m := make(Modinfo, 0, entries)
	for len(text) > 0 {
		entry := text
		if i := strings.IndexByte(text, 0); i >= 0 {
			entry, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		if entry == "" {
			continue
		}
		key, value, _ := strings.Cut(entry, "=")
		m = append(m, Entry{key, value})
	}
	return m
}

// namesModule reports whether a .modinfo section says the module's name.
func namesModule(section []byte) bool {
	return bytes.HasPrefix(section, []byte("name=")) || bytes.Contains(section, []byte("\x00name="))
}

// Get returns the first value of the key, or "".
func (m Modinfo) Get(key string) string {
	v, _ := m.Lookup(key)
	return v
}

// Lookup returns the first value of the key and whether there is one.
func (m Modinfo) Lookup(key string) (string, bool) {
	for _, e := range m {
		if e.Key == key {
			return e.Value, true
		}
	}
	return "", false
}

// Values returns every value of the key in order; nil if the key is missing.
func (m Modinfo) Values(key string) []string {
	n := 0
	for _, e := range m {
		if e.Key == key {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	values := make([]string, 0, n)
	for _, e := range m {
		if e.Key == key {
			values = append(values, e.Value)
		}
	}
	return values
}

// Depends returns the module names that the file says it needs, never nil: an empty or absent
// "depends" means none. The names are normalized.
func (m Modinfo) Depends() []string {
	names := []string{}
	for _, v := range m.Values("depends") {
		for name := range strings.SplitSeq(v, ",") {
			if name != "" {
				names = append(names, strings.ReplaceAll(name, "-", "_"))
			}
		}
	}
	return names
}

// A Softdep is one softdep or weakdep declaration: modules to load before and after, if they exist.
type Softdep struct {
	// Pre are the modules to load before.
	Pre []string
	// Post are the modules to load after.
	Post []string
}

// ParseSoftdep reads the text of a softdep: "pre: a b post: c". Words before the first "pre:" or
// "post:" mean nothing to kmod, and are dropped here too.
func ParseSoftdep(text string) Softdep {
	var d Softdep
	var into *[]string
	for word := range strings.FieldsSeq(text) {
		switch word {
		case "pre:":
			into = &d.Pre
		case "post:":
			into = &d.Post
		default:
			if into != nil {
				*into = append(*into, word)
			}
		}
	}
	return d
}

// Caps of a firmware's name. The longest in Debian's modules has 44 bytes and 4 elements.
const (
	maxFirmwareName     = 256
	maxFirmwareElements = 16
)

// SensibleFirmware reports whether a name is short enough for a firmware file to have it.
func SensibleFirmware(name string) bool {
	return len(name) <= maxFirmwareName && strings.Count(name, "/") < maxFirmwareElements
}
