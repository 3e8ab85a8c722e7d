// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// readCMS takes signer, chain and time from the CMS blob. An ad hoc signature has none, or an
// empty one.
func (c *CodeSignature) readCMS(source string) error {
	if len(c.cms) == 0 {
		return nil
	}
	sd, signer, err := c.signedData()
	switch {
	case isLimit(err):
		return fmt.Errorf("%s: %w", source, err)
	case err != nil:
		return &fact.ParseError{Source: source, Field: "codeSignature.signer", Reason: err.Error()}
	}
	for _, cert := range sd.Certificates {
		c.Chain = append(c.Chain, cert.Subject.Short())
	}
	if cert := signer.Certificate(sd.Certificates); cert != nil {
		c.Signer = cert.Subject.Short()
	}
	c.SignedAt = signer.SigningTime()
	return nil
}

// isLimit reports whether an error says that something takes more than it may.
func isLimit(err error) bool {
	return errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget)
}

func (c *CodeSignature) signedData() (*sign.SignedData, *sign.Signer, error) {
	if err := c.item.Work(cmsWork * int64(len(c.cms))); err != nil {
		return nil, nil, err
	}
	sd, err := sign.ParseContentInfo(c.cms)
	if err != nil {
		return nil, nil, err
	}
	if len(sd.Signers) != 1 {
		return nil, nil, fmt.Errorf("%w: %d signers", fact.ErrMalformed, len(sd.Signers))
	}
	return sd, sd.Signers[0], nil
}

// checkCMS compares the signature with the code directories, and its chain with the keys. What cannot be decided, such
// as a digest that is not known, leaves SignatureFits unknown.
func (c *CodeSignature) checkCMS(keys []fact.KeySet) error {
	if !c.partsFit() {
		c.forged = true
		c.Reasons = append(c.Reasons, "the requirements or entitlements are not those that were signed")
	}
	if len(c.cms) == 0 || c.primary == nil {
		if c.AdHoc != fact.Yes {
			c.Reasons = append(c.Reasons, "nobody signed it: no certificate came with it")
		}
		return nil
	}
	sd, signer, err := c.signedData()
	if err != nil {
		return err
	}
	cert := signer.Certificate(sd.Certificates)
	err = signer.Check(cert, "", func(h crypto.Hash) ([]byte, error) { return sign.Sum(h, c.primary), nil })
	switch {
	case errors.Is(err, sign.ErrMismatch):
		c.SignatureFits = fact.No
		c.Reasons = append(c.Reasons, "the certificate did not sign this code directory")
		return nil
	case err != nil:
		return err
	}
	switch c.covered(signer) {
	case fact.No:
		c.SignatureFits = fact.No
		c.Reasons = append(c.Reasons, "the code directory that the system uses is not the one that was signed")
		return nil
	case "":
		c.Reasons = append(c.Reasons, "the code directory that was signed has a digest that cannot be used")
		return nil
	}
	c.SignatureFits = fact.Yes
	return c.checkChain(sd, signer, cert, keys)
}

// The attributes of Apple's that list all code directories of a signature: as a property list of truncated digests,
// and as digests with their algorithms (Security, CMS hash agility).
const (
	oidAgility  = "1.2.840.113635.100.9.1"
	oidAgility2 = "1.2.840.113635.100.9.2"
)

// covered says whether the signature is over the directory that the system uses: it is listed with the signature;
// or nothing is listed, and it is the signed one, or says the same as that. It is unknown if the signed one has a
// digest that cannot be used.
func (c *CodeSignature) covered(s *sign.Signer) fact.Tri {
	digest := c.directory.digest()
	listed, found := false, false
	for _, a := range s.Signed {
		if a.OID != oidAgility && a.OID != oidAgility2 {
			continue
		}
		listed = true
		for _, v := range a.Values {
			found = found || a.OID == oidAgility && listsTruncated(v, digest) ||
				a.OID == oidAgility2 && listsDigest(v, digest)
		}
	}
	if listed {
		return fact.TriOf(found)
	}
	for i := range c.directories {
		d := &c.directories[i]
		if !c.isPrimary(d) {
			continue
		}
		best := &c.directory
		return fact.TriOf(d.id == best.id && d.team == best.team && d.flags == best.flags &&
			d.platform == best.platform)
	}
	return ""
}

// listsTruncated reports whether a property list of code directory hashes has the digest, cut to 20 bytes.
func listsTruncated(v sign.Value, digest []byte) bool {
	text, err := sign.OctetString(v)
	if err != nil {
		return false
	}
	n, err := decodePlist("cdhashes", text)
	return err == nil && slices.ContainsFunc(n.dict["cdhashes"].list, func(h node) bool {
		return h.kind == dataNode && bytes.Equal(h.data, digest[:20])
	})
}

// listsDigest reports whether a value is the digest, with its algorithm before it.
func listsDigest(v sign.Value, digest []byte) bool {
	if !v.Is(sign.TagSequence) {
		return false
	}
	in := v.Reader()
	if _, err := in.Expect(sign.TagOID, "digest"); err != nil {
		return false
	}
	got, err := in.Expect(sign.TagOctetString, "digest")
	return err == nil && bytes.Equal(got.Body, digest)
}

// hasCDHash reports whether one of the signature's code directories has the hash, in hexadecimal digits.
func (c *CodeSignature) hasCDHash(want string) bool {
	if c.hashes == nil {
		for i := range c.directories {
			c.hashes = append(c.hashes, hex.EncodeToString(c.directories[i].digest()[:20]))
		}
	}
	return slices.Contains(c.hashes, want)
}
