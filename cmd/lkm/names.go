// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// maxNamed is how many modules of one name are named.
const maxNamed = 5

// sayTwo says that a name without its suffix fits several modules, which the answer shows one after the other.
func (a *app) sayTwo(name string, modules []lkm.Module) {
	if text := fitsTwo(name, modules); text != "" {
		fmt.Fprintln(a.stderr, "lkm: "+escape.Text(text))
	}
}

// fitsTwo returns what to say of a name without its suffix that fits modules of different names or files; empty if it
// fits one, or is no such name: an alias of a device fits as many as it likes.
func fitsTwo(name string, modules []lkm.Module) string {
	var named []string
	bare := false
	for i := range modules {
		m := &modules[i]
		text := m.Name
		if m.Path != "" {
			text += " (" + m.Path + ")"
		}
		if !slices.Contains(named, text) {
			named = append(named, text)
		}
		bare = bare || withoutSuffix(m.Name) == name
	}
	if !bare || len(named) < 2 {
		return ""
	}
	n, more := len(named), ""
	if n > maxNamed {
		named, more = named[:maxNamed], ", …"
	}
	return fmt.Sprintf("%s fits %d modules: %s%s; a name with its suffix, or an id, is one", name, n,
		strings.Join(named, ", "), more)
}

// withoutSuffix returns a module's name without the suffix of its file.
func withoutSuffix(name string) string {
	switch ext := path.Ext(name); strings.ToLower(ext) {
	case ".ko", ".kmod", ".sys", ".kext", ".nlm":
		return name[:len(name)-len(ext)]
	}
	return name
}
