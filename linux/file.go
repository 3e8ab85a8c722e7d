// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// File reads one file of the machine by its path there. Of one in a release directory it says what
// Installed says.
func (k *Kernel) File(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	release, file := inRelease(rel)
	keys, lost := k.fileKeys(ctx, cmp.Or(release, k.release(ctx, r.Part())), r.Budget)
	o := fileOptions(k.options.Detail, k.options.MaxFile, keys)
	o.Sections = true
	fields := r.Part() // of this module
	f, err := ko.NewReader().ReadFile(k.machine, rel, o, fields)
	if err != nil {
		return nil, fact.ErrorAt(k.options.Root, rel, err)
	}
	m := fileRecord(&f, "/"+rel, cmp.Or(release, k.options.Kernel), fields)
	if file != "" {
		k.placeFile(&m, release, file, rel)
	}
	addKeyProblems(&m, o, lost)
	return []Record{m}, nil
}

// ReadFile reads a module's file by itself, within r's budget. ok is false for a file that is not a Linux module. head
// is the file's beginning, nil for a folder.
func ReadFile(
	_ context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	if !ko.IsModule(head) {
		return nil, false, nil
	}
	lost, fields := r.Part(), r.Part() // of the keys, and of this module
	keys := newKeys(o.Keys, lost)
	options := fileOptions(o.Detail, o.MaxFile, keys)
	options.Sections = true
	f, err := ko.NewReader().ReadFile(fsys, name, options, fields)
	if err != nil {
		return nil, true, err
	}
	record := fileRecord(&f, name, o.Kernel, fields)
	addKeyProblems(&record, options, lost)
	return []Record{record}, true, nil
}

// placeFile adds to a file by itself what Installed says beyond its content.
func (k *Kernel) placeFile(m *Record, release, file, name string) {
	owners, lost := k.owners(release)
	d := &describer{kernel: k, firmware: k.firmwareOf(release), owners: owners}
	m.Own.File, m.Origin = file, fact.Origin{}
	d.place(m, file, name)
	addProblems(m, lost)
}

// newKeys makes the keys to verify with. It reports those that cannot be used.
func newKeys(sets []fact.KeySet, r *fact.Report) *ko.Keys {
	keys := ko.NewKeys(sets)
	var lost fact.Report
	keys.Report(&lost)
	for _, p := range lost.Problems {
		r.Problem(SourceTree, "", "signature", p)
	}
	return keys
}

// addKeyProblems adds to a module by itself which keys could not be used, if signatures were to be verified.
func addKeyProblems(m *Record, o ko.Options, lost *fact.Report) {
	if o.Signature {
		addProblems(m, lost)
	}
}

// addProblems adds what was reported of the machine to a module that is read by itself.
func addProblems(m *Record, lost *fact.Report) {
	for _, p := range lost.Problems {
		p.Subject = escape.UTF8(m.Name)
		m.AddProblem(p)
	}
}

// fileRecord is what a file by itself says: that it is the system's it cannot say.
func fileRecord(f *ko.File, name, release string, lost *fact.Report) Record {
	m := newRecord(f.Name, fact.StateInstalled)
	addFile(&m, f, release, lost, nil)
	m.Path, m.Size, m.ContentID = name, fact.CountOf(f.Size), f.BuildID
	var none *fileOwners
	m.Origin = none.Origin(m.Own, m.Name, "", name)
	return m
}

// fileDetail are the details for which module files are opened.
const fileDetail = fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures | fact.DetailSymbols

func fileOptions(detail fact.Detail, max int64, keys *ko.Keys) ko.Options {
	return ko.Options{
		Signature: detail&fact.DetailSignatures != 0,
		Symbols:   detail&fact.DetailSymbols != 0,
		Hash:      detail&fact.DetailHashes != 0,
		Keys:      keys,
		MaxFile:   max,
	}
}

// A describer fills in modules from their files. It is for one goroutine.
type describer struct {
	kernel   *Kernel
	tree     *modprobe.Tree
	reader   *ko.Reader
	options  ko.Options
	firmware *firmwareFinder
	owners   *fileOwners
	budget   *fact.Budget // of the call
}

