// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"cmp"
	"crypto"
	"encoding/hex"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// What the list of certificates that nothing may be signed with is made of (wincrypt.h).
const (
	oidDisallowedList = "1.3.6.1.4.1.311.10.3.30"  // szOID_DISALLOWED_LIST, the list's usage
	oidDisallowedHash = "1.3.6.1.4.1.311.10.11.15" // szOID_DISALLOWED_HASH, what its entries are
)

// maxDisallowed is how many entries of a list are read; Microsoft's has some 90.
const maxDisallowed = 100_000

// Disallow reads a list of certificates that nothing may be signed with, as Windows Update keeps it in the registry
// (DisallowedCertEncodedCtl). Its entries are digests: of a certificate's signed part, by the algorithm of its
// signature, or MD5 of its public key (properties 15 and 25), or of a whole certificate. A list that is invalid is
// reported, and no signature is valid then. Who signed the list is not asked: it can only take trust away.
func (s *Stores) Disallow(list []byte, subject string, r *fact.Report) {
	item := r.Budget.Item(int64(len(list)))
	defer item.Done()
	err := item.Work(int64(len(list)))
	if err == nil {
		err = s.readDisallowed(list, item)
	}
	if err != nil {
		r.Problem(SourceStores, subject, "signature", err)
		s.unread = cmp.Or(s.unread, err)
	}
}

func (s *Stores) readDisallowed(list []byte, item *fact.Item) error {
	sd, err := sign.ParseContentInfo(list)
	if err != nil {
		return err
	}
	if sd.ContentType != oidTrustList {
		return listError("%s is not a trust list", sd.ContentType)
	}
	top := sign.NewReader(sd.Content)
	seq, err := top.Expect(sign.TagSequence, "ctl")
	if err != nil {
		return err
	}
	r := seq.Reader()
	if err := readUsage(&r); err != nil {
		return err
	}
	entries, algorithm, err := readEntries(&r)
	if err != nil {
		return err
	}
	digests := map[string]crypto.Hash{"1.3.14.3.2.26": crypto.SHA1, "2.16.840.1.101.3.4.2.1": crypto.SHA256}
	whole := digests[algorithm]
	if whole == 0 && algorithm != oidDisallowedHash {
		return listError("entries of the form %s, which is not known", algorithm)
	}
	for n := 0; !entries.Empty(); n++ {
		if err := item.Keep(memberSize); err != nil {
			return err
		}
		entry, err := entries.Expect(sign.TagSequence, "trustedSubject")
		if err != nil {
			return err
		}
		in := entry.Reader()
		id, err := in.Expect(sign.TagOctetString, "subjectIdentifier")
		switch {
		case err != nil:
			return err
		case n == maxDisallowed:
			return fmt.Errorf("%w: more than %d entries", fact.ErrTooLarge, maxDisallowed)
		case whole != 0 && len(id.Body) != whole.Size(), len(id.Body) < crypto.MD5.Size(), len(id.Body) > 64:
			return listError("an entry of %d bytes", len(id.Body))
		}
		s.disallowed[hex.EncodeToString(id.Body)] = true
		s.forms.add(len(id.Body), whole)
	}
	return nil
}

// readUsage reads the fields before a list's name: its version, and its usage.
func readUsage(r *sign.Reader) error {
	if v, ok := r.Peek(); ok && v.Is(sign.TagInteger) {
		_, _ = r.Next()
	}
	usage, err := r.Expect(sign.TagSequence, "subjectUsage")
	if err != nil {
		return err
	}
	for in := usage.Reader(); !in.Empty(); {
		v, err := in.Expect(sign.TagOID, "subjectUsage")
		if err != nil {
			return err
		}
		if sign.OID(v) == oidDisallowedList {
			return nil
		}
	}
	return listError("a list for another use")
}

// readEntries returns the entries of a list and the algorithm that names them. The list's name, number and times
// precede them, most of them optional.
func readEntries(r *sign.Reader) (entries sign.Reader, algorithm string, err error) {
	for !r.Empty() {
		v, err := r.Next()
		if err != nil {
			return entries, "", err
		}
		if !v.Is(sign.TagSequence) {
			continue
		}
		a, err := sign.ParseAlgorithm(v)
		if err != nil {
			return entries, "", err
		}
		if r.Empty() { // a list without entries
			return entries, a.OID, nil
		}
		list, err := r.Next()
		if err != nil || !list.Is(sign.TagSequence) {
			return entries, a.OID, err
		}
		return list.Reader(), a.OID, nil
	}
	return entries, "", listError("no algorithm")
}

func listError(format string, args ...any) error {
	return &fact.ParseError{Source: SourceStores, Field: "DisallowedCertEncodedCtl",
		Reason: fmt.Sprintf(format, args...)}
}

// keyMD5 returns the MD5 of a certificate's public key, the bits alone (CERT_SUBJECT_PUBLIC_KEY_MD5_HASH_PROP_ID);
// empty if it cannot be made.
func keyMD5(c *sign.Certificate) string {
	top := sign.NewReader(c.RawSPKI)
	seq, err := top.Expect(sign.TagSequence, "subjectPublicKeyInfo")
	if err != nil {
		return ""
	}
	r := seq.Reader()
	if _, err := r.Expect(sign.TagSequence, "algorithm"); err != nil {
		return ""
	}
	bits, err := r.Next()
	if err != nil || len(bits.Body) < 1 {
		return ""
	}
	return hex.EncodeToString(sign.Sum(crypto.MD5, bits.Body[1:]))
}

// disallowedForms are the forms of the digests that name certificates that are not allowed.
type disallowedForms struct {
	sha1, sha256 bool // of a whole certificate
	part         bool // of its signed part, by the algorithm of its signature
	key          bool // MD5 of its public key
}

// add adds the form of an entry of a list: whole is the digest of whole certificates that the list is made of, 0 for a
// list of their parts. MD5 may be of either part.
func (f *disallowedForms) add(size int, whole crypto.Hash) {
	f.sha1 = f.sha1 || whole == crypto.SHA1
	f.sha256 = f.sha256 || whole == crypto.SHA256
	f.part = f.part || whole == 0
	f.key = f.key || whole == 0 && size == crypto.MD5.Size()
}

// known reports whether all digests of a certificate are known that may name it.
func (f *disallowedForms) known(c *Certificate) bool {
	return !(f.sha1 && c.ThumbprintSHA1 == "" || f.sha256 && c.ThumbprintSHA256 == "" || f.part && c.TBSHash == "" ||
		f.key && c.keyMD5 == "")
}

// disallowPart adds a certificate of the store Disallowed by its signed part: the same certificate can be encoded in
// other ways, each with another digest of the whole.
func (s *Stores) disallowPart(c *sign.Certificate) {
	if digest, _ := c.TBSHash(); digest != "" {
		s.disallowed[digest], s.forms.part = true, true
	}
}

// names reports whether one of the digests that are not allowed is of the certificate.
func (s *Stores) names(c *Certificate) bool {
	for _, digest := range []string{c.TBSHash, c.keyMD5, c.ThumbprintSHA1, c.ThumbprintSHA256} {
		if digest != "" && s.disallowed[digest] {
			return true
		}
	}
	return false
}
