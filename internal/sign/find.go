// SPDX-License-Identifier: Apache-2.0

package sign

// Find returns the certificate of a signer among the trusted ones, and the name of its set; nil
// when none of them is the signer's.
func (r *Roots) Find(s *Signer) (*Certificate, string) {
	if r == nil {
		return nil, ""
	}
	for _, set := range r.sets {
		if c := s.Certificate(set.certs); c != nil {
			return c, set.name
		}
	}
	return nil, ""
}
