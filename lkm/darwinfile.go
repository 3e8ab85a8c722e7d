// SPDX-License-Identifier: Apache-2.0

package lkm

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

	"github.com/kernelext/kernelext/darwin"
)

// readDarwinFile reads a bundle, a kernel collection, or the code of a kext by itself. head is the
// file's beginning, nil for a folder.
func readDarwinFile(ctx context.Context, fsys fs.FS, name string, head []byte, o Options) (modules []Module, mine bool, err error) {
	reader := darwin.BundleReader{
		FS: fsys, Code: true, Signatures: o.Detail&DetailSignatures != 0, Verify: o.Detail&DetailSignatures != 0, Keys: o.Keys, MaxBytes: o.MaxFile,
	}
	switch {
	case head == nil && isDarwinBundle(fsys, name):
		modules, err = readDarwinBundle(ctx, reader, name)
	case head == nil:
		return nil, false, nil
	case isCollection(head):
		modules, err = readCollection(fsys, name)
	case isMachO(head):
		modules, err = readKextCode(reader, name)
	default:
		return nil, false, nil
	}
	finishDarwin(modules, "")
	slices.SortStableFunc(modules, func(a, b Module) int { return cmp.Compare(a.ID, b.ID) })
	return numberDuplicates(modules), true, err
}

func isDarwinBundle(fsys fs.FS, name string) bool {
	for _, info := range []string{"Contents/Info.plist", "Info.plist"} {
		if _, err := fs.Stat(fsys, path.Join(name, info)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// isMachO knows Mach-O by its magic number, thin or fat. A Java class starts like a fat file, with a
// version of 43 and more where that has the number of architectures.
func isMachO(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe, 0xcafebabf:
		return true
	case 0xcafebabe:
		return binary.BigEndian.Uint32(head[4:]) < 43
	}
	return false
}

// isCollection knows kernel collections by their wrappers, and by the type of a Mach-O file.
func isCollection(head []byte) bool {
	if len(head) < 16 {
		return false
	}
	const fileset = 0xc
	switch {
	case string(head[:4]) == "comp", string(head[:3]) == "bvx":
		return true
	case head[0] == 0x30 && (bytes.Contains(head[:min(len(head), 64)], []byte("IM4P")) || bytes.Contains(head[:min(len(head), 64)], []byte("IMG4"))):
		return true
	case binary.LittleEndian.Uint32(head) == 0xfeedfacf:
		return binary.LittleEndian.Uint32(head[12:]) == fileset
	}
	return false
}

func readDarwinBundle(ctx context.Context, reader darwin.BundleReader, name string) ([]Module, error) {
	var modules []Module
	add := func(dir string) error {
		b, err := reader.Read(dir)
		if err != nil {
			return err
		}
		b.Path, b.ExecutablePath = strings.TrimPrefix(b.Path, "/"), strings.TrimPrefix(b.ExecutablePath, "/")
		modules = append(modules, bundleModule(&b))
		return nil
	}
	if err := add(name); err != nil {
		return nil, err
	}
	plugIns := path.Join(name, "Contents/PlugIns")
	entries, err := fs.ReadDir(reader.FS, plugIns)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		modules[0].Problems = append(modules[0].Problems, problemOf(darwin.SourceBundles, plugIns, "", err))
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return modules, ctx.Err()
		}
		if path.Ext(e.Name()) != ".kext" || strings.HasPrefix(e.Name(), "._") {
			continue
		}
		if err := add(path.Join(plugIns, e.Name())); err != nil {
			modules[0].Problems = append(modules[0].Problems, problemOf(darwin.SourceBundles, path.Join(plugIns, e.Name()), "", err))
		}
	}
	return modules, nil
}

