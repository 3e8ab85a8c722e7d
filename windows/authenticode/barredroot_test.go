// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/windows/pe"
)

// builtIn makes a root one that this package knows by its key. unknown is which of its digests is not known: sha1, tbs,
// or sha256.
func builtIn(t *testing.T, root *testAuthority, unknown string) {
	t.Helper()
	old := programKeys[0]
	t.Cleanup(func() { programKeys[0] = old })
	spki, err := x509.MarshalPKIXPublicKey(root.cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(form string, h crypto.Hash, data []byte) string {
		if form == unknown {
			return ""
		}
		return hex.EncodeToString(sign.Sum(h, data))
	}
	programKeys[0] = programKey{name: root.cert.Subject.CommonName, key: base64.StdEncoding.EncodeToString(spki),
		sha1: sum("sha1", crypto.SHA1, root.cert.Raw), sha256: sum("sha256", crypto.SHA256, root.cert.Raw),
		tbs: sum("tbs", crypto.SHA256, root.cert.RawTBSCertificate)}
}

func thumbprintOf(a *testAuthority) string {
	return hex.EncodeToString(sign.Sum(crypto.SHA1, a.cert.Raw))
}

// A machine may not allow one of Microsoft's own roots, which no signature holds a certificate of: no signature under
// it is valid then, in whichever form the machine names the root. An authority of time counts in the same way.
func TestBarredRoot(t *testing.T) {
	kernel := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 6}
	coding := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	stamping := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	root := (*testAuthority)(nil).issue(t, "Test Root", true)
	middle := root.issue(t, "Middle", true)
	leaf, stamp := middle.issue(t, "Leaf", false, kernel, coding), middle.issue(t, "Stamp", false, stamping)
	rawKey, err := hex.DecodeString(keyMD5(signCertificates(t, root)[0]))
	if err != nil {
		t.Fatal(err)
	}
	barred := func(a *testAuthority) []StoreEntry {
		return []StoreEntry{{Store: "Disallowed", Name: strings.ToUpper(thumbprintOf(a))}}
	}
	other := []StoreEntry{{Store: "Disallowed", Name: strings.Repeat("0", 40)}}
	for name, tt := range map[string]struct {
		entries    []StoreEntry
		list       []byte // digest in Windows Update's list
		whole      bool   // which is one of SHA-256 of whole certificates
		unknown    string // which digest of the root is not known
		code, time fact.SignatureStatus
	}{
		"nothing":                 {code: fact.SignatureValid, time: fact.SignatureValid},
		"another certificate":     {entries: other, code: fact.SignatureValid, time: fact.SignatureValid},
		"another one in the list": {list: make([]byte, 20), code: fact.SignatureValid, time: fact.SignatureValid},
		"another one in the list, by a digest that is not known": {list: make([]byte, 20), unknown: "tbs",
			code: fact.SignatureUnchecked, time: fact.SignatureUnchecked},
		"another one in the list, a digest that it does not use": {list: make([]byte, 20), unknown: "sha256",
			code: fact.SignatureValid, time: fact.SignatureValid},
		"another key, the signed part not known": {list: make([]byte, 16), unknown: "tbs",
			code: fact.SignatureUnchecked, time: fact.SignatureUnchecked},
		"another one as a whole": {list: make([]byte, 32), whole: true, code: fact.SignatureValid,
			time: fact.SignatureValid},
		"another one as a whole, not known": {list: make([]byte, 32), whole: true, unknown: "sha256",
			code: fact.SignatureUnchecked, time: fact.SignatureUnchecked},
		"the root's signed part in a list": {list: sign.Sum(crypto.SHA256, root.cert.RawTBSCertificate),
			code: fact.SignatureInvalid, time: fact.SignatureUntrusted},
		"the root as a whole": {list: sign.Sum(crypto.SHA256, root.cert.Raw), whole: true,
			code: fact.SignatureInvalid, time: fact.SignatureUntrusted},
		"the root by thumbprint": {entries: barred(root), code: fact.SignatureInvalid,
			time: fact.SignatureUntrusted},
		"the authority": {entries: barred(middle), code: fact.SignatureInvalid, time: fact.SignatureUntrusted},
		"the root's key in a list": {list: rawKey, code: fact.SignatureInvalid,
			time: fact.SignatureUntrusted},
		"a thumbprint that is not known": {entries: other, unknown: "sha1", code: fact.SignatureUnchecked,
			time: fact.SignatureUnchecked},
		"the machine's own copy": {entries: append(barred(root), entryOf("ROOT", root)), unknown: "sha1",
			code: fact.SignatureInvalid, time: fact.SignatureUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			builtIn(t, root, tt.unknown)
			var r fact.Report
			v := &Verifier{Stores: NewStores(tt.entries, nil, &r), Now: time.Now()}
			if tt.list != nil {
				form := listHash
				if tt.whole {
					form = sha256OID
				}
				v.Stores.Disallow(disallowedList(t, listUsage, form, tt.list), "list", &r)
			}
			pool := signCertificates(t, leaf, middle, stamp)
			s := Signature{}
			v.judge(&s, &sign.SignedData{Certificates: pool}, &sign.Signer{RawIssuer: pool[0].RawIssuer,
				Serial: pool[0].Serial}, nil)
			ts, unsure := v.timestamp(sign.Timestamp{Time: time.Now(), Certificate: pool[2], Pool: pool})
			if s.Status != tt.code || ts.Status != tt.time || (unsure != nil) != (tt.time == fact.SignatureUnchecked) ||
				len(r.Problems) > 0 {
				t.Errorf("%s: %s; time %s: %s; %v", s.Status, s.Reason, ts.Status, ts.Reason, r.Problems)
			}
			if (s.KeySet == KeySetMicrosoft) != (s.Status == fact.SignatureValid) {
				t.Errorf("%s by %q", s.Status, s.KeySet)
			}
		})
	}
}

