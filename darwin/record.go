// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// connect fills in what follows from the list as a whole: the names of links, Requires and
// UsedBy, and which parts of the kernel there are. source is where
// the list was read.
func connect(modules []Record, source string) {
	tags := tagsOf(modules)
	for i := range modules {
		m := &modules[i]
		m.Own.Pseudo = pseudoOf(m.Own.BundleID)
		for j := range m.Own.LinkedAgainst {
			tag, _ := m.Own.LinkedAgainst[j].Tag.Get() // each was read with its tag
			m.Own.LinkedAgainst[j].BundleID = tags[tag]
		}
		if m.Name == "" { // kextstat prints ???? for a name that it did not get
			m.Name = "????"
			m.Problems = append(m.Problems,
				fact.Problem{Source: source, Field: "name", Code: fact.CodeOther, Text: "the kernel gave no name"})
		}
	}
	relate(modules)
}

// tagsOf returns the bundle ids of a list by load tag. A tag that two kexts claim is left out: its owner is unknown.
func tagsOf(modules []Record) map[int64]string {
	tags := make(map[int64]string, len(modules))
	twice := make(map[int64]bool)
	for i := range modules {
		tag, ok := modules[i].Own.LoadTag.Get()
		if !ok {
			continue
		}
		if _, seen := tags[tag]; seen {
			twice[tag] = true
		}
		tags[tag] = modules[i].Own.BundleID
	}
	for tag := range twice {
		delete(tags, tag)
	}
	return tags
}

// relate fills Requires and UsedBy from the links. UsedBy is known only if the links of every kext are.
func relate(modules []Record) {
	users := make(map[string][]string)
	all := true
	for i := range modules {
		m := &modules[i]
		if m.Own.LinkedAgainst == nil {
			all = false
			continue
		}
		m.Requires = make([]string, 0, len(m.Own.LinkedAgainst))
		for _, link := range m.Own.LinkedAgainst {
			if link.BundleID != "" {
				m.Requires = append(m.Requires, link.BundleID)
				users[link.BundleID] = append(users[link.BundleID], m.Name)
			}
		}
		slices.Sort(m.Requires)
	}
	for i := range modules {
		if m := &modules[i]; all {
			m.UsedBy = append([]string{}, users[m.Name]...)
		}
	}
}

// bundleRecord returns a bundle on disk as a record; problems are what could not be read of it.
func bundleRecord(b *Bundle, problems []fact.Problem) Record {
	own := &Kext{BundleID: b.Identifier, PackageType: b.PackageType, Bundle: b, CodeSignature: b.signature}
	own.Architectures = architectures(b.Slices)
	name := cmp.Or(b.Identifier, path.Base(b.Path))
	m := Record{Kind: fact.KindMacOSKext, Name: name, State: fact.StateInstalled, Own: own}
	addBundle(&m, b)
	m.Problems = problems
	return m
}

// unreadRecord returns a bundle that could not be read: its path is all that is known.
func unreadRecord(file string, problems []fact.Problem) Record {
	return Record{
		Kind: fact.KindMacOSKext, Name: strings.TrimSuffix(path.Base(file), path.Ext(file)), State: fact.StateInstalled,
		Path: file, Problems: problems, Own: &Kext{Bundle: &Bundle{Path: file}},
	}
}

// addBundle adds what the bundle on disk says.
func addBundle(m *Record, b *Bundle) {
	m.Version = cmp.Or(m.Version, b.Version)
	m.Path = cmp.Or(m.Path, b.Path)
	m.Description = cmp.Or(m.Description, b.Usage, b.Info)
	if m.State != fact.StateInstalled {
		return
	}
	m.Size = b.ExecutableSize
	m.Requires = b.libraryIDs()
	if len(b.Slices) == 1 {
		m.ContentID = b.Slices[0].UUID
		m.Own.UUID = b.Slices[0].UUID
	}
	m.Own.CompatibleVersion = b.CompatibleVersion
}

// memberRecord returns a kext of a kernel collection that has no bundle on disk.
func memberRecord(m *member, c *collection, own *Kext) Record {
	own.UUID, own.CompatibleVersion = m.UUID, m.CompatibleVersion
	own.PackageType = cmp.Or(own.PackageType, m.PackageType)
	own.KernelResource, own.Interface = m.KernelResource, m.Interface
	if c.Architecture != "" {
		own.Architectures = []string{c.Architecture}
	}
	if own.Bundle == nil {
		own.Bundle = &Bundle{Path: m.Path, BundleInfo: m.BundleInfo}
	}
	return Record{
		Kind: fact.KindMacOSKext, Name: m.Identifier, State: fact.StateInstalled, Version: m.Version, Path: c.Path,
		Size: m.Size, ContentID: m.UUID, Requires: m.libraryIDs(), Description: m.Info, Own: own,
	}
}

// extensionRecord returns a system extension that only the database or systemextensionsctl knows. Its version is the
// one that people know.
func extensionRecord(e *SystemExtension) Record {
	m := Record{
		Kind: fact.KindMacOSSysext, Name: e.BundleID, State: fact.StateInstalled,
		Version: cmp.Or(e.ShortVersion, e.Version),
		Path:    cmp.Or(e.StagedPath, e.OriginPath), Own: &Kext{BundleID: e.BundleID, SystemExtension: e},
	}
	if e.isDriver() {
		m.Kind = fact.KindMacOSDext
	}
	return m
}

// finish fills in what follows from the other fields: id, kind, origin, signature.
func finish(modules []Record, source string) {
	for i := range modules {
		m := &modules[i]
		k := m.Own
		if k.PackageType == "DEXT" || k.PackageType == "" && path.Ext(m.Path) == ".dext" {
			m.Kind = fact.KindMacOSDext
		}
		k.Pseudo = pseudoOf(k.BundleID)
		if k.VersionValid == "" {
			k.VersionValid = versionValid(m.Version)
		}
		m.ID = string(m.Kind) + ":" + m.Name + m.ID // the ID so far distinguishes several of one name
		m.Origin = originOf(k, m.Path, source)
		m.Signature = signatureOf(k.CodeSignature)
	}
}
