// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Resolve looks a name up as modprobe does.
func (k *Kernel) Resolve(ctx context.Context, alias string, r *fact.Report) ([]Record, error) {
	t, err := k.tree(ctx, r)
	if err != nil {
		return nil, err
	}
	lost := r.Part()
	matches, err := t.Resolve(alias, lost)
	r.Append(lost)
	if len(matches) == 0 {
		return nil, err
	}
	modules := make([]Record, 0, len(matches))
	var d *describer
	for _, match := range matches {
		m := k.resolved(t, match)
		for _, p := range lost.Problems {
			m.Problem(SourceTree, "", p)
		}
		if m.Path != "" && k.options.Detail&fileDetail != 0 {
			if d == nil {
				d = k.describer(ctx, t, k.options.Detail, r.Budget)
			}
			f := d.describe(&m, m.Own.File, t.Path(m.Own.File))
			m.Size, m.ContentID = m.Own.FileSize, f.BuildID
			_, keysLost := k.fileKeys(ctx, t.Release, r.Budget)
			addKeyProblems(&m, d.options, keysLost)
		}
		modules = append(modules, m)
	}
	return modules, nil
}

func (k *Kernel) resolved(t *modprobe.Tree, match modprobe.Match) Record {
	m := newRecord(match.Name, "")
	m.Own = &Module{Release: t.Release}
	file, err := t.FileOf(match.Name)
	if file != "" {
		m.Path, m.Own.File = "/"+t.Path(file), file
	}
	switch {
	case match.Builtin: // a file of that name is never loaded
		m.State = fact.StateBuiltin
	case file != "":
		if k.options.Image {
			m.State = fact.StateInstalled
		}
	default:
		if err == nil {
			err = fmt.Errorf("%s stands for it, but no index of the release has it: %w", match.By, fs.ErrNotExist)
		}
		m.Problems = append(m.Problems, fact.ProblemOf(SourceTree, m.Name, "path", err))
	}
	return m
}

// Plan says what modprobe would do.
func (k *Kernel) Plan(ctx context.Context, query string, r *fact.Report) ([]fact.Step, error) {
	t, err := k.tree(ctx, r)
	if err != nil {
		return nil, err
	}
	plan, err := t.Plan(query, r)
	if err != nil {
		return nil, err
	}
	if len(plan.Steps) == 0 && len(plan.Blacklisted) > 0 {
		d := plan.Blacklisted[0]
		return nil, fmt.Errorf("blacklist %s (%s:%d) keeps aliases from loading it: %w",
			d.Name, fact.PathAt(k.options.Root, d.File), d.Line, fact.ErrBlacklisted)
	}
	steps := make([]fact.Step, len(plan.Steps))
	for i, s := range plan.Steps {
		steps[i] = fact.Step{Module: string(fact.KindLinuxModule) + ":" + s.Name, Command: s.Command, Params: s.Params,
			Optional: s.Optional, Reason: s.Reason}
		switch {
		case s.Path != "":
			steps[i].Path = "/" + t.Path(s.Path)
		case s.Builtin:
			steps[i].Builtin = true
		}
	}
	return steps, nil
}
