// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/certtest"
)

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate of an authority; nil makes its own.
func (a *issuer) issue(t *testing.T, name string) *issuer {
	t.Helper()
	key := certtest.Key(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	if a == nil {
		a = &issuer{tmpl, key}
	}
	return &issuer{certtest.Issue(t, tmpl, key, a.cert, a.key), key}
}

// Certificates of an authority's name hide no revoked one: that the list could not be asked is said.
func TestRevokedAbove(t *testing.T) {
	parsed := func(list ...*issuer) []*sign.Certificate {
		var out []*sign.Certificate
		for _, i := range list {
			c, err := sign.ParseCertificate(i.cert.Raw)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	root, other := (*issuer)(nil).issue(t, "Root"), (*issuer)(nil).issue(t, "Other")
	middle := root.issue(t, "Middle")
	leaf := parsed(middle.issue(t, "Leaf"))[0]
	var hiding []*issuer
	for range 100 {
		hiding = append(hiding, (*issuer)(nil).issue(t, "Middle"))
	}
	for name, tt := range map[string]struct {
		pool    []*sign.Certificate
		revoked *issuer
		list    string
		err     error
	}{
		"revoked":       {pool: parsed(middle), revoked: root, list: "L"},
		"not revoked":   {pool: parsed(middle, root), revoked: other},
		"hidden":        {pool: parsed(append(slices.Clone(hiding), middle)...), revoked: root, err: fact.ErrTooLarge},
		"hidden, later": {pool: parsed(append([]*issuer{middle}, hiding...)...), revoked: root, list: "L"},
	} {
		k := &Keys{revoked: Revoked{Certificates: []RevokedCertificates{{List: "L", Certificates: parsed(tt.revoked)}}}}
		chain, pool := []*sign.Certificate{leaf}, append(tt.pool, leaf)
		list, by, err := k.revokedKey(chain, pool, nil)
		if list != tt.list || (by != "") != (list != "") || (err == nil) != (tt.err == nil) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q by %q, %v", name, list, by, err)
		}
	}
}
