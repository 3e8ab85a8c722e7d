// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// records returns what the kernel says as records of the given kind.
func records(infos []moduleInfo, kind fact.Kind, addresses bool, r *fact.Report) []Record {
	modules := make([]Record, len(infos))
	var losses []fact.Loss
	for i, info := range infos {
		modules[i] = record(info, kind)
		if !addresses {
			continue
		}
		modules[i].Address = fact.Address(info.Address)
		var err error
		switch {
		case info.Redacted:
			err = fact.ErrRedacted
		case info.Address == 0 && info.Loaded:
			err = fact.ErrRestricted
		default:
			continue
		}
		losses = append(losses, fact.Loss{
			Module: i, Source: SourceModinfo, Field: "address", Err: fmt.Errorf("address %w", err),
		})
	}
	fact.AddLosses(r, modules, losses)
	return modules
}

func record(i moduleInfo, kind fact.Kind) Record {
	m := Record{
		ID: string(kind) + ":" + i.Name, Kind: kind, Name: i.Name,
		State: fact.StateInstalled, // known to the kernel, and unloaded
		Own: &Module{ID: fact.CountOf(int64(i.ID)), State: []string{}, Rev: fact.CountOf(int64(i.Rev)),
			LoadCount: fact.CountOf(int64(i.LoadCount)), Linkages: i.Linkages},
	}
	if i.Size > 0 {
		m.Size = fact.CountOf(int64(i.Size))
	}
	if i.Loaded {
		m.State = fact.StateLoaded
		m.Own.State = append(m.Own.State, "loaded")
	}
	if i.Installed {
		m.Own.State = append(m.Own.State, "installed")
	}
	if len(i.Linkages) > 0 {
		m.Description = i.Linkages[0].Description
	}
	return m
}
