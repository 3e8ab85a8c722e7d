// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Record is one linker file, or one module inside the kernel: what every system says, and FreeBSD's own facts.
type Record = fact.Record[File]

// A File is what FreeBSD or DragonFly says of one linker file in its own words, beside what every
// kernel says. It is the object under "freebsd" in JSON. Absent fields are unknown.
type File struct {
	// ID is the file's id in the running kernel; the kernel itself is 1 (kldnext).
	ID fact.Count `json:"id,omitzero"`
	// Pathname is where it was loaded from, as the kernel says (kldstat), or where it lies on disk.
	Pathname string `json:"pathname,omitzero"`
	// SizeText is a size that a capture gives only rounded, such as "735K" (kldstat -h).
	SizeText string `json:"sizeText,omitzero"`
	// Modules are the modules inside: those that the kernel shows of a loaded file (modstat), or
	// those that the file declares.
	Modules []Module `json:"modules,omitzero"`
	// Preloaded says whether the boot loader loaded it (debug.dump_modinfo).
	Preloaded fact.Tri `json:"preloaded,omitzero"`
	// Versions are the interfaces that the file provides, each with its version (its metadata).
	Versions []Version `json:"versions,omitzero"`
	// Depends are the interfaces that it needs (its metadata), those in itself included.
	Depends []Depend `json:"depends,omitzero"`
	// PNP are the tables of devices that it drives (its metadata).
	PNP []PNPTable `json:"pnp,omitzero"`
	// BuiltFor is the __FreeBSD_version that it was built for, from its dependency on "kernel".
	BuiltFor fact.Count `json:"builtFor,omitzero"`
	// Machine is the processor it is for, as FreeBSD's machine_arch names it (the file's header).
	Machine string `json:"machine,omitzero"`
}

// A Module is one module inside a linker file.
type Module struct {
	// ID is the module's id in the running kernel.
	ID fact.Count `json:"id,omitzero"`
	// Name is the module's name, such as "nexus/aesni": what kldstat -v and kldload -m know it by.
	Name string `json:"name"`
	// Record is the name of its record in the file's metadata, such as "aesni_nexus", which
	// linker.hints lists; empty for a module that only the kernel showed.
	Record string `json:"record,omitzero"`
	// Refs is the module's reference count in the running kernel.
	Refs fact.Count `json:"refs,omitzero"`
	// Data is the module's own value (kldstat -d); nil when it was not asked for.
	Data *ModuleData `json:"data,omitzero"`
}

// A Version is one interface that a file provides.
type Version struct {
	// Name is the interface's name, such as "crypto".
	Name string `json:"name"`
	// Version is which version of it the file provides.
	Version int32 `json:"version"`
}

// A Depend is one interface that a file needs, with the versions that it accepts. The kernel takes the preferred
// version, also where it lies outside the range, else the highest version within it.
type Depend struct {
	// Name is the interface's name; "kernel" stands for the release that the file was built for.
	Name string `json:"name"`
	// Min is the lowest version that is accepted.
	Min int32 `json:"min"`
	// Preferred is the version that the file was built with.
	Preferred int32 `json:"preferred"`
	// Max is the highest version that is accepted. A few files have one below Min.
	Max int32 `json:"max"`
}

// loadedRecord returns a loaded file as a record. kernelDir is the directory of the running kernel.
func (k *Kernel) loadedRecord(f *loadedFile, kernelDir string) Record {
	own := &File{ID: fact.CountOf(int64(f.ID)), Pathname: f.Pathname}
	if f.Modules != nil {
		own.Modules = make([]Module, len(f.Modules))
	}
	for i := range f.Modules {
		own.Modules[i] = f.Modules[i].module()
	}
	name := f.Name
	if name == "" {
		name = fmt.Sprintf("id %d", f.ID)
	}
	m := Record{
		ID: k.id(name), Kind: k.kind, Name: name, State: fact.StateLoaded, Problems: f.report.Problems, Own: own,
	}
	if f.Name == "" { // only its id is known
		return m
	}
	m.Refs = fact.CountOf(int64(f.Refs))
	if strings.HasPrefix(f.Pathname, "/") {
		m.Path = f.Pathname
	}
	if f.Size > 0 {
		m.Size = fact.CountOf(int64(f.Size))
	}
	m.Origin = origin(f.Pathname, kernelDir, SourceKldstat)
	return m
}

