// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/windows/pe"
)

// Limits on signatures in one file.
const (
	maxSignatures = 16  // embedded and nested together
	maxPageTable  = 1e6 // entries of a page-hash table
	winCertHeader = 8   // bytes before the PKCS#7
	certPKCS      = 2   // WIN_CERT_TYPE_PKCS_SIGNED_DATA
	certRevision1 = 0x0100
	certRevision2 = 0x0200
)

var (
	errTableTail            = errors.New("data after the signature in the certificate table")
	errMoreSignatures error = &sentinel.Error{Before: "more than 16 signatures, and the others were not looked at",
		Cause: fact.ErrTooLarge}
	errTablePadding = errors.New("data between the entries of the certificate table")
)

// A foreignError says that the certificate table holds what no digest covers. All else may fit.
type foreignError struct{ err error }

func (e foreignError) Error() string { return sign.ErrMismatch.Error() + ": " + e.err.Error() }
func (e foreignError) Unwrap() error { return sign.ErrMismatch }

// entries returns the PKCS#7 blobs of a certificate table. The table is outside every digest, so it returns an error
// for bytes that are neither a signature nor the zeros between two.
func entries(table []byte) ([][]byte, error) {
	var out [][]byte
	for b := table; !zeros(b); {
		if len(b) < winCertHeader {
			return out, foreignError{errTablePadding}
		}
		le := binary.LittleEndian
		n, revision, typ := int64(le.Uint32(b)), le.Uint16(b[4:]), le.Uint16(b[6:])
		switch {
		case n < winCertHeader || n > int64(len(b)):
			return out, foreignError{fmt.Errorf("certificate table: entry of %d bytes, %d left", n, len(b))}
		case len(out) == maxSignatures:
			return out, foreignError{fmt.Errorf("certificate table: more than %d entries", maxSignatures)}
		case typ != certPKCS || revision != certRevision1 && revision != certRevision2:
			return out,
				foreignError{fmt.Errorf("certificate table: entry of type %d, revision %#x, is not a PKCS#7 signature",
					typ, revision)}
		}
		out = append(out, b[winCertHeader:n])
		next := min((n+7)&^7, int64(len(b)))
		if !zeros(b[n:next]) {
			return out, foreignError{errTablePadding}
		}
		b = b[next:]
	}
	return out, nil
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// Verify finds and judges every signature of a driver: those in the file, and those of catalogs
// that list it. The list is empty if the file has no signature.
//
// No byte of the file can change without the status valid being lost, but for those that the format
// leaves uncovered: the checksum; the certificate table's directory entry, as long as it names the
// same table; and in the PKCS#7 itself the version numbers, the list of digest algorithms, the
// parameters of algorithms, certificates that the chain does not use, and the unsigned attributes,
// which hold timestamps and nested signatures (a timestamp that no longer fits its signature makes
// it untrusted). Anything else in the certificate table makes the signature invalid, also where
// Windows would let it pass: programs have been hidden there.
//
// It takes what item allows; what it could not verify for that reason is unchecked.
func (v *Verifier) Verify(p *pe.File, item *fact.Item) []Signature {
	own := *v
	own.item, v = item, &own
	out := []Signature{}
	if !p.HasBytes() {
		return out
	}
	table, err := p.CertificateTable()
	if err != nil {
		err = fmt.Errorf("%w: %v", sign.ErrMismatch, err)
	}
	blobs, foreign := entries(table)
	err = cmp.Or(err, foreign)
	for _, b := range blobs {
		out = v.embedded(out, p, b, false, err)
	}
	if err != nil && len(blobs) == 0 {
		s := Signature{Source: fact.SignatureEmbedded, read: true}
		s.verdict(err, "", nil)
		out = append(out, s)
	}
	if err != nil {
		out[len(out)-1].rest = err
	}
	return append(out, v.catalogSignatures(p, len(out) > 0)...)
}

// embedded appends the signatures of one blob: its own and, when allowed, those nested in it. table
// is what is wrong with the table that it is from: data there that no digest covers.
func (v *Verifier) embedded(out []Signature, p *pe.File, b []byte, nested bool, table error) []Signature {
	if len(out) > maxSignatures {
		return out
	}
	s := Signature{Source: fact.SignatureEmbedded, Nested: nested, Status: fact.SignatureUnchecked,
		read: true}
	if len(out) == maxSignatures { // the last says that there are more
		s.cut = errMoreSignatures
		s.verdict(nil, fact.SignatureUnchecked, s.cut)
		return append(out, s)
	}
	sd, err := sign.ParseContentInfo(b)
	if err == nil && len(sd.Signers) != 1 {
		err = fmt.Errorf("%w: %d signers, want 1", fact.ErrMalformed, len(sd.Signers))
	}
	if err != nil {
		s.cut = err
		s.verdict(err, "", nil)
		return append(out, s)
	}
	signer := sd.Signers[0]
	fits := s.checkImage(p, sd, signer, b, nested)
	if fits == nil {
		fits = table
	}
	v.judge(&s, sd, signer, fits)
	out = append(out, s)
	if nested {
		return out
	}
	for _, a := range signer.UnsignedAttributes(oidNested) {
		out = v.embedded(out, p, a.Full, true, table)
	}
	return out
}

// checkImage compares the signed digest with the file and the signature with the digest.
func (s *Signature) checkImage(p *pe.File, sd *sign.SignedData, signer *sign.Signer, blob []byte, nested bool) error {
	if sd.ContentType != oidIndirectData || sd.Content == nil {
		return fmt.Errorf("%w: content type %s is not an image digest", fact.ErrMalformed, sd.ContentType)
	}
	ind, err := parseIndirect(sd.Content)
	if err != nil {
		return err
	}
	s.HashAlgorithm, s.Digest = sign.HashName(ind.hash), hex.EncodeToString(ind.digest)
	s.PageHashes = ind.pageHashes()
	if err := sd.CheckContent(signer); err != nil {
		return err
	}
	if !hashing.Usable(ind.hash) {
		return fmt.Errorf("%w: file digest", sign.ErrAlgorithm)
	}
	if !bytes.Equal(p.Authentihash(ind.hash), ind.digest) {
		return fmt.Errorf("%w: the file's digest differs", sign.ErrMismatch)
	}
	if h := s.PageHashes; h != nil {
		if match, checked := p.CheckPages(ind.pages.alg, ind.pages.list); checked {
			h.Match = fact.TriOf(match)
			if !match {
				return fmt.Errorf("%w: a page hash differs", sign.ErrMismatch)
			}
		}
	}
	if !nested && !zeroTail(blob) {
		return foreignError{errTableTail}
	}
	return nil
}

// zeroTail reports whether only zero bytes follow the PKCS#7: other data would not be covered by
// any digest.
func zeroTail(blob []byte) bool {
	r := sign.NewReader(blob)
	if _, err := r.Next(); err != nil {
		return false
	}
	return zeros(r.Rest())
}

// indirect is an SpcIndirectDataContent.
type indirect struct {
	typ    string // of what is hashed: an image, or any file
	hash   crypto.Hash
	digest []byte
	pages  *pageTable
}

// pageHashes describes the table of page hashes; nil if the file has none.
func (ind *indirect) pageHashes() *PageHashes {
	if ind.pages == nil {
		return nil
	}
	return &PageHashes{HashAlgorithm: sign.HashName(ind.pages.alg), Pages: len(ind.pages.list)}
}

// A pageTable is a signed table of page hashes.
type pageTable struct {
	alg  crypto.Hash
	list []pe.PageHash // the closing one included
}

func parseIndirect(b []byte) (indirect, error) {
	var ind indirect
	top := sign.NewReader(b)
	seq, err := top.Expect(sign.TagSequence, "spcIndirectData")
	if err != nil {
		return ind, err
	}
	r := seq.Reader()
	data, err := r.Expect(sign.TagSequence, "spcAttribute")
	if err != nil {
		return ind, err
	}
	di, err := r.Expect(sign.TagSequence, "digestInfo")
	if err != nil {
		return ind, err
	}
	in := di.Reader()
	av, err := in.Expect(sign.TagSequence, "digestAlgorithm")
	if err != nil {
		return ind, err
	}
	alg, err := sign.ParseAlgorithm(av)
	if err != nil {
		return ind, err
	}
	dv, err := in.Expect(sign.TagOctetString, "digest")
	if err != nil {
		return ind, err
	}
	ind.hash, ind.digest = alg.Digest(), dv.Body
	dr := data.Reader()
	typ, err := dr.Expect(sign.TagOID, "spcAttribute.type")
	if err != nil {
		return ind, err
	}
	ind.typ = sign.OID(typ)
	if ind.typ == oidPEImageData {
		ind.pages = parsePEImageData(dr)
	}
	return ind, nil
}

// parsePEImageData looks for a page-hash table in SpcPeImageData: flags, then [0] the file as an
// SpcLink, whose choice [1] is a serialized object that holds the table.
func parsePEImageData(r sign.Reader) *pageTable {
	v, err := r.Next()
	if err != nil {
		return nil
	}
	in := v.Reader()
	if first, ok := in.Peek(); ok && first.Is(sign.TagBitString) {
		_, _ = in.Next()
	}
	file, ok := in.Optional(0)
	if !ok {
		return nil
	}
	lr := file.Reader()
	obj, ok := lr.Optional(1)
	if !ok {
		return nil
	}
	or := obj.Reader()
	if _, err := or.Expect(sign.TagOctetString, "classId"); err != nil {
		return nil
	}
	data, err := or.Expect(sign.TagOctetString, "serializedData")
	if err != nil {
		return nil
	}
	return parsePageTable(data.Body)
}

func parsePageTable(b []byte) *pageTable {
	top := sign.NewReader(b)
	set, err := top.Expect(sign.TagSet, "pageHashes")
	if err != nil {
		return nil
	}
	for r := set.Reader(); !r.Empty(); {
		seq, err := r.Expect(sign.TagSequence, "pageHashes")
		if err != nil {
			return nil
		}
		in := seq.Reader()
		oid, err := in.Expect(sign.TagOID, "pageHashes")
		if err != nil {
			return nil
		}
		vals, err := in.Expect(sign.TagSet, "pageHashes")
		if err != nil {
			return nil
		}
		vr := vals.Reader()
		table, err := vr.Expect(sign.TagOctetString, "pageHashes")
		if err != nil {
			return nil
		}
		switch sign.OID(oid) {
		case oidPageHashSHA1:
			return newPageTable(table.Body, crypto.SHA1)
		case oidPageHashSHA2:
			return newPageTable(table.Body, crypto.SHA256)
		}
	}
	return nil
}

func newPageTable(b []byte, alg crypto.Hash) *pageTable {
	entry := 4 + alg.Size()
	if len(b)%entry != 0 || len(b)/entry > maxPageTable {
		return nil
	}
	p := &pageTable{alg: alg, list: make([]pe.PageHash, 0, len(b)/entry)}
	for ; len(b) >= entry; b = b[entry:] {
		p.list = append(p.list, pe.PageHash{Offset: binary.LittleEndian.Uint32(b), Digest: b[4:entry]})
	}
	return p
}
