// SPDX-License-Identifier: Apache-2.0

package sign

import "slices"

// Extensions of a certificate that are read.
const (
	extSubjectKeyID      = "2.5.29.14"
	extKeyUsage          = "2.5.29.15"
	extAlternativeName   = "2.5.29.17"
	extBasicConstraints  = "2.5.29.19"
	extNameConstraints   = "2.5.29.30"
	extPolicies          = "2.5.29.32"
	extPolicyMappings    = "2.5.29.33"
	extAuthorityKeyID    = "2.5.29.35"
	extPolicyConstraints = "2.5.29.36"
	extUsages            = "2.5.29.37"
	extInhibitAnyPolicy  = "2.5.29.54"
)

// extRevocationLists names the revocation lists, which are not judged: a critical one restricts nothing else.
const extRevocationLists = "2.5.29.31"

func (c *Certificate) parseExtensions(r Reader) error {
	list, err := r.Expect(TagSequence, "extensions")
	if err != nil {
		return err
	}
	var seen []string
	for in := list.Reader(); !in.Empty(); {
		if len(seen) == maxExtensions {
			return bad("extensions", "more than %d", maxExtensions)
		}
		ext, err := in.Expect(TagSequence, "extension")
		if err != nil {
			return err
		}
		id, err := c.parseExtension(ext.Reader())
		if err != nil {
			return err
		}
		if slices.Contains(seen, id) {
			c.extensionErr = bad("extensions", "%s twice", id)
		}
		seen = append(seen, id)
	}
	return nil
}

// parseExtension reads one extension, and returns its object identifier.
func (c *Certificate) parseExtension(r Reader) (string, error) {
	oid, err := r.Expect(TagOID, "extnID")
	if err != nil {
		return "", err
	}
	id, critical := OID(oid), false
	v, err := r.Next()
	if err == nil && v.Is(TagBoolean) {
		critical = len(v.Body) != 1 || v.Body[0] != 0
		v, err = r.Next()
	}
	if err != nil {
		return "", bad("extension", "%v", err)
	}
	if !v.Is(TagOctetString) {
		return "", bad("extnValue", "tag %d", v.Tag)
	}
	known, err := c.readExtension(id, NewReader(v.Body))
	if critical && !known && id != extRevocationLists {
		c.Unknown = append(c.Unknown, id)
	}
	return id, err
}

// readExtension reads what an extension says; false for one that is not known. Only an error about purpose, authority
// and use of the key costs the certificate: of another the certificate is kept, and no chain with it is trusted.
func (c *Certificate) readExtension(id string, in Reader) (known bool, err error) {
	switch id {
	case extUsages:
		return true, c.parseEKUs(in)
	case extBasicConstraints:
		return true, c.parseConstraints(in)
	case extKeyUsage:
		return true, c.parseKeyUsage(in)
	case extSubjectKeyID:
		if k, err := in.Next(); err == nil && k.Is(TagOctetString) {
			c.SubjectKeyID = k.Body
		}
		return true, nil
	case extAuthorityKeyID:
		if k, err := in.Next(); err == nil {
			kr := k.Reader()
			if id, ok := kr.Optional(0); ok {
				c.AuthorityKeyID = id.Body
			}
		}
		return true, nil
	case extAlternativeName:
		c.alternative, err = parseGeneralNames(in)
	case extNameConstraints:
		c.constraints, err = parseNameConstraints(in)
	case extPolicies:
		err = c.policies.parse(in)
	case extPolicyMappings:
		c.policies.mapped = true
	case extPolicyConstraints:
		err = c.policies.parseConstraints(in)
	case extInhibitAnyPolicy:
		c.policies.inhibited = true
	default:
		return false, nil
	}
	if err != nil {
		c.extensionErr = err
	}
	return true, nil
}

func (c *Certificate) parseEKUs(r Reader) error {
	list, err := r.Expect(TagSequence, "extKeyUsage")
	if err != nil {
		return err
	}
	c.EKUs = []string{}
	for in := list.Reader(); !in.Empty(); {
		v, err := in.Expect(TagOID, "extKeyUsage")
		if err != nil {
			return err
		}
		if len(c.EKUs) == maxEKUs {
			return bad("extKeyUsage", "more than %d", maxEKUs)
		}
		c.EKUs = append(c.EKUs, OID(v))
	}
	return nil
}

func (c *Certificate) parseConstraints(r Reader) error {
	seq, err := r.Expect(TagSequence, "basicConstraints")
	if err != nil {
		return err
	}
	c.HasConstraints = true
	in := seq.Reader()
	if v, ok := in.Peek(); ok && v.Is(TagBoolean) {
		c.IsCA = len(v.Body) == 1 && v.Body[0] != 0
		_, _ = in.Next()
	}
	if in.Empty() {
		return nil
	}
	n, err := in.Expect(TagInteger, "pathLenConstraint")
	if err != nil {
		return err
	}
	switch {
	case len(n.Body) == 0 || n.Body[0] > 0x7f:
		return bad("pathLenConstraint", "negative, or no number")
	case len(n.Body) == 1: // a larger one is beyond maxChain
		c.MaxPathLen = int(n.Body[0])
	}
	return nil
}

// parseKeyUsage reads a bit string: digitalSignature, nonRepudiation, …, bit 5 is keyCertSign.
func (c *Certificate) parseKeyUsage(r Reader) error {
	v, err := r.Expect(TagBitString, "keyUsage")
	if err != nil {
		return err
	}
	var first byte
	if len(v.Body) >= 2 {
		first = v.Body[1]
	}
	c.NoCertSign = first&(0x80>>5) == 0
	c.NoSigning = first&(0x80|0x80>>1) == 0
	return nil
}
