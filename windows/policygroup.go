// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// A policyGroup is one part of a signing scenario. Code integrity takes each by itself: an exception in one of them
// changes nothing in another.
type policyGroup uint8

// The groups, the one that counts on most systems first.
const (
	groupProduct     policyGroup = iota // ProductSigners: counts on every system
	groupTest                           // TestSigners: counts on test systems
	groupTestSigning                    // TestSigningSigners: counts with test signing on
	groupNone                           // the kernel's scenario does not refer to it
)

// Words of BlockMatch.Group.
const (
	GroupTest        = "test"         // test systems
	GroupTestSigning = "test_signing" // systems with test signing on
)

// word returns the group's word; empty for the one that counts everywhere, and for none.
func (g policyGroup) word() string {
	switch g {
	case groupTest:
		return GroupTest
	case groupTestSigning:
		return GroupTestSigning
	}
	return ""
}

// groupElements are the names of the groups in a policy's XML.
var groupElements = [...]string{"ProductSigners", "TestSigners", "TestSigningSigners"}

// groupOf returns the group of an element; false if it is not a group's.
func groupOf(element string) (policyGroup, bool) {
	i := slices.Index(groupElements[:], element)
	return policyGroup(max(i, 0)), i >= 0
}

// An allowance is a signer that a group allows except for a rule.
type allowance struct {
	group  policyGroup
	signer *policySigner
}

// A denial is one reference of a group to a signer that it denies.
type denial struct {
	group  policyGroup
	except []string // ids of Allow rules: what fits one of them is not denied by this reference
}

// refer notes that a group refers to the rule itself.
func (r *policyRule) refer(g policyGroup) {
	if !slices.Contains(r.groups, g) {
		r.groups = append(r.groups, g)
	}
}

// denied returns the first group that denies what the signer signed; false if every reference makes an exception for
// the file. open is evidence that an exception may count. A signer that the kernel's scenario does not refer to is in
// groupNone.
func (s *policySigner) denied(p *siPolicy, e BlockEvidence) (first policyGroup, open []fact.Evidence, found bool) {
	first = groupNone
	if len(s.denials) == 0 {
		return first, nil, true
	}
	for _, d := range s.denials {
		if d.group > first || found && d.group == first && open == nil {
			continue
		}
		if may, except := p.excepted(d.except, e); !except {
			first, open, found = d.group, may, true
		}
	}
	return first, open, found
}

// inheriting returns which of a policy's scenarios count for drivers: those of drivers, and what they take over, one
// from another. of returns the scenarios that one takes over.
func inheriting(n int, drivers func(int) bool, of func(int) []int) []bool {
	counts := make([]bool, n)
	var open []int
	for i := range n {
		if drivers(i) {
			counts[i], open = true, append(open, i)
		}
	}
	for len(open) > 0 {
		last := open[len(open)-1]
		open = open[:len(open)-1]
		for _, i := range of(last) {
			if !counts[i] {
				counts[i], open = true, append(open, i)
			}
		}
	}
	return counts
}
