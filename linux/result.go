// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// A result is the answer for one module in one boot state.
type result struct {
	prospect fact.Prospect
	because  fact.Reason // what decided the outcome; of one that is unknown, what was not read
	word     string
	reasons  []fact.Reason // what a verdict shows
	answers  []fact.Answer // of each of the prospect's ways
}

// addReason adds reasons that are not there yet.
func (r *result) addReason(reasons ...fact.Reason) { r.reasons = appendReasons(r.reasons, reasons...) }

// appendReasons appends reasons that are not in the list yet; the zero Reason never is one.
func appendReasons(list []fact.Reason, reasons ...fact.Reason) []fact.Reason {
	for _, added := range reasons {
		same := func(known fact.Reason) bool { return sameReason(known, added) }
		if added.Code != "" && !slices.ContainsFunc(list, same) {
			list = append(list, added)
		}
	}
	return list
}

// sameReason reports whether two reasons show the same.
func sameReason(a, b fact.Reason) bool {
	a.Unread = b.Unread
	return a == b
}

// addWay adds a way.
func (r *result) addWay(name string, a fact.Answer) {
	r.prospect.Ways = append(r.prospect.Ways, a.Way(name))
	r.answers = append(r.answers, a)
}

// set sets the outcome, the word for it, and the fact that decided.
func (r *result) set(outcome fact.VerdictOutcome, word string, because fact.Reason) {
	r.prospect.Outcome, r.prospect.Because = outcome, fact.Reason{}
	if outcome == fact.VerdictUnknown {
		r.prospect.Because = because
	}
	r.word, r.because = word, because
}

// setFromWays sets the outcome that the ways come to: loadable if one is open, unknown if one may be, else blocked.
// The result keeps its word.
func (r *result) setFromWays() {
	outcome, because := fact.VerdictBlocked, fact.Reason{}
	for i, w := range r.prospect.Ways {
		if w.Way == WayInsmod || w.Way == WayUnprivileged { // root's own, and one of the autoloads
			continue
		}
		a := r.answers[i]
		switch {
		case a.Blocked() == fact.No:
			r.set(fact.VerdictLoadable, r.word, a.Because())
			return
		case a.Blocked() == "" && outcome != fact.VerdictUnknown:
			outcome, because = fact.VerdictUnknown, a.Because()
		case outcome == fact.VerdictBlocked && because.Code == "":
			because = a.Because()
		}
	}
	r.set(outcome, r.word, because)
}

// outcomeRank ranks outcomes, the worst first.
func outcomeRank(o fact.VerdictOutcome) int {
	switch o {
	case fact.VerdictLoaded:
		return 0
	case fact.VerdictBuiltin:
		return 1
	case fact.VerdictLoadable:
		return 2
	case fact.VerdictUnknown:
		return 3
	case fact.VerdictBlocked:
		return 4
	case fact.VerdictAbsent:
		return 5
	}
	return 6
}

func worse(a, b fact.VerdictOutcome) bool { return outcomeRank(a) < outcomeRank(b) }

// merge takes in the result of another boot entry: a way is blocked only if it is in each, and the worst outcome
// counts. doubt says why that entry may not be used at all; it does not apply to one that is certain.
func (r *result) merge(other result, doubt fact.Answer) {
	if worse(other.prospect.Outcome, r.prospect.Outcome) {
		if doubt.Applies() {
			other.set(fact.VerdictUnknown, string(fact.VerdictUnknown), doubt.Because())
		}
		if worse(other.prospect.Outcome, r.prospect.Outcome) {
			r.set(other.prospect.Outcome, other.word, other.because)
		}
	}
	for i := range r.prospect.Ways {
		way := &r.prospect.Ways[i]
		for _, w := range other.prospect.Ways {
			if w.Way == way.Way {
				mergeWay(way, w, doubt)
				break
			}
		}
	}
	r.addReason(other.reasons...)
}

// mergeWay takes in what another boot entry says of a way.
func mergeWay(way *fact.Way, other fact.Way, doubt fact.Answer) {
	switch {
	case way.Blocked == fact.No, other.Blocked == fact.Yes, way.Blocked == other.Blocked: // it adds nothing
	case other.Blocked == "":
		*way = other
	case !doubt.Applies():
		*way = other // open
	case way.Blocked == fact.Yes:
		*way = doubt.Way(way.Way)
	}
}
