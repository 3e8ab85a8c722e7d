// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/escape"
)

// A linker knows the symbols of files, each read once and when it is asked for.
type linker struct {
	fsys   fs.FS
	max    int64 // the largest file that is read, in bytes
	report *fact.Report
	global bool // the kernel looks in every loaded file, as DragonFly's does

	needs   map[*diskFile]*symbols
	defines map[*diskFile]*symbols
}

// symbols are names of symbols, or why they are not known.
type symbols struct {
	names map[string]bool
	list  []string // in the order of the file, if there is one
	err   error
}

// symbolSize is what the name of a symbol takes in a map beside its text, in bytes.
const symbolSize = 64

// read opens a file and reads names from it.
func (l *linker) read(d *diskFile, names func(f *elfset.File, item *fact.Item, s *symbols) error) *symbols {
	s := &symbols{names: map[string]bool{}}
	name := slashPath(d.Path)
	if d.compressed() {
		f, _, item, err := openCompressed(l.fsys, name, l.max, l.report)
		defer item.Done()
		if s.err = err; err == nil {
			s.err = names(f, item, s)
		}
		return s
	}
	f, closer, err := elfset.OpenFS(l.fsys, name, l.max)
	if err != nil {
		s.err = err
		return s
	}
	defer closer.Close()
	item := l.report.Budget.Item(f.Size())
	s.err = names(f, item, s)
	return s
}

// needed returns the symbols that a file needs of others.
func (l *linker) needed(d *diskFile) *symbols {
	if s := l.needs[d]; s != nil {
		return s
	}
	s := l.read(d, func(f *elfset.File, item *fact.Item, s *symbols) (err error) {
		s.list, err = f.Needed(item)
		return err
	})
	if l.needs == nil {
		l.needs = map[*diskFile]*symbols{}
	}
	l.needs[d] = s
	return s
}

// defined returns the symbols that a file defines.
func (l *linker) defined(d *diskFile) *symbols {
	if s := l.defines[d]; s != nil {
		return s
	}
	s := l.read(d, func(f *elfset.File, item *fact.Item, s *symbols) error {
		return f.Defined(item, func(name string) error {
			s.names[name] = true
			return item.Keep(int64(len(name)) + symbolSize)
		})
	})
	if l.defines == nil {
		l.defines = map[*diskFile]*symbols{}
	}
	l.defines[d] = s
	return s
}

// linked answers whether the linker finds each symbol that the file needs.
func (c *checker) linked(d *diskFile) fact.Answer {
	found := fact.Passes(d.installed())
	k := c.library.Kernel
	if c.linker == nil || k == nil || errors.Is(k.unread, fs.ErrNotExist) {
		return found
	}
	needs, _ := c.library.requires(d)
	name, err := c.linker.missing(d, k, needs)
	reason := fact.Reason{Code: ReasonSymbols, File: d.Path, Text: "it needs the symbol " + name +
		", which neither the kernel nor a file that it depends on defines"}
	switch {
	case err != nil:
		reason.Text = "whether the kernel defines what it needs is not known: " + escape.Text(err.Error())
		return fact.UnsureOf(reason)
	case name == "":
		return found
	case c.linker.global:
		reason.Text += "; another loaded file may"
		return fact.UnsureOf(reason)
	}
	return fact.Stops(reason)
}

// running is an answer about the linker for the running kernel, which may be another than its file on disk.
func (c *checker) running(a fact.Answer) fact.Answer {
	because := a.Because()
	if a.Blocked() != fact.Yes || because.Code != ReasonSymbols || c.sameKernel() {
		return a
	}
	because.Text += "; the running kernel may be another than its file on disk"
	return fact.UnsureOf(because)
}

// missing returns the first symbol that a file needs and that neither the kernel nor one of the files that it depends
// on defines; empty if all are defined. The files that those depend on are not searched (relocate_file,
// linker_file_lookup_symbol_internal of kern_linker.c). The error says why that is unknown; a kernel whose file has no
// symbols says nothing.
func (l *linker) missing(d, kernel *diskFile, needs []*diskFile) (string, error) {
	s := l.needed(d)
	if s.err != nil {
		return "", nil // what is not ELF, or has no symbols: others say what is wrong with it
	}
	if len(s.list) == 0 {
		return "", nil
	}
	own := l.defined(d).names // a file may define by name what a relocation has no definition of
	providers := append([]*diskFile{kernel}, needs...)
	var lost error
	for _, name := range s.list {
		found := own[name]
		for _, p := range providers {
			if found {
				break
			}
			defined := l.defined(p)
			if defined.err != nil {
				lost = fmt.Errorf("the symbols of %s: %w", p.Name(), defined.err)
			}
			found = defined.names[name]
		}
		switch {
		case found:
		case lost != nil:
			return "", lost
		default:
			return escape.Text(name), nil
		}
	}
	return "", nil
}
