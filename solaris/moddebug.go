// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Load is one line of the console messages of an illumos kernel that was booted with moddebug:
// "load 'fs/mntfs' id 66 loaded @ 0x…/0x… size 18080/240".
type Load struct {
	// Path is the module's name with its kind, such as "fs/mntfs".
	Path string
	// ID is the module's id.
	ID int64
	// Text and Data are where its segments start; TextSize and DataSize are theirs in bytes.
	Text, Data         fact.Address
	TextSize, DataSize int64
	// Installed is set when a line says that it was installed.
	Installed bool
	// Line is where it stands.
	Line int
}

// Name returns the module's name without its kind.
func (l Load) Name() string { return l.Path[strings.LastIndexByte(l.Path, '/')+1:] }

var (
	loadLine    = lazy.Regexp{Pattern: `load '([^']{1,255})' id (\d{1,10}) loaded @ 0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16}) size (\d{1,18})/(\d{1,18})`}
	installLine = lazy.Regexp{Pattern: `installing \S+, module id (\d{1,10})\.`}
)

// ParseModdebug reads the messages of moddebug out of a console log, in order; other messages are
// left out. The error is fact.ErrTooLarge, or a *fact.ParseError when there is none.
func ParseModdebug(text string) ([]Load, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("moddebug", maxCapture)
	}
	var out []Load
	at := map[int64]int{}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if m := loadLine.FindStringSubmatch(line); m != nil {
			l := Load{Path: escape.UTF8(m[1]), ID: number(m[2]), TextSize: number(m[5]), DataSize: number(m[6]), Line: n}
			a, _ := strconv.ParseUint(m[3], 16, 64)
			b, _ := strconv.ParseUint(m[4], 16, 64)
			l.Text, l.Data = fact.Address(a), fact.Address(b)
			at[l.ID] = len(out)
			out = append(out, l)
			continue
		}
		if m := installLine.FindStringSubmatch(line); m != nil {
			if i, ok := at[number(m[1])]; ok {
				out[i].Installed = true
			}
		}
	}
	if out == nil {
		return nil, &fact.ParseError{Source: "moddebug", Reason: "no message of moddebug"}
	}
	return out, nil
}
