// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// SignaturesOfChain returns signatures of one chain (Leaf, Middle, Root) by the certificate that the caller trusts,
// and the hash of the root's signed part.
func SignaturesOfChain(t *testing.T) (byTrust map[string]Signature, rootTBS string) {
	t.Helper()
	root := (*testAuthority)(nil).issue(t, "Root", true)
	middle := root.issue(t, "Middle", true)
	leaf := middle.issue(t, "Leaf", false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})
	pool := signCertificates(t, leaf, middle, root)
	rootTBS, _ = pool[2].TBSHash()
	byTrust = map[string]Signature{}
	for name, keys := range map[string][]*x509.Certificate{"none": nil, "root": {root.cert}, "middle": {middle.cert},
		"leaf": {leaf.cert}} {
		var r fact.Report
		v := NewVerifier([]fact.KeySet{{Name: "k", Certificates: keys}}, time.Now(), nil, &r)
		if len(r.Problems) > 0 {
			t.Fatal(r.Problems)
		}
		s := Signature{Fits: fact.Yes}
		v.chain(&s, pool[0], sign.ChainQuery{Pool: pool, At: time.Now()})
		byTrust[name] = s
	}
	return byTrust, rootTBS
}

// SignaturesOfCatalog returns the signatures of a driver that one catalog lists, by its authentihash or by the digest
// of its bytes, and the hash of the signed part of the authority above the catalog's signer.
func SignaturesOfCatalog(t *testing.T, byBytes bool) (list []Signature, authority string) {
	t.Helper()
	x := newInbox(t)
	p := sampleFile(t, "code")
	digest := p.Authentihash(crypto.SHA256)
	if byBytes {
		digest = p.Digest(crypto.SHA256)
	}
	authority, _ = signCertificates(t, x.middle)[0].TBSHash()
	return verifierOf(fstest.MapFS{"a.cat": {Data: x.catalog(t, digest)}}).Verify(p, nil), authority
}
