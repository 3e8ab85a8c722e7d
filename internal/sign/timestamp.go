// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
)

// OIDMicrosoftTimestamp is the unsigned attribute that holds an RFC 3161 token in Authenticode;
// OIDTimestampToken is the standard's own.
const (
	OIDMicrosoftTimestamp = "1.3.6.1.4.1.311.3.3.1"
	OIDTimestampToken     = "1.2.840.113549.1.9.16.2.14"
)

// Kinds of Timestamp.
const (
	TimestampRFC3161 = "rfc3161"          // a token of RFC 3161
	TimestampCounter = "countersignature" // a PKCS#9 countersignature with a signing time
	TimestampUnknown = "unknown"          // an attribute that could not be read
)

// A Timestamp says when a signature existed, by the word of a time stamping authority.
type Timestamp struct {
	Kind        string         // one of the constants
	Time        time.Time      // UTC; zero if the kind is unknown
	Certificate *Certificate   // the authority's; nil when it is not present
	Pool        []*Certificate // the certificates that came with it
	Lost        error          // why Pool lacks one of them; nil if it has all
	// Bare is set for a countersignature over the bare digest, without DigestInfo.
	Bare bool
	// Err is nil if the authority's key signed this very signature and time. Else it matches ErrMismatch, ErrAlgorithm
	// or ErrNoCertificate, and fact.ErrMalformed for an unknown kind.
	Err error
}

// Timestamps returns the timestamps of a signer, those of RFC 3161 first and last those of unknown kind: attributes
// that could not be read. outer are the certificates beside the signer, which include those of a countersignature.
func (s *Signer) Timestamps(outer []*Certificate) []Timestamp {
	var out, unread []Timestamp
	full := func() bool {
		if len(out)+len(unread) < maxTimestamps {
			return false
		}
		err := fmt.Errorf("%w: more than %d timestamps", fact.ErrTooLarge, maxTimestamps)
		unread = append(unread, Timestamp{Kind: TimestampUnknown, Err: err})
		return true
	}
	for _, oid := range []string{OIDMicrosoftTimestamp, OIDTimestampToken} {
		for _, v := range s.UnsignedAttributes(oid) {
			if full() {
				return append(out, unread...)
			}
			t, err := s.token(v.Full)
			if err != nil {
				unread = append(unread, Timestamp{Kind: TimestampUnknown, Err: err})
				continue
			}
			out = append(out, t)
		}
	}
	for _, v := range s.UnsignedAttributes(OIDCounterSign) {
		if full() {
			return append(out, unread...)
		}
		t, err := s.countersignature(v, outer)
		if err != nil {
			unread = append(unread, Timestamp{Kind: TimestampUnknown, Err: err})
			continue
		}
		out = append(out, t)
	}
	return append(out, unread...)
}

func (s *Signer) token(b []byte) (Timestamp, error) {
	sd, err := ParseContentInfo(b)
	if err != nil {
		return Timestamp{}, err
	}
	if sd.ContentType != OIDTSTInfo || len(sd.Signers) != 1 {
		return Timestamp{}, bad("timestamp", "content type %s, %d signers", sd.ContentType, len(sd.Signers))
	}
	imprint, hash, at, err := parseTSTInfo(sd.Covered)
	if err != nil {
		return Timestamp{}, err
	}
	signer := sd.Signers[0]
	t := Timestamp{Kind: TimestampRFC3161, Time: at, Pool: sd.Certificates, Lost: sd.certErr}
	t.Certificate = signer.Certificate(sd.Certificates)
	t.Err = sd.CheckContent(signer)
	switch {
	case t.Err != nil:
	case !hashing.Usable(hash):
		t.Err = fmt.Errorf("%w: imprint", ErrAlgorithm)
	case !bytes.Equal(imprint, Sum(hash, s.Signature)):
		t.Err = fmt.Errorf("%w: the timestamp is of another signature", ErrMismatch)
	}
	return t, nil
}

func parseTSTInfo(b []byte) (imprint []byte, hash crypto.Hash, at time.Time, err error) {
	top := NewReader(b)
	seq, err := top.Expect(TagSequence, "tstInfo")
	if err != nil {
		return nil, 0, at, err
	}
	r := seq.Reader()
	if _, err = r.Expect(TagInteger, "tstInfo.version"); err != nil {
		return nil, 0, at, err
	}
	if _, err = r.Expect(TagOID, "tstInfo.policy"); err != nil {
		return nil, 0, at, err
	}
	mi, err := r.Expect(TagSequence, "messageImprint")
	if err != nil {
		return nil, 0, at, err
	}
	in := mi.Reader()
	av, err := in.Expect(TagSequence, "hashAlgorithm")
	if err != nil {
		return nil, 0, at, err
	}
	alg, err := ParseAlgorithm(av)
	if err != nil {
		return nil, 0, at, err
	}
	hv, err := in.Expect(TagOctetString, "hashedMessage")
	if err != nil {
		return nil, 0, at, err
	}
	if _, err = r.Expect(TagInteger, "tstInfo.serialNumber"); err != nil {
		return nil, 0, at, err
	}
	tv, err := r.Expect(TagGeneralizedTime, "genTime")
	if err != nil {
		return nil, 0, at, err
	}
	at, err = Time(tv)
	return hv.Body, alg.Digest(), at, err
}

func (s *Signer) countersignature(v Value, outer []*Certificate) (Timestamp, error) {
	c, err := ParseSigner(v)
	if err != nil {
		return Timestamp{}, err
	}
	t := Timestamp{Kind: TimestampCounter, Time: c.SigningTime(), Pool: outer}
	if t.Time.IsZero() {
		return Timestamp{}, bad("countersignature", "no signing time")
	}
	t.Certificate = c.Certificate(outer)
	t.Err = c.Check(t.Certificate, "", func(h crypto.Hash) ([]byte, error) { return Sum(h, s.Signature), nil })
	if errors.Is(t.Err, ErrMismatch) && c.checkBare(t.Certificate, s.Signature) == nil {
		t.Bare, t.Err = true, nil
	}
	return t, nil
}
