// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// resolve looks a name up as modprobe does.
func (b *linuxBackend) resolve(ctx context.Context, alias string) ([]Module, error) {
	t, err := b.tree(ctx)
	if err != nil {
		return nil, err
	}
	var lost fact.Report
	matches, err := t.Resolve(alias, &lost)
	if len(matches) == 0 {
		return nil, err
	}
	modules := make([]Module, 0, len(matches))
	var d *linuxDescriber
	for _, match := range matches {
		m := b.resolved(t, match)
		for _, p := range lost.Problems {
			m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "", p))
		}
		if m.Path != "" && b.options.Detail&fileDetail != 0 {
			if d == nil {
				d = b.describer(t)
			}
			f := d.describe(&m, m.Linux.File)
			m.Size, m.ContentID = m.Linux.FileSize, f.BuildID
			m.addKeyProblems(&d.options)
		}
		modules = append(modules, m)
	}
	return modules, nil
}

func (b *linuxBackend) resolved(t *modprobe.Tree, match modprobe.Match) Module {
	m := newLinuxModule(match.Name, "")
	m.Linux = &linux.Module{Release: t.Release}
	file, err := t.FileOf(match.Name)
	if file != "" {
		m.Path, m.Linux.File = "/"+t.Path(file), file
	}
	switch {
	case match.Builtin: // a file of that name is never loaded
		m.State = StateBuiltin
	case file != "":
		if b.image() {
			m.State = StateInstalled
		}
	default:
		if err == nil {
			err = fmt.Errorf("%s stands for it, but no index of the release has it: %w", match.By, fs.ErrNotExist)
		}
		m.Problems = append(m.Problems, problemOf(linux.SourceTree, m.Name, "path", err))
	}
	return m
}

// loadPlan says what modprobe would do.
func (b *linuxBackend) loadPlan(ctx context.Context, query string) ([]Step, error) {
	t, err := b.tree(ctx)
	if err != nil {
		return nil, err
	}
	plan, err := t.Plan(query, new(fact.Report))
	if err != nil {
		return nil, err
	}
	if len(plan.Steps) == 0 && len(plan.Blacklisted) > 0 {
		d := plan.Blacklisted[0]
		return nil, fmt.Errorf("blacklist %s (%s:%d) keeps aliases from loading it: %w", d.Name, b.guard.path(d.File), d.Line, ErrBlacklisted)
	}
	steps := make([]Step, len(plan.Steps))
	for i, s := range plan.Steps {
		steps[i] = Step{Module: string(KindLinuxModule) + ":" + s.Name, Command: s.Command, Params: s.Params, Optional: s.Optional, Reason: s.Reason}
		switch {
		case s.Path != "":
			steps[i].Path = "/" + t.Path(s.Path)
		case s.Builtin:
			steps[i].Builtin = true
		}
	}
	return steps, nil
}
