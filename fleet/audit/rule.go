// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// Rules is what machines are compared with.
type Rules struct {
	// Schema is the number of the form; 0.
	Schema int `json:"schema,omitzero"`
	// Name is the name of the set, such as "cis-debian-12"; a file may leave it empty.
	Name string `json:"name,omitzero"`
	// Title says for a person what the set is.
	Title string `json:"title,omitzero"`
	// Version is the version of the set, such as that of the benchmark; empty if it has none.
	Version string `json:"version,omitzero"`
	// Rules are the rules, in the order of the rows.
	Rules []Rule `json:"rules"`
	// Exceptions excuse findings for a time.
	Exceptions []Exception `json:"exceptions,omitzero"`
}

// A Kind says what a rule asks.
type Kind string

// The kinds of rules.
const (
	MustNotLoad   Kind = "must_not_load"  // the code of Modules can neither be nor get into the kernel
	MustBeLoaded  Kind = "must_be_loaded" // each of Modules is loaded or compiled in
	Allow         Kind = "allow"          // each module matches one of Modules
	Deny          Kind = "deny"           // no module matches one of Modules
	ThirdParty    Kind = "third_party"    // each module is the operating system's
	Unsigned      Kind = "unsigned"       // each module has a signature that is not invalid
	UnknownSigner Kind = "unknown_signer" // each signature is valid and by one of Signers
	Tainted       Kind = "tainted"        // no loaded module carries one of Taints (Linux)
	BlockListed   Kind = "block_listed"   // no driver is named in a block list (Windows)
	Discrepancies Kind = "discrepancy"    // no source contradicts another
	DiskMemory    Kind = "disk_memory"    // the loaded code is that of its file
	PolicyFact    Kind = "policy"         // the system enforces Fact with one of Values
	Baseline      Kind = "baseline"       // nothing differs from the baseline; no rule file has it
	TargetKind    Kind = "target"         // the machine was read, and a rule is for its system; no rule file has it
	ExceptionKind Kind = "exception"      // an exception that has expired and excuses nothing; no rule file has it
)

// A Severity says how much a finding weighs.
type Severity string

// The severities.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// A Check names how a benchmark itself looks: what Row.Text answers for.
type Check string

// The checks of benchmarks.
const (
	// CheckCIS is the script of CIS benchmarks of 2023 and the spring of 2024: what modprobe -n -v prints begins with
	// "install /bin/true" or "install /bin/false", modprobe --showconfig has a blacklist line, and lsmod does not show
	// the name. As each script of CIS it passes if no installed kernel has the module's directory.
	CheckCIS Check = "cis_script"
	// CheckShowConfigBin is that of the summer of 2024: modprobe --showconfig has a line install NAME /bin/true or
	// install NAME /bin/false, and a blacklist line, and lsmod does not show the name.
	CheckShowConfigBin Check = "cis_showconfig_bin"
	// CheckShowConfig is that of later CIS benchmarks, which takes /usr/bin too.
	CheckShowConfig Check = "cis_showconfig"
	// CheckOVAL is that of the OVAL definitions for RHEL: an install and a blacklist line of an exact form in a file
	// NAME.conf of the six directories modprobe.d and modules-load.d.
	CheckOVAL Check = "oval"
)

// A Rule is one thing that has to be so.
type Rule struct {
	// ID names the rule; it is unique in a set and stays the same between its versions.
	ID string `json:"id"`
	// Kind says what the rule asks.
	Kind Kind `json:"kind"`
	// Title says for a person what has to be so.
	Title string `json:"title,omitzero"`
	// Severity is how much a finding weighs; empty is medium.
	Severity Severity `json:"severity,omitzero"`
	// References are sections of benchmarks and techniques, such as "CIS Debian 12 v1.1.0 1.1.1.1" and
	// "ATT&CK T1547.006".
	References []string `json:"references,omitzero"`
	// OS are the systems that the rule is for; empty is all. A machine of another system gets no row.
	OS []lkm.OS `json:"os,omitzero"`
	// Scope says which modules the rule is about: loaded or installed. Empty is loaded for a running machine or a
	// snapshot of one, installed for an image.
	Scope lkm.Scope `json:"scope,omitzero"`
	// Modules are names, of allow and deny patterns with * ? and […]. On Linux - and _ are the same, on Windows small
	// and large letters. The suffix of a file, .ko on FreeBSD and .sys on Windows, may be left out of a name.
	Modules []string `json:"modules,omitzero"`
	// Signers are patterns of the names of signers, for unknown_signer; empty is every signer of a key that the
	// machine trusts.
	Signers []string `json:"signers,omitzero"`
	// Taints are the letters that count, for tainted; empty is all.
	Taints []string `json:"taints,omitzero"`
	// Grades are the grades of discrepancies that count; empty is weak and strong.
	Grades []fact.Grade `json:"grades,omitzero"`
	// Fact is the name of a policy's fact, or "loading" for its conclusion.
	Fact string `json:"fact,omitzero"`
	// Values are the values of Fact that are right.
	Values []string `json:"values,omitzero"`
	// Check says how the benchmark itself looks, for must_not_load; empty if the rule is of no benchmark.
	Check Check `json:"check,omitzero"`
}

// An Exception excuses the findings of a rule until a day.
type Exception struct {
	// Rule is the id of the rule, or a pattern of ids.
	Rule string `json:"rule"`
	// Subject is the module or the fact, or a pattern, compared as Rule.Modules are; empty is every finding of the
	// rule.
	Subject string `json:"subject,omitzero"`
	// Host is the target's name, or a pattern; empty is every target.
	Host string `json:"host,omitzero"`
	// Owner is who answers for it.
	Owner string `json:"owner"`
	// Reason is why.
	Reason string `json:"reason"`
	// Expires is the last day on which it counts, as YYYY-MM-DD in UTC.
	Expires string `json:"expires"`
}

// severity returns the rule's severity.
func (r *Rule) severity() Severity {
	if r.Severity == "" {
		return Medium
	}
	return r.Severity
}

// Detail returns what a System has to read beyond its list so that the rules can be answered. A block list of the
// machine's own needs it too.
func (r *Rules) Detail() lkm.Detail {
	var d lkm.Detail
	for i := range r.Rules {
		switch r.Rules[i].Kind {
		case ThirdParty, DiskMemory:
			d |= lkm.DetailFiles
		case Unsigned, UnknownSigner:
			d |= lkm.DetailFiles | lkm.DetailSignatures
		case BlockListed:
			d |= lkm.DetailFiles | lkm.DetailHashes | lkm.DetailSignatures
		}
	}
	return d
}
