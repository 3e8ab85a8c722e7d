// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"
)

// Limits on what an INF file installs.
const (
	maxINFModels = 100_000 // lines of all models sections; a graphics driver has some 2,000
	maxINFIDs    = 64      // ids of one line
)

// An infModel is one line of a models section: a device that the INF is for.
type infModel struct {
	Description string   // the device's name
	Section     string   // the install section, without decoration
	Decoration  string   // of the models section, folded: the systems that it is for; empty for every one
	IDs         []string // the hardware id first, then compatible ids, unchanged
}

// models reads the models sections that [Manufacturer] names: "%Maker%=Base,NTamd64,NTarm64.10.0" leads to [Base] and
// to [Base.NTamd64] and so on. cut is set if there are more than are kept.
func (f *infFile) models() (list []infModel, cut bool) {
	seen := map[string]bool{}
	for _, l := range f.sections["manufacturer"] {
		value := l.value
		if value == "" {
			value = l.key // a name alone names its own section
		}
		fields := infFields(value)
		base := fold(f.expand(fields[0]))
		for i, decoration := range append([]string{""}, fields[1:]...) {
			name := base
			if decoration = fold(f.expand(decoration)); i > 0 {
				if decoration == "" {
					continue
				}
				name += "." + decoration
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, line := range f.sections[name] {
				if len(list) == maxINFModels || !f.keep(infLineSize) {
					return list, true
				}
				if m, ok := f.model(line, decoration); ok {
					list = append(list, m)
				}
			}
		}
	}
	return list, false
}

// architecture returns the one that a decoration is for, such as amd64 of ntamd64.10.0...22000; empty for every one.
func (m *infModel) architecture() string {
	name, _, _ := strings.Cut(m.Decoration, ".")
	return strings.TrimPrefix(name, "nt")
}

// folderArchitecture returns the architecture of a package by the name of its folder in the store, INF_ARCH_HASH; empty
// for a name of another form.
func folderArchitecture(folder string) string {
	i := indexFold(folder, ".inf_")
	if i < 0 {
		return ""
	}
	arch, _, _ := strings.Cut(fold(folder[i+len(".inf_"):]), "_")
	return arch
}

// models returns the devices that the package is for on systems of its architecture: Windows takes the models sections
// of that one ("INF Manufacturer Section", learn.microsoft.com).
func (p *stagedPackage) models() []infModel {
	arch := folderArchitecture(p.folder)
	return slices.DeleteFunc(slices.Clone(p.inf.Models), func(m infModel) bool {
		own := m.architecture()
		return arch != "" && own != "" && own != arch
	})
}

// model reads "%Name%=Section,hardware id,compatible id,…".
func (f *infFile) model(l infLine, decoration string) (infModel, bool) {
	fields := infFields(l.value)
	m := infModel{Description: f.expand(l.key), Section: f.expand(fields[0]), Decoration: decoration}
	for _, id := range fields[1:] {
		if len(m.IDs) == maxINFIDs {
			break
		}
		if id = f.expand(id); id != "" {
			m.IDs = append(m.IDs, id)
		}
	}
	return m, len(m.IDs) > 0
}

// infFields splits a value at the commas outside quotes; there is at least one field.
func infFields(s string) []string {
	var list []string
	quoted, from := false, 0
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				list = append(list, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	return append(list, strings.TrimSpace(s[from:]))
}

// filtersOf returns the services that an install section makes filters of the device: each AddFilter of its .Filters
// sections names a section with ServiceName ("INF AddFilter Directive", learn.microsoft.com).
func (f *infFile) filtersOf(section string) []string {
	var list []string
	seen := map[string]bool{} // sections
	for _, sec := range f.parts(section, ".filters") {
		for _, l := range f.sections[sec] {
			fields := infFields(l.value)
			if !strings.EqualFold(l.key, "AddFilter") || len(fields) < 3 {
				continue
			}
			name := fold(expandINF(fields[2], f.strings))
			if seen[name] {
				continue
			}
			seen[name] = true
			for _, in := range f.sections[name] {
				if name := expandINF(in.value, f.strings); strings.EqualFold(in.key, "ServiceName") && name != "" {
					list = append(list, name)
				}
			}
		}
	}
	return list
}

// parts returns the sections that belong to an install section, of whatever decoration, and end in a suffix.
func (f *infFile) parts(section, suffix string) []string {
	var list []string
	section = fold(section)
	for _, sec := range f.sections[""] {
		rest, ok := strings.CutPrefix(sec.key, section)
		if ok && strings.HasSuffix(rest, suffix) && (rest == suffix || strings.HasPrefix(rest, ".nt")) {
			list = append(list, sec.key)
		}
	}
	return list
}

// servicesOf returns the services that an install section adds, of whatever decoration, in the file's order.
func (f *infFile) servicesOf(section string) []infService {
	var list []infService
	seen := map[string]bool{}
	for _, sec := range f.parts(section, ".services") {
		for _, s := range f.servicesIn(sec) {
			if len(list) < maxINFServices && !seen[fold(s.Name)] {
				seen[fold(s.Name)] = true
				list = append(list, s)
			}
		}
	}
	return list
}
