// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"context"
	"io/fs"
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// Resolve returns the extensions on disk that a bundle id or a device stands for: of a device the one with the highest
// probe score first, as the system asks them, and last those that may match, because the query does not say all that
// they ask for. If nothing matches, the error says what could not be read, if anything.
func (k *Kernel) Resolve(ctx context.Context, query string, r *fact.Report) ([]Record, error) {
	reader := k.reader(ctx)
	reader.Personalities = true
	from := len(r.Problems)
	d, err := reader.read(ctx, r)
	installed := d.records()
	found := named(installed, query)
	if len(found) == 0 && isDevice(query) {
		device, err := parseDevice(query)
		if err != nil {
			return nil, err
		}
		found = device.drivers(installed)
	}
	if len(found) > 0 {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for _, p := range r.Problems[from:] {
		if p.Source == SourceBundles || p.Source == SourceCollections { // what could not be read may be the one
			return nil, p
		}
	}
	return nil, nil
}

// named returns the records of a bundle id.
func named(modules []Record, id string) []Record {
	var found []Record
	for i := range modules {
		if modules[i].Name == id {
			found = append(found, modules[i])
		}
	}
	return found
}

// drivers returns the records with a personality for the device: those that match, the highest score first, then those
// that may.
func (d *device) drivers(modules []Record) []Record {
	var found []Record
	for i := range modules {
		match := d.answers(modules[i].Own)
		if match == nil {
			continue
		}
		m := modules[i]
		own := *m.Own
		own.Match = match
		m.Own, m.Problems = &own, slices.Clone(m.Problems)
		if err := match.problem(); err != nil {
			m.Problem(SourceBundles, "match", err)
		}
		found = append(found, m)
	}
	slices.SortStableFunc(found, func(a, b Record) int {
		return cmp.Or(a.Own.Match.compare(b.Own.Match), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// answers returns how a kext answers to the device; nil if it has no personality for it.
func (d *device) answers(k *Kext) *DeviceMatch {
	if k.Bundle == nil {
		return nil
	}
	return d.best(&k.Bundle.BundleInfo)
}

// maxSteps bounds a plan.
const maxSteps = 1000

// Plan returns what kmutil load would do: the libraries that a kext names, then the kext.
func (k *Kernel) Plan(ctx context.Context, query string, r *fact.Report) ([]fact.Step, error) {
	targets, err := k.Resolve(ctx, query, r)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, fs.ErrNotExist
	}
	d, _ := k.reader(ctx).read(ctx, r) // the error is reported as the source's
	p := &plan{disk: d, seen: map[string]bool{}}
	p.add(targets[0].Name, "asked for")
	return p.steps, nil
}

// A plan collects steps, libraries before what needs them.
type plan struct {
	disk  *disk
	seen  map[string]bool
	steps []fact.Step
}

// add goes down the libraries without recursion: an entry becomes a step when it comes up the second time, after what
// it needs.
func (p *plan) add(id, reason string) {
	type entry struct {
		id, reason string
		ready      bool
	}
	stack := []entry{{id, reason, false}}
	for len(stack) > 0 && len(p.steps) < maxSteps {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		info, where, known := p.find(e.id)
		if e.ready {
			step := fact.Step{Module: string(fact.KindMacOSKext) + ":" + e.id, Path: where, Reason: e.reason}
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
		for _, l := range slices.Backward(info.Libraries) {
			stack = append(stack, entry{l.BundleID, "library of " + e.id + ", " + l.Version + " or later", false})
		}
	}
}

// find returns what the disk has of a bundle id, and whether it is on disk or a part of the kernel.
func (p *plan) find(id string) (info BundleInfo, where string, known bool) {
	if list := p.disk.bundles[id]; len(list) > 0 {
		b := list[0].Own.Bundle
		return b.BundleInfo, b.Path, true
	}
	if m, c, ok := p.disk.member(id); ok {
		return m.BundleInfo, c.Path, true
	}
	return BundleInfo{}, "", pseudoOf(id) != ""
}