// bundleModule is a bundle by itself.
func bundleModule(b *darwin.Bundle) Module {
	k := &darwin.Kext{BundleID: b.Identifier, PackageType: b.PackageType, Bundle: b, CodeSignature: b.Signature}
	for _, s := range b.Slices {
		k.Architectures = append(k.Architectures, s.Architecture)
	}
	m := Module{Kind: KindMacOSKext, Name: cmp.Or(b.Identifier, path.Base(b.Path)), State: StateInstalled, Darwin: k}
	addBundle(&m, b)
	return m
}

// readCollection reads the members of a kernel collection. A collection whose payload is compressed
// is an error that is errors.ErrUnsupported and names the compression.
func readCollection(fsys fs.FS, name string) ([]Module, error) {
	c, problems, err := darwin.CollectionReader{Personalities: true}.OpenCollection(fsys, name)
	if err != nil {
		return nil, err
	}
	c.Path = strings.TrimPrefix(c.Path, "/")
	modules := make([]Module, 0, len(c.Members))
	index := make(map[string]int, len(c.Members))
	for i := range c.Members {
		m := &c.Members[i]
		k := &darwin.Kext{BundleID: m.Identifier, Collection: c.Kind, Collections: []darwin.Membership{{Path: c.Path, Kind: c.Kind, Version: m.Version, UUID: m.UUID, Stale: c.Stale}}}
		index[m.Identifier] = i
		modules = append(modules, memberModule(m, &c, k))
		modules[i].Address = m.LoadAddress
	}
	for _, p := range problems {
		if i, ok := index[p.Subject]; ok {
			modules[i].Problems = append(modules[i].Problems, p)
		} else if len(modules) > 0 {
			modules[0].Problems = append(modules[0].Problems, p)
		}
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("the collection lists no kext: %w", ErrMalformed)
	}
	return modules, nil
}

// readKextCode reads the executable of a kext by itself: what its Mach-O headers say. A Mach-O file
// of another kind, such as a program, is not a kernel extension; a kernel with kexts is a collection.
func readKextCode(reader darwin.BundleReader, name string) ([]Module, error) {
	all, signature, err := darwin.ReadCode(reader.FS, name)
	if len(all) == 0 {
		return nil, err
	}
	if all[0].Type != darwin.TypeKext.String() {
		modules, cerr := readCollection(reader.FS, name)
		if errors.Is(cerr, ErrMalformed) {
			return nil, fmt.Errorf("Mach-O file of type %s, not a kext and no kernel collection: %w", all[0].Type, errors.ErrUnsupported)
		}
		return modules, cerr
	}
	b := &darwin.Bundle{Path: name, ExecutablePath: name, Slices: all}
	if reader.Signatures {
		b.Signature = signature
	}
	if err != nil {
		b.Problems = append(b.Problems, problemOf(darwin.SourceBundles, name, "bundle.slices", err))
	}
	m := bundleModule(b)
	if signature != nil && signature.Identifier != "" {
		m.Name, m.Darwin.BundleID = signature.Identifier, signature.Identifier
	}
	return []Module{m}, nil
}

// file reads a file or bundle of the machine.
func (b *darwinBackend) file(ctx context.Context, name string) ([]Module, error) {
	rel := strings.Trim(name, "/")
	head, err := fileHead(b.guard, rel)
	if err != nil {
		return nil, err
	}
	o := b.options
	o.Detail |= DetailFiles
	modules, mine, err := readDarwinFile(ctx, b.guard, rel, head, o)
	if !mine {
		return nil, fmt.Errorf("no kernel extension of macOS: %w", errors.ErrUnsupported)
	}
	for i := range modules {
		m := &modules[i]
		if m.Path != "" && !strings.HasPrefix(m.Path, "/") {
			m.Path = "/" + m.Path
		}
		if k := m.Darwin; k.Bundle != nil {
			if k.Bundle.Path != "" && !strings.HasPrefix(k.Bundle.Path, "/") {
				k.Bundle.Path = "/" + k.Bundle.Path
			}
			if k.Bundle.ExecutablePath != "" && !strings.HasPrefix(k.Bundle.ExecutablePath, "/") {
				k.Bundle.ExecutablePath = "/" + k.Bundle.ExecutablePath
			}
		}
	}
	return modules, err
}

