// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// A Found is a certificate that bears the name that a signer gives, with the name of its set and where that set comes
// from. Two keys may bear one name.
type Found struct {
	Certificate *Certificate
	Set         string
	Origin      fact.Trust
}

// Find returns the trusted certificates that a signer may mean, at most most of them.
func (r *Roots) Find(s *Signer, most int) []Found {
	if r == nil {
		return nil
	}
	var found []Found
	for _, set := range r.sets {
		for i := range set.certs {
			if c := s.Certificate(set.certs[i : i+1]); c != nil && len(found) < most {
				found = append(found, Found{c, set.name, set.origin})
			}
		}
	}
	return found
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

// Origin returns where the first set of that name comes from; 0 if no set has that name.
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

// Holder returns the first certificate of the sets that is c, or has its key under the same name; nil if no set has it.
func (r *Roots) Holder(c *Certificate) *Certificate {
	if r == nil {
		return nil
	}
	for _, s := range r.sets {
		for _, x := range s.certs {
			if x.has(c) {
				return x
			}
		}
	}
	return nil
}

// has reports whether the certificates are one, or have one key under the same name.
func (c *Certificate) has(x *Certificate) bool {
	return bytes.Equal(c.Raw, x.Raw) || bytes.Equal(c.RawSPKI, x.RawSPKI) && bytes.Equal(c.RawSubject, x.RawSubject)
}
