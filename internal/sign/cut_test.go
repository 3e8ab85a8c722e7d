// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/certtest"
)

// pretend is a certificate of a's name and key identifier, and of another key.
func pretend(t *testing.T, a *party) *party {
	t.Helper()
	key := certtest.Key(t)
	tmpl := *a.cert
	tmpl.SerialNumber, tmpl.PublicKey = big.NewInt(1), key.Public()
	return &party{certtest.Issue(t, &tmpl, key, nil, nil), key}
}

// A chain says why certificates may be missing from it: the search came to one of its limits, or an issuer could not be
// asked. What is merely not there cuts nothing.
func TestChainCut(t *testing.T) {
	root := issue(t, "Root", true, nil)
	ca := issue(t, "CA", true, root)
	leaf := issue(t, "Leaf", false, ca, oidCodeSign)
	parse := func(ps ...*party) []*Certificate {
		var out []*Certificate
		for _, p := range ps {
			c, err := ParseCertificate(p.cert.Raw)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	pretenders := func(n int) []*Certificate {
		var list []*party
		for range n {
			list = append(list, pretend(t, ca))
		}
		return parse(list...)
	}
	keyless := func() []*Certificate { // its key is of an algorithm that nobody knows
		c := parse(ca)[0]
		c.RawSPKI = []byte{0x30, 0}
		return []*Certificate{c}
	}
	up, tall := issue(t, "CA 0", true, nil), []*party(nil)
	for i := range maxChain + 2 {
		tall = append(tall, up)
		up = issue(t, fmt.Sprintf("CA %d", i+1), true, up)
	}
	slices.Reverse(tall)
	hidden := slices.Concat(pretenders(maxTries), parse(ca))
	lost := errors.New("lost")
	for name, tt := range map[string]struct {
		leaf    *party
		pool    []*Certificate
		lost    error
		roots   []*Certificate
		cut     error
		trusted bool
		length  int
	}{
		"whole":                     {leaf: leaf, pool: parse(ca, root), length: 3},
		"an authority that is gone": {leaf: leaf, pool: parse(root), length: 1},
		"pretenders first":          {leaf: leaf, pool: hidden, cut: fact.ErrTooLarge, length: 1},
		"fewer of them":             {leaf: leaf, pool: hidden[1:], length: 2},
		"pretenders, trusted":       {leaf: leaf, pool: hidden, roots: parse(leaf), trusted: true, length: 1},
		"no such algorithm":         {leaf: leaf, pool: keyless(), cut: ErrAlgorithm, length: 1},
		"no such algorithm, beside": {leaf: leaf, pool: slices.Concat(keyless(), parse(ca)), length: 2},
		"a root of no such algorithm": {leaf: leaf, roots: keyless(), cut: ErrAlgorithm,
			length: 1},
		"one that could not be read": {leaf: leaf, pool: parse(ca), lost: lost, cut: lost, length: 2},
		"not read, trusted": {leaf: leaf, pool: parse(ca), lost: lost, roots: parse(root), cut: lost,
			trusted: true, length: 3},
		"too long":              {leaf: up, pool: parse(tall...), cut: fact.ErrTooLarge, length: maxChain},
		"as long as one may be": {leaf: up, pool: parse(tall[:maxChain-1]...), length: maxChain},
		"too long, trusted before it": {leaf: up, pool: parse(tall...), roots: parse(tall[5]), trusted: true,
			length: 7},
	} {
		var roots *Roots
		q := ChainQuery{Pool: tt.pool, Lost: tt.lost, Roots: roots.With("k", tt.roots), At: inTime}
		chain := BuildChain(parse(tt.leaf)[0], q)
		if (chain.Cut == nil) != (tt.cut == nil) || !errors.Is(chain.Cut, tt.cut) || chain.Trusted != tt.trusted ||
			len(chain.Certificates) != tt.length {
			t.Errorf("%s: cut %v, trusted %v, %d certificates", name, chain.Cut, chain.Trusted, len(chain.Certificates))
		}
		if !chain.Trusted && tt.cut != nil && !errors.Is(chain.Err, tt.cut) {
			t.Errorf("%s: %v", name, chain.Err)
		}
	}
}

// A certificate has one encoding: no signature covers how its outer parts are encoded, and digests of the whole would
// differ.
func TestCertificateEncoding(t *testing.T) {
	raw := issue(t, "Root", true, nil).cert.Raw
	whole, _, err := parseValue(raw)
	if err != nil {
		t.Fatal(err)
	}
	var parts [][]byte
	for r := whole.Reader(); !r.Empty(); {
		v, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, v.Full)
	}
	long := func(b []byte) []byte { // with a length of four bytes
		v, _, err := parseValue(b)
		if err != nil {
			t.Fatal(err)
		}
		n := len(v.Body)
		return append([]byte{b[0], 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, v.Body...)
	}
	join := func(parts ...[]byte) []byte { return wrap(t, 0, 16, slices.Concat(parts...)).FullBytes }
	for name, tt := range map[string]struct {
		b    []byte
		good bool
	}{
		"as it is":           {join(parts...), true},
		"the whole":          {long(raw), false},
		"its signed part":    {join(long(parts[0]), parts[1], parts[2]), false},
		"its algorithm":      {join(parts[0], long(parts[1]), parts[2]), false},
		"its signature":      {join(parts[0], parts[1], long(parts[2])), false},
		"data after it":      {join(parts[0], parts[1], parts[2], []byte{5, 0}), false},
		"indefinite":         {slices.Concat([]byte{0x30, 0x80}, whole.Body, []byte{0, 0}), false},
		"bytes after it all": {append(slices.Clone(raw), 0, 0), true}, // they are no part of it
	} {
		c, err := ParseCertificate(tt.b)
		if (err == nil) != tt.good || err != nil && !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && string(c.Raw) != string(raw) {
			t.Errorf("%s: %x", name, c.Raw)
		}
	}
}
