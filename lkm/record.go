// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"strings"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
)

// moduleOf returns a record of a kernel's package as a Module. It shares the record's slices and pointers.
func moduleOf[Own any](r *fact.Record[Own]) Module {
	m := Module{
		ID: r.ID, Kind: r.Kind, Name: r.Name, State: r.State, Version: r.Version, Description: r.Description,
		Path: r.Path,
		Size: r.Size, Address: r.Address, Refs: r.Refs, Requires: r.Requires, UsedBy: r.UsedBy, ContentID: r.ContentID,
		License: r.License, Hashes: r.Hashes, Package: r.Package, OnDisk: r.OnDisk, Signature: r.Signature,
		Origin: r.Origin, Problems: r.Problems,
	}
	switch own := any(r.Own).(type) {
	case *linux.Module:
		m.Linux = own
	case *darwin.Kext:
		m.Darwin = own
	case *windows.Driver:
		m.Windows = own
	case *freebsd.File:
		m.FreeBSD = own
	case *netbsd.Module:
		m.NetBSD = own
	case *solaris.Module:
		m.Solaris = own
	case *fact.Other:
		m.Other = own
	}
	m.addNeutral()
	return m
}

// addNeutral fills what every system has and a kernel's own object says: of a Module from that kernel's package, and of
// one from the JSON of version 0.1.0, which has it only there.
func (m *Module) addNeutral() {
	switch {
	case m.Linux != nil:
		if m.License == "" && m.Linux.Modinfo != nil {
			m.License = strings.Join(m.Linux.Modinfo.Values("license"), ", ")
		}
		m.Hashes.SHA256 = cmp.Or(m.Hashes.SHA256, m.Linux.SHA256)
	case m.Windows != nil && m.Windows.Hashes != nil:
		m.Hashes.SHA256 = cmp.Or(m.Hashes.SHA256, m.Windows.Hashes.SHA256)
	}
}

func appendModules[Own any](modules []Module, records []fact.Record[Own]) []Module {
	for i := range records {
		modules = append(modules, moduleOf(&records[i]))
	}
	return modules
}

// modulesOf returns records as Modules; nil stays nil, which is unknown.
func modulesOf[Own any](records []fact.Record[Own]) []Module {
	if records == nil {
		return nil
	}
	return appendModules(make([]Module, 0, len(records)), records)
}

// FromRecords returns a Snapshot of modules that a kernel's package read from elsewhere than a machine, such as the
// text that a tool printed. h is what is known of the machine, r how reading went. It shares their memory.
func FromRecords[Own any](os OS, records []fact.Record[Own], h fact.Header, r *fact.Report) *Snapshot {
	s := &Snapshot{
		Schema: Schema, Producer: Producer, OS: os, Modules: modulesOf(records), Sources: r.Sources,
		Problems: r.Problems,
	}
	s.setHeader(h)
	if s.Modules == nil {
		s.Modules = []Module{}
	}
	sortModules(s.Modules)
	s.Modules = numberDuplicates(s.Modules)
	return s
}

func (s *Snapshot) setHeader(h fact.Header) {
	s.Release, s.Arch, s.BootID, s.TakenAt = h.Release, h.Arch, h.BootID, h.TakenAt
	s.Privilege, s.Kernel = h.Privilege, h.Kernel
}
