// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"strings"
)

// Loading says in one word whether new code can enter the kernel. Empty means unknown.
type Loading string

// The answers.
const (
	LoadingAny    Loading = "any"    // a privileged user may load unsigned code
	LoadingSigned Loading = "signed" // only code signed by a key the kernel trusts
	LoadingNone   Loading = "none"   // no code until the next boot
)

// A Policy is what a system enforces on the loading of kernel code.
type Policy struct {
	// Loading is the conclusion; empty when a fact that it needs is unknown.
	Loading Loading `json:"loading,omitzero"`
	// Facts are the settings, in a fixed order for each system.
	Facts []PolicyFact `json:"facts"`
}

// A PolicyFact is one setting with where it was read, or why it is unknown.
type PolicyFact struct {
	// Name is the setting in the system's own term, such as "modules_disabled" or "lockdown".
	Name string `json:"name"`
	// Value is the setting as the system writes it; empty when unknown.
	Value string `json:"value,omitzero"`
	// Effect says what follows from the value, for a person; empty when nothing does.
	Effect string `json:"effect,omitzero"`
	// Source is the name of the Source that it was, or would have been, read from.
	Source string `json:"source,omitzero"`
	// File is the file that it is in; empty when it is not from a file.
	File string `json:"file,omitzero"`
	// Line is its line in File, counted from 1; 0 for a file of one value.
	Line int `json:"line,omitzero"`
	// Code is why the value is unknown, or, beside a value, why what follows from it is; empty when it is known.
	Code Code `json:"code,omitzero"`
	// Unknown is set if the value is not known. An absent fact without it is known not to be there.
	Unknown bool `json:"unknown,omitzero"`
	// Unset is set for a setting that was looked for and is not made.
	Unset bool `json:"unset,omitzero"`
}

// Err is for callers who want everything or nothing: it joins what could not be read, and is nil if nothing is
// missing. It is never nil for a Policy without a conclusion.
func (p *Policy) Err() error {
	var errs []error
	for _, problem := range p.Incomplete() {
		errs = append(errs, problem)
	}
	return errors.Join(errs...)
}

// Incomplete returns a Problem for each source and code of the facts that could not be read. Absent and unsupported
// facts are not problems, and neither are those that a tape is too old for. If the conclusion is unknown, there is at
// least one Problem.
func (p *Policy) Incomplete() []Problem {
	var problems []Problem
	index := make(map[[2]string]int)
	for _, f := range p.Facts {
		missed := f.Code == CodeAbsent && p.Loading == "" && f.Unknown
		if !missed && (f.Code == "" || f.Code == CodeAbsent || f.Code == CodeUnsupported || f.Code == CodeOlder) {
			continue
		}
		key := [2]string{f.Source, string(f.Code)}
		if i, ok := index[key]; ok {
			problems[i].Count = max(problems[i].Count, 1) + 1
			continue
		}
		index[key] = len(problems)
		problems = append(problems, Problem{Source: f.Source, Subject: f.Name, Field: "policy", Code: f.Code,
			Text: f.Effect})
	}
	if p.Loading == "" && len(problems) == 0 {
		problems = append(problems, undecided(p))
	}
	return problems
}

// undecided is the Problem of a policy without a conclusion, all of whose facts are absent, or such as this library
// cannot read. It names the latter. Its code is CodeOlder if only questions that a tape is too old for are missing.
func undecided(p *Policy) Problem {
	var unsupported, older []string
	for _, f := range p.Facts {
		switch f.Code {
		case CodeUnsupported:
			unsupported = append(unsupported, f.Name)
		case CodeOlder:
			older = append(older, f.Name+" ("+ErrOlder.Error()+")")
		}
	}
	q := Problem{Field: "policy", Code: CodeOther, Text: "whether new code can enter the kernel is not known"}
	if older != nil && unsupported == nil {
		q.Code = CodeOlder
	}
	if names := append(unsupported, older...); names != nil {
		q.Text += ": " + strings.Join(names, ", ")
	}
	return q
}

// Policy reports the sources of the policy's facts that were not reported before, and what could not be read.
func (r *Report) Policy(p *Policy) {
	known := make(map[string]bool, len(r.Sources))
	for _, s := range r.Sources {
		known[s.Name] = true
	}
	for _, f := range p.Facts {
		if !known[f.Source] {
			known[f.Source] = true
			r.Sources = append(r.Sources, policySource(p, f.Source))
		}
	}
	for _, problem := range p.Incomplete() {
		r.Add(problem)
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
		case f.Code == CodeOlder && src.Outcome != OutcomeOK: // another fact says more
		default:
			src.Code = f.Code
			src.Outcome = OutcomeOf(f.Code.Err())
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
