// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxSnapshot is the largest JSON text of a Snapshot that Decode reads, in bytes.
const maxSnapshot = 256 << 20

// Decode reads a Snapshot in JSON, at most 256 MiB and as many modules as any system has: what takes more memory
// satisfies ErrTooLarge. Fields that this version does not know are
// dropped, words that it does not know are kept. A schema number higher than Schema is refused by
// an error that names both and satisfies errors.ErrUnsupported; text that is not a snapshot, or that
// goes on after it, satisfies ErrMalformed.
func Decode(r io.Reader) (*Snapshot, error) { return decodeSnapshot(r, fact.NewBudget(0).Item(0)) }

// decodeSnapshot is Decode, paid for by an item.
func decodeSnapshot(r io.Reader, item *fact.Item) (*Snapshot, error) {
	d := decoder{in: json.NewDecoder(&cappedReader{r: r, left: maxSnapshot}), item: item,
		fields: make(map[string]json.RawMessage)}
	if err := d.read(); errors.Is(err, ErrTooLarge) {
		return nil, fmt.Errorf("lkm: decode snapshot: %w", err)
	} else if err != nil {
		return nil, malformedJSON(err)
	}
	s := new(Snapshot)
	switch {
	case d.schema == nil || d.modules == nil:
		return nil, malformedJSON(errors.New("no schema number or no modules: not a snapshot"))
	case *d.schema > Schema:
		return nil, fmt.Errorf("lkm: decode snapshot: schema %d is newer than %d, which this version reads: %w",
			*d.schema, Schema, errors.ErrUnsupported)
	case *d.schema < 0:
		return nil, malformedJSON(fmt.Errorf("schema %d", *d.schema))
	case d.bad != nil:
		return nil, malformedJSON(d.bad)
	}
	rest, err := json.Marshal(d.fields)
	if err != nil {
		return nil, malformedJSON(err)
	}
	if err := json.Unmarshal(rest, s); err != nil {
		return nil, malformedJSON(err)
	}
	s.Modules = d.modules
	for i := range s.Modules {
		s.Modules[i].addNeutral()
	}
	return s, nil
}

// A decoder reads a Snapshot one module at a time.
type decoder struct {
	in      *json.Decoder
	fields  map[string]json.RawMessage // everything but the modules
	modules []Module                   // nil if there is no such field
	schema  *int
	bad     error      // what is wrong with the first field that is invalid
	item    *fact.Item // pays for it
	counted int64      // bytes of the text that the item knows of
}

// read reads the whole text.
func (d *decoder) read() error {
	if t, err := d.in.Token(); err != nil || t != json.Delim('{') {
		return cmp.Or(err, errors.New("no object"))
	}
	for d.in.More() {
		t, err := d.in.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := d.field(name); err != nil {
			return err
		}
	}
	if _, err := d.in.Token(); err != nil { // the object's end
		return err
	}
	if _, err := d.in.Token(); err != io.EOF {
		return cmp.Or(err, errors.New("text after the snapshot"))
	}
	return nil
}

// field reads one field. As everywhere in Go, letters fold case.
func (d *decoder) field(name string) error {
	if strings.EqualFold(name, "modules") {
		return d.list()
	}
	var raw json.RawMessage
	if err := d.in.Decode(&raw); err != nil {
		return err
	}
	if err := d.pay(raw); err != nil {
		return err
	}
	if strings.EqualFold(name, "schema") {
		d.schema = nil
		d.note(json.Unmarshal(raw, &d.schema))
	}
	d.fields[name] = raw
	return nil
}

// list reads the modules.
func (d *decoder) list() error {
	d.modules = nil
	t, err := d.in.Token()
	switch {
	case err != nil:
		return err
	case t == nil: // null
		return nil
	case t != json.Delim('['):
		return errors.New("modules are not a list")
	}
	d.modules = []Module{}
	var raw json.RawMessage
	for d.in.More() {
		raw = raw[:0]
		if err := d.in.Decode(&raw); err != nil {
			return err
		}
		if err := d.pay(raw); err != nil {
			return err
		}
		if err := d.keep(moduleSize); err != nil {
			return err
		}
		var m Module
		d.note(json.Unmarshal(raw, &m))
		d.modules = append(d.modules, m)
	}
	_, err = d.in.Token()
	return err
}

func (d *decoder) note(err error) { d.bad = cmp.Or(d.bad, err) }

// The memory that JSON takes when it is decoded, in bytes, beside its text.
const (
	moduleSize = 1200
	objectSize = 160
	valueSize  = 16
)

// pay asks for the memory that a value takes.
func (d *decoder) pay(raw []byte) error {
	return d.keep(int(payFor(raw)))
}

// payFor is the memory that a value takes with its text, in bytes.
func payFor(raw []byte) int64 {
	return int64(len(raw) + objectSize*bytes.Count(raw, []byte("{")) + valueSize*bytes.Count(raw, []byte(",")))
}

// keep asks for memory, of which more is allowed the more was read.
func (d *decoder) keep(n int) error {
	at := d.in.InputOffset()
	d.item.Grow(at - d.counted)
	d.counted = at
	return d.item.Keep(int64(n))
}

// A cappedReader gives no more than so many bytes.
type cappedReader struct {
	r    io.Reader
	left int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, limit.TooLarge("snapshot", maxSnapshot)
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func malformedJSON(err error) error {
	return fmt.Errorf("lkm: decode snapshot: %w: %w", ErrMalformed, err)
}
