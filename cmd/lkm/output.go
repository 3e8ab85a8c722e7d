// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/lkm"
)

var formats = []string{"table", "json", "jsonl", "csv", "markdown"}

// checkFormat returns an error for a format or a combination that there is not.
func (a *app) checkFormat() error {
	if !slices.Contains(formats, a.flags.format) {
		return fmt.Errorf("--format %q is not one of %s", a.flags.format, strings.Join(formats, ", "))
	}
	if a.flags.format == "json" && len(a.flags.fields) > 0 {
		return errors.New("--fields goes with table, jsonl, csv and markdown; json is always whole")
	}
	for _, name := range a.flags.fields {
		if !hasField(reflect.TypeFor[lkm.Module](), name) {
			return fmt.Errorf("--fields: a module has no field %q%s", name,
				didYouMean("", near.Names(name, moduleFields(name))))
		}
	}
	return nil
}

// hasField reports whether values of type t can have the field in their JSON, with dots between
// the levels.
func hasField(t reflect.Type, name string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Map {
		return true // any key may be there
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	first, rest, deeper := strings.Cut(name, ".")
	for i := range t.NumField() {
		f := t.Field(i)
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key == first && key != "" {
			return !deeper || hasField(f.Type, rest)
		}
	}
	return false
}

// writeJSON writes v indented. Characters that a terminal would act on are escaped, which leaves
// the JSON's meaning as it is.
func writeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(safeJSON(b.Bytes()))
	return err
}

// safeJSON escapes the characters that encoding/json leaves and a terminal may act on: DEL, C1
// controls and format characters such as the bidirectional overrides.
func safeJSON(b []byte) []byte {
	risky := func(r rune) bool { return r == 0x7f || (r >= 0x80 && !strconv.IsPrint(r)) }
	if plain(b) || bytes.IndexFunc(b, risky) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case !risky(r):
			out = append(out, b[:n]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}

// plain reports whether there are only bytes of ASCII but DEL, which is quick to see.
func plain(b []byte) bool {
	if bytes.IndexByte(b, 0x7f) >= 0 {
		return false
	}
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// writeModules writes the modules in a format other than json, which is the caller's. cols are the
// columns of the table for people.
func (a *app) writeModules(modules []lkm.Module, cols []column) error {
	if a.flags.format == "jsonl" {
		return a.writeLines(modules)
	}
	fields := a.flags.fields
	if a.flags.format == "csv" && len(fields) == 0 {
		fields = csvFields
	}
	absent := unknown
	if a.flags.format == "csv" {
		absent = ""
	}
	t, err := moduleTable(modules, cols, fields, absent)
	if err != nil {
		return err
	}
	switch a.flags.format {
	case "csv":
		return writeCSV(a.stdout, t)
	case "markdown":
		t.markdown(a.stdout)
	default:
		a.print(t)
	}
	return nil
}

// writeLines prints a module a line.
func (a *app) writeLines(modules []lkm.Module) error {
	var b bytes.Buffer
	for i := range modules {
		b.Reset()
		if err := a.encodeLine(&b, &modules[i]); err != nil {
			return err
		}
		if _, err := a.stdout.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// encodeLine appends a module, or those of its fields that are asked for, as a line of JSON that is safe on a terminal.
func (a *app) encodeLine(b *bytes.Buffer, m *lkm.Module) error {
	if len(a.flags.fields) == 0 {
		return encodeJSON(b, m)
	}
	values, err := pick(m, a.flags.fields)
	if err != nil {
		return err
	}
	line := make(map[string]any, len(values))
	for i, v := range values {
		if v != nil {
			line[a.flags.fields[i]] = v
		}
	}
	return encodeJSON(b, line)
}

// encodeJSON appends v as a line of JSON that is safe on a terminal.
func encodeJSON(b *bytes.Buffer, v any) error {
	from := b.Len()
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	if safe := safeJSON(b.Bytes()[from:]); len(safe) != b.Len()-from {
		b.Truncate(from)
		b.Write(safe)
	}
	return nil
}

// moduleTable makes a table of the columns, or of the named fields when there are any: absent is then what stands for
// a field that is not known.
func moduleTable(modules []lkm.Module, cols []column, fields []string, absent string) (*table, error) {
	t := new(table)
	if len(fields) == 0 {
		for _, c := range cols {
			t.head, t.right = append(t.head, c.head), append(t.right, c.right)
		}
		for i := range modules {
			row := make([]string, len(cols))
			for j, c := range cols {
				row[j] = c.cell(&modules[i])
			}
			t.rows = append(t.rows, row)
		}
		return t, nil
	}
	t.head = fields
	for i := range modules {
		values, err := pick(&modules[i], fields)
		if err != nil {
			return nil, err
		}
		row := make([]string, len(values))
		for j, v := range values {
			row[j] = fieldCell(&modules[i], fields[j], v, absent)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// fieldCell writes a field's value as a cell. That a module has no version is known of some: JSON leaves it out then.
func fieldCell(m *lkm.Module, field string, v any, absent string) string {
	text := cellText(v)
	if text == "" && (field != "version" || versionCell(m) == unknown) {
		return absent
	}
	return orNone(text)
}

// isFormula reports whether a spreadsheet may take a cell for a formula, which a negative number and the sign for known
// none are not.
func isFormula(cell string) bool {
	if cell == "" || cell == none || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return false
	}
	_, err := strconv.ParseFloat(cell, 64)
	return err != nil || cell[0] != '-'
}

// writeCSV writes the table as CSV, with unprintable characters escaped. A cell that a spreadsheet
// would take for a formula gets an apostrophe in front.
func writeCSV(w io.Writer, t *table) error {
	c := csv.NewWriter(w)
	c.Write(t.head)
	for _, row := range t.rows {
		for i, cell := range row {
			cell = escape.Text(cell)
			row[i] = cell
			if isFormula(cell) {
				row[i] = "'" + cell
			}
		}
		c.Write(row)
	}
	c.Flush()
	return c.Error()
}
