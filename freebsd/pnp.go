// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A PNPTable is one table of devices that a module drives.
type PNPTable struct {
	// Bus is the bus that the devices sit on, such as "pci".
	Bus string `json:"bus"`
	// Descriptor says what each row holds, as the module wrote it: "U32:vendor;U32:device;".
	Descriptor string `json:"descriptor"`
	// IDs are the rows as text, "vendor=0x8086 device=0x10d3": what matches any value is left out,
	// a lower or upper bound is written >= or <=, a mask &.
	IDs []string `json:"ids,omitzero"`
}

// A deviceTable is a table of devices that can be asked whether it drives one.
type deviceTable struct {
	PNPTable
	rows []pnpRow
}

// A pnpField is one field of a descriptor, in the form that linker.hints has: I (number), J
// (number, −1 matches any), G (at least), L (at most), M (mask of the fields that count), D
// (description), Z (string), T (key=value that holds for the whole table).
type pnpField struct {
	Kind byte
	Name string
}

// pnpRow holds the values of one row in the order of its fields; T has none.
type pnpRow struct {
	fields []pnpField // shared by the rows of a table
	nums   []int32
	texts  []string
}

const (
	maxDescriptor = 1024
	maxPNPFields  = 64
	maxEntryLen   = 64 << 10
)

// pnpElement is how one field of a descriptor lies in a row.
type pnpElement struct {
	typ    string
	fields []pnpField // none: skipped or ignored; two for W32
	size   uint64
}

