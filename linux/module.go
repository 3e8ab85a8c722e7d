// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A Module is what Linux says of one module in its own words, beside what every kernel says. It is
// the object under "linux" in JSON. Absent fields are unknown unless they say otherwise.
type Module struct {
	// State is the kernel's word for a loaded module: Live, Loading or Unloading (/proc/modules).
	State string `json:"state,omitzero"`
	// Refcnt is the kernel's reference count (/proc/modules); -1 while it is being unloaded.
	Refcnt fact.Count `json:"refcnt,omitzero"`
	// Permanent is set for a loaded module that has no exit function (/proc/modules).
	Permanent bool `json:"permanent,omitzero"`
	// Taints are the module's taint letters, one each, in the kernel's order (/proc/modules, else
	// /sys/module/NAME/taint); [TaintMeaning] explains them. None is the empty list.
	Taints []string `json:"taints,omitzero"`
	// Version is the module's own version (/sys/module/NAME/version); most modules have none.
	Version string `json:"version,omitzero"`
	// Srcversion is a checksum of the module's sources (/sys/module/NAME/srcversion); few have it.
	Srcversion string `json:"srcversion,omitzero"`
	// InitSize is the memory held for initialization, in bytes (/sys/module/NAME/initsize).
	InitSize fact.Count `json:"initSize,omitzero"`
	// CoreSize is the memory held for good, in bytes (/sys/module/NAME/coresize).
	CoreSize fact.Count `json:"coreSize,omitzero"`
	// Parameters are the parameters that the file declares (Detail Files), and those that the
	// running kernel shows with their values (/sys/module/NAME/parameters, Detail Parameters), by
	// name.
	Parameters []Parameter `json:"parameters,omitzero"`
	// Sections are the memory sections (/sys/module/NAME/sections), only with Detail Addresses.
	Sections []Section `json:"sections,omitzero"`
	// Patch is what the kernel says of a loaded module that is a live patch (/sys/kernel/livepatch/NAME); nil for any
	// other module, and if that could not be read.
	Patch *LivePatch `json:"patch,omitzero"`

	// The rest is from disk.

	// Release is the kernel release whose directory the file is in.
	Release string `json:"release,omitzero"`
	// File is the file's path relative to the release directory, as the indexes name it; of a
	// builtin the path that it would have as a module.
	File string `json:"file,omitzero"`
	// Candidates are the files that bear this module's name when there are several, the one that
	// depmod chooses first.
	Candidates []modprobe.Candidate `json:"candidates,omitzero"`
	// KernelName is the name by which the kernel knows the module, where it is not the file's: the file says it within.
	// The list of loaded modules and module_blacklist= use it; modprobe uses the file's. Absent where both are the
	// same.
	KernelName string `json:"kernelName,omitzero"`
	// StructName is the name in the file's code (struct module), where it is not the one in its metadata: the list of
	// loaded modules has it, while module_blacklist= is compared with the metadata's. Only a file that somebody changed
	// has two. It is looked for in a file that is read by itself.
	StructName string `json:"structName,omitzero"`
	// Order is the module's place in modules.order, from 0: the order in which the kernel's build linked
	// it, which decides between the modules that an alias fits. Of one on disk only; absent for one that
	// was not built with this kernel.
	Order fact.Count `json:"order,omitzero"`
	// FileSize is the file's length in bytes, as stored.
	FileSize fact.Count `json:"fileSize,omitzero"`
	// Compression is the file's container: none, gzip, xz or zstd.
	Compression string `json:"compression,omitzero"`
	// SHA256 is the digest of the file as stored, in hexadecimal; only with Detail Hashes. It is lkm.Module's
	// hashes.sha256, too.
	SHA256 string `json:"sha256,omitzero"`
	// Modinfo are all entries of the file's .modinfo section in its order; of a builtin those of
	// modules.builtin.modinfo.
	Modinfo ko.Modinfo `json:"modinfo,omitzero"`
	// Depends are the modules that the file says it needs directly ("depends").
	Depends []string `json:"depends,omitzero"`
	// Softdeps are its soft dependencies as the file declares them, such as "pre: crc32c".
	Softdeps []string `json:"softdeps,omitzero"`
	// Weakdeps are the modules that the file says it may ask for.
	Weakdeps []string `json:"weakdeps,omitzero"`
	// ImportNamespaces are the symbol namespaces that it uses.
	ImportNamespaces []string `json:"importNamespaces,omitzero"`
	// Firmware are the firmware files that it may ask for.
	Firmware []Firmware `json:"firmware,omitzero"`
	// Vermagic is the kernel version that it was built for, with the words that must fit too.
	Vermagic string `json:"vermagic,omitzero"`
	// FitsRelease says whether vermagic names the release of the directory. A module of another
	// release may load all the same where the distribution keeps the kernel's interface stable.
	FitsRelease fact.Tri `json:"fitsRelease,omitzero"`
	// Intree says whether the file declares that it was built with the kernel's own sources. Like the three that
	// follow, it is the file's word, and absent if the kernel would not see it.
	Intree fact.Tri `json:"intree,omitzero"`
	// Retpoline says whether the file declares that it was built with retpolines.
	Retpoline fact.Tri `json:"retpoline,omitzero"`
	// Livepatch says whether the file declares that it patches the running kernel.
	Livepatch fact.Tri `json:"livepatch,omitzero"`
	// Staging says whether the file declares that it is from the staging tree.
	Staging fact.Tri `json:"staging,omitzero"`
	// Signature is the file's signature decoded; only with Detail Signatures.
	Signature *ko.Signature `json:"signature,omitzero"`
	// Imports are the symbols that it needs; only with Detail Symbols.
	Imports []ko.Symbol `json:"imports,omitzero"`
	// Exports are the symbols that it offers; only with Detail Symbols.
	Exports []ko.Symbol `json:"exports,omitzero"`
}

