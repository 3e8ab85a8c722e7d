// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// records returns what the kernel, or modstat's text, says as records. UsedBy is Required turned around.
func records(stats []moduleStat, addresses bool, r *fact.Report) []Record {
	modules := make([]Record, len(stats))
	users := map[string][]string{}
	whole := true
	for _, s := range stats {
		whole = whole && s.Required != nil
		for _, name := range s.Required {
			users[name] = append(users[name], s.Name)
		}
	}
	var losses []fact.Loss
	lose := func(i int, field string, err error) {
		losses = append(losses, fact.Loss{Module: i, Source: SourceModctl, Field: field, Err: err})
	}
	for i, s := range stats {
		modules[i] = record(s, addresses)
		if users := users[s.Name]; users != nil {
			modules[i].UsedBy = users
		} else if whole {
			modules[i].UsedBy = []string{}
		}
		if s.Hidden {
			lose(i, "size", fmt.Errorf("size and address %w from a caller without privilege", fact.ErrRestricted))
		}
		if s.Redacted && addresses {
			lose(i, "address", fmt.Errorf("address %w", fact.ErrRedacted))
		}
		if s.Required == nil {
			lose(i, "requires", fmt.Errorf("%w: the requirements could not be read", fact.ErrMalformed))
		}
	}
	fact.AddLosses(r, modules, losses)
	return modules
}

func record(s moduleStat, addresses bool) Record {
	m := Record{
		ID: string(fact.KindNetBSDModule) + ":" + s.Name, Kind: fact.KindNetBSDModule, Name: s.Name,
		State: fact.StateLoaded,
		Size:  s.Size, Refs: s.Refs,
		Own: &Module{Class: s.Class, Source: s.Source, Flags: s.Flags, Required: s.Required},
	}
	if s.Required != nil {
		m.Requires = sorted(s.Required)
	}
	if s.Source == sources[0] {
		m.State = fact.StateBuiltin
		m.Own.Disabled = fact.TriOf(s.Disabled)
	}
	if addresses {
		m.Address = fact.Address(s.Address)
	}
	return m
}

// fileRecord returns a module that a file declares as a record.
func fileRecord(m *metadata, path string) Record {
	return Record{
		ID: string(fact.KindNetBSDModule) + ":" + m.Name, Kind: fact.KindNetBSDModule, Name: m.Name,
		State: fact.StateInstalled, Path: path, Size: fact.CountOf(m.Size), ContentID: m.BuildID,
		Requires: sorted(m.Required),
		Own:      &Module{Class: m.Class, Required: m.Required, BuiltFor: fact.CountOf(int64(m.BuiltFor))},
	}
}

// sorted returns the names sorted; never nil.
func sorted(names []string) []string {
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(slices.Values(names))))
}
