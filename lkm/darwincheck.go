// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
)

// rules reads the settings that decide what may load.
func (b *darwinBackend) rules(ctx context.Context, release string) *darwin.Rules {
	if b.image {
		return darwin.ReadRules(ctx, b.guard, release, nil)
	}
	return darwin.ReadRules(ctx, b.guard, release, b.guard.Call)
}

// policy returns what the system enforces on loading, and reports the sources.
func (b *darwinBackend) policy(ctx context.Context, r *report) (*Policy, error) {
	rules := b.rules(ctx, b.release(ctx))
	p := rules.Policy()
	r.policy(p)
	for _, problems := range [][]Problem{rules.NVRAM.Problems, rules.KextPolicy.Problems, rules.Managed.Problems} {
		for _, problem := range problems {
			r.add(problem)
		}
	}
	return p, nil
}

func (b *darwinBackend) release(ctx context.Context) string {
	if b.image {
		return b.options.Kernel
	}
	var s Snapshot
	s.Live = Yes
	b.header(ctx, &s, new(report))
	return s.Release
}

// check judges every extension that the query stands for: a bundle id, a device, or a file.
func (b *darwinBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	release := b.release(ctx)
	if release == "" {
		release = b.options.Kernel
	}
	var problems []Problem
	var r report
	var loaded []Module
	listErr := error(fmt.Errorf("an image: %w", ErrGone))
	if !b.image {
		list, source, err := b.list(ctx, &r)
		if listErr = err; err == nil {
			loaded = darwinModules(list.Kexts, source)
			finishDarwin(loaded, source)
		} else {
			problems = append(problems, problemOf(darwin.SourceKextManager, query, "", err))
		}
	}
	reader := b.reader(ctx)
	reader.Code, reader.Signatures, reader.Verify, reader.Personalities = true, true, false, true
	d := b.readDisk(ctx, reader, &r)
	r.badBundles(d)
	problems = append(problems, r.Problems...)
	rules := b.rules(ctx, release)

	var verdicts []Verdict
	for _, m := range b.candidates(ctx, query, loaded, d) {
		s := darwin.Subject{Kext: m.Darwin, Apple: m.Origin.Class == OriginOS}
		if listErr == nil {
			s.Loaded = fact.TriOf(m.State == StateLoaded)
		}
		v := darwin.Check(s, rules)
		v.Query, v.Release, v.Module, v.Problems = query, release, m.ID, problems
		b.settle(&v, listErr)
		verdicts = append(verdicts, v)
	}
	if len(verdicts) == 0 {
		verdicts = append(verdicts, b.absent(query, release, listErr, d, problems))
	}
	return verdicts, nil
}

// settle leaves out what cannot be said: of an image there is no now, and without the kernel's list
// what is not open may be loaded already.
func (b *darwinBackend) settle(v *Verdict, listErr error) {
	switch {
	case b.image:
		v.Now = nil
	case listErr != nil && v.Now.Outcome == VerdictBlocked:
		v.Now.Outcome = VerdictUnknown
	}
}

// absent is the verdict on what nothing knows: absent only when everything was read.
func (b *darwinBackend) absent(query, release string, listErr error, d *darwin.Disk, problems []Problem) Verdict {
	complete := func(source string) bool { return d.Views[source] == fact.ViewSeen }
	outcome := VerdictAbsent
	if !complete(darwin.SourceBundles) || !complete(darwin.SourceCollections) && d.Errors[darwin.SourceCollections] == nil {
		outcome = VerdictUnknown
	}
	v := Verdict{Query: query, Release: release, NextBoot: &Prospect{Outcome: outcome}, Problems: problems}
	if !b.image {
		if listErr != nil {
			outcome = VerdictUnknown
		}
		v.Now = &Prospect{Outcome: outcome}
	}
	return v
}

// candidates are the modules that a query means, loaded ones with what the disk has of them.
func (b *darwinBackend) candidates(ctx context.Context, query string, loaded []Module, d *darwin.Disk) []Module {
	installed := installedDarwin(d)
	match := func(m *Module) bool { return m.Name == query || m.ID == query }
	if strings.Contains(query, "/") {
		file := "/" + strings.Trim(query, "/")
		match = func(m *Module) bool { return m.Path == file || m.Darwin.Bundle != nil && m.Darwin.Bundle.Path == file }
	} else if strings.ContainsAny(query, ":=") && !strings.HasPrefix(query, "macos_") {
		device, err := darwin.ParseDevice(query)
		match = func(m *Module) bool {
			if err != nil || m.Darwin.Bundle == nil {
				return false
			}
			_, ok := device.Score(&m.Darwin.Bundle.BundleInfo)
			return ok
		}
	}
	var found []Module
	seen := make(map[string]bool)
	for i := range loaded {
		m := &loaded[i]
		d.Attach(m.Darwin, m.Path, m.Version)
		if match(m) {
			m.Origin = darwin.OriginOf(m.Darwin, m.Path, darwin.SourceKextManager)
			found = append(found, *m)
			seen[m.Name] = true
		}
	}
	for i := range installed {
		if m := &installed[i]; !seen[m.Name] && match(m) {
			found = append(found, *m)
			seen[m.Name] = true
		}
	}
	return found
}
