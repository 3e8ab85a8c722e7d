// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/certtest"
)

// A chain that takes more tries than one may take leads nowhere that is known, which is no word on the keys.
func TestHiddenChain(t *testing.T) {
	key := certtest.Key(t)
	issue := func(name, by string, signer *ecdsa.PrivateKey) *sign.Certificate {
		tmpl := func(name string) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
				NotAfter: time.Now().Add(time.Hour)}
		}
		c, err := sign.ParseCertificate(certtest.Issue(t, tmpl(name), signer, tmpl(by), signer).Raw)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var pool []*sign.Certificate
	for range 100 {
		other := certtest.Key(t)
		pool = append(pool, issue("CA", "CA", other))
	}
	roots := sign.NewRoots(nil).With("k", []*sign.Certificate{issue("Root", "Root", key)})
	leaf, ca := issue("Leaf", "CA", key), issue("CA", "Root", key)
	for name, tt := range map[string]struct {
		pool  []*sign.Certificate
		limit bool
	}{"hidden": {append(pool, ca), true}, "not there": {pool[:50], false}} {
		_, err := chainAt(leaf, tt.pool, roots, time.Now(), new(fact.Budget).Item(1<<30))
		if err == nil || isLimit(err) != tt.limit {
			t.Errorf("%s: %v", name, err)
		}
	}
}
