// SPDX-License-Identifier: Apache-2.0

package sign

// Anchor returns a root of which only the name and the key are known (RFC 5280, 6.1.1 d): a chain may end in it, and
// its own time and purposes are not judged. subject is the name and spki the subjectPublicKeyInfo, both in DER.
func Anchor(subject, spki []byte) *Certificate {
	return &Certificate{RawSubject: subject, RawIssuer: subject, RawSPKI: spki, IsCA: true, MaxPathLen: -1}
}

// IsAnchor reports whether the certificate is an [Anchor], and no certificate at all.
func (c *Certificate) IsAnchor() bool { return c.Raw == nil }

// With returns the roots and one more set, which is asked after the others. An empty set changes nothing.
func (r *Roots) With(name string, certs []*Certificate) *Roots {
	if len(certs) == 0 {
		return r
	}
	more := &Roots{}
	if r != nil {
		more.sets = append(more.sets, r.sets...)
		more.unread = r.unread
	}
	more.sets = append(more.sets, rootSet{name: name, certs: certs})
	return more
}
