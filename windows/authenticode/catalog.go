// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// SourceCatalogs names the source of what catalogs say, in Problems and Sources.
const SourceCatalogs = "catalogs"

// Limits on catalogs.
const (
	maxCatalog        = 64 << 20 // bytes of one catalog
	maxCatalogs       = 100_000  // catalogs of an index
	maxCatalogEntries = 8 << 20  // digests of an index
	maxMembers        = 1 << 20  // members of one catalog
	maxPerDigest      = 64       // catalogs looked at for one file: Windows adds some with each update
	maxKeptCatalogs   = 64 << 20 // bytes of the catalogs that are kept decoded
)

// A catalog is a signed list of file digests.
type catalog struct {
	// Members are what it lists.
	Members []catalogMember
	// Created is when the list was made, UTC; zero when it does not say.
	Created time.Time

	// Qualified is set if the catalog has the attribute "Qualification Level": tests of the hardware program were
	// passed.
	Qualified bool

	data    *sign.SignedData
	mark    *byte // its own: distinguishes it from a later read of the same file
	unknown int   // members without a digest of a known kind, which are not in Members
	item    *fact.Item
}

// A catalogMember is one file of a catalog.
type catalogMember struct {
	HashAlgorithm string // sha1 or sha256
	Digest        []byte // an authentihash for an image, else the digest of the file
	Flat          bool   // the digest is of the whole file
}

// parse reads a catalog: a certificate trust list in a PKCS#7 signature.
func (c *catalog) parse(b []byte) error {
	sd, err := sign.ParseContentInfo(b)
	if err != nil {
		return err
	}
	if sd.ContentType != oidTrustList {
		return &fact.ParseError{Source: SourceCatalogs, Field: "contentType",
			Reason: sd.ContentType + " is not a trust list"}
	}
	c.data = sd
	return c.parseList(sd.Content)
}

func (c *catalog) parseList(b []byte) error {
	top := sign.NewReader(b)
	seq, err := top.Expect(sign.TagSequence, "ctl")
	if err != nil {
		return err
	}
	r := seq.Reader()
	if v, ok := r.Peek(); ok && v.Is(sign.TagInteger) {
		_, _ = r.Next()
	}
	if _, err := r.Expect(sign.TagSequence, "subjectUsage"); err != nil {
		return err
	}
	// Identifier, sequence number, one or two times and the algorithm precede the members, most of them optional; the
	// members are the sequence after the algorithm.
	sawAlgorithm := false
	for !r.Empty() {
		v, err := r.Next()
		if err != nil {
			return err
		}
		switch {
		case v.Is(sign.TagUTCTime), v.Is(sign.TagGeneralizedTime):
			if c.Created.IsZero() {
				c.Created, _ = sign.Time(v)
			}
		case v.Is(sign.TagSequence) && !sawAlgorithm:
			sawAlgorithm = true
		case v.Is(sign.TagSequence):
			if err := c.parseMembers(v.Reader()); err != nil {
				return err
			}
			if ext, ok := r.Optional(0); ok {
				c.Qualified = hasAttribute(ext.Reader(), qualificationLevel)
			}
			return nil
		}
	}
	return nil
}

// An attribute of a whole catalog is an extension of its list.
const (
	oidNameValue        = "1.3.6.1.4.1.311.12.2.1" // CAT_NAMEVALUE
	qualificationLevel  = "Qualification Level"
	maxCatalogAttribute = 256
)

// hasAttribute reports whether a list's extensions have a named attribute.
func hasAttribute(r sign.Reader, name string) bool {
	list, err := r.Expect(sign.TagSequence, "ctlExtensions")
	if err != nil {
		return false
	}
	n := 0
	for er := list.Reader(); !er.Empty() && n < maxCatalogAttribute; n++ {
		ext, err := er.Expect(sign.TagSequence, "extension")
		if err != nil {
			return false
		}
		in := ext.Reader()
		oid, err := in.Expect(sign.TagOID, "extension")
		if err != nil {
			return false
		}
		if v, ok := in.Peek(); ok && v.Is(sign.TagBoolean) {
			_, _ = in.Next()
		}
		value, err := in.Expect(sign.TagOctetString, "extension")
		if err != nil {
			return false
		}
		if sign.OID(oid) == oidNameValue && attributeName(value.Body) == name {
			return true
		}
	}
	return false
}

// attributeName returns the name of a CAT_NAMEVALUE: its first string, in UTF-16 with the high byte first.
func attributeName(b []byte) string {
	top := sign.NewReader(b)
	seq, err := top.Expect(sign.TagSequence, "nameValue")
	if err != nil {
		return ""
	}
	r := seq.Reader()
	v, err := r.Next()
	if err != nil {
		return ""
	}
	return strings.TrimRight(sign.UTF16BE(v.Body), "\x00")
}

func (c *catalog) parseMembers(r sign.Reader) error {
	for !r.Empty() {
		v, err := r.Next()
		if err != nil {
			return err
		}
		if len(c.Members) == maxMembers {
			return &fact.ParseError{Source: SourceCatalogs, Field: "members",
				Reason: fmt.Sprintf("more than %d", maxMembers), Err: fact.ErrTooLarge}
		}
		if err := c.item.Work(memberWork); err != nil {
			return err
		}
		m, ok := parseMember(v)
		if !ok {
			c.unknown++
			continue
		}
		if err := c.item.Hold(memberSize); err != nil {
			return err
		}
		c.Members = append(c.Members, m)
	}
	return nil
}

// parseMember reads a trusted subject: an identifier and attributes, one of which holds the
// digest. Without that attribute the identifier is the digest, as it is in catalogs of version 2.
func parseMember(v sign.Value) (catalogMember, bool) {
	r := v.Reader()
	id, err := r.Expect(sign.TagOctetString, "subjectIdentifier")
	if err != nil {
		return catalogMember{}, false
	}
	if set, err := r.Expect(sign.TagSet, "subjectAttributes"); err == nil {
		for ar := set.Reader(); !ar.Empty(); {
			a, err := ar.Next()
			if err != nil {
				break
			}
			if m, ok := memberDigest(a); ok {
				return m, true
			}
		}
	}
	return memberByID(id.Body)
}

func memberDigest(a sign.Value) (catalogMember, bool) {
	r := a.Reader()
	oid, err := r.Expect(sign.TagOID, "attribute")
	if err != nil || sign.OID(oid) != oidIndirectData {
		return catalogMember{}, false
	}
	set, err := r.Expect(sign.TagSet, "attribute")
	if err != nil {
		return catalogMember{}, false
	}
	ind, err := parseIndirect(set.Body)
	if err != nil || !digestSize(ind.digest) {
		return catalogMember{}, false
	}
	m := catalogMember{HashAlgorithm: sign.HashName(ind.hash), Digest: ind.digest, Flat: ind.typ != oidPEImageData}
	return m, true
}

func digestSize(b []byte) bool { return len(b) == 20 || len(b) == 32 }

// memberByID reads an identifier that is a digest: raw, or as hexadecimal in UTF-16.
func memberByID(b []byte) (catalogMember, bool) {
	if !digestSize(b) {
		raw, err := hex.DecodeString(utf16text.DecodeZ(b))
		if err != nil || !digestSize(raw) {
			return catalogMember{}, false
		}
		b = raw
	}
	name := "sha1"
	if len(b) == 32 {
		name = "sha256"
	}
	return catalogMember{HashAlgorithm: name, Digest: b}, true
}
