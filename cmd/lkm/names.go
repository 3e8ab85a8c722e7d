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
	bare, alike := false, true
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
		alike = alike && m.Name == modules[0].Name
	}
	if !bare || len(named) < 2 {
		return ""
	}
	n, more := len(named), ""
	if n > maxNamed {
		named, more = named[:maxNamed], ", …"
	}
	one := "a name with its suffix, or an id, is one"
	if alike {
		one = "a path is one"
	}
	return fmt.Sprintf("%s fits %d modules: %s%s; %s", name, n, strings.Join(named, ", "), more, one)
}

// judged returns the modules that verdicts on one name are about, as far as they say it. Of several kernels it is those
// of the first.
func judged(verdicts []lkm.Verdict) (modules []lkm.Module) {
	for i := range verdicts {
		v := &verdicts[i]
		if _, name, ok := strings.Cut(v.Module, ":"); ok && v.Release == verdicts[0].Release {
			name, _, _ = strings.Cut(name, "#")
			m := lkm.Module{Name: name}
			if at := slices.IndexFunc(v.Reasons, func(r lkm.Reason) bool { return r.Code == "installed" }); at >= 0 {
				m.Path = v.Reasons[at].File
			}
			modules = append(modules, m)
		}
	}
	return modules
}

// withoutSuffix returns a module's name without the suffix of its file.
func withoutSuffix(name string) string {
	switch ext := path.Ext(name); strings.ToLower(ext) {
	case ".ko", ".kmod", ".sys", ".kext", ".nlm":
		return name[:len(name)-len(ext)]
	}
	return name
}
