// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceSC is the source of a capture of sc.exe.
const SourceSC = "sc"

// scNumber splits a value into its number and its word: "1  KERNEL_DRIVER".
func scNumber(value string) (number, word string, ok bool) {
	rest := strings.TrimLeft(value, "0123456789abcdefABCDEF")
	number = value[:len(value)-len(rest)]
	word = strings.TrimLeft(rest, " \t\f")
	if number == "" || word == rest {
		return "", "", false
	}
	end := strings.TrimLeft(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
	return number, word[:len(word)-len(end)], true
}

// ReadSC reads what sc query, sc queryex and sc qc print, in any language, also as a session with
// prompts. Numbers, their words, which are never translated, and places count, not keys. Services
// that are not drivers are left out; a service that comes twice has its later state.
func ReadSC(text string, r *fact.Report) fact.Capture[Driver] {
	return scRows(readConsole(text, SourceSC, r)).done(r)
}

func scRows(text string) *captureBuilder {
	b := newCapture(SourceSC, text)
	var cur *scBlock
	flush := func() {
		if cur != nil {
			cur.add(b)
		}
		cur = nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			if cur != nil && cur.numbers > 0 {
				flush()
			}
			continue
		}
		indented := line[0] == ' ' || line[0] == '\t'
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case ok && !indented && scName(key):
			// A pair at the margin is a service's name, or what it is shown as when only its name came.
			if cur != nil && cur.numbers == 0 && cur.display == "" && !strings.EqualFold(key, "SERVICE_NAME") {
				cur.display = value
				continue
			}
			flush()
			cur = &scBlock{name: value, key: key, line: n}
		case strings.HasPrefix(line, "[SC]"):
		case cur != nil && ok && indented:
			cur.pair(key, value)
		case cur != nil && indented && strings.HasPrefix(strings.TrimSpace(line), "("):
		default:
			flush()
			b.Stray(n, line)
		}
	}
	flush()
	return b
}

// scName reports whether a key can be SERVICE_NAME or DISPLAY_NAME in some language: words with
// underscores between them.
func scName(key string) bool {
	return strings.Contains(key, "_") && !strings.ContainsAny(key, " \t\\/<>\"'=")
}

// An scBlock is what sc prints of one service.
type scBlock struct {
	name, display string
	key           string // of the name, and its line
	line          int
	path, group   string
	numbers       int // numbered values so far
	typ, state    uint32
	start, errCtl uint32
	exit          fact.Count
	hasState      bool
	hasStart      bool
	config        int // values so far after those of sc qc that are numbered
	depends       []string
	headless      bool // the first number is not that of a type: values are missing
}

// Places of the values after the three numbers of sc qc.
const (
	scPath = iota
	scGroup
	scTag
	scDisplay
	scDepends // and each line after it that has no key, until the account
	scEnd     = capture.MaxRows
)

// pair takes the next value of a service.
func (s *scBlock) pair(key, value string) {
	if s.hasStart && s.numbers >= 3 {
		s.text(key, value)
		return
	}
	number, word, ok := scNumber(value)
	if !ok {
		return
	}
	n64, err := strconv.ParseUint(number, 16, 32)
	if err != nil {
		return
	}
	n := uint32(n64)
	s.numbers++
	switch {
	case s.numbers == 1:
		s.typ = n
		s.headless = word == "" || scStart(word) || scState(word)
	case s.numbers == 2 && scStart(word):
		s.start, s.hasStart = n, true
	case s.numbers == 2 && !scState(word): // the state is missing: what follows is not known to be what it would be
		s.numbers = 4
	case s.numbers == 2:
		s.state, s.hasState = n, true
	case s.numbers == 3 && s.hasStart:
		s.errCtl = n
	case s.numbers == 3:
		if d, err := strconv.ParseUint(number, 10, 32); err == nil && d != 0 {
			s.exit = fact.CountOf(int64(d))
		}
	}
}

// scStart and scState report whether a word of sc, which is in no language translated, is a start or a state.
func scStart(word string) bool { return strings.HasSuffix(word, "_START") || word == "DISABLED" }

func scState(word string) bool {
	return slices.Contains(scStates[:], word)
}

var scStates = [...]string{"STOPPED", "START_PENDING", "STOP_PENDING", "RUNNING", "CONTINUE_PENDING", "PAUSE_PENDING",
	"PAUSED"}

// text takes a value of sc qc by its place.
func (s *scBlock) text(key, value string) {
	switch {
	case s.config == scPath:
		s.path = value
	case s.config == scGroup:
		s.group = value
	case s.config == scDisplay:
		s.display = value
	case s.config == scDepends, s.config > scDepends && s.config < scEnd && key == "":
		if value != "" {
			s.depends = append(s.depends, value)
		}
	case s.config > scDepends && s.config < scEnd: // the account: the end
		s.config = scEnd
		return
	}
	if s.config < scEnd {
		s.config++
	}
}

func (s *scBlock) add(b *captureBuilder) {
	if s.numbers == 0 || s.headless {
		b.Stray(s.line, s.key)
		return
	}
	if s.name == "" || s.typ&serviceTypeDriver == 0 || s.typ&0x30 != 0 || b.full() {
		return
	}
	b.Sure = true
	e, v := b.driver(s.name, s.path)
	v.DisplayName, v.Group, v.ExitCode, v.DependsOn = s.display, s.group, s.exit, s.depends
	v.Type = typeWord(s.typ)
	if s.hasState {
		e.setState(v, strings.ReplaceAll(wordOf(serviceStates, s.state), "_", " "))
		v.StateWord = ""
	}
	if s.hasStart {
		v.Start, v.ErrorControl = wordOf(serviceStarts, s.start), wordOf(errorControls, s.errCtl)
	}
}