// The built-in roots are known by what a machine names them by, and a real driver under one of them is not valid where
// the machine does not allow that root.
func TestBarredMicrosoft(t *testing.T) {
	seen := map[string]bool{}
	for i := range programKeys {
		k := &programKeys[i]
		if len(k.sha1) != 40 || seen[k.sha1] || (k.sha256 == "") != k.cross || k.tbs == "" {
			t.Errorf("%s: %q, %q, %q", k.name, k.sha1, k.sha256, k.tbs)
		}
		seen[k.sha1] = true
	}
	b, err := os.ReadFile(filepath.Join(petest.RealDrivers(t), "acpi.sys"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pe.Parse(b, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for i := range programKeys {
		var r fact.Report
		stores := NewStores([]StoreEntry{{Store: "Disallowed", Name: strings.ToUpper(programKeys[i].sha1)}}, nil, &r)
		want := fact.SignatureValid
		if programKeys[i].name == "Microsoft Root Certificate Authority 2010" {
			want = fact.SignatureInvalid
		}
		list := (&Verifier{Stores: stores}).Verify(p, nil)
		if len(list) == 0 || list[0].Status != want {
			t.Errorf("without %s: %+v", programKeys[i].name, list)
		}
	}
}

// The driver is not valid either where Windows Update's list names the root by its signed part.
func TestListedMicrosoft(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(petest.RealDrivers(t), "acpi.sys"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pe.Parse(b, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for i := range programKeys {
		part, err := hex.DecodeString(programKeys[i].tbs)
		if err != nil {
			t.Fatal(err)
		}
		var r fact.Report
		stores := NewStores(nil, nil, &r)
		stores.Disallow(disallowedList(t, listUsage, listHash, part), "list", &r)
		want := fact.SignatureValid
		if programKeys[i].name == "Microsoft Root Certificate Authority 2010" {
			want = fact.SignatureInvalid
		}
		list := (&Verifier{Stores: stores}).Verify(p, nil)
		if len(list) == 0 || list[0].Status != want || len(r.Problems) > 0 {
			t.Errorf("without %s: %+v, %v", programKeys[i].name, list, r.Problems)
		}
	}
}

// A timestamp proves a time only while its authority's certificate is valid, and for no other purpose.
func TestStampOutsideItsTime(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Test Root", true)
	builtIn(t, root, "")
	stamp := root.issue(t, "Stamp", false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8})
	coder := root.issue(t, "Coder", false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})
	for name, tt := range map[string]struct {
		by     *testAuthority
		at     time.Duration
		status fact.SignatureStatus
	}{
		"in time":         {stamp, 0, fact.SignatureValid},
		"after its end":   {stamp, 48 * time.Hour, fact.SignatureUntrusted},
		"before it":       {stamp, -48 * time.Hour, fact.SignatureUntrusted},
		"another purpose": {coder, 0, fact.SignatureUntrusted},
	} {
		c := signCertificates(t, tt.by)[0]
		ts, unsure := new(Verifier).timestamp(sign.Timestamp{Time: time.Now().Add(tt.at), Certificate: c})
		if ts.Status != tt.status || (ts.Reason == "") != (tt.status == fact.SignatureValid) || unsure != nil {
			t.Errorf("%s: %s %s, %v", name, ts.Status, ts.Reason, unsure)
		}
	}
}

// Whoever Microsoft's roots do not lead to has not signed for Microsoft: not under a cross certificate, either.
func TestSignedByMicrosoft(t *testing.T) {
	s := signtest.New(t, "Policy Signer")
	b := s.Policy(t, []byte("a policy"))
	changed := bytes.Replace(b, []byte("a policy"), []byte("b policy"), 1)
	if SignedByMicrosoft(b, nil) || SignedByMicrosoft(nil, nil) {
		t.Error("anybody's signature is Microsoft's")
	}
	builtIn(t, &testAuthority{cert: s.Root}, "")
	if !SignedByMicrosoft(b, nil) || SignedByMicrosoft(changed, nil) || SignedByMicrosoft(b[:len(b)-1], nil) {
		t.Error("the root's own signature is not known, or a changed one is")
	}
	programKeys[0].cross = true
	if SignedByMicrosoft(b, nil) {
		t.Error("a cross certificate makes a signature Microsoft's")
	}
}
