// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
)

// A BuiltinModule is code that is compiled into the kernel and would be a module otherwise.
type BuiltinModule struct {
	// Name is the module's name.
	Name string
	// File is the path it would have as a module (modules.builtin); empty for code that is known
	// only by its metadata.
	File string
	// Modinfo are its entries of modules.builtin.modinfo, in that file's order; nil when the file
	// was not read.
	Modinfo ko.Modinfo
}

// parseBuiltin joins modules.builtin and modules.builtin.modinfo, sorted by name. Either may be
// nil. The second holds NUL-ended "name.key=value" entries; a name's entries need not be adjacent, and it names code
// that modules.builtin leaves out.
func parseBuiltin(list, modinfo []byte) []BuiltinModule {
	var modules []BuiltinModule
	index := make(map[string]int)
	add := func(name string) *BuiltinModule {
		i, ok := index[name]
		if !ok {
			i = len(modules)
			index[name] = i
			modules = append(modules, BuiltinModule{Name: name})
		}
		return &modules[i]
	}
	for _, file := range parseOrder(list) {
		if m := add(ko.NameOfFile(file)); m.File == "" {
			m.File = file
		}
	}
	for rest := escape.UTF8(string(modinfo)); rest != ""; {
		var entry string
		entry, rest, _ = strings.Cut(rest, "\x00")
		key, value, _ := strings.Cut(entry, "=")
		name, key, ok := strings.Cut(key, ".")
		if !ok || name == "" || key == "" {
			continue
		}
		m := add(strings.ReplaceAll(name, "-", "_"))
		m.Modinfo = append(m.Modinfo, ko.Entry{Key: key, Value: value})
	}
	if modinfo != nil {
		for i := range modules {
			if modules[i].Modinfo == nil {
				modules[i].Modinfo = ko.Modinfo{}
			}
		}
	}
	slices.SortFunc(modules, func(a, b BuiltinModule) int { return strings.Compare(a.Name, b.Name) })
	return modules
}

// builtinIndex makes an index of the names, for trees without modules.builtin.bin.
func builtinIndex(list []byte, source string) (*Index, error) {
	var entries []indexEntry
	for line := range bytes.Lines(list) {
		if len(entries) > maxIndexEntries {
			break // buildIndex refuses them
		}
		if file := strings.TrimSpace(string(line)); file != "" && file[0] != '#' {
			entries = append(entries, indexEntry{key: ko.NameOfFile(file)})
		}
	}
	return buildIndex(entries, source)
}
