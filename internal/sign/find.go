// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// Find returns the certificate of a signer among the trusted ones, with the name of its set and where that set comes
// from; nil if none of them is the signer's.
func (r *Roots) Find(s *Signer) (*Certificate, string, fact.Trust) {
	if r == nil {
		return nil, "", 0
	}
	for _, set := range r.sets {
		if c := s.Certificate(set.certs); c != nil {
			return c, set.name, set.origin
		}
	}
	return nil, "", 0
}

// Before returns the roots with one more set, which is asked before the others. An empty set changes nothing.
func (r *Roots) Before(name string, origin fact.Trust, certs []*Certificate) *Roots {
	if len(certs) == 0 {
		return r
	}
	more := &Roots{sets: []rootSet{{name: name, origin: origin, certs: certs}}}
	if r != nil {
		more.sets, more.unread = slices.Concat(more.sets, r.sets), r.unread
	}
	return more
}

// Origin returns where the first set of that name comes from; 0 if there is none.
func (r *Roots) Origin(name string) fact.Trust {
	if r == nil {
		return 0
	}
	for _, set := range r.sets {
		if set.name == name {
			return set.origin
		}
	}
	return 0
}

// Holds reports whether a set has this very certificate, or its key under the same name.
func (r *Roots) Holds(c *Certificate) bool { return r.holding(c) != "" }
