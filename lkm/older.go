// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// A tape may be older than a question: this library did not ask it yet when the tape was recorded. The kernels'
// packages report that as any other failure, so that a conclusion which needs the answer is unknown. A list forgives
// it: the list is as whole as it was when the tape was recorded.

// forgiveOlder returns the sources and the problems of a list without what the tape is too old for. Problems of the
// modules are dropped in place; a slice with only those becomes nil.
func forgiveOlder(sources []Source, problems []Problem, modules []Module) ([]Source, []Problem) {
	if !anyOlder(sources, problems, modules) {
		return sources, problems
	}
	younger := olderSources{}
	younger.add(problems)
	for i := range modules {
		younger.add(modules[i].Problems)
	}
	sources = slices.Clone(sources)
	for i, s := range sources {
		only := younger.only(s)
		switch {
		case !only:
		case s.Outcome == fact.OutcomePartial:
			sources[i].Outcome, sources[i].Code = fact.OutcomeOK, ""
		case s.Incomplete():
			sources[i].Outcome, sources[i].Code = fact.OutcomeUnsupported, CodeOlder
		}
	}
	for i := range modules {
		modules[i].Problems = withoutOlder(modules[i].Problems)
	}
	return sources, withoutOlder(problems)
}

// anyOlder reports whether the tape was too old for anything.
func anyOlder(sources []Source, problems []Problem, modules []Module) bool {
	for i := range modules {
		if slices.ContainsFunc(modules[i].Problems, isOlder) {
			return true
		}
	}
	return slices.ContainsFunc(problems, isOlder) ||
		slices.ContainsFunc(sources, func(s Source) bool { return s.Code == CodeOlder })
}

func isOlder(p Problem) bool { return p.Code == CodeOlder }

// olderSources says of each source that a tape was too old for whether something else is missing of it, too.
type olderSources map[string]bool

func (o olderSources) add(problems []Problem) {
	for _, p := range problems {
		if p.Code == CodeOlder {
			if _, ok := o[p.Source]; !ok {
				o[p.Source] = false
			}
		}
	}
	for _, p := range problems {
		if p.Code != CodeOlder && p.Code != CodeUnsupported {
			o[p.Source] = true
		}
	}
}

// only reports whether nothing is missing of the source but what the tape is too old for.
func (o olderSources) only(s Source) bool {
	more, hit := o[s.Name]
	if s.Code == CodeOlder {
		return !more
	}
	return s.Code == "" && hit && !more
}

// withoutOlder returns the problems without those of a tape that is older than the question.
func withoutOlder(problems []Problem) []Problem {
	if !slices.ContainsFunc(problems, isOlder) {
		return problems
	}
	kept := slices.DeleteFunc(slices.Clone(problems), isOlder)
	if len(kept) == 0 {
		return nil
	}
	return kept
}
