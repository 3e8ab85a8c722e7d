// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourceSC is the source of a capture of sc.exe.
const SourceSC = "sc"

// scNumber matches a value with its number and word: "1  KERNEL_DRIVER".
var scNumber = regexp.MustCompile(`^([0-9a-fA-F]+)\s+([A-Z_]+)?`)

// ParseSC reads what sc query, sc queryex and sc qc print, also as a session with prompts. The
// numbers count, not the words. Services that are no drivers are left out; a service that comes
// twice has its later state.
func ParseSC(text string) *Capture {
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
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case line == "":
			if cur != nil && cur.numbers > 0 {
				flush()
			}
		case ok && strings.EqualFold(key, "SERVICE_NAME"):
			flush()
			cur = &scBlock{name: value}
			b.c.Sure = true
		case strings.HasPrefix(line, "[SC]"):
		case cur != nil && ok && line[0] == ' ' || cur != nil && ok && strings.EqualFold(key, "DISPLAY_NAME"):
			cur.pair(key, value)
		case cur != nil && strings.HasPrefix(strings.TrimSpace(line), "("):
		default:
			flush()
			b.stray(n, line)
		}
	}
	flush()
	return b.done()
}

// An scBlock is what sc prints of one service.
type scBlock struct {
	name, display, path, group string
	numbers                    int // numbered values so far
	typ, state, start, errCtl  uint32
	exit                       fact.Count
	hasState, hasStart         bool
	depends                    []string
}

func (s *scBlock) pair(key, value string) {
	key = strings.ToUpper(key)
	switch {
	case key == "DISPLAY_NAME":
		s.display = value
		return
	case strings.HasPrefix(key, "BINARY_PATH"):
		s.path = value
		return
	case key == "LOAD_ORDER_GROUP":
		s.group = value
		return
	case key == "DEPENDENCIES" || key == "":
		if value != "" {
			s.depends = append(s.depends, value)
		}
		return
	}
	m := scNumber.FindStringSubmatch(value)
	if m == nil {
		return
	}
	n64, err := strconv.ParseUint(m[1], 16, 32)
	if err != nil {
		return
	}
	n := uint32(n64)
	s.numbers++
	switch {
	case s.numbers == 1:
		s.typ = n
	case strings.HasPrefix(key, "START"):
		s.start, s.hasStart = n, true
	case strings.HasPrefix(key, "ERROR"):
		s.errCtl = n
	case s.numbers == 2:
		s.state, s.hasState = n, true
	case s.numbers == 3 && s.hasState:
		if d, err := strconv.ParseUint(m[1], 10, 32); err == nil && d != 0 {
			s.exit = fact.CountOf(int64(d))
		}
	}
}

func (s *scBlock) add(b *captureBuilder) {
	if s.name == "" || s.numbers == 0 || s.typ&ServiceTypeDriver == 0 || s.typ&0x30 != 0 || b.full() {
		return
	}
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
