// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// Words of CodeSignature.Anchor.
const (
	AnchorApple   = "apple"         // Apple itself signed it
	AnchorGeneric = "apple generic" // a certificate that Apple issued signed it
)

// Words of CodeSignature.Program.
const (
	ProgramApple       = "apple"        // Apple's own code
	ProgramDeveloperID = "developer_id" // Developer ID Application
	ProgramAppStore    = "app_store"    // Apple's store
	ProgramDevelopment = "development"  // a developer's own machines
)

// Extensions that Apple marks its certificates with (Security, oidsalg.c; kext_tools, security.c). They prove nothing
// by themselves: forged ones are in use. Only the root's key decides.
const (
	markDeveloperIDCA = "1.2.840.113635.100.6.2.6"
	markDeveloperID   = "1.2.840.113635.100.6.1.13"
	markKext          = "1.2.840.113635.100.6.1.18"
	markAppStore      = "1.2.840.113635.100.6.1.9"
	markDevelopment   = "1.2.840.113635.100.6.1.12"
	oidUnit           = "2.5.4.11"
)

// checkChain looks for the root that the certificate leads to, Apple's before any other. The time is judged as
// Security does it (StaticCode.cpp, verifySignature): at the time of a timestamp, whose own chain must lead to Apple's
// roots if the code's does; without one, an expired certificate is accepted. An error means that looking takes more
// than it may: whether there is a root is not known.
func (c *CodeSignature) checkChain(
	sd *sign.SignedData, signer *sign.Signer, cert *sign.Certificate, keys []fact.KeySet,
) error {
	var apple, others []fact.KeySet
	for _, set := range keys {
		if set.Origin == fact.TrustApple {
			apple = append(apple, set)
		} else {
			others = append(others, set)
		}
	}
	c.keysGiven, c.appleGiven = len(keys) > 0, len(apple) > 0
	var why error
	for i, sets := range [][]fact.KeySet{apple, others} {
		roots := sign.NewRoots(sets)
		if roots.Empty() {
			continue
		}
		at, err := c.timestamp(sd, signer, roots)
		if err == nil {
			var chain sign.Chain
			if chain, err = chainAt(cert, sd.Certificates, roots, at, c.item); err == nil {
				c.keySet, c.TimestampedAt, c.path = chain.KeySet, at, chain.Certificates
				if i == 0 {
					c.mark(chain.Certificates)
				}
				return nil
			}
		}
		if isLimit(err) {
			c.keysGiven = false
			return err
		}
		if why == nil {
			why = err
		}
	}
	if why != nil {
		c.Reasons = append(c.Reasons, why.Error())
	}
	return nil
}

// chainAt returns the chain from a certificate to one of the roots, or why it is not good for code at that time. With
// the zero time, no certificate's validity period is judged. item pays.
func chainAt(
	cert *sign.Certificate, pool []*sign.Certificate, roots *sign.Roots, at time.Time, item *fact.Item,
) (sign.Chain, error) {
	if at.IsZero() {
		cert = ageless(cert)
		all := make([]*sign.Certificate, len(pool))
		for i := range pool {
			all[i] = ageless(pool[i])
		}
		pool, at = all, cert.NotBefore
	}
	chain := sign.BuildChain(cert, sign.ChainQuery{
		Pool: pool, Roots: roots, At: at, Usage: sign.EKUCodeSigning, Rules: sign.RulesApple, Item: item})
	switch {
	case chain.Trusted:
		return chain, nil
	case isLimit(chain.Err):
		return chain, chain.Err
	case chain.KeySet == "":
		return chain, fmt.Errorf("certificate %q leads to no root that is trusted", cert.Subject.Short())
	}
	return chain, chain.Err
}

// ageless returns a certificate that is valid at all times, but else the same.
func ageless(c *sign.Certificate) *sign.Certificate {
	same, err := sign.ParseCertificate(c.Raw)
	if err != nil {
		return c // it was read before
	}
	same.NotBefore, same.NotAfter = time.Unix(0, 0), time.Unix(1<<40, 0)
	return same
}

