// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/windows"
)

// windowsLooks is how many times an image that sources disagree about is looked at: one that comes
// or goes between two reads looks like a contradiction.
const windowsLooks = 2

// discrepancies compares the kernel's list, the service manager, the registry and the files.
func (b *windowsBackend) discrepancies(ctx context.Context) ([]Discrepancy, error) {
	first, unchecked, err := b.disagreements(ctx)
	if err != nil || len(first) == 0 {
		return unchecked, err
	}
	second, _, err := b.disagreements(ctx)
	if err != nil {
		return nil, err
	}
	again := make(map[string]bool, len(second))
	key := func(d Discrepancy) string { return fmt.Sprint(d.ID, "\n", d.Kind, "\n", d.Evidence) }
	for _, d := range second {
		again[key(d)] = true
	}
	out := unchecked
	for _, d := range first {
		d.Samples = windowsLooks
		if !again[key(d)] {
			d.Samples, d.Grade = 1, GradeTransient
		}
		out = append(out, d)
	}
	return out, nil
}

// disagreements is one look. What was not compared comes as a Discrepancy of the kind "unchecked".
func (b *windowsBackend) disagreements(ctx context.Context) (found, unchecked []Discrepancy, err error) {
	var r report
	inv, err := b.inventory(ctx, &r, true)
	if err != nil {
		return nil, nil, err
	}
	entries := inv.Join()
	lost := false
	for i := range entries {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		e := &entries[i]
		if e.Driver.Image != nil {
			b.readDriver(e, inv.Paths, windows.FileOptions{})
			lost = lost || e.Driver.PE == nil && !e.FileAbsent()
		}
		found = append(found, e.Discrepancies(string(KindWindowsDriver)+":"+e.Key)...)
	}
	views := make(map[string]View)
	for _, s := range r.Sources {
		if s.Outcome != OutcomeOK && s.Outcome != OutcomeSkipped && s.Outcome != OutcomeUnsupported {
			views[s.Name] = ViewUnchecked
		}
	}
	if lost {
		views[windows.SourceFile] = ViewUnchecked
	}
	if len(views) > 0 {
		unchecked = append(unchecked, Discrepancy{Name: "kernel", Kind: windows.KindUnchecked, Grade: GradeTransient, Views: views})
	}
	return found, unchecked, nil
}
