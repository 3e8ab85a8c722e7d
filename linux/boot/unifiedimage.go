// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// unifiedImage reads the sections .cmdline and .uname of a unified kernel image, of which each
// profile may have its own, and what its addons add. One without a .cmdline gets its command line
// from elsewhere.
func (r *bootReader) unifiedImage(name string) {
	if strings.HasSuffix(name, ".addon.efi") {
		return // for an image beside it
	}
	sections, err := r.sections(name)
	if err != nil {
		r.lose(err)
		return
	}
	size := 0
	for _, text := range sections[".cmdline"] {
		size += len(text)
	}
	defer func(outer *fact.Item) { r.item = outer }(r.item)
	r.item = r.report.Budget.Item(int64(size))
	defer r.item.Done()
	e := Entry{File: name, Release: strings.TrimSpace(strings.Join(sections[".uname"], "")), unified: true}
	if e.Release == "" {
		r.setRelease(&e, name, "")
	}
	lines := sections[".cmdline"]
	if len(lines) == 0 {
		e.Unresolved, lines = []string{"no .cmdline section"}, []string{""}
	}
	more := r.addons(name)
	for _, text := range lines {
		one := e
		r.fill(&one, text+more)
		r.add(one)
	}
}

// programKind distinguishes a unified kernel image and a kernel from any other EFI program.
func (r *bootReader) programKind(name string) (programKind, error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return programOther, err
	}
	defer f.Close()
	return peKind(f, name)
}

// sections returns the text sections of a PE file that matter for a boot.
func (r *bootReader) sections(name string) (map[string][]string, error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return peSections(f, name, ".cmdline", ".uname")
}

// addons joins the command lines of the addons of a unified kernel image: those in the folder of
// its own name, and those for all images of its partition.
func (r *bootReader) addons(name string) string {
	return r.addonsIn(path.Dir(path.Dir(path.Dir(name)))+"/loader/addons") + r.addonsIn(name+".extra.d")
}

// addonsIn joins the command lines of the addons in a directory, which is read once.
func (r *bootReader) addonsIn(dir string) string {
	if text, ok := r.addOns[dir]; ok {
		return text
	}
	var text strings.Builder
	r.dir(dir, ".addon.efi", func(addon string) {
		if text.Len() > maxExpansion {
			return
		}
		sections, err := r.sections(addon)
		if err != nil {
			r.lose(err)
			return
		}
		for _, s := range sections[".cmdline"] {
			text.WriteString(" " + s)
		}
	})
	joined := text.String()
	if len(joined) > maxExpansion {
		r.lose(limit.TooLarge(dir, maxExpansion))
		joined = ""
	}
	if r.addOns == nil {
		r.addOns = make(map[string]string)
	}
	r.addOns[dir] = joined
	return joined
}

// Caps and offsets of a PE file's headers.
const (
	maxPESections = 96
	maxPEText     = 64 << 10
	peSectionSize = 40
)

// A peRange is one section of a PE file: its name, and the place of its content.
type peRange struct {
	name         string
	offset, size int64
}

// peRanges reads the headers of a PE file.
func peRanges(r io.ReaderAt, source string) ([]peRange, error) {
	var dos [64]byte
	if err := readAt(r, dos[:], 0); err != nil || string(dos[:2]) != "MZ" {
		return nil, malformed(source, "is not a PE file")
	}
	head := int64(binary.LittleEndian.Uint32(dos[60:]))
	var pe [24]byte
	if err := readAt(r, pe[:], head); err != nil || string(pe[:4]) != "PE\x00\x00" {
		return nil, malformed(source, "has no PE header")
	}
	count := int(binary.LittleEndian.Uint16(pe[6:]))
	table := head + 24 + int64(binary.LittleEndian.Uint16(pe[20:]))
	if count > maxPESections {
		return nil, malformed(source, "has too many sections")
	}
	ranges := make([]peRange, count)
	for i := range ranges {
		var s [peSectionSize]byte
		if err := readAt(r, s[:], table+int64(i)*peSectionSize); err != nil {
			return nil, malformed(source, "ends within the section table")
		}
		// The raw size is padded; the virtual size is the content's.
		size := min(binary.LittleEndian.Uint32(s[8:]), binary.LittleEndian.Uint32(s[16:]))
		ranges[i] = peRange{strings.TrimRight(string(s[:8]), "\x00"), int64(binary.LittleEndian.Uint32(s[20:])),
			int64(size)}
	}
	return ranges, nil
}

// read returns the section's content, of at most max bytes.
func (p peRange) read(r io.ReaderAt, source string, max int64) ([]byte, error) {
	if p.size > max {
		return nil, &fact.ParseError{Source: source, Reason: "section " + p.name + " is too large",
			Err: fact.ErrTooLarge}
	}
	b := make([]byte, min(p.size, 1<<20))
	for n := int64(0); ; { // grows with what is there, not with what a header says
		if err := readAt(r, b[n:], p.offset+n); err != nil {
			return nil, malformed(source, "ends within section "+p.name)
		}
		if n = int64(len(b)); n == p.size {
			return b, nil
		}
		b = append(b, make([]byte, min(n, p.size-n))...)
	}
}

// peSections returns the content of the named sections of a PE file, in their order, as text without
// final zeros, at most 64 KiB each. It reads the headers and those sections, nothing else.
func peSections(f fs.File, source string, names ...string) (map[string][]string, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, p := range ranges {
		if !slices.Contains(names, p.name) {
			continue
		}
		text, err := p.read(r, source, maxPEText)
		if err != nil {
			return nil, err
		}
		found[p.name] = append(found[p.name], escape.UTF8(strings.TrimRight(string(text), "\x00")))
	}
	return found, nil
}

// peSection returns the content of the first section of that name.
func peSection(f fs.File, source, name string, max int64) ([]byte, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return nil, err
	}
	for _, p := range ranges {
		if p.name == name {
			return p.read(r, source, max)
		}
	}
	return nil, nil
}

// A programKind is what an EFI program is.
type programKind int

const (
	programOther programKind = iota
	programKernel
	programUnified
)

// peKind returns what a PE file is: a unified kernel image by its sections, a kernel by the mark that each
// architecture's has in its header.
func peKind(f fs.File, source string) (programKind, error) {
	r, ok := f.(io.ReaderAt)
	if !ok {
		return programOther, errNoReaderAt
	}
	ranges, err := peRanges(r, source)
	if err != nil {
		return programOther, err
	}
	if slices.ContainsFunc(ranges, func(p peRange) bool { return p.name == ".linux" || p.name == ".cmdline" }) {
		return programUnified, nil
	}
	for _, m := range []struct {
		mark   string
		offset int64
	}{{"HdrS", 0x202}, {"ARM\x64", 56}, {"RSC\x05", 56}, {"zimg", 4}} {
		b := make([]byte, len(m.mark))
		if readAt(r, b, m.offset) == nil && string(b) == m.mark {
			return programKernel, nil
		}
	}
	return programOther, nil
}

// readAt fills b or fails.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