// fileHead is the beginning of a file, nil for a folder.
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

// resolve finds the extensions for a bundle id, or for a device: the one with the highest probe
// score first, as the system asks them.
func (b *darwinBackend) resolve(ctx context.Context, query string) ([]Module, error) {
	reader := b.reader(ctx)
	reader.Personalities = true
	d := reader.Read(ctx)
	installed := installedDarwin(d)
	var found []Module
	for i := range installed {
		if installed[i].Name == query {
			found = append(found, installed[i])
		}
	}
	if len(found) > 0 || !strings.ContainsAny(query, ":=") {
		return found, incompleteDisk(d, found)
	}
	device, err := darwin.ParseDevice(query)
	if err != nil {
		return nil, err
	}
	scores := make(map[string]int64)
	for i := range installed {
		m := &installed[i]
		if m.Darwin.Bundle == nil {
			continue
		}
		if score, ok := device.Score(&m.Darwin.Bundle.BundleInfo); ok {
			scores[m.ID+m.Path] = score
			found = append(found, *m)
		}
	}
	slices.SortStableFunc(found, func(a, b Module) int {
		return cmp.Or(-cmp.Compare(scores[a.ID+a.Path], scores[b.ID+b.Path]), cmp.Compare(a.ID, b.ID))
	})
	return found, incompleteDisk(d, found)
}

// incompleteDisk is why "none" cannot be said: nothing was found, and not all was read.
func incompleteDisk(d *darwin.Disk, found []Module) error {
	if len(found) > 0 {
		return nil
	}
	if err := d.Errors[darwin.SourceBundles]; err != nil {
		return err
	}
	for _, p := range d.Problems {
		if p.Source == darwin.SourceBundles {
			return p
		}
	}
	return nil
}

// loadPlan is what kmutil load would do: the libraries that a kext names, then the kext.
func (b *darwinBackend) loadPlan(ctx context.Context, query string) ([]Step, error) {
	targets, err := b.resolve(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, fs.ErrNotExist
	}
	d := b.reader(ctx).Read(ctx)
	p := &darwinPlan{disk: d, seen: map[string]bool{}}
	p.add(targets[0].Name, "asked for")
	return p.steps, nil
}

// A darwinPlan collects steps, libraries before what needs them.
type darwinPlan struct {
	disk  *darwin.Disk
	seen  map[string]bool
	steps []Step
}

// add goes down the libraries without recursion: an entry is put out when it comes up the second
// time, after what it needs.
func (p *darwinPlan) add(id, reason string) {
	type entry struct {
		id, reason string
		ready      bool
	}
	stack := []entry{{id, reason, false}}
	for len(stack) > 0 && len(p.steps) < 1000 {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		info, where, known := p.lookup(e.id)
		if e.ready {
			step := Step{Module: string(KindMacOSKext) + ":" + e.id, Path: where, Reason: e.reason}
			if !known {
				step.Reason += "; not on disk and in no collection"
			}
			p.steps = append(p.steps, step)
			continue
		}
		if p.seen[e.id] {
			continue
		}
		p.seen[e.id] = true
		stack = append(stack, entry{e.id, e.reason, true})
		for i := len(info.Libraries) - 1; i >= 0; i-- {
			l := info.Libraries[i]
			stack = append(stack, entry{l.BundleID, "library of " + e.id + ", " + l.Version + " or later", false})
		}
	}
}

func (p *darwinPlan) lookup(id string) (info darwin.BundleInfo, where string, known bool) {
	if list := p.disk.Bundles[id]; len(list) > 0 {
		return list[0].BundleInfo, list[0].Path, true
	}
	if m, c, ok := p.disk.Member(id); ok {
		return m.BundleInfo, c.Path, true
	}
	return darwin.BundleInfo{}, "", darwin.PseudoOf(id) != ""
}