func (k *Kernel) describer(
	ctx context.Context, t *modprobe.Tree, detail fact.Detail, budget *fact.Budget,
) *describer {
	keys, _ := k.fileKeys(ctx, t.Release, budget)
	owners, _ := k.owners(t.Release)
	options := fileOptions(detail, k.options.MaxFile, keys)
	options.Root = cmp.Or(strings.TrimSuffix(k.options.Root, "/"), "/")
	return &describer{
		budget: budget, kernel: k, tree: t, reader: ko.NewReader(), options: options,
		firmware: k.firmwareOf(t.Release), owners: owners,
	}
}

// describe adds to m what its file says. file is relative to the release directory, name to the root.
func (d *describer) describe(m *Record, file, name string) ko.File {
	lost := &fact.Report{Budget: d.budget} // of this module
	f, err := d.read(name, lost)
	addFile(m, &f, d.tree.Release, lost, err)
	m.Own.File = file
	if err != nil {
		return f
	}
	d.place(m, file, name)
	return f
}

// read reads a file, unless what it says is kept from a call before.
func (d *describer) read(name string, lost *fact.Report) (ko.File, error) {
	if d.kernel.options.Once {
		return d.reader.ReadFile(d.kernel.machine, name, d.options, lost)
	}
	return d.kernel.disk.cache.ReadFile(d.reader, d.kernel.machine, name, d.options, lost)
}

// place adds what the machine says of a file that lies in a release directory: which firmware it has,
// and whose the file is.
func (d *describer) place(m *Record, file, name string) {
	var unread error
	for i := range m.Own.Firmware {
		present, err := d.firmware.Present(m.Own.Firmware[i].Name)
		m.Own.Firmware[i].Present, unread = present, cmp.Or(unread, err)
	}
	// An image without any firmware directory keeps its firmware elsewhere: unknown, and nothing failed.
	if unread != nil && !errors.Is(unread, fs.ErrNotExist) {
		m.Problem(SourceTree, "firmware", unread)
	}
	m.Package = d.owners.PackageOf(name)
	origin := d.owners.Origin(m.Own, m.Name, file, name)
	if m.Signature.Status == fact.SignatureInvalid { // then what the file says of itself, and its place, prove nothing
		origin.Evidence = append(origin.Evidence,
			fact.Evidence{Fact: "signature", Value: string(fact.SignatureInvalid), Source: SourceTree})
		if origin.Class == fact.OriginOS {
			origin.Class = ""
		}
	}
	if m.Origin.Class == "" {
		m.Origin.Class = origin.Class
	}
	if len(m.Origin.Evidence) == 0 {
		m.Origin.Evidence = origin.Evidence
		return
	}
	m.Origin.Evidence = append(m.Origin.Evidence[:len(m.Origin.Evidence):len(m.Origin.Evidence)], origin.Evidence...)
}

// addFile adds to m what a file says. lost are the fields that could not be read, err is why the file could not be.
func addFile(m *Record, f *ko.File, release string, lost *fact.Report, err error) {
	if m.Own == nil {
		m.Own = new(Module)
	}
	describeFile(f, m.Own, release)
	if f.Size == 0 && err != nil {
		m.Own.FileSize = fact.Count{}
	}
	if err != nil {
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "", err))
		return
	}
	for _, p := range lost.Problems {
		m.Problem(SourceTree, "", p)
	}
	m.Version, m.Description = m.Own.Version, f.Modinfo.Get("description")
	evidence := m.Signature.Evidence
	if f.Verdict.Status != "" {
		m.Signature = f.Verdict.Signature
		m.Signature.Evidence = evidence
	}
}

// reportLost says once what every description of a module's file lacks: packages that could not be
// read, and keys that cannot be used.
func (k *Kernel) reportLost(ctx context.Context, t *modprobe.Tree, detail fact.Detail, r *fact.Report) {
	_, lost := k.owners(t.Release)
	r.Append(lost)
	if detail&fact.DetailSignatures == 0 {
		return
	}
	_, lost = k.fileKeys(ctx, t.Release, r.Budget)
	r.Append(lost)
}
