// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// hints is what a linker.hints file says: an index, made by kldxref(8), of the metadata of the
// files in its directory. It can be older than they are, and lacks dependencies.
type hints struct {
	// Modules are the MODULE records: Name is the record's name, File the file that has it.
	Modules []hintModule
	// Versions are the VERSION records.
	Versions []hintVersion
	// PNP are the tables of devices, each with the file of the MODULE record before it, which is
	// the file it belongs to.
	PNP []hintPNP
	// Order is the byte order of the file, which is that of its kernel.
	Order binary.ByteOrder
}

// A hintModule is one MODULE record.
type hintModule struct {
	Name, File string
}

// A hintVersion is one VERSION record.
type hintVersion struct {
	Name    string
	Version int32
	File    string
}

// A hintPNP is one PNP_INFO record.
type hintPNP struct {
	deviceTable
	File string
}

// hintsFile is the index's name in its directory.
const hintsFile = "linker.hints"

// hintSize is the memory of a record beside its fields, in bytes.
const hintSize = 96

// maxHints is a generous multiple of the kernel's own limit of 1 MiB.
const maxHints = 8 << 20

// readHints reads the linker.hints file of a module directory.
func readHints(fsys fs.FS, dir string, r *fact.Report) (*hints, error) {
	b, item, err := limit.ReadItem(fsys, slashPath(dir+"/"+hintsFile), maxHints, r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	return parseHints(b, dir, r)
}

// parseHints reads the linker.hints file of a directory, of either byte order. A record that is invalid costs
// itself, which is reported; one whose length is invalid ends the reading, since nothing says where the next one
// begins. The error is for a file that is not a linker.hints at all.
func parseHints(b []byte, dir string, r *fact.Report) (*hints, error) {
	if len(b) > maxHints {
		return nil, limit.TooLarge(hintsFile, maxHints)
	}
	item := r.Budget.Content(b)
	defer item.Done()
	h := &hints{}
	switch {
	case len(b) < 4:
		return nil, &fact.ParseError{Source: hintsFile, Field: "version", Reason: fmt.Sprintf("%d bytes long", len(b))}
	case binary.LittleEndian.Uint32(b) == 1:
		h.Order = binary.LittleEndian
	case binary.BigEndian.Uint32(b) == 1:
		h.Order = binary.BigEndian
	default:
		return nil, &fact.ParseError{Source: hintsFile, Field: "version", Reason: fmt.Sprintf("%#x is not version 1",
			b[:4])}
	}
	bad := func(at int, field, format string, args ...any) {
		err := &fact.ParseError{Source: hintsFile, Field: field, Offset: int64(at), Reason: fmt.Sprintf(format,
			args...)}
		r.Problem(SourceHints, dir, "freebsd.versions", err)
	}
	last := ""
	for at := 4; at < len(b); {
		if len(b)-at < 8 {
			bad(at, "record", "%d bytes after the last record", len(b)-at)
			break
		}
		n := int(int32(h.Order.Uint32(b[at:])))
		if n < 4 || n%4 != 0 || n > len(b)-at-4 {
			bad(at, "length", "%d is invalid", n)
			break
		}
		rec := &hintReader{b: b[at+4 : at+4+n], order: h.Order, item: item}
		if err := h.record(rec, &last); err != nil {
			bad(at, "record", "%v", err)
			if errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget) {
				return nil, err
			}
		}
		at += 4 + n
	}
	return h, nil
}

func (h *hints) record(r *hintReader, last *string) error {
	switch typ := r.int(); typ {
	case mdtVersion:
		v := hintVersion{Name: r.str()}
		v.Version = r.int()
		v.File = r.str()
		if r.keep(hintSize); r.err == nil {
			h.Versions = append(h.Versions, v)
		}
	case mdtModule:
		m := hintModule{Name: r.str(), File: r.str()}
		if r.keep(hintSize); r.err == nil {
			h.Modules = append(h.Modules, m)
			*last = m.File
		}
	case mdtPNPInfo:
		p, err := readHintPNP(r)
		if err != nil {
			return err
		}
		p.File = *last
		h.PNP = append(h.PNP, p)
	default:
		return fmt.Errorf("unknown type %d", typ)
	}
	return r.err
}

func readHintPNP(r *hintReader) (hintPNP, error) {
	p := hintPNP{deviceTable: deviceTable{PNPTable: PNPTable{Bus: r.str(), Descriptor: r.str(), IDs: []string{}}}}
	n := r.int()
	if r.err != nil {
		return p, r.err
	}
	fields, err := hintFields(p.Descriptor)
	if err != nil {
		return p, err
	}
	perRow := 0
	for _, f := range fields {
		if f.Kind != 'T' {
			perRow++
		}
	}
	if n < 0 || perRow == 0 && n > 1 || perRow > 0 && int(n) > len(r.b) {
		return p, fmt.Errorf("%d rows in %d bytes", n, len(r.b))
	}
	for i := range n {
		row := pnpRow{fields: fields}
		for _, f := range fields {
			switch f.Kind {
			case 'T':
				row.add(0, "")
			case 'D', 'Z':
				row.add(0, r.str())
			default:
				row.add(r.int(), "")
			}
		}
		if r.keep(hintSize + 24*len(fields)); r.err != nil {
			return p, fmt.Errorf("row %d of %d: %w", i, n, r.err)
		}
		p.rows = append(p.rows, row)
		p.IDs = append(p.IDs, row.String())
	}
	return p, nil
}

// hintFields takes a descriptor of a linker.hints file apart: "I:vendor;I:device;D:#;".
func hintFields(descr string) ([]pnpField, error) {
	var out []pnpField
	for part := range strings.SplitSeq(descr, ";") {
		if part == "" {
			continue
		}
		if len(part) < 2 || part[1] != ':' || strings.IndexByte("IJGLMDZT", part[0]) < 0 {
			return nil, fmt.Errorf("field %.40q of the descriptor is invalid", part)
		}
		if len(out) == maxPNPFields {
			return nil, fmt.Errorf("descriptor of more than %d fields", maxPNPFields)
		}
		out = append(out, pnpField{part[0], part[2:]})
	}
	return out, nil
}

// hintReader takes numbers and strings out of one record; the first failure sticks.
type hintReader struct {
	b     []byte
	order binary.ByteOrder
	item  *fact.Item
	at    int
	err   error
}

// keep asks for n bytes of what the index says.
func (r *hintReader) keep(n int) {
	if r.err == nil {
		r.err = r.item.Keep(int64(n))
	}
}

func (r *hintReader) int() int32 {
	at := (r.at + 3) &^ 3
	if r.err != nil || len(r.b)-at < 4 {
		r.fail("number")
		return 0
	}
	r.at = at + 4
	return int32(r.order.Uint32(r.b[at:]))
}

func (r *hintReader) str() string {
	if r.err != nil || r.at >= len(r.b) {
		r.fail("string")
		return ""
	}
	n := int(r.b[r.at])
	if n > len(r.b)-r.at-1 {
		r.fail("string")
		return ""
	}
	s := r.b[r.at+1 : r.at+1+n]
	r.at += 1 + n
	return escape.UTF8(string(s))
}

func (r *hintReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("the record ends before a %s", what)
	}
}
