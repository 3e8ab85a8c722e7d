// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An enforcer is the part of a backend that says what may be loaded, and what does not agree.
type enforcer interface {
	// policy reads what is enforced on loading, and reports its sources.
	policy(ctx context.Context, r *report) (*Policy, error)
}

// Policy reads what the system enforces on the loading of kernel code: some twenty small files.
// Every fact names its source, and one that is not known says why. On an image it is what is
// certain of the next boot; nothing of the running machine takes part. The error is
// errors.ErrUnsupported where this library reads no policy, or that of ctx.
func (s *System) Policy(ctx context.Context) (*Policy, error) {
	const op = "read policy"
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	p, err := s.backend.policy(ctx, new(report))
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return p, nil
}

// addPolicy gives the snapshot its policy when it was asked for.
func (s *System) addPolicy(ctx context.Context, snap *Snapshot, r *report) {
	if s.options.Detail&DetailPolicy == 0 {
		return
	}
	p, err := s.backend.policy(ctx, r)
	if err != nil {
		r.problem("", "", "policy", err)
		return
	}
	snap.Policy = p
}

func (u unsupported) policy(context.Context, *report) (*Policy, error) {
	return nil, u.err()
}

// incompletePolicy returns the facts that could not be had for another reason than that there are
// none, as a Problem for each source and code. Where the conclusion is unknown, something is missing
// in any case.
func incompletePolicy(p *Policy) []Problem {
	var problems []Problem
	index := make(map[[2]string]int)
	for _, f := range p.Facts {
		missed := f.Code == CodeAbsent && p.Loading == "" && strings.HasPrefix(f.Effect, "not known")
		if !missed && (f.Code == "" || f.Code == CodeAbsent || f.Code == CodeUnsupported) {
			continue
		}
		key := [2]string{f.Source, string(f.Code)}
		if i, ok := index[key]; ok {
			problems[i].Count = max(problems[i].Count, 1) + 1
			continue
		}
		index[key] = len(problems)
		problems = append(problems, Problem{Source: f.Source, Subject: f.Name, Field: "policy", Code: f.Code, Text: f.Effect})
	}
	if p.Loading == "" && len(problems) == 0 {
		problems = append(problems, Problem{Field: "policy", Code: CodeOther, Text: "whether new code can enter the kernel is not known" + unsupportedFacts(p)})
	}
	return problems
}

// unsupportedFacts names, after a colon, the facts that this library cannot read; "" for none.
func unsupportedFacts(p *Policy) string {
	var names []string
	for _, f := range p.Facts {
		if f.Code == CodeUnsupported {
			names = append(names, f.Name)
		}
	}
	if names == nil {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// PolicyErr is for callers who want everything or nothing: it joins what could not be read of a
// policy, and is nil when nothing is missing. A fact that this machine does not have is not
// missing. It is never nil for a Policy without a conclusion.
func PolicyErr(p *Policy) error {
	var errs []error
	for _, problem := range incompletePolicy(p) {
		errs = append(errs, problem)
	}
	return errors.Join(errs...)
}

// policy reports the sources of the facts, but for those that were reported before.
func (r *report) policy(p *Policy) {
	known := make(map[string]bool, len(r.sources))
	for _, s := range r.sources {
		known[s.Name] = true
	}
	for _, f := range p.Facts {
		if !known[f.Source] {
			known[f.Source] = true
			r.sources = append(r.sources, policySource(p, f.Source))
		}
	}
	for _, problem := range incompletePolicy(p) {
		r.add(problem)
	}
}

// policySource says how reading one source of facts went.
func policySource(p *Policy, name string) Source {
	src := Source{Name: name, Outcome: OutcomeOK}
	had, missing := 0, 0
	for _, f := range p.Facts {
		switch {
		case f.Source != name:
		case f.Code == "":
			had++
		case f.Code == CodeAbsent:
			missing++
			if src.Code == "" {
				src.Code = f.Code
			}
		default:
			src.Code = f.Code
			src.Outcome = outcomeOf(f.Code.Err())
			if f.Code.Err() == nil {
				src.Outcome = OutcomeFailed
			}
		}
	}
	switch {
	case src.Outcome != OutcomeOK && had > 0:
		src.Outcome = OutcomePartial
	case src.Outcome == OutcomeOK && had > 0:
		src.Code = ""
	case src.Outcome == OutcomeOK && missing > 0:
		src.Outcome = OutcomeAbsent
	}
	return src
}
