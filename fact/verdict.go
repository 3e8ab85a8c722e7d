// SPDX-License-Identifier: Apache-2.0

package fact

import "slices"

// A VerdictOutcome says, for one moment, whether a module's code is or can get into a kernel.
type VerdictOutcome string

// The outcomes. VerdictUnknown is written out, because a gate must see it.
const (
	VerdictLoaded   VerdictOutcome = "loaded"   // it is in the kernel as a module
	VerdictBuiltin  VerdictOutcome = "builtin"  // it is compiled in and active
	VerdictLoadable VerdictOutcome = "loadable" // some way in, other than root's own insmod on Linux, is open
	VerdictBlocked  VerdictOutcome = "blocked"  // it exists and no such way is open
	VerdictAbsent   VerdictOutcome = "absent"   // every source was read and none knows it
	VerdictUnknown  VerdictOutcome = "unknown"  // a source that could change the answer was not read
)

// A Way is one way for a module to get into a kernel, judged by itself.
type Way struct {
	// Way names it, such as "autoload_alias", "modprobe" or "insmod"; each kernel package has the
	// constants.
	Way string `json:"way"`
	// Blocked says whether something stops it; empty when unknown.
	Blocked Tri `json:"blocked,omitzero"`
	// Because is why Blocked is unknown; empty otherwise.
	Because Reason `json:"because,omitzero"`
}

// A Prospect is the answer for one moment: the running kernel, or the next boot.
type Prospect struct {
	// Outcome is the answer in one word.
	Outcome VerdictOutcome `json:"outcome"`
	// Ways are the ways that this system has, in a fixed order; one that it lacks is not listed.
	Ways []Way `json:"ways,omitzero"`
	// Entries are the boot loader's entries, in its menu's order; Outcome is the worst of them. Empty for the running
	// kernel, and where no boot loader was read.
	Entries []BootEntry `json:"entries,omitzero"`
	// Because is why Outcome is unknown; empty otherwise.
	Because Reason `json:"because,omitzero"`
}

// A BootEntry is the answer for one entry of a boot loader's menu.
type BootEntry struct {
	// ID is the entry's name in its boot loader's own terms: a title, or a file's name.
	ID string `json:"id"`
	// Default is set for the entry that starts if nobody chooses another.
	Default bool `json:"default,omitzero"`
	// Outcome is the answer in one word if this entry starts.
	Outcome VerdictOutcome `json:"outcome"`
}

// A Verdict answers "can this module's code get into this kernel?" with its reasons.
type Verdict struct {
	// Query is what was asked, as the caller wrote it.
	Query string `json:"query"`
	// Release is the kernel release that the verdict is about; empty when unknown.
	Release string `json:"release,omitzero"`
	// Module is the id of the module that the query means; empty when none was found.
	Module string `json:"module,omitzero"`
	// Now is about the running kernel; nil for an image, which is not running.
	Now *Prospect `json:"now,omitzero"`
	// NextBoot is about the kernel after a boot with the configuration as it is on disk; nil when
	// there is nothing to say of it.
	NextBoot *Prospect `json:"nextBoot,omitzero"`
	// Word is the operating system's own term for the state, such as "blacklisted".
	Word string `json:"word,omitzero"`
	// Reasons are the facts that the outcome follows from, the deciding ones first: the first is that of
	// [Verdict.Worst].
	Reasons []Reason `json:"reasons,omitzero"`
	// Bypasses are what could put the code in despite what blocks it, or could not be read.
	Bypasses []Reason `json:"bypasses,omitzero"`
	// Triggers are what would ask for the module: present devices, aliases, lists.
	Triggers []Reason `json:"triggers,omitzero"`
	// Remedies are what would block it, as text to write somewhere.
	Remedies []Remedy `json:"remedies,omitzero"`
	// Problems are what could not be read for this verdict.
	Problems []Problem `json:"problems,omitzero"`
}

// Worst returns the worse of the two outcomes, which decides: the first of loaded, builtin, loadable, unknown, blocked
// and absent. A word of a later version counts as unknown, and so does a verdict without an outcome.
func (v *Verdict) Worst() VerdictOutcome {
	worst := min(v.Now.rank(), v.NextBoot.rank())
	if worst == len(ranks) {
		return VerdictUnknown
	}
	return ranks[worst]
}

// ranks are the outcomes, the worst first.
var ranks = [...]VerdictOutcome{
	VerdictLoaded, VerdictBuiltin, VerdictLoadable, VerdictUnknown, VerdictBlocked, VerdictAbsent,
}

// rank returns the index of the outcome in ranks, and one after the last for nil.
func (p *Prospect) rank() int {
	if p == nil {
		return len(ranks)
	}
	return p.Outcome.rank()
}

func (o VerdictOutcome) rank() int {
	if i := slices.Index(ranks[:], o); i >= 0 {
		return i
	}
	return slices.Index(ranks[:], VerdictUnknown)
}

// Worse reports whether the outcome is worse than another, in the order of [Verdict.Worst].
func (o VerdictOutcome) Worse(other VerdictOutcome) bool { return o.rank() < other.rank() }

// Lead makes a reason the first one. An equal one moves there. The zero Reason changes nothing.
func (v *Verdict) Lead(because Reason) {
	if because == (Reason{}) {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(v.Reasons), func(r Reason) bool { return r == because })
	v.Reasons = slices.Insert(rest, 0, because)
}

// LeadBy makes the reason of the worse outcome the first one: now is the reason of Now, next that of NextBoot. The
// reason of the other outcome follows if that outcome differs or is unknown. A Prospect's own Because is used instead.
func (v *Verdict) LeadBy(now, next Reason) {
	first, second := v.Now, v.NextBoot
	if second.rank() < first.rank() {
		first, second, now, next = second, first, next, now
	}
	if second != nil && (second.Outcome != first.Outcome || second.Outcome == VerdictUnknown) {
		v.Lead(second.because(next))
	}
	if first != nil {
		v.Lead(first.because(now))
	}
}

// because returns why the outcome is unknown; known if it is not, or has no reason of its own.
func (p *Prospect) because(known Reason) Reason {
	if p.Because != (Reason{}) {
		return p.Because
	}
	return known
}

// A Reason is one fact in a verdict, with its place.
type Reason struct {
	// Code is one snake_case word for the kind of fact; each kernel package lists its own.
	Code string `json:"code"`
	// Text says it for a person.
	Text string `json:"text,omitzero"`
	// File is the file that it is in; empty when it is not from a file.
	File string `json:"file,omitzero"`
	// Line is its line in File, counted from 1; 0 when it is not from one line.
	Line int `json:"line,omitzero"`
	// Unread names the source, file or setting that was not read, if that makes the answer unknown. It is empty
	// otherwise, and on systems other than Linux, where only Text says it.
	Unread string `json:"unread,omitzero"`
}

// A Remedy is one thing that would block a module.
type Remedy struct {
	// Text is what to configure, such as "install algif_aead /bin/false".
	Text string `json:"text"`
	// NotAgainst names the ways that it does not stop.
	NotAgainst []string `json:"notAgainst,omitzero"`
}
