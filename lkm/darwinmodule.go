// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
)

// darwinModules converts the kernel's list, in its order. source is where it was read.
func darwinModules(kexts []darwin.Loaded, source string) []Module {
	tags := darwin.Tags(kexts)
	modules := make([]Module, len(kexts))
	objects := make([]darwin.Kext, len(kexts))
	for i := range kexts {
		l := &kexts[i]
		objects[i] = darwin.KextOf(l, tags)
		modules[i] = Module{
			Kind: KindMacOSKext, Name: l.BundleID, State: StateLoaded, Version: l.Version, Path: l.Path,
			Size: l.Size, Refs: l.Refs, ContentID: l.UUID, Problems: l.Problems, Darwin: &objects[i],
		}
		if l.BundleID == "" { // kextstat prints ???? for a name that it did not get
			modules[i].Name = "????"
			modules[i].Problems = append(modules[i].Problems, Problem{Source: source, Field: "name", Code: CodeOther, Text: "the kernel gave no name"})
		}
	}
	relate(modules)
	return modules
}

// relate fills Requires and UsedBy from the links. UsedBy is known only when the links of every kext
// are.
func relate(modules []Module) {
	users := make(map[string][]string)
	all := true
	for i := range modules {
		m := &modules[i]
		if m.Darwin.LinkedAgainst == nil {
			all = false
			continue
		}
		m.Requires = make([]string, 0, len(m.Darwin.LinkedAgainst))
		for _, link := range m.Darwin.LinkedAgainst {
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

// addBundle adds what the bundle on disk says.
func addBundle(m *Module, b *darwin.Bundle) {
	m.Version = cmp.Or(m.Version, b.Version)
	m.Path = cmp.Or(m.Path, b.Path)
	m.Description = cmp.Or(m.Description, b.Usage, b.Info)
	if m.State == StateInstalled {
		m.Size = b.ExecutableSize
		m.Requires = b.LibraryIDs()
		if len(b.Slices) == 1 {
			m.ContentID = b.Slices[0].UUID
			m.Darwin.UUID = b.Slices[0].UUID
		}
		m.Darwin.CompatibleVersion = b.CompatibleVersion
	}
	m.Problems = append(m.Problems, b.Problems...)
}

// memberModule is a kext of a kernel collection that has no bundle on disk.
func memberModule(member *darwin.Member, c *darwin.Collection, k *darwin.Kext) Module {
	k.UUID, k.CompatibleVersion = member.UUID, member.CompatibleVersion
	k.PackageType = cmp.Or(k.PackageType, member.PackageType)
	k.KernelResource, k.Interface = member.KernelResource, member.Interface
	if c.Architecture != "" {
		k.Architectures = []string{c.Architecture}
	}
	if k.Bundle == nil {
		k.Bundle = &darwin.Bundle{Path: member.Path, BundleInfo: member.BundleInfo}
	}
	return Module{
		Kind: KindMacOSKext, Name: member.Identifier, State: StateInstalled, Version: member.Version, Path: c.Path,
		Size: member.Size, ContentID: member.UUID, Requires: member.LibraryIDs(), Description: member.Info, Darwin: k,
	}
}

// extensionModule is a system extension known from the database or from systemextensionsctl only.
func extensionModule(e *darwin.SystemExtension) Module {
	return Module{
		Kind: KindMacOSDext, Name: e.BundleID, State: StateInstalled, Version: e.Version, Path: cmp.Or(e.StagedPath, e.OriginPath),
		Darwin: &darwin.Kext{BundleID: e.BundleID, SystemExtension: e},
	}
}

// badBundle is a bundle that could not be read: its path is all that is known.
func badBundle(b darwin.Bundle) Module {
	m := Module{Kind: KindMacOSKext, Name: strings.TrimSuffix(path.Base(b.Path), path.Ext(b.Path)), State: StateInstalled, Path: b.Path, Problems: b.Problems}
	m.Darwin = &darwin.Kext{Bundle: &darwin.Bundle{Path: b.Path}}
	return m
}

// finishDarwin fills what follows from the other fields: id, kind, origin, signature.
func finishDarwin(modules []Module, source string) {
	for i := range modules {
		m := &modules[i]
		k := m.Darwin
		if k.PackageType == "DEXT" || k.PackageType == "" && path.Ext(m.Path) == ".dext" {
			m.Kind = KindMacOSDext
		}
		k.Pseudo = darwin.PseudoOf(k.BundleID)
		if k.VersionValid == "" {
			k.VersionValid = darwin.VersionValid(m.Version)
		}
		m.ID = string(m.Kind) + ":" + m.Name
		m.Origin = darwin.OriginOf(k, m.Path, source)
		m.Signature = darwin.SignatureOf(k.CodeSignature)
	}
}

// profilerModule is an extension in a report of system_profiler.
func profilerModule(p *darwin.ProfilerItem) Module {
	k := &darwin.Kext{
		BundleID: p.BundleID, Architectures: p.Architectures,
		Bundle:   &darwin.Bundle{Path: p.Path, BundleInfo: darwin.BundleInfo{Identifier: p.BundleID, Name: p.Name, Version: p.Version, ShortVersion: p.ShortVersion, Info: p.Info}},
		Profiler: &darwin.ProfilerFacts{ObtainedFrom: p.ObtainedFrom, Loadable: p.Loadable, Dependencies: p.Dependencies, Errors: p.Errors},
	}
	if len(p.SignedBy) > 0 {
		k.CodeSignature = &darwin.CodeSignature{Present: fact.Yes, Signer: p.SignedBy[0], Chain: p.SignedBy, Notarized: p.Notarized}
	}
	m := Module{Kind: KindMacOSKext, Name: cmp.Or(p.BundleID, p.Name), Version: p.Version, Path: p.Path, Description: p.Info, Address: p.Address, Darwin: k}
	switch p.Loaded {
	case fact.Yes:
		m.State = StateLoaded
	case fact.No:
		m.State = StateInstalled
	}
	return m
}
