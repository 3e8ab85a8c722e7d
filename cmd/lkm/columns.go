// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// A column shows one fact of a module in a table for people.
type column struct {
	head  string
	right bool
	cell  func(m *lkm.Module) string
}

// unknown is how a table shows what is not known, and none what is known to be nothing.
const (
	unknown = "?"
	none    = "-"
)

var (
	nameColumn    = column{"NAME", false, func(m *lkm.Module) string { return m.Name }}
	stateColumn   = column{"STATE", false, func(m *lkm.Module) string { return orUnknown(string(m.State)) }}
	versionColumn = column{"VERSION", false, versionCell}
	sizeColumn    = column{"SIZE", true, sizeCell}
	refsColumn    = column{"REFS", true, func(m *lkm.Module) string { return m.Refs.String() }}
	usedByColumn  = column{"USED BY", false, func(m *lkm.Module) string { return namesCell(m.UsedBy) }}
	originColumn  = column{"ORIGIN", false, originCell}
	signedColumn  = column{"SIGNED", false, signedCell}
	pathColumn    = column{"PATH", false, func(m *lkm.Module) string { return orUnknown(m.Path) }}
	taintColumn   = column{"TAINT", false, taintCell}
)

// columns are those that a list of this kind of machine has.
func columns(os lkm.OS, scope lkm.Scope) []column {
	switch {
	case os == lkm.Windows:
		return windowsColumns(scope)
	case scope == lkm.ScopeBuiltin:
		return []column{nameColumn, versionColumn}
	case scope == lkm.ScopeInstalled:
		return []column{nameColumn, versionColumn, sizeColumn, originColumn, signedColumn, pathColumn}
	case scope == lkm.ScopeAll:
		return []column{nameColumn, stateColumn, versionColumn, sizeColumn, refsColumn, usedByColumn, originColumn,
			signedColumn}
	case os == lkm.Linux:
		return []column{nameColumn, sizeColumn, refsColumn, usedByColumn, originColumn, signedColumn, taintColumn}
	}
	return []column{nameColumn, stateColumn, versionColumn, sizeColumn, refsColumn, usedByColumn, originColumn,
		signedColumn}
}

// versionCell is a module's version. That it has none is known of Linux by its file's metadata or its directory in
// /sys/module, and of Windows by its file.
func versionCell(m *lkm.Module) string {
	if m.Version == "" {
		_, inSysfs := linuxOf(m).CoreSize.Get()
		known := inSysfs || linuxOf(m).Modinfo != nil
		switch m.Kind {
		case facts.KindWindowsDriver:
			known = m.Windows != nil && m.Windows.PE != nil
		case facts.KindLinuxModule:
		default:
			known = true
		}
		if !known {
			return unknown
		}
	}
	return orNone(m.Version)
}

// linuxOf returns what Linux says of a module; nothing of a module of another system.
func linuxOf(m *lkm.Module) *linux.Module {
	if m.Linux == nil {
		return new(linux.Module)
	}
	return m.Linux
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func sizeCell(m *lkm.Module) string {
	n, ok := m.Size.Get()
	if !ok {
		return unknown
	}
	return bytesText(n)
}

func namesCell(names []string) string {
	if names == nil {
		return unknown
	}
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ",")
}

func originCell(m *lkm.Module) string {
	switch m.Origin.Class {
	case lkm.OriginThirdParty:
		return "third-party"
	case "":
		return unknown
	}
	return string(m.Origin.Class)
}

func signedCell(m *lkm.Module) string {
	switch m.Signature.Status {
	case lkm.SignatureValid:
		return "yes"
	case lkm.SignatureNone:
		return "no"
	case "":
		if m.Signature.Evidence == facts.EvidenceTaintE {
			return "not valid"
		}
		return unknown
	}
	return string(m.Signature.Status)
}

func taintCell(m *lkm.Module) string {
	if m.Linux == nil || m.Linux.Taints == nil {
		return unknown
	}
	return orNone(strings.Join(m.Linux.Taints, ""))
}

// csvFields are the columns of a CSV list that names no fields.
var csvFields = []string{"id", "name", "state", "version", "size", "refs", "usedBy", "requires", "path", "contentId",
	"signature.status", "signature.signer", "origin.class", "linux.taints"}

// pick returns the values of the named fields of v, by their JSON names with dots between the
// levels. What is absent is nil.
func pick(v any, names []string) ([]any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = lookUp(tree, name)
	}
	return values, nil
}

func lookUp(tree map[string]any, name string) any {
	for {
		first, rest, deeper := strings.Cut(name, ".")
		v := tree[first]
		if !deeper {
			return v
		}
		next, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		tree, name = next, rest
	}
}

// cellText writes a picked value as one cell: lists of words with commas, an empty list, which is known, as none, and
// anything deeper as JSON. What is absent is unknown and "".
func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case []any:
		if len(v) == 0 {
			return none
		}
		words := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return jsonText(v)
			}
			words[i] = s
		}
		return strings.Join(words, ",")
	}
	return jsonText(v)
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
