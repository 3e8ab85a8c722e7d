// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"cmp"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/sign"
)

// Keys are the certificates that module signatures are verified against, and what is revoked.
type Keys struct {
	roots   *sign.Roots // a signature by one of them is valid
	perhaps *sign.Roots // a signature by one of them is not: the kernel may not ask them
	revoked Revoked
	doubt   error // why more may be revoked; nil if every list was read
}

// A Revoked says what nothing may be signed with, and what may not be signed, each with the name of the list that says
// so.
type Revoked struct {
	// Certificates are certificates by list.
	Certificates []RevokedCertificates
	// Signed are digests of certificates' signed parts, in hexadecimal ("tbs:" in the keyring .blacklist).
	Signed map[string]string
	// Contents are digests of what is signed, in hexadecimal ("bin:").
	Contents map[string]string
}

// A RevokedCertificates is a list of certificates that nothing may be signed with.
type RevokedCertificates struct {
	// List is the list's name.
	List string
	// Certificates are its certificates.
	Certificates []*sign.Certificate
}

// A Verdict is what is known of who signed a module's file.
type Verdict struct {
	fact.Signature
	// Proof is what its check found beside the status.
	Proof Proof
}

// A Proof is what the check of a signature found, beside its status.
type Proof struct {
	// Set is the name of the set with the signer's certificate; empty if no set has it.
	Set string
	// Origin is where the set comes from; 0 for a caller's.
	Origin fact.Trust
	// Perhaps is set if the kernel may not ask the set.
	Perhaps bool
	// NoKey is set if the signature leads to none of the known certificates, so that it was not refuted either.
	NoKey bool
	// Revoked is the list that revokes the certificate or the content; empty if none does.
	Revoked string
	// RevokedBy is what the list names; empty if none revokes.
	RevokedBy RevokedBy
	// Unsure is set if the signature would be valid, but not every list of what is revoked was read.
	Unsure bool
}

// A RevokedBy is what a list names that revokes a signature.
type RevokedBy string

// What lists name.
const (
	RevokedCertificate RevokedBy = "certificate"        // the signer's certificate, or one above it
	RevokedSigned      RevokedBy = "certificate_digest" // the digest of a certificate's signed part
	RevokedContent     RevokedBy = "content_digest"     // the digest of what is signed
)

var (
	errRevokedKey     = errors.New("the signer's certificate is revoked")
	errRevokedContent = errors.New("what is signed is revoked")
)

// NewKeys makes Keys of a caller's sets. A certificate that cannot be used is left out; [Keys.Report] reports it.
func NewKeys(sets []fact.KeySet) *Keys {
	return &Keys{roots: sign.NewRoots(sets)}
}

// Trust adds a set, which is asked before those that are there.
func (k *Keys) Trust(name string, origin fact.Trust, certificates []*sign.Certificate) {
	k.roots = k.roots.Before(name, origin, certificates)
}

// Suppose adds a set that the kernel may not ask: a signature by one of its certificates is untrusted, and names the
// set.
func (k *Keys) Suppose(name string, origin fact.Trust, certificates []*sign.Certificate) {
	k.perhaps = k.perhaps.Before(name, origin, certificates)
}

// Revoke makes signatures invalid by what is revoked.
func (k *Keys) Revoke(r Revoked) { k.revoked = r }

// Doubt says why more may be revoked. Nothing is valid then.
func (k *Keys) Doubt(err error) { k.doubt = err }

// Report adds the certificates that cannot be used to r, as problems of SourceKeys.
func (k *Keys) Report(r *fact.Report) {
	if k != nil {
		k.roots.Report(r, SourceKeys, "")
	}
}

// Empty reports whether there is nothing to verify against.
func (k *Keys) Empty() bool { return k == nil || k.roots.Empty() && k.perhaps.Empty() }

// maxNamesakes is how many certificates with the name that a signer gives are tried.
const maxNamesakes = 16

// find returns the certificate that made a signature, and the set that has it. The name that a signer gives its key
// proves nothing: each certificate of that name is tried. One that the kernel may not ask refutes no signature, since
// anybody can put one beside the kernel's own. The error says why the certificate that is returned does not fit.
func (k *Keys) find(signer *sign.Signer, sum func(crypto.Hash) ([]byte, error)) (*sign.Certificate, Proof, error) {
	var cert *sign.Certificate
	var proof Proof
	var first error
	for _, roots := range []*sign.Roots{k.roots, k.perhaps} {
		found := roots.Find(signer, maxNamesakes)
		if len(found) == maxNamesakes {
			first = fmt.Errorf("more than %d certificates with one name: %w", maxNamesakes-1, fact.ErrTooLarge)
			cert, proof = found[0].Certificate, Proof{}
		}
		for _, f := range found {
			p := Proof{Set: f.Set, Origin: f.Origin, Perhaps: roots == k.perhaps}
			err := signer.Check(f.Certificate, sign.OIDData, sum)
			switch {
			case err == nil:
				return f.Certificate, p, nil
			case cert == nil && !(p.Perhaps && errors.Is(err, sign.ErrMismatch)):
				cert, proof, first = f.Certificate, p, err
			}
		}
	}
	return cert, proof, first
}

// revokedContent returns the list that revokes what is signed (pkcs7_digest); empty if none does. The kernel compares
// the digest that the signature was made with.
func (k *Keys) revokedContent(signer *sign.Signer, sum func(crypto.Hash) ([]byte, error)) string {
	hash := signer.Digest.Digest()
	if len(k.revoked.Contents) == 0 || !hashing.Usable(hash) {
		return ""
	}
	digest, err := sum(hash)
	if err != nil {
		return ""
	}
	return k.revoked.Contents[hex.EncodeToString(digest)]
}

// revokedKey returns the list that revokes the signer's certificate, or one that came with the signature and leads from
// it to a trusted one (is_key_on_revocation_list, x509_get_sig_params), and what it names; empty if none does. The
// error is why a list could not be asked.
func (k *Keys) revokedKey(
	chain, pool []*sign.Certificate, item *fact.Item,
) (name string, by RevokedBy, err error) {
	var unasked error
	for _, c := range chain {
		own, _ := c.TBSHash()
		for _, digest := range []string{own, hex.EncodeToString(sign.Sum(crypto.SHA256, c.RawTBS))} {
			if list := k.revoked.Signed[digest]; list != "" {
				return list, RevokedSigned, nil
			}
		}
	}
	for _, list := range k.revoked.Certificates {
		roots := (*sign.Roots)(nil).Before(list.List, 0, list.Certificates)
		for i, c := range chain {
			// A certificate that came along may have been issued by a revoked one; of a key in the kernel itself nobody
			// asks who issued it.
			q := sign.ChainQuery{Pool: pool, Roots: roots, Rules: sign.RulesLinux, Item: item}
			if roots.Holds(c) {
				return list.List, RevokedCertificate, nil
			}
			if i > 0 || !slices.Contains(pool, c) {
				continue
			}
			above := sign.BuildChain(c, q)
			if above.KeySet != "" {
				return list.List, RevokedCertificate, nil
			}
			unasked = cmp.Or(unasked, above.Cut)
		}
	}
	return "", "", unasked
}
