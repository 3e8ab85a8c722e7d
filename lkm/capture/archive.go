// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/archive"
	text "github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

// SourceArchive is the source that says how reading an archive went.
const SourceArchive = "archive"

// Limits on an archive: the files that are tried, the bytes of all of them, and the modules of all hosts.
const (
	maxTried    = 4096
	maxTriedAll = 128 << 20
	maxModules  = 65_536
)

// A Host is what an archive holds of one machine.
type Host struct {
	// Name is the folder in the archive that holds the machine's files; a file's path where several of one folder say
	// the same of different machines or times; empty for the archive's top.
	Name string
	// Snapshot is what the captures and files say together. What one says that another left open is filled in; the
	// sources are those of all, and one for the archive itself.
	Snapshot *lkm.Snapshot
}

// IsArchive reports whether a file with that beginning, of 512 bytes, is an archive for ReadArchive.
func IsArchive(head []byte) bool { return archive.Is(head) }

// ReadArchive reads the captures in a tar or zip file, packed with gzip, bzip2, xz, zstd or not at all: a sosreport, a
// supportconfig, a collection of UAC, or any archive of captures. It reads the archive as a stream, writes nothing,
// follows no link, and bounds what it decompresses. One machine's captures become one Snapshot. The error matches
// lkm.ErrMalformed for an archive without captures. An archive that is damaged, or too large, gives the captures before
// the damage, with a Problem.
func ReadArchive(r io.Reader) ([]Host, error) {
	a := archiveReader{seen: make(map[string]bool), groups: make(map[string]*group)}
	skipped, err := archive.Walk(r, a.file)
	if err != nil && len(a.order) == 0 {
		return nil, fmt.Errorf("lkm: read archive: %w: %w", lkm.ErrMalformed, err)
	}
	if skipped.Names > 0 {
		a.problem(fact.Problem{Source: SourceArchive, Code: fact.CodeMalformed, Count: skipped.Names,
			Text: "names that lead out of the archive were left out"})
	}
	if err != nil {
		a.problem(fact.ProblemOf(SourceArchive, "", "modules", err))
	}
	if len(a.order) == 0 {
		return nil, fmt.Errorf("lkm: read archive: %w: it holds no capture of a known kind", lkm.ErrMalformed)
	}
	return a.hosts(), nil
}

// An archiveReader collects the captures of an archive.
type archiveReader struct {
	seen   map[string]bool // names that came, of files that matter
	groups map[string]*group
	order  []*group
	report fact.Report // about the archive

	tried, modules int
	bytes          int64
	full           bool
}

// A group is what one machine's captures say.
type group struct {
	name, folder string
	kinds        []Kind
	snapshot     *lkm.Snapshot
	release      string
	arch, bootID string
	kernel       fact.Kernel
	fill         []*lkm.Snapshot       // parts of lists
	extra        map[string]*sysModule // of sys/module, by name
}

func (a *archiveReader) problem(p fact.Problem) { a.report.Add(p) }

// file reads one file of the archive if it may be a capture.
func (a *archiveReader) file(e archive.Entry, r io.Reader) error {
	w := whatIs(e.Name)
	if w.use == useNot {
		return nil
	}
	if a.seen[e.Name] {
		a.problem(fact.Problem{Source: SourceArchive, Subject: escape.UTF8(e.Name), Code: fact.CodeOther,
			Text: "the archive has the file twice: the first one counts"})
		return nil
	}
	if a.full || a.tried >= maxTried && w.use != useSys || a.bytes >= maxTriedAll || a.modules >= maxModules {
		if !a.full {
			a.problem(fact.ProblemOf(SourceArchive, "", "modules",
				fmt.Errorf("%w: the files from %q on were not read", fact.ErrTooLarge, e.Name)))
		}
		a.full = true
		return nil
	}
	if len(a.seen) < maxModules {
		a.seen[e.Name] = true
	}
	if e.Link {
		if w.use == useKind {
			a.problem(fact.Problem{Source: SourceArchive, Subject: escape.UTF8(e.Name), Code: fact.CodeUnsupported,
				Text: "it is a link, which is not followed"})
		}
		return nil
	}
	b, err := limit.AppendAll(r, nil, e.Name, w.most())
	if errors.Is(err, fact.ErrTooLarge) && int64(len(b)) < w.most() {
		return err // the archive's own limit
	}
	a.tried++
	a.bytes += int64(len(b))
	if err != nil {
		if w.use == useKind {
			a.problem(fact.ProblemOf(SourceArchive, escape.UTF8(e.Name), "", err))
		}
		if errors.Is(err, fact.ErrTooLarge) {
			return nil
		}
		return err
	}
	a.take(e.Name, w, b)
	return nil
}

