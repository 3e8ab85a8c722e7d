// SPDX-License-Identifier: Apache-2.0

package lkm

import "slices"

// ListErr reports why the snapshot may lack modules of a state: loaded, builtin or installed. It is nil if the sources
// that list them were read whole. Of loaded and builtin modules one such source is enough, of installed ones all that
// exist have to be: only one that not every machine of the system has may be absent. The empty state is what the
// snapshot is of: loaded modules, of an image installed ones.
func (s *Snapshot) ListErr(state State) error {
	if state == "" {
		if state = StateLoaded; s.Live == No {
			state = StateInstalled
		}
	}
	lists := listsOf(s.OS)
	whole, there := false, false
	var missing error
	for _, name := range lists.of(state) {
		src, ok := s.Source(name)
		switch {
		case ok && src.Outcome == OutcomeOK, src.Outcome == OutcomeUnsupported && src.Count == CountOf(0):
			whole = true // also of a kernel that is known to take none
		case src.Outcome == OutcomeAbsent && slices.Contains(lists.optional, name): // nothing is there
		case missing == nil, ok && !there:
			missing, there = s.listProblem(src, name), ok
		}
	}
	switch {
	case whole && (missing == nil || state != StateInstalled):
		return nil
	case missing != nil:
		return missing
	}
	return Problem{Code: CodeUnsupported, Text: "no source lists " + string(state) + " modules of " + string(s.OS)}
}

// listProblem says why a list was not read whole, in the words of the snapshot's Problem, if it has one.
func (s *Snapshot) listProblem(src Source, name string) error {
	for _, p := range s.Problems {
		if p.Source == name && p.Field == "modules" {
			return p
		}
	}
	p := Problem{Source: name, Field: "modules", Code: src.Code, Text: "source is " + string(src.Outcome)}
	if src.Outcome == "" || src.Outcome == OutcomeSkipped {
		p.Code, p.Text = CodeUnrecorded, "source was not read"
	}
	if !slices.Contains([]Code{"", CodeUnrecorded, Code(src.Outcome)}, p.Code) {
		p.Text += " (" + string(p.Code) + ")"
	}
	return p
}