// parseDescriptor takes a descriptor such as "U16:vendor;U16:device;D:#;" apart.
func parseDescriptor(descr string, ptr uint64) ([]pnpElement, error) {
	var out []pnpElement
	for part := range strings.SplitSeq(descr, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		typ, name, ok := strings.Cut(part, ":")
		if !ok && typ != "P" {
			return nil, descriptorError(descr, "field %q has no name", part)
		}
		if len(out) == maxPNPFields {
			return nil, descriptorError(descr, "more than %d fields", maxPNPFields)
		}
		e, err := pnpElementOf(descr, typ, name, ptr)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func descriptorError(descr, format string, args ...any) error {
	return &fact.ParseError{Source: modMetadataSet, Field: "descr",
		Reason: fmt.Sprintf("%s in descriptor %.80q", fmt.Sprintf(format, args...), descr)}
}

func pnpElementOf(descr, typ, name string, ptr uint64) (pnpElement, error) {
	e := pnpElement{typ: typ}
	kind := byte(0)
	switch typ {
	case "U8", "V8":
		e.size, kind = 1, 'I'
	case "U16", "V16":
		e.size, kind = 2, 'I'
	case "G16", "L16", "M16":
		e.size, kind = 2, typ[0]
	case "U32", "V32":
		e.size, kind = 4, 'I'
	case "W32":
		e.size, kind = 4, 'I'
	case "E":
		e.size, kind = 4, 'Z'
	case "D", "Z":
		e.size, kind = ptr, typ[0]
	case "P":
		e.size = ptr
		return e, nil
	case "T":
		e.fields = []pnpField{{'T', name}}
		return e, nil
	default:
		return e, descriptorError(descr, "unknown type %q", typ)
	}
	if typ[0] == 'V' {
		kind = 'J'
	}
	first, second, two := strings.Cut(name, "/")
	if typ == "W32" {
		if !two {
			return e, descriptorError(descr, "W32 with one name")
		}
		e.fields = []pnpField{{kind, first}, {kind, second}}
		return e, nil
	}
	e.fields = []pnpField{{kind, name}}
	return e, nil
}

// pnp decodes one struct mod_pnp_match_info and its table.
func (d *decoder) pnp(data uint64) error {
	ptr := uint64(d.f.PtrSize())
	var p [3]uint64
	for i := range p {
		v, err := d.f.Pointer(data + uint64(i)*ptr)
		if err != nil {
			return err
		}
		p[i] = v
	}
	entryLen, err := d.f.Uint32(data + 3*ptr)
	if err != nil {
		return err
	}
	num, err := d.f.Uint32(data + 3*ptr + 4)
	if err != nil {
		return err
	}
	descr, err := d.f.String(p[0], maxDescriptor)
	if err != nil {
		return err
	}
	bus, err := d.text(p[1])
	if err != nil {
		return err
	}
	t := deviceTable{PNPTable: PNPTable{Bus: bus, Descriptor: escape.UTF8(descr), IDs: []string{}}}
	err = d.rows(&t, descr, p[2], uint64(entryLen), uint64(num))
	d.m.PNP = append(d.m.PNP, t)
	return err
}

// rows decodes the table's rows until one is invalid.
func (d *decoder) rows(t *deviceTable, descr string, table, entryLen, num uint64) error {
	elements, err := parseDescriptor(descr, uint64(d.f.PtrSize()))
	if err != nil {
		return err
	}
	if num == 0 {
		return nil
	}
	if entryLen == 0 || entryLen > maxEntryLen {
		return d.malformed("PNP table with rows of %d bytes", entryLen)
	}
	var fields []pnpField
	for _, e := range elements {
		fields = append(fields, e.fields...)
	}
	for i := range num {
		row, err := d.row(elements, fields, table+i*entryLen, entryLen)
		if err != nil {
			return fmt.Errorf("row %d of %d: %w", i, num, err)
		}
		id := row.String()
		if err := d.take(len(id) + 64 + 24*len(fields)); err != nil {
			return err
		}
		t.rows = append(t.rows, row)
		t.IDs = append(t.IDs, id)
	}
	return nil
}

func (d *decoder) row(elements []pnpElement, fields []pnpField, base, entryLen uint64) (pnpRow, error) {
	row := pnpRow{fields: fields}
	at := uint64(0)
	for _, e := range elements {
		if e.size == 0 { // T
			row.add(0, "")
			continue
		}
		at = (at + e.size - 1) &^ (e.size - 1)
		if at+e.size > entryLen {
			return row, d.malformed("descriptor is longer than the row of %d bytes", entryLen)
		}
		if err := d.element(&row, e, base+at); err != nil {
			return row, err
		}
		at += e.size
	}
	return row, nil
}

func (r *pnpRow) add(n int32, s string) {
	r.nums = append(r.nums, n)
	r.texts = append(r.texts, s)
}

func (d *decoder) element(row *pnpRow, e pnpElement, addr uint64) error {
	switch e.typ {
	case "P":
		return nil
	case "D", "Z":
		return d.pnpText(row, addr)
	}
	b, err := d.f.Bytes(addr, int(e.size))
	if err != nil {
		return err
	}
	v, all := uint32(0), uint32(0)
	switch e.size {
	case 1:
		v, all = uint32(b[0]), 0xff
	case 2:
		v, all = uint32(d.f.Order.Uint16(b)), 0xffff
	case 4:
		v, all = d.f.Order.Uint32(b), 0xffffffff
	}
	switch {
	case e.typ == "E":
		row.add(0, eisaID(b))
	case e.typ == "W32":
		row.add(int32(v&0xffff), "")
		row.add(int32(v>>16), "")
	case e.typ[0] == 'V' && v == all:
		row.add(-1, "")
	default:
		row.add(int32(v), "")
	}
	return nil
}

func (d *decoder) pnpText(row *pnpRow, addr uint64) error {
	p, err := d.f.Pointer(addr)
	if err != nil {
		return err
	}
	s := ""
	if p != 0 {
		if s, err = d.text(p); err != nil {
			return err
		}
	}
	row.add(0, s)
	return nil
}

// eisaID writes a compressed EISA id, such as PNP0501, from its four bytes.
func eisaID(b []byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{
		b[0]>>2&0x1f + '@', b[0]<<3&0x18 | b[1]>>5 + '@', b[1]&0x1f + '@',
		digits[b[2]>>4], digits[b[2]&15], digits[b[3]>>4], digits[b[3]&15],
	})
}

// String writes the row as PNPTable.IDs has it.
func (r pnpRow) String() string {
	var b strings.Builder
	for i, f := range r.fields {
		word := f.word(r.nums[i], r.texts[i])
		if word == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}

func (f pnpField) word(n int32, s string) string {
	if f.Name == "#" || f.Name == "" {
		return ""
	}
	hex := "0x" + strconv.FormatUint(uint64(uint32(n)), 16)
	switch f.Kind {
	case 'I':
		return f.Name + "=" + hex
	case 'J':
		if n == -1 {
			return ""
		}
		return f.Name + "=" + hex
	case 'G':
		return f.Name + ">=" + hex
	case 'L':
		return f.Name + "<=" + hex
	case 'M':
		return f.Name + "&" + hex
	case 'Z':
		return f.Name + "=" + quoteIfSpaced(s)
	case 'T':
		return f.Name
	}
	return "" // D: words for people
}

func quoteIfSpaced(s string) string {
	if strings.ContainsAny(s, " \"") || s == "" {
		return strconv.Quote(s)
	}
	return s
}