// take reads a file's content.
func (a *archiveReader) take(name string, w what, b []byte) {
	switch w.use {
	case useRelease:
		a.uname(w.folder, b)
	case useVersion, useTainted, useBoot:
		a.fact(name, w, strings.TrimSpace(string(b)))
	case useFill:
		if part, err := readAs(text.Clean(b), w.kind); err == nil {
			f := a.facts(w.folder)
			f.fill = append(f.fill, part.snapshot)
			a.modules += len(part.snapshot.Modules)
		}
	case useSys:
		a.sys(w.folder, name, b)
	case useSections:
		for _, s := range sections(text.Clean(b)) {
			if s.use == useRelease {
				a.uname(w.folder, []byte(s.text))
				continue
			}
			a.capture(name, what{use: useKind, kind: s.kind, folder: w.folder}, []byte(s.text))
		}
	default:
		if w.use == useTry && (bytes.IndexByte(b[:min(len(b), 4096)], 0) >= 0 && !wide(b) || len(b) == 0) {
			return
		}
		a.capture(name, w, b)
	}
}

// wide reports whether a text begins as one of UTF-16.
func wide(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) ||
		len(b) > 3 && b[1] == 0 && b[3] == 0
}

// capture reads a text and adds what it says to its machine.
func (a *archiveReader) capture(name string, w what, b []byte) {
	best, err := readAs(text.Clean(b), w.kind)
	if err != nil {
		if w.use == useKind {
			a.problem(fact.ProblemOf(SourceArchive, escape.UTF8(name), "", err))
		}
		return
	}
	snap := best.snapshot
	setEncoding(snap, text.Encoding(b))
	a.modules += len(snap.Modules)
	kind := w.kind
	if kind == "" {
		kind = best.kind
	}
	g := a.group(w.folder, name, kind, snap.OS)
	g.kinds = append(g.kinds, kind)
	if g.snapshot == nil {
		g.snapshot = snap
		return
	}
	merge(g.snapshot, snap)
}

// group returns the machine that a capture belongs to: that of its folder, unless another capture of the kind is there.
func (a *archiveReader) group(folder, name string, kind Kind, os lkm.OS) *group {
	key := folder + "\x00" + string(os)
	g := a.groups[key]
	if g != nil && slices.Contains(g.kinds, kind) && kind != LinuxModinfo && kind != SC {
		key += "\x00" + name
		folder = name
		g = a.groups[key]
	}
	if g == nil {
		g = &group{name: folder, folder: folder}
		a.groups[key] = g
		a.order = append(a.order, g)
	}
	return g
}

// hosts returns the machines in the archive's order.
func (a *archiveReader) hosts() []Host {
	a.report.Done(SourceArchive, fact.CountOf(int64(len(a.order))))
	list := make([]Host, 0, len(a.order))
	for _, g := range a.order {
		s := g.snapshot
		s.Root = escape.UTF8(g.name)
		if f := a.groups["facts\x00"+g.folder]; f != nil && s.OS == Lsmod.OS() {
			f.addTo(s)
		}
		s.Sources = append(s.Sources, a.report.Sources...)
		s.Problems = append(s.Problems, a.report.Problems...)
		list = append(list, Host{Name: s.Root, Snapshot: s})
	}
	return list
}
