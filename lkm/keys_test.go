// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// certificate makes a certificate in DER.
func certificate(t testing.TB, name string) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadKeys(t *testing.T) {
	a, b := certificate(t, "a"), certificate(t, "b")
	armored := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	files := fstest.MapFS{
		"one.der":      {Data: a},
		"keys/two.der": {Data: slices.Concat(a, b)},
		"two.pem": {Data: slices.Concat([]byte("for people\n"), armored("CERTIFICATE", a),
			armored("PUBLIC KEY", []byte("passed over")), armored("CERTIFICATE", b))},
		"empty":   {},
		"text":    {Data: []byte("no certificate")},
		"key.pem": {Data: armored("PUBLIC KEY", []byte("x"))},
		"cut.der": {Data: a[:len(a)-1]},
		"cut.pem": {Data: armored("CERTIFICATE", b)[:100]},
		"a dir":   {Mode: fs.ModeDir},
	}
	sets, err := ReadKeys(files, "one.der", "keys/two.der", "two.pem")
	got := make([]string, 0, 3)
	for _, s := range sets {
		text := s.Name
		for _, c := range s.Certificates {
			text += " " + c.Subject.CommonName
		}
		got = append(got, text)
	}
	if want := []string{"one.der a", "two.der a b", "two.pem a b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	bad := []string{"empty", "text", "key.pem", "cut.der", "cut.pem"}
	sets, err = ReadKeys(files, slices.Concat(bad, []string{"none", "one.der"})...)
	if len(sets) != 1 || sets[0].Name != "one.der" || !errors.Is(err, ErrMalformed) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", sets, err)
	}
	for _, name := range append(bad, "none") {
		if !strings.Contains(err.Error(), "read keys "+name+": ") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	der := certificate(f, "a")
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	f.Fuzz(func(t *testing.T, b []byte) {
		sets, err := ReadKeys(fstest.MapFS{"k": {Data: b}}, "k")
		if (err == nil) != (len(sets) == 1) || err == nil && len(sets[0].Certificates) == 0 {
			t.Errorf("%+v, %v", sets, err)
		}
	})
}
