// SPDX-License-Identifier: Apache-2.0

package audit

import "github.com/kernelext/kernelext/lkm"

// A Status is the answer of one row.
type Status string

// The answers, the worst first.
const (
	Fail     Status = "fail"     // it is not so
	Unknown  Status = "unknown"  // something that could change the answer was not read
	Excepted Status = "excepted" // it is not so, and an exception excuses it
	Pass     Status = "pass"     // it is so
)

// A Report is what an audit found.
type Report struct {
	// Schema is the number of the form; 0.
	Schema int `json:"schema"`
	// Producer is what made it.
	Producer string `json:"producer"`
	// Rules are the sets that the machines were compared with.
	Rules []RuleSet `json:"rules"`
	// Targets are the machines, in the order in which they were given.
	Targets []TargetInfo `json:"targets"`
	// Rows are the answers, by machine, in the order of the rules; never null.
	Rows []Row `json:"rows"`
	// Counts are how many rows have which status.
	Counts Counts `json:"counts"`
}

// A RuleSet names a set of rules.
type RuleSet struct {
	// Name is the set's name, or the file's.
	Name string `json:"name,omitzero"`
	// Title says for a person what it is.
	Title string `json:"title,omitzero"`
	// Version is the set's version; empty if it has none.
	Version string `json:"version,omitzero"`
	// Rules is how many rules it has.
	Rules int `json:"rules"`
}

// TargetInfo says what one target is.
type TargetInfo struct {
	// Name is the target's name for the caller.
	Name string `json:"name"`
	// OS is its operating system; empty when unknown.
	OS lkm.OS `json:"os,omitzero"`
	// Release is the kernel release; empty when unknown, and for an image whose modules no rule asked for.
	Release string `json:"release,omitzero"`
	// From says what was looked at: live, image or snapshot; unread if it could not be read.
	From string `json:"from"`
	// Rows is how many rows are about it, at least 1.
	Rows int `json:"rows"`
}

// A Row is the answer to one rule about one subject on one machine.
type Row struct {
	// Target is the machine's name.
	Target string `json:"target"`
	// Rule is the rule's id.
	Rule string `json:"rule"`
	// Kind says what the rule asks.
	Kind Kind `json:"kind"`
	// Title is the rule's.
	Title string `json:"title,omitzero"`
	// Severity is how much a finding weighs.
	Severity Severity `json:"severity"`
	// References are the rule's.
	References []string `json:"references,omitzero"`
	// Subject is the module's name, or the fact's; empty for a row about all.
	Subject string `json:"subject,omitzero"`
	// Status is the answer.
	Status Status `json:"status"`
	// Effective is what the answer follows from, in one word: the outcome of a check, a fact's value, a signature's
	// status. Empty if there is no one word.
	Effective string `json:"effective,omitzero"`
	// Because says why, for a person.
	Because string `json:"because,omitzero"`
	// File is the file that decided; empty if it is not from a file.
	File string `json:"file,omitzero"`
	// Line is the line in File, counted from 1; 0 if it is not from one line.
	Line int `json:"line,omitzero"`
	// Text is what the benchmark's own check says: pass, fail or unknown. Empty if the rule is of no benchmark.
	Text Status `json:"text,omitzero"`
	// TextBecause says why, for a person.
	TextBecause string `json:"textBecause,omitzero"`
	// Remedies are what would block the module.
	Remedies []string `json:"remedies,omitzero"`
	// Exception is the exception that excuses the finding, or that expired.
	Exception *Exception `json:"exception,omitzero"`
	// Expired is set if Exception no longer counts.
	Expired bool `json:"expired,omitzero"`
}

// Counts are numbers of rows.
type Counts struct {
	// Fail is how many fail.
	Fail int `json:"fail"`
	// Unknown is how many are unknown.
	Unknown int `json:"unknown"`
	// Excepted is how many are excused.
	Excepted int `json:"excepted"`
	// Pass is how many pass.
	Pass int `json:"pass"`
}

// Worst returns the worst status of the rows: the first of fail, unknown, excepted and pass. A report without rows is
// unknown, because no rule was answered.
func (r *Report) Worst() Status {
	switch {
	case r.Counts.Fail > 0:
		return Fail
	case r.Counts.Unknown > 0, len(r.Rows) == 0:
		return Unknown
	case r.Counts.Excepted > 0:
		return Excepted
	}
	return Pass
}

// count adds up the rows.
func (r *Report) count() {
	r.Counts = Counts{}
	for i := range r.Rows {
		switch r.Rows[i].Status {
		case Fail:
			r.Counts.Fail++
		case Pass:
			r.Counts.Pass++
		case Excepted:
			r.Counts.Excepted++
		default:
			r.Counts.Unknown++
		}
	}
}
