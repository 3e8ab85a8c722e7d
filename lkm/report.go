// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"io/fs"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A report collects the sources and problems of one look, at most limit.Problems for each source;
// further ones are counted in one last Problem.
type report struct {
	sources  []Source
	problems []Problem
	perName  map[string]int
	started  time.Time // when overBudget was first asked
}

// overBudget reports whether the look has taken longer than limit, 0 for none. Its time runs from
// the first question on, so that the parts of one look share it.
func (r *report) overBudget(limit time.Duration) bool {
	if limit <= 0 {
		return false
	}
	if r.started.IsZero() {
		r.started = time.Now()
	}
	return time.Since(r.started) > limit
}

// budgetErr is the error of a look that its budget cut short, nil for one that is whole.
func (r *report) budgetErr() error {
	for _, p := range r.problems {
		if p.Code == CodeBudget {
			return p
		}
	}
	for _, s := range r.sources {
		if s.Code == CodeBudget { // its Problem was one too many
			return ErrBudget
		}
	}
	return nil
}

// source adds a source. err decides the code, and the outcome when outcome is empty.
func (r *report) source(name string, outcome Outcome, count Count, err error) {
	src := Source{Name: name, Outcome: outcome, Count: count, Code: fact.CodeOf(err)}
	if outcome == "" {
		src.Outcome = outcomeOf(err)
	}
	r.sources = append(r.sources, src)
}

// merge drops what several looks at one machine said twice: of the sources of one name the first
// that was not skipped is kept, and equal problems once.
func (r *report) merge() {
	index := make(map[string]int)
	sources := r.sources[:0]
	for _, s := range r.sources {
		if i, ok := index[s.Name]; !ok {
			index[s.Name] = len(sources)
			sources = append(sources, s)
		} else if sources[i].Outcome == OutcomeSkipped {
			sources[i] = s
		}
	}
	r.sources = sources
	seen := make(map[Problem]bool)
	problems := r.problems[:0]
	for _, p := range r.problems {
		if !seen[p] {
			seen[p] = true
			problems = append(problems, p)
		}
	}
	r.problems = problems
}

// outcomeOf returns how reading ended that ended with err.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OutcomeOK
	case errors.Is(err, fs.ErrPermission), errors.Is(err, ErrRestricted):
		return OutcomeDenied
	case errors.Is(err, fs.ErrNotExist):
		return OutcomeAbsent
	case errors.Is(err, errors.ErrUnsupported):
		return OutcomeUnsupported
	}
	return OutcomeFailed
}

// problem adds a Problem made of err.
func (r *report) problem(source, subject, field string, err error) {
	r.add(problemOf(source, subject, field, err))
}

// add adds p, or counts it when its source has too many.
func (r *report) add(p Problem) {
	if r.perName == nil {
		r.perName = make(map[string]int)
	}
	n := r.perName[p.Source]
	r.perName[p.Source]++
	if n < limit.Problems {
		r.problems = append(r.problems, p)
		return
	}
	for i := range r.problems {
		if q := &r.problems[i]; q.Source == p.Source && q.Text == manyMore {
			q.Count++
			return
		}
	}
	r.problems = append(r.problems, Problem{Source: p.Source, Code: p.Code, Text: manyMore, Count: 1})
}

// manyMore is the text of the Problem that counts those for which there is no room.
const manyMore = "more problems of this source"

// problemOf makes a Problem whose subject is safe to print.
func problemOf(source, subject, field string, err error) Problem {
	return fact.ProblemOf(source, escape.UTF8(subject), field, err)
}

// lost is a field of a module that could not be had.
type lostField struct {
	module int // index into the modules
	source string
	field  string
	err    error
}

// settle gives each module the problems of its lost fields. A cause that hit every one of the
// modules becomes one Problem of its source.
func (r *report) settle(modules []Module, lost []lostField) {
	type cause struct {
		source, field string
		code          Code
	}
	hits, fields := make(map[cause]map[int]bool), make(map[cause]int)
	causeOf := func(l lostField) cause { return cause{l.source, l.field, fact.CodeOf(l.err)} }
	for _, l := range lost {
		c := causeOf(l)
		if hits[c] == nil {
			hits[c] = make(map[int]bool)
		}
		hits[c][l.module] = true
		fields[c]++
	}
	said := make(map[cause]bool)
	for _, l := range lost {
		c := causeOf(l)
		switch {
		case said[c]:
		case len(hits[c]) == len(modules) && len(modules) > 1:
			p := problemOf(l.source, "", l.field, l.err)
			p.Count = fields[c]
			r.add(p)
			said[c] = true
		default:
			modules[l.module].addProblem(problemOf(l.source, modules[l.module].Name, l.field, l.err))
		}
	}
}

// addProblem adds a Problem about the module, or counts it when there are too many.
func (m *Module) addProblem(p Problem) {
	n := len(m.Problems)
	switch {
	case n < limit.Problems:
		m.Problems = append(m.Problems, p)
	case n == limit.Problems:
		m.Problems = append(m.Problems, Problem{Source: p.Source, Subject: p.Subject, Code: p.Code, Text: manyMore, Count: 1})
	default:
		m.Problems[n-1].Count++
	}
}
