// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// Sources of texts of what files declare.
const (
	SourceKldxref  = "kldxref"  // kldxref -d
	SourceDevmatch = "devmatch" // devmatch --dump
)

// The lines of kldxref -d (usr.sbin/kldxref/kldxref.c, parse_entry) below a file's name.
var (
	xrefModule  = lazy.Regexp{Pattern: `^\s+module (\S+)$`}
	xrefVersion = lazy.Regexp{Pattern: `^\s+interface (\S+)\.(-?\d{1,10})$`}
	xrefDepend  = lazy.Regexp{Pattern: `^\s+depends on (\S+)\.(-?\d{1,10}) \((-?\d{1,10}),(-?\d{1,10})\)$`}
	xrefPNP     = lazy.Regexp{Pattern: `^\s+pnp info for bus (\S+) format (\S+) (\d{1,10}) entries of \d{1,10} bytes$`}
)

// The lines of devmatch --dump (sbin/devmatch/devmatch.c, search_hints), which are those of linker.hints.
var (
	dumpModule  = lazy.Regexp{Pattern: `^Module (\S+) in (\S+)$`}
	dumpVersion = lazy.Regexp{Pattern: `^Version: if (\S+)\.(-?\d{1,10}) kmod (\S+)$`}
	dumpPNP     = lazy.Regexp{Pattern: `^PNP info for bus (\S+) format (\S+) \d{1,10} entries \((\S+)\)$`}
	dumpRow     = lazy.Regexp{Pattern: `^\s{3}(?:0x[0-9a-f]{1,16}:|0:|'[^']{0,255}':)+`}
)

// ReadKldxref reads what kldxref -d prints: the files of a directory with the modules, interfaces and dependencies that
// they declare. None of them needs to be loaded.
func ReadKldxref(text string, r *fact.Report) fact.Capture[File] {
	h := hintsText{source: SourceKldxref, files: map[string]int{}}
	return h.read(text, r, h.xref)
}

// ReadDevmatch reads what devmatch --dump prints of linker.hints: the modules and interfaces of each file.
func ReadDevmatch(text string, r *fact.Report) fact.Capture[File] {
	h := hintsText{source: SourceDevmatch, files: map[string]int{}}
	return h.read(text, r, h.dump)
}

// A hintsText is a text of declarations while it is read.
type hintsText struct {
	source  string
	records []Record
	files   map[string]int // places in records, by path or name
	own     *File          // of the file that the lines are about; nil before the first
	known   int            // lines of declarations
}

func (h *hintsText) read(text string, r *fact.Report, row func(line string) error) fact.Capture[File] {
	var c fact.Capture[File]
	c.Stray = capture.Scan(text, capture.Form{Tool: h.source, Source: h.source}, r, row)
	if h.known == 0 {
		return fact.Capture[File]{}
	}
	c.Records, c.Rows, c.Sure = h.records, h.known, true
	if text != "" && !strings.HasSuffix(text, "\n") {
		r.Problem(h.source, "", "modules", &fact.ParseError{Source: h.source,
			Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	r.Done(h.source, fact.CountOf(int64(len(c.Records))))
	return c
}

// file makes the file of that path or name the one that the lines are about.
func (h *hintsText) file(name string) {
	i, ok := h.files[name]
	if !ok {
		i = len(h.records)
		h.files[name] = i
		m := Record{ID: string(fact.KindFreeBSDKld) + ":" + path.Base(name), Kind: fact.KindFreeBSDKld,
			Name: path.Base(name), State: fact.StateInstalled, Own: &File{Modules: []Module{}, Versions: []Version{}}}
		if strings.HasPrefix(name, "/") {
			m.Path, m.Own.Pathname = name, name
		}
		h.records = append(h.records, m)
	}
	h.own = h.records[i].Own
}

func (h *hintsText) xref(line string) error {
	h.known++
	if m := xrefModule.FindStringSubmatch(line); m != nil && h.own != nil {
		h.own.Modules = append(h.own.Modules, Module{Name: escape.UTF8(m[1])})
		return nil
	}
	if m := xrefVersion.FindStringSubmatch(line); m != nil && h.own != nil {
		h.own.Versions = append(h.own.Versions, Version{Name: escape.UTF8(m[1]), Version: int32Of(m[2])})
		return nil
	}
	if m := xrefDepend.FindStringSubmatch(line); m != nil && h.own != nil {
		h.own.Depends = append(h.own.Depends, Depend{Name: escape.UTF8(m[1]), Preferred: int32Of(m[2]),
			Min: int32Of(m[3]), Max: int32Of(m[4])})
		return nil
	}
	if m := xrefPNP.FindStringSubmatch(line); m != nil && h.own != nil {
		h.own.PNP = append(h.own.PNP, PNPTable{Bus: escape.UTF8(m[1]), Descriptor: escape.UTF8(m[2])})
		return nil
	}
	h.known--
	base := path.Base(line)
	if line[0] == '/' && !strings.ContainsAny(line, " \t") && (strings.HasSuffix(base, ".ko") || base == "kernel") {
		h.file(escape.UTF8(line))
		return nil
	}
	return fmt.Errorf("%.60q is not a row", line)
}

func (h *hintsText) dump(line string) error {
	h.known++
	if m := dumpModule.FindStringSubmatch(line); m != nil {
		h.file(escape.UTF8(m[2]))
		h.own.Modules = append(h.own.Modules, Module{Name: escape.UTF8(m[1])})
		return nil
	}
	if m := dumpVersion.FindStringSubmatch(line); m != nil {
		h.file(escape.UTF8(m[3]))
		h.own.Versions = append(h.own.Versions, Version{Name: escape.UTF8(m[1]), Version: int32Of(m[2])})
		return nil
	}
	if m := dumpPNP.FindStringSubmatch(line); m != nil {
		h.file(escape.UTF8(m[3]))
		h.own.PNP = append(h.own.PNP, PNPTable{Bus: escape.UTF8(m[1]), Descriptor: escape.UTF8(m[2])})
		return nil
	}
	h.known--
	if h.own != nil && dumpRow.MatchString(line) {
		return nil // the ids of devices
	}
	return fmt.Errorf("%.60q is not a row", line)
}

// int32Of returns a number of at most ten digits; one that is out of range is the nearest that is not.
func int32Of(s string) int32 {
	n, _ := strconv.ParseInt(s, 10, 32)
	return int32(n)
}
