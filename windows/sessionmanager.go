// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"errors"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/registry"
)

// sessionManagerKey has what the session manager does at boot, before services start.
const sessionManagerKey = `SYSTEM\CurrentControlSet\Control\Session Manager`

// pendingRenames are the values with the files that the session manager renames.
var pendingRenames = [...]string{"PendingFileRenameOperations", "PendingFileRenameOperations2"}

// replacedAtBoot answers for a file whose place another one may take at the next boot: what MoveFileEx puts off until
// then. It does not apply if none does.
func (c *checker) replacedAtBoot(e *entry) fact.Answer {
	because := func(text string) fact.Answer {
		return fact.UnsureOf(fact.Reason{Code: ReasonPending, File: `HKLM\` + sessionManagerKey, Text: text})
	}
	key, err := c.kernel.registry(c.ctx, sessionManagerKey)
	switch {
	case errors.Is(err, errNotThere), fact.Lacks(err):
		return fact.Answer{}
	case err != nil:
		return because("whether another file takes its place at the next boot is not known: " + err.Error())
	}
	path := c.inventory.Paths.fullKey(e.Path)
	for _, name := range pendingRenames {
		v, ok := key.Value(name)
		if ok && v.Type != registry.TypeMulti {
			return because(name + " is no list")
		}
		list := strings.Split(utf16text.Decode(v.Data), "\x00")
		for i := 1; i < len(list); i += 2 { // after each file its new place, which is empty for one that is deleted
			if list[i] == redactedPath && !isDriverFile(path) {
				return because("another file may take its place at the next boot: this recording left it out")
			}
			dos, err := c.inventory.Paths.dos(strings.TrimLeft(list[i], "!*0123456789"))
			if err == nil && c.inventory.Paths.fullKey(dos) == path {
				return because("another file takes its place at the next boot: " + safe(list[i-1]))
			}
		}
	}
	return fact.Answer{}
}

// isDriverFile reports whether a path names a file as drivers are named.
func isDriverFile(path string) bool { return strings.HasSuffix(fold(path), ".sys") }

// redactedPath is what a recording keeps of a path that is not a driver's.
const redactedPath = "-"

// redactSessionManager keeps the files that are renamed at boot, by their names only those that are drivers: the others
// say what people have, and what they install.
func redactSessionManager(data []byte) []byte {
	var damaged fact.Report
	keys, err := registry.ParseText(OpRegistry, data, &damaged)
	if err != nil || len(damaged.Problems) > 0 {
		return nil
	}
	changed := false
	for i := range keys {
		var kept []registry.Value
		for _, name := range pendingRenames {
			if v, ok := keys[i].Value(name); ok {
				own := withoutFileNames(v)
				changed = changed || !bytes.Equal(own.Data, v.Data)
				kept = append(kept, own)
			}
		}
		changed = changed || len(kept) != len(keys[i].Values)
		keys[i].Values = kept
	}
	if !changed {
		return data
	}
	return registry.AppendText([]byte{}, keys)
}

// withoutFileNames returns a list of files with the names of drivers alone. What is no list keeps its name.
func withoutFileNames(v registry.Value) registry.Value {
	if v.Type != registry.TypeMulti {
		return registry.StringValue(v.Name, registry.TypeString, "")
	}
	list := strings.Split(utf16text.Decode(v.Data), "\x00")
	for i, file := range list {
		if file != "" && !isDriverFile(file) {
			list[i] = redactedPath
		}
	}
	v.Data = utf16text.Encode(strings.Join(list, "\x00"))
	return v
}
