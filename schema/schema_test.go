// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/lkm"
)

var update = flag.Bool("update", false, "rewrite the schemas")

// A node is a JSON Schema, or a part of one.
type node map[string]any

const address = "https://github.com/kernelext/kernelext/schema/"

// The published schemas are those of the Go types.
func TestGoldenSchemas(t *testing.T) {
	for name, root := range map[string]reflect.Type{
		"snapshot": reflect.TypeFor[lkm.Snapshot](),
		"event":    reflect.TypeFor[lkm.Event](),
		"delta":    reflect.TypeFor[lkm.Delta](),
		"audit":    reflect.TypeFor[audit.Report](),
	} {
		g := &generator{t: t, defs: make(map[string]node), docs: make(map[string]*docs)}
		ref := g.of(root)
		top := node{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": address + name + ".json",
			"title": root.Name(), "$ref": ref["$ref"], "$defs": g.defs}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(top); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name+".json", b.Bytes(), *update)
	}
}

// A generator makes the schemas of types, each named type once.
type generator struct {
	t    *testing.T
	defs map[string]node
	docs map[string]*docs // by import path
}

// scalars are the types that write themselves as something else than their kind.
var scalars = map[reflect.Type]node{
	reflect.TypeFor[time.Time]():    {"type": "string", "format": "date-time"},
	reflect.TypeFor[fact.Count]():   {"type": "integer"},
	reflect.TypeFor[fact.Tri]():     {"enum": []string{"yes", "no"}},
	reflect.TypeFor[fact.Address](): {"type": "string", "pattern": "^0x[0-9a-f]{16}$"},
	reflect.TypeFor[fact.Detail]():  {"type": "array", "items": node{"type": "string"}},
}

// of returns the schema of a type; a named one of this module is a reference.
func (g *generator) of(t reflect.Type) node {
	if t.Kind() == reflect.Pointer {
		return g.of(t.Elem())
	}
	if !strings.HasPrefix(t.PkgPath(), module) {
		return g.plain(t)
	}
	name := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + t.Name()
	if _, ok := g.defs[name]; !ok {
		g.defs[name] = nil // a type that holds itself
		n := g.plain(t)
		if text := g.docsOf(t).types[t.Name()]; text != "" {
			n["description"] = text
		}
		if words := g.docsOf(t).words[t.Name()]; words != nil && n["type"] == "string" {
			n["examples"] = words
		}
		g.defs[name] = n
	}
	return node{"$ref": "#/$defs/" + name}
}

// plain returns the schema of a type by what it writes.
func (g *generator) plain(t reflect.Type) node {
	if n, ok := scalars[t]; ok {
		c := make(node, len(n))
		for k, v := range n {
			c[k] = v
		}
		return c
	}
	writer := reflect.TypeFor[json.Marshaler]()
	if t.Implements(writer) || reflect.PointerTo(t).Implements(writer) {
		g.t.Fatalf("%s writes its own JSON: add it to scalars", t)
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return node{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return node{"type": "string"}
	case reflect.Bool:
		return node{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return node{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return node{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return node{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return node{"type": "string", "contentEncoding": "base64"}
		}
		return node{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return node{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		n := node{"type": "object", "properties": node{}}
		g.fields(t, n)
		return n
	}
	g.t.Fatalf("%s: values of kind %s have no schema", t, t.Kind())
	return nil
}

// fields adds a struct's fields to a schema.
func (g *generator) fields(t reflect.Type, n node) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			g.fields(inner, n)
			continue
		case name == "":
			name = f.Name
		}
		field := g.of(f.Type)
		if text := g.docsOf(t).types[t.Name()+"."+f.Name]; text != "" {
			field["description"] = text
		}
		n["properties"].(node)[name] = field
		if !strings.Contains(options, "omit") {
			required, _ := n["required"].([]string)
			n["required"] = append(required, name)
		}
	}
}

// Every field of the published schemas says what it is.
func TestDescribed(t *testing.T) {
	g := &generator{t: t, defs: make(map[string]node), docs: make(map[string]*docs)}
	g.of(reflect.TypeFor[lkm.Event]())
	g.of(reflect.TypeFor[audit.Report]())
	if len(g.defs) < 50 {
		t.Errorf("%d types", len(g.defs))
	}
	for name, n := range g.defs {
		properties, _ := n["properties"].(node)
		for field, p := range properties {
			if text, _ := p.(node)["description"].(string); text == "" {
				t.Errorf("%s.%s has no description: %v", name, field, fmt.Sprint(p))
			}
		}
	}
}
