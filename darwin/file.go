// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// ReadFile reads a bundle, a kernel collection, or the code of a kext by itself. ok is false for a file of another
// system, and for a folder that is not a bundle. head is the file's beginning, nil for a folder. What r's budget allows
// is read; what goes wrong is with the records.
func ReadFile(
	ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	signatures := o.Asks(fact.DetailSignatures)
	reader := bundleReader{
		FS: fsys, Code: true, Signatures: signatures, Verify: signatures, Keys: keySets(o), MaxBytes: o.MaxFile,
	}
	switch {
	case head == nil && hasInfo(fsys, name):
		m, err = reader.file(ctx, name, r.Budget)
	case head == nil:
		return nil, false, nil
	case isCollection(head):
		m, err = readCollection(fsys, name, r.Budget)
	case isMachO(head):
		m, err = reader.code(name, r.Budget)
	default:
		return nil, false, nil
	}
	finish(m, "")
	// The bundle that was asked for comes before its plug-ins.
	asked := func(m *Record) int {
		if head == nil && m.Path == name {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(m, func(a, b Record) int {
		return cmp.Or(asked(&a)-asked(&b), strings.Compare(a.ID, b.ID))
	})
	return m, true, err
}

// File reads a file or a bundle of the machine.
func (k *Kernel) File(ctx context.Context, file string, r *fact.Report) ([]Record, error) {
	name := strings.Trim(file, "/")
	head, err := fileHead(k.machine, name)
	if err != nil {
		return nil, err
	}
	modules, ok, err := ReadFile(ctx, k.machine, name, head, k.options, r)
	if !ok {
		return nil, fmt.Errorf("no kernel extension of macOS: %w", errors.ErrUnsupported)
	}
	for i := range modules {
		m := &modules[i]
		m.Path = fromRoot(m.Path)
		if b := m.Own.Bundle; b != nil {
			b.Path, b.ExecutablePath = fromRoot(b.Path), fromRoot(b.ExecutablePath)
		}
	}
	return modules, err
}

// fromRoot returns a path as an absolute one; an empty one stays empty.
func fromRoot(name string) string {
	if name == "" || strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}

// fileHead returns the beginning of a file, nil for a folder.
func fileHead(fsys fs.FS, name string) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil || st.IsDir() {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := f.Read(head)
	if n == 0 && err != nil {
		return nil, err
	}
	return head[:n], nil
}

// hasInfo reports whether a folder has, or may have, an Info.plist.
func hasInfo(fsys fs.FS, name string) bool {
	for _, info := range []string{"Contents/Info.plist", "Info.plist"} {
		if _, err := fs.Stat(fsys, path.Join(name, info)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// isCollection recognizes kernel collections by their wrappers, and by the type of a Mach-O file.
func isCollection(head []byte) bool {
	if len(head) < 16 {
		return false
	}
	start := head[:min(len(head), 64)]
	switch {
	case string(head[:4]) == "comp", string(head[:3]) == "bvx":
		return true
	case head[0] == derSequence && (bytes.Contains(start, []byte("IM4P")) || bytes.Contains(start, []byte("IMG4"))):
		return true
	case binary.LittleEndian.Uint32(head) == magic64:
		return machoType(binary.LittleEndian.Uint32(head[12:])) == typeFileset
	}
	return false
}

// file reads a bundle and the plug-ins directly inside it. A plug-in that cannot be read is a problem of the bundle.
func (r bundleReader) file(ctx context.Context, name string, budget *fact.Budget) ([]Record, error) {
	first, err := r.record(name, budget)
	if err != nil {
		return nil, err
	}
	modules := []Record{first}
	lose := func(subject string, err error) {
		modules[0].AddProblem(fact.ProblemOf(SourceBundles, subject, "", err))
	}
	plugIns := path.Join(name, "Contents/PlugIns")
	entries, err := fs.ReadDir(r.FS, plugIns)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		lose(plugIns, err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return modules, ctx.Err()
		}
		if path.Ext(e.Name()) != ".kext" || strings.HasPrefix(e.Name(), "._") {
			continue
		}
		m, err := r.record(path.Join(plugIns, e.Name()), budget)
		if err != nil {
			lose(path.Join(plugIns, e.Name()), err)
			continue
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// record reads one bundle by itself, with paths as in the file system.
func (r bundleReader) record(dir string, budget *fact.Budget) (Record, error) {
	own := fact.Report{Budget: budget} // its problems are the record's
	b, err := r.read(dir, &own)
	if err != nil {
		return Record{}, err
	}
	b.Path, b.ExecutablePath = strings.TrimPrefix(b.Path, "/"), strings.TrimPrefix(b.ExecutablePath, "/")
	return bundleRecord(&b, own.Problems), nil
}

// readCollection reads the members of a kernel collection.
func readCollection(fsys fs.FS, name string, budget *fact.Budget) ([]Record, error) {
	own := fact.Report{Budget: budget} // its problems are those of the records
	c, err := collectionReader{Personalities: true}.open(fsys, name, &own)
	if err != nil {
		return nil, err
	}
	c.Path = strings.TrimPrefix(c.Path, "/")
	modules := make([]Record, 0, len(c.Members))
	index := make(map[string]int, len(c.Members))
	for i := range c.Members {
		m := &c.Members[i]
		own := &Kext{BundleID: m.Identifier, Collection: c.Kind, Collections: []Membership{
			{Path: c.Path, Kind: c.Kind, Version: m.Version, UUID: m.UUID, Stale: c.Stale}}}
		index[m.Identifier] = i
		modules = append(modules, memberRecord(m, &c, own))
		modules[i].Address = m.LoadAddress
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("the collection lists no kext: %w", fact.ErrMalformed)
	}
	for _, p := range own.Problems {
		modules[index[p.Subject]].AddProblem(p) // of the first if it is of no member
	}
	return modules, nil
}

// code reads the executable of a kext by itself: what its Mach-O headers say. A Mach-O file of another kind, such as a
// program, is not a kernel extension; a kernel with kexts is a collection.
func (r bundleReader) code(name string, budget *fact.Budget) ([]Record, error) {
	all, signature, err := readCode(r.FS, name, budget)
	if len(all) == 0 {
		return nil, err
	}
	if all[0].fileType != typeKext {
		modules, cerr := readCollection(r.FS, name, budget)
		if errors.Is(cerr, fact.ErrMalformed) {
			return nil, fmt.Errorf("Mach-O file of type %s, not a kext and no kernel collection: %w",
				all[0].Type, errors.ErrUnsupported)
		}
		return modules, cerr
	}
	b := &Bundle{Path: name, ExecutablePath: name, Slices: all}
	if r.Signatures {
		b.signature = signature
	}
	m := bundleRecord(b, nil)
	if err != nil {
		m.Problems = []fact.Problem{fact.ProblemOf(SourceBundles, name, "bundle.slices", err)}
	}
	if signature != nil && signature.Identifier != "" {
		m.Name, m.Own.BundleID = signature.Identifier, signature.Identifier
	}
	return []Record{m}, nil
}