// timestamp returns the time that a time stamping authority vouches for; zero if there is no timestamp. Its
// certificate must lead to the same roots.
func (c *CodeSignature) timestamp(sd *sign.SignedData, signer *sign.Signer, roots *sign.Roots) (time.Time, error) {
	stamps := signer.Timestamps(sd.Certificates)
	if len(stamps) == 0 {
		return time.Time{}, nil
	}
	t := stamps[0]
	if t.Err != nil {
		return time.Time{}, fmt.Errorf("its timestamp does not fit: %w", t.Err)
	}
	chain := sign.BuildChain(t.Certificate, sign.ChainQuery{
		Pool: slices.Concat(t.Pool, sd.Certificates), Roots: roots, At: t.Time, Usage: sign.EKUTimeStamping,
		Rules: sign.RulesApple, Item: c.item})
	switch {
	case !chain.Trusted:
		return time.Time{}, fmt.Errorf("its timestamp: %w", chain.Err)
	case !t.Certificate.Has(sign.EKUTimeStamping):
		return time.Time{}, fmt.Errorf("its timestamp: certificate %q is not for timestamps",
			t.Certificate.Subject.Short())
	}
	return t.Time, nil
}

// mark says what a chain to one of Apple's roots is for, by the marks on its certificates.
func (c *CodeSignature) mark(path []*sign.Certificate) {
	c.Anchor = AnchorGeneric
	leaf, issuer := extensions(path[0]), []string(nil)
	if len(path) > 1 {
		issuer = extensions(path[1])
		// "anchor apple" is this very name (Security, reqinterp.cpp), below one of Apple's roots.
		name := path[1].Subject
		if len(path) > 2 && name.CommonName() == "Apple Code Signing Certification Authority" &&
			name.Organization() == "Apple Inc." {
			c.Anchor = AnchorApple
		}
	}
	switch {
	case c.Anchor == AnchorApple:
		c.Program = ProgramApple
	case slices.Contains(issuer, markDeveloperIDCA) && slices.Contains(leaf, markDeveloperID):
		c.Program = ProgramDeveloperID
		c.ForKexts = fact.TriOf(slices.Contains(leaf, markKext))
		if unit := nameUnit(path[0].Subject); unit != c.TeamID {
			c.forged = true
			c.Reasons = append(c.Reasons, fmt.Sprintf("team %q is not that of the certificate, %q", c.TeamID, unit))
		}
	case slices.Contains(leaf, markAppStore):
		c.Program = ProgramAppStore
	case slices.Contains(leaf, markDevelopment):
		c.Program = ProgramDevelopment
	}
}

// nameUnit returns the unit of a name, which in Developer ID certificates is the team.
func nameUnit(n sign.Name) string {
	for _, part := range n {
		if part.Type == oidUnit {
			return part.Value
		}
	}
	return ""
}

// maxMarks bounds the extensions of one certificate; real ones have a dozen.
const maxMarks = 64

// extensions returns the object identifiers of a certificate's extensions.
func extensions(c *sign.Certificate) []string {
	in := sign.NewReader(c.RawTBS)
	tbs, err := in.Next()
	if err != nil {
		return nil
	}
	var ids []string
	for in := tbs.Reader(); !in.Empty(); {
		v, err := in.Next()
		if err != nil {
			return ids
		}
		if !v.IsContext(3) {
			continue
		}
		inner := v.Reader()
		list, err := inner.Expect(sign.TagSequence, "extensions")
		if err != nil {
			return ids
		}
		for each := list.Reader(); !each.Empty() && len(ids) < maxMarks; {
			ext, err := each.Expect(sign.TagSequence, "extension")
			if err != nil {
				return ids
			}
			parts := ext.Reader()
			if id, err := parts.Expect(sign.TagOID, "extension"); err == nil {
				ids = append(ids, sign.OID(id))
			}
		}
	}
	return ids
}
