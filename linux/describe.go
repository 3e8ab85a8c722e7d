// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// describeFile fills in m what the file says. release is the release of the directory that the file is
// in, empty for a file by itself. What m says of the running kernel stays, and parameters are
// joined with the values that it has.
func describeFile(f *ko.File, m *Module, release string) {
	m.Release = release
	m.FileSize = fact.CountOf(f.Size)
	m.Compression, m.SHA256 = f.Compression, f.SHA256
	m.Signature = f.Signature
	if f.Symbols != nil {
		m.Imports, m.Exports = f.Symbols.Imports, f.Symbols.Exports
	}
	if f.Modinfo == nil {
		return
	}
	describeModinfo(f.Modinfo, m)
	m.Depends = f.Modinfo.Depends()
	m.Vermagic = f.Modinfo.Get("vermagic")
	if release != "" && m.Vermagic != "" {
		m.FitsRelease = fact.TriOf(ko.ReleaseOf(m.Vermagic) == release)
	}
	m.Intree, m.Retpoline = flagOf(f.Modinfo, "intree"), flagOf(f.Modinfo, "retpoline")
	m.Livepatch, m.Staging = flagOf(f.Modinfo, "livepatch"), flagOf(f.Modinfo, "staging")
}

// describeBuiltin fills in m what the kernel's list of builtins says.
func describeBuiltin(b *modprobe.BuiltinModule, m *Module, release string) {
	m.Release, m.File = release, b.File
	if b.Modinfo != nil {
		describeModinfo(b.Modinfo, m)
	}
}

// describeModinfo fills in what a module's and a builtin's entries have in common.
func describeModinfo(m ko.Modinfo, to *Module) {
	to.Modinfo = m
	if to.Version == "" {
		to.Version = m.Get("version")
	}
	if to.Srcversion == "" {
		to.Srcversion = m.Get("srcversion")
	}
	var counts struct{ softdep, weakdep, firmware, namespace, parm int }
	for i := range m {
		switch m[i].Key {
		case "softdep":
			counts.softdep++
		case "weakdep":
			counts.weakdep++
		case "firmware":
			counts.firmware++
		case "import_ns":
			counts.namespace++
		case "parm", "parmtype":
			counts.parm++
		}
	}
	if counts.softdep > 0 {
		to.Softdeps = m.Values("softdep")
	}
	if counts.weakdep > 0 {
		to.Weakdeps = m.Values("weakdep")
	}
	if counts.namespace > 0 {
		to.ImportNamespaces = m.Values("import_ns")
	}
	if counts.firmware > 0 {
		to.Firmware = make([]Firmware, 0, counts.firmware)
		for _, name := range m.Values("firmware") {
			to.Firmware = append(to.Firmware, Firmware{Name: name})
		}
	}
	if counts.parm > 0 {
		to.Parameters = joinParameters(m, to.Parameters)
	}
}

// flagOf reports whether the entries declare a flag. The kernel asks only whether there is a value,
// and takes "N" for a yes. Without one the entry may lack its "=", and then there is none for the
// kernel: not known.
func flagOf(m ko.Modinfo, key string) fact.Tri {
	v, ok := m.Lookup(key)
	if ok && v == "" {
		return ""
	}
	return fact.TriOf(ok)
}

// joinParameters joins the declared types and descriptions, either of which may be missing, with
// the values of the running kernel. Declared ones come first, in the file's order of types.
func joinParameters(m ko.Modinfo, values []Parameter) []Parameter {
	var list []Parameter
	index := make(map[string]int)
	at := func(name string) *Parameter {
		i, ok := index[name]
		if !ok {
			i = len(list)
			index[name] = i
			list = append(list, Parameter{Name: name})
		}
		return &list[i]
	}
	for _, e := range m {
		if e.Key != "parm" && e.Key != "parmtype" {
			continue
		}
		name, text, _ := strings.Cut(e.Value, ":")
		p := at(name)
		switch {
		case e.Key == "parmtype":
			p.Type = cmp.Or(p.Type, text)
		case p.Description == "":
			p.Description = text
		case !describes(p.Description, text):
			p.Description += "\n" + text
		}
	}
	for _, v := range values {
		p := at(v.Name)
		p.Value, p.Readable = v.Value, v.Readable
	}
	slices.SortStableFunc(list, func(a, b Parameter) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// describes reports whether text is one of those that were joined to all. The same description is
// repeated where several source files declare a parameter.
func describes(all, text string) bool {
	return strings.Contains("\n"+all+"\n", "\n"+text+"\n")
}