// Stable returns a copy without what changes all the time: reference count, parameter values and section addresses.
func (m *Module) Stable() Module {
	s := *m
	s.Refcnt = fact.Count{}
	s.Parameters = slices.Clone(m.Parameters)
	for i := range s.Parameters {
		s.Parameters[i].Value = ""
	}
	s.Sections = slices.Clone(m.Sections)
	for i := range s.Sections {
		s.Sections[i].Address = 0
	}
	return s
}

// A Firmware is one firmware file that a module may ask for.
type Firmware struct {
	// Name is the file's name below the firmware directories.
	Name string `json:"name"`
	// Present says whether the machine has it, also compressed; absent when that was not looked up.
	Present fact.Tri `json:"present,omitzero"`
}

// A Parameter is one parameter of a module.
type Parameter struct {
	// Name is the parameter's name.
	Name string `json:"name"`
	// Type is the declared type, such as "int" or "array of uint"; empty when not declared.
	Type string `json:"type,omitzero"`
	// Description is what the file says of it.
	Description string `json:"description,omitzero"`
	// Value is the current value as the kernel prints it, without the final newline; empty when
	// Readable is not yes.
	Value string `json:"value,omitzero"`
	// Readable is yes when Value was read, also when it is empty; no when the file is not
	// world-readable and was left alone; absent when nobody looked, or the read failed.
	Readable fact.Tri `json:"readable,omitzero"`
}

// A Section is one section of a loaded module.
type Section struct {
	// Name is the section's name, such as ".text".
	Name string `json:"name"`
	// Address is where it lies; absent when the kernel hides it.
	Address fact.Address `json:"address,omitzero"`
}

// splitTaints returns each letter of a taint string such as "OE"; never nil.
func splitTaints(letters string) []string {
	if letters == "" {
		return noTaints
	}
	t := make([]string, len(letters))
	for i := range len(letters) {
		t[i] = letters[i : i+1]
	}
	return t
}

var noTaints = []string{}

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
	if f.Name != escape.UTF8(ko.NameOfFile(f.Path)) {
		m.KernelName = f.Name
	}
	if f.StructName != "" && f.StructName != f.Name {
		m.StructName = f.StructName
	}
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
		to.Parameters = joinParameters(m, to.Parameters, counts.parm)
	}
}

// flagOf reports whether the entries declare a flag. The kernel asks only whether there is a value,
// and takes "N" for a yes. Without a value the entry may lack its "=", and then the kernel finds no value: unknown.
func flagOf(m ko.Modinfo, key string) fact.Tri {
	v, ok := m.Lookup(key)
	if ok && v == "" {
		return ""
	}
	return fact.TriOf(ok)
}

// joinParameters joins the declared types and descriptions, either of which may be missing, with
// the values of the running kernel. Declared ones come first, in the file's order of types. entries is how many entries
// of m are about parameters.
func joinParameters(m ko.Modinfo, values []Parameter, entries int) []Parameter {
	list := make([]Parameter, 0, entries/2+len(values)) // most have two entries
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
