// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"fmt"
	"slices"
	"strings"
)

// Rules are what a system that verifies signatures asks of a chain beyond that each certificate's key signed the one
// below it.
type Rules int

const (
	// RulesX509 are those of RFC 5280, which Windows and the programs built on OpenSSL keep, too: time, purpose (each
	// certificate's, as all but RFC 5280 itself nest it), authority, path length, key usage, names that an authority
	// restricts, required policies, and no critical extension that is not known. Revocation is not judged.
	RulesX509 Rules = iota
	// RulesApple are RulesX509 with Apple's own marks known, some of which are critical.
	RulesApple
	// RulesLinux sets no rule: the kernel's pkcs7_validate_trust and x509_check_for_self_signed apply keys to
	// signatures. Its parser reads neither purpose nor constraints, knows no critical extension, and nothing asks when
	// a certificate ends.
	RulesLinux
)

// appleMarks begin the extensions that Apple's authorities mark certificates with.
const appleMarks = "1.2.840.113635.100.6."

// knows reports whether a critical extension that nothing here acts on is one that the system does.
func (r Rules) knows(id string) bool { return r == RulesApple && strings.HasPrefix(id, appleMarks) }

// fit judges what certificates say of themselves and of those below them: the last one, too, although it is trusted.
// work counts down the bytes of names that may still be compared.
func (r Rules) fit(path []*Certificate, work *int) error {
	if r == RulesLinux {
		return nil
	}
	for _, c := range path {
		if c.extensionErr != nil {
			return fmt.Errorf("certificate %q: %w", c.Subject.Short(), c.extensionErr)
		}
		for _, id := range c.Unknown {
			if !r.knows(id) {
				return fmt.Errorf("certificate %q has the critical extension %s, which is not known",
					c.Subject.Short(), id)
			}
		}
	}
	if path[0].NoSigning {
		return fmt.Errorf("certificate %q does not let its key sign", path[0].Subject.Short())
	}
	// A trusted certificate may be older than these extensions: it says nothing then.
	if top := path[len(path)-1]; len(path) > 1 && (top.HasConstraints && !top.IsCA || top.NoCertSign) {
		return top.mayIssue()
	}
	if err := fitsLength(path); err != nil {
		return err
	}
	if err := fitsNames(path, work); err != nil {
		return err
	}
	return fitsPolicies(path)
}

// fitsNames judges the names of each certificate by what every authority above it restricts. The names of an authority
// that was renewed under its own name do not count (RFC 5280, 6.1.3).
func fitsNames(path []*Certificate, work *int) error {
	for i, authority := range slices.Backward(path) {
		for j, c := range path[:i] {
			if j > 0 && c.IsSelfIssued() {
				continue
			}
			if err := authority.constraints.allows(c, work); err != nil {
				return err
			}
		}
	}
	return nil
}
