// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// maxAttribute is the longest attribute that is taken from a machine, in bytes.
const maxAttribute = 1 << 10

// attribute sets an attribute if it is known: valid UTF-8, without which a whole batch is refused on its way, and cut.
func attribute(to pcommon.Map, name, value string) {
	if value == "" {
		return
	}
	value = strings.ToValidUTF8(value, "\uFFFD")
	if len(value) > maxAttribute {
		value = strings.ToValidUTF8(value[:maxAttribute], "")
	}
	to.PutStr(name, value)
}

// errNumber says that a number has no place in a value.
var errNumber = errors.New("a number that is neither an int64 nor a float64")

// fill fills a map from the text of a JSON object, whose keys keep their order.
func fill(to pcommon.Map, text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("no JSON object: %v %w", t, err)
	}
	return fillMap(to, d)
}

func fillMap(to pcommon.Map, d *json.Decoder) error {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := fillValue(to.PutEmpty(key.(string)), d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func fillValue(to pcommon.Value, d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return fillMap(to.SetEmptyMap(), d)
		}
		list := to.SetEmptySlice()
		for d.More() {
			if err := fillValue(list.AppendEmpty(), d); err != nil {
				return err
			}
		}
		_, err := d.Token()
		return err
	case string:
		to.SetStr(t)
	case bool:
		to.SetBool(t)
	case json.Number:
		return fillNumber(to, t.String())
	}
	return nil // null is the empty value
}

func fillNumber(to pcommon.Value, text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		to.SetInt(n)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strconv.FormatFloat(f, 'g', -1, 64) != text {
		return errNumber
	}
	to.SetDouble(f)
	return nil
}

// maxDepth is how deep a value of a received record may be.
const maxDepth = 64

// errDeep says that a received value is not an event's.
var errDeep = errors.New("the body is nested too deep")

// text returns a received map as JSON.
func text(m pcommon.Map) ([]byte, error) {
	var b bytes.Buffer
	err := writeMap(&b, m, 0)
	return b.Bytes(), err
}

func writeMap(b *bytes.Buffer, m pcommon.Map, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	b.WriteByte('{')
	first := true
	for k, v := range m.All() {
		if !first {
			b.WriteByte(',')
		}
		first = false
		writeJSON(b, k)
		b.WriteByte(':')
		if err := writeValue(b, v, depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeValue(b *bytes.Buffer, v pcommon.Value, depth int) error {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		return writeMap(b, v.Map(), depth)
	case pcommon.ValueTypeSlice:
		if depth > maxDepth {
			return errDeep
		}
		b.WriteByte('[')
		for i, e := range v.Slice().All() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeValue(b, e, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case pcommon.ValueTypeInt:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case pcommon.ValueTypeDouble:
		return writeJSON(b, v.Double())
	case pcommon.ValueTypeBool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case pcommon.ValueTypeStr:
		return writeJSON(b, v.Str())
	case pcommon.ValueTypeEmpty:
		b.WriteString("null")
	default:
		return fmt.Errorf("a value of type %s", v.Type())
	}
	return nil
}

func writeJSON(b *bytes.Buffer, v any) error {
	text, err := json.Marshal(v)
	b.Write(text)
	return err
}