func (k *Kernel) id(name string) string { return string(k.kind) + ":" + name }

// module returns what the kernel says of a module in the form that is shown.
func (m *moduleStat) module() Module {
	return Module{ID: fact.CountOf(int64(m.ID)), Name: m.Name, Refs: fact.CountOf(int64(m.Refs)), Data: m.Data}
}

// builtinRecord returns a module inside the kernel's own file as a record.
func (k *Kernel) builtinRecord(m Module) Record {
	return Record{
		ID: k.id(m.Name), Kind: k.kind, Name: m.Name, State: fact.StateBuiltin, Refs: m.Refs,
		Own: &File{Modules: []Module{m}},
	}
}

// fileRecord returns a file on disk, by itself, as a record.
func fileRecord(f *diskFile, kind fact.Kind) Record {
	m := Record{
		ID: string(kind) + ":" + f.Name(), Kind: kind, Name: f.Name(), State: fact.StateInstalled, Path: f.Path,
		Origin: origin(f.Path, "", SourceModulePath), Own: &File{Pathname: f.Path},
	}
	if f.unread != nil {
		m.Problem(SourceModulePath, "freebsd", f.unread)
	}
	if f.metadata == nil {
		return m
	}
	m.Size, m.ContentID = fact.CountOf(f.Size), f.BuildID
	addFile(&m, f)
	return m
}

// addFile adds what a file declares.
func addFile(m *Record, f *diskFile) {
	if f.metadata == nil {
		return
	}
	own := m.Own
	own.Versions, own.Depends, own.PNP, own.Machine = f.Versions, f.Depends, f.tables(), f.Machine
	if n, ok := builtFor(f.Depends); ok {
		own.BuiltFor = fact.CountOf(int64(n))
	}
	if own.Modules == nil {
		own.Modules = slices.Clone(f.Modules)
	}
	records := make(map[string]string, len(f.Modules))
	for _, declared := range f.Modules {
		records[declared.Name] = declared.Record
	}
	for i := range own.Modules {
		if record, ok := records[own.Modules[i].Name]; ok {
			own.Modules[i].Record = record
		}
	}
	for _, p := range f.report.Problems {
		p.Subject = m.Name + " " + p.Subject
		m.Problems = append(m.Problems, p)
	}
}

// addRequires fills Requires of a record from what the library knows of its file.
func addRequires(m *Record, l *library, f *diskFile) (needs []*diskFile) {
	needs, missing := l.requires(f)
	m.Requires = []string{}
	for _, n := range needs {
		m.Requires = append(m.Requires, n.Name())
	}
	slices.Sort(m.Requires)
	for _, d := range missing {
		m.Problem(SourceModulePath, "requires", errMissing(d))
	}
	return needs
}

// origin says whose a file is by where it lies: the system's own lie beside its kernel, /boot/modules and any other
// place are for others. A path that is not absolute says nothing.
func origin(path, kernelDir, source string) fact.Origin {
	if !strings.HasPrefix(path, "/") {
		return fact.Origin{}
	}
	o := fact.Origin{Class: fact.OriginThirdParty, Evidence: []fact.Evidence{{Fact: "path", Value: path,
		Source: source}}}
	if kernelDir != "" && strings.HasPrefix(path, kernelDir) || strings.HasPrefix(path, "/boot/kernel/") {
		o.Class = fact.OriginOS
	}
	return o
}

// dirOf returns the directory of an absolute path, with its slash; empty for any other path.
func dirOf(path string) string {
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	return path[:len(path)-len(fileName(path))]
}

// errUnsupported is the error for what neither the kernel nor a text says.
func errUnsupported(text string) error { return fmt.Errorf("%s: %w", text, errors.ErrUnsupported) }
