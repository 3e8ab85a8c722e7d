// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/kernelext/kernelext/internal/escape"
)

// MaxProblems is how many Problems of one source a Report or a Record keeps. Further ones are counted in one
// last Problem.
const MaxProblems = 100

// manyMore is the text of the Problem that counts those for which there is no room.
const manyMore = "more problems of this source"

// A Report carries what one call could not do: which sources it read and how that went, what it failed to read,
// and what is left of its budget. Every reader and every judgment takes one. Its zero value is ready for use.
// It is not safe for concurrent use.
type Report struct {
	// Sources are the sources in the order in which they were read.
	Sources []Source
	// Problems are about a source or the machine as a whole, at most MaxProblems for each source.
	Problems []Problem
	// Budget bounds what the call costs; nil means that only each thing that it reads is bounded.
	Budget *Budget

	count map[string]int // how many problems each source has, those without room included
	more  map[string]int // index in Problems of the one that counts the rest

	encodings map[string]string // of sources that are texts; nil if none was decoded
}

// Part returns an empty report of a part of the call, which shares its budget.
func (r *Report) Part() *Report { return &Report{Budget: r.Budget} }

// Source adds a source. The code follows from err, and so does the outcome if it is empty.
func (r *Report) Source(name string, outcome Outcome, count Count, err error) {
	src := Source{Name: name, Outcome: outcome, Count: count, Code: CodeOf(err), Encoding: r.encodings[name]}
	if outcome == "" {
		src.Outcome = OutcomeOf(err)
	}
	r.Sources = append(r.Sources, src)
}

// Encoded notes what the text of a source, which is not added yet, was decoded from; empty for UTF-8.
func (r *Report) Encoded(source, encoding string) {
	if encoding == "" {
		return
	}
	if r.encodings == nil {
		r.encodings = make(map[string]string)
	}
	r.encodings[source] = encoding
}

// Done adds a source that was read to its end: partial if problems of it were reported, else ok.
func (r *Report) Done(name string, count Count) {
	outcome := OutcomeOK
	if r.Count(name) > 0 {
		outcome = OutcomePartial
	}
	r.Source(name, outcome, count, nil)
}

// Skip adds sources that were not asked for.
func (r *Report) Skip(names ...string) {
	for _, name := range names {
		r.Source(name, OutcomeSkipped, Count{}, nil)
	}
}

// Problem adds a Problem made of err.
func (r *Report) Problem(source, subject, field string, err error) {
	r.Add(ProblemOf(source, escape.UTF8(subject), field, err))
}

// Add adds p, or counts it if its source has MaxProblems already.
func (r *Report) Add(p Problem) {
	if r.count == nil {
		r.count, r.more = make(map[string]int), make(map[string]int)
	}
	n := r.count[p.Source]
	r.count[p.Source]++
	if n < MaxProblems {
		r.Problems = append(r.Problems, p)
		return
	}
	if i, ok := r.more[p.Source]; ok {
		r.Problems[i].Count++
		if r.Problems[i].Code == CodeOlder {
			r.Problems[i].Code = p.Code // a list forgives CodeOlder, and not what p counts for
		}
		return
	}
	r.more[p.Source] = len(r.Problems)
	r.Problems = append(r.Problems, Problem{Source: p.Source, Code: p.Code, Text: manyMore, Count: 1})
}

// Append adds the sources and the problems of another report.
func (r *Report) Append(o *Report) {
	r.Sources = append(r.Sources, o.Sources...)
	for i, p := range o.Problems {
		r.Add(p)
		if rest, ok := o.more[p.Source]; ok && rest == i { // it stands for several
			r.addCount(p.Source, p.Count-1)
		}
	}
}

// addCount counts n more problems of a source that has no room for them.
func (r *Report) addCount(source string, n int) {
	r.count[source] += n
	if i, ok := r.more[source]; ok {
		r.Problems[i].Count += n
	}
}

// Count returns how many problems of the source were reported, those without room included.
func (r *Report) Count(source string) int { return r.count[source] }

// First returns the first problem of the source, and whether there is one.
func (r *Report) First(source string) (Problem, bool) {
	for _, p := range r.Problems {
		if p.Source == source {
			return p, true
		}
	}
	return Problem{}, false
}

// Find returns the first source of that name, and whether there is one.
func (r *Report) Find(name string) (Source, bool) { return FindSource(r.Sources, name) }

// Whole reports whether every one of the sources was read to its end.
func (r *Report) Whole(names ...string) bool {
	for _, name := range names {
		whole := func(s Source) bool { return s.Name == name && s.Outcome == OutcomeOK }
		if !slices.ContainsFunc(r.Sources, whole) {
			return false
		}
	}
	return true
}

// BudgetErr returns the error of a call that its budget cut short, and nil for one that is whole.
func (r *Report) BudgetErr() error {
	for _, p := range r.Problems {
		if p.Code == CodeBudget {
			return p
		}
	}
	for _, s := range r.Sources {
		if s.Code == CodeBudget { // its Problem did not fit
			return ErrBudget
		}
	}
	return nil
}

// Err joins the problems whose code is not unsupported, and is nil without such a problem. It is for a result that has
// no place for problems of its own, such as an empty list.
func (r *Report) Err() error {
	var errs []error
	for _, p := range r.Problems {
		if p.Code != CodeUnsupported {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Merge drops what several reads of one machine reported twice: of the sources of one name it keeps the first
// that was not skipped, and of equal problems the first.
func (r *Report) Merge() {
	index := make(map[string]int)
	sources := r.Sources[:0]
	for _, s := range r.Sources {
		if i, ok := index[s.Name]; !ok {
			index[s.Name] = len(sources)
			sources = append(sources, s)
		} else if sources[i].Outcome == OutcomeSkipped {
			sources[i] = s
		}
	}
	r.Sources = sources
	rest := make(map[string]Problem, len(r.more))
	for name, i := range r.more {
		rest[name] = r.Problems[i]
	}
	seen := make(map[Problem]bool)
	problems := r.Problems[:0]
	for _, p := range r.Problems {
		if !seen[p] {
			seen[p] = true
			problems = append(problems, p)
		}
	}
	r.Problems, r.count, r.more = problems, make(map[string]int), make(map[string]int)
	for i, p := range problems {
		r.count[p.Source] += max(p.Count, 1)
		if q, ok := rest[p.Source]; ok && p == q {
			r.more[p.Source] = i
		}
	}
}

// OutcomeOf returns how a read ended that ended with err.
func OutcomeOf(err error) Outcome {
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
