// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// entryOf is a certificate as a machine's registry keeps it.
func entryOf(store string, a *testAuthority) StoreEntry {
	b := binary.LittleEndian.AppendUint32(nil, propertyCertificate)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(a.cert.Raw)))
	return StoreEntry{Store: store, Name: strings.ToUpper(hex.EncodeToString(sign.Sum(crypto.SHA1, a.cert.Raw))),
		Blob: append(b, a.cert.Raw...)}
}

// A machine's stores are read as what they are: its roots carry no verdict of the kernel, and what it does not allow is
// invalid whoever trusts it.
func TestStores(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Root", true)
	middle := root.issue(t, "Middle", true)
	leaf := middle.issue(t, "Leaf", false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})
	for name, tt := range map[string]struct {
		entries []StoreEntry
		keys    bool // the caller trusts the root
		trust   fact.Trust
		status  fact.SignatureStatus
		machine string
		trusted fact.Tri
		unread  error // of the store Disallowed
	}{
		"no store": {status: fact.SignatureUntrusted},
		"a root": {entries: []StoreEntry{entryOf("ROOT", root)}, status: fact.SignatureUntrusted,
			machine: "Root"},
		"AuthRoot": {entries: []StoreEntry{entryOf("AuthRoot", root)}, status: fact.SignatureUntrusted,
			machine: "Root"},
		"not asked": {entries: []StoreEntry{entryOf("ROOT", root)}, trust: fact.TrustCaller,
			status: fact.SignatureUnchecked},
		"the caller's": {entries: []StoreEntry{entryOf("ROOT", root)}, keys: true, status: fact.SignatureValid},
		"a publisher": {entries: []StoreEntry{entryOf("TrustedPublisher", leaf)}, status: fact.SignatureUntrusted,
			trusted: fact.Yes},
		"not allowed": {entries: []StoreEntry{entryOf("Disallowed", leaf)}, keys: true,
			status: fact.SignatureInvalid},
		"by a name alone": {entries: []StoreEntry{{Store: "disallowed", Name: entryOf("", middle).Name}}, keys: true,
			status: fact.SignatureInvalid},
		"not read": {keys: true, unread: fs.ErrPermission, status: fact.SignatureUnchecked},
		"not read whole, not allowed": {entries: []StoreEntry{entryOf("Disallowed", leaf)}, keys: true,
			unread: fact.ErrTooLarge, status: fact.SignatureInvalid},
		"not read, nobody's": {unread: fs.ErrPermission, status: fact.SignatureUntrusted},
		"another one": {entries: []StoreEntry{{Store: "Disallowed", Name: strings.Repeat("0", 40)}}, keys: true,
			status: fact.SignatureValid},
	} {
		var r fact.Report
		v := &Verifier{Trust: tt.trust, Stores: NewStores(tt.entries, tt.unread, &r), Now: time.Now()}
		if tt.keys {
			v.Roots = sign.NewRoots([]fact.KeySet{{Name: "k"}}).With("k", signCertificates(t, root))
		}
		pool := signCertificates(t, leaf, middle)
		s := Signature{}
		v.judge(&s, &sign.SignedData{Certificates: pool}, &sign.Signer{RawIssuer: pool[0].RawIssuer,
			Serial: pool[0].Serial}, nil)
		if s.Status != tt.status || s.MachineRoot != tt.machine || s.TrustedPublisher != tt.trusted ||
			(s.Status == fact.SignatureValid) != (s.KeySet == "k") ||
			(s.Reason == "") != (s.Status == fact.SignatureValid) {
			t.Errorf("%s: %s by %q, root %q, publisher %s: %s", name, s.Status, s.KeySet, s.MachineRoot,
				s.TrustedPublisher, s.Reason)
		}
		if len(r.Problems) > 0 {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

// twin is another encoding of a certificate, as good as the first: the other of the two signatures that ECDSA has for
// one. The signed part and the key are the same, the digests of the whole are not.
func twin(t *testing.T, a *testAuthority) *testAuthority {
	t.Helper()
	var whole struct {
		Part, Algorithm asn1.RawValue
		Signature       asn1.BitString
	}
	if _, err := asn1.Unmarshal(a.cert.Raw, &whole); err != nil {
		t.Fatal(err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(whole.Signature.Bytes, &sig); err != nil {
		t.Fatal(err)
	}
	sig.S.Sub(elliptic.P256().Params().N, sig.S)
	whole.Signature.Bytes = der(t, sig)
	whole.Signature.BitLength = 8 * len(whole.Signature.Bytes)
	return &testAuthority{&x509.Certificate{Raw: der(t, whole)}, a.key}
}

// A certificate that the machine does not allow is not allowed in another encoding either.
func TestDisallowedTwin(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Root", true)
	middle := root.issue(t, "Middle", true)
	leaf := middle.issue(t, "Leaf", false, codingEKU)
	byName := entryOf("Disallowed", middle)
	byName.Blob = nil
	for name, tt := range map[string]struct {
		barred StoreEntry
		leaf   *testAuthority
		middle *testAuthority
		want   fact.SignatureStatus
	}{
		"nothing":                 {entryOf("CA", middle), leaf, middle, fact.SignatureValid},
		"a twin that is allowed":  {entryOf("CA", middle), twin(t, leaf), twin(t, middle), fact.SignatureValid},
		"the leaf":                {entryOf("Disallowed", leaf), leaf, middle, fact.SignatureInvalid},
		"the leaf's twin":         {entryOf("Disallowed", leaf), twin(t, leaf), middle, fact.SignatureInvalid},
		"the authority's twin":    {entryOf("Disallowed", middle), leaf, twin(t, middle), fact.SignatureInvalid},
		"the twin is not allowed": {entryOf("Disallowed", twin(t, middle)), leaf, middle, fact.SignatureInvalid},
		"by a name alone":         {byName, leaf, middle, fact.SignatureInvalid},
	} {
		var r fact.Report
		v := &Verifier{Stores: NewStores([]StoreEntry{tt.barred}, nil, &r), Now: time.Now()}
		v.Roots = v.Roots.With("k", signCertificates(t, root))
		pool := signCertificates(t, tt.leaf, tt.middle)
		s := Signature{}
		v.judge(&s, &sign.SignedData{Certificates: pool}, &sign.Signer{RawIssuer: pool[0].RawIssuer,
			Serial: pool[0].Serial}, nil)
		if s.Status != tt.want || len(r.Problems) > 0 {
			t.Errorf("%s: %s (%s), %v", name, s.Status, s.Reason, r.Problems)
		}
	}
}

// Entries that are invalid cost themselves.
func TestHostileStores(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Root", true)
	good := entryOf("ROOT", root)
	for name, e := range map[string]StoreEntry{
		"cut off":        {"ROOT", good.Name, good.Blob[:len(good.Blob)-1]},
		"half a record":  {"ROOT", good.Name, good.Blob[:7]},
		"another's name": {"ROOT", strings.Repeat("1", 40), good.Blob},
		"many records":   {"ROOT", good.Name, make([]byte, 12*(maxStoreRecords+1))},
		"no digest":      {"Disallowed", "nonsense", nil},
	} {
		var r fact.Report
		s := NewStores([]StoreEntry{e, good}, nil, &r)
		if len(r.Problems) != 1 || s.machineRoots() == nil || (s.undecided(nil) != nil) != (e.Store == "Disallowed") {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

func FuzzStore(f *testing.F) {
	f.Add([]byte{32, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0x30})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		if NewStores([]StoreEntry{{"ROOT", strings.Repeat("0", 40), b}}, nil, &r).machineRoots() != nil {
			t.Fatal("a root under another's name")
		}
	})
}

// Whether a signature of the hardware program rests on a maker's word or on a test's result.
func TestAttested(t *testing.T) {
	leafOf := func(ekus ...string) *sign.Certificate { return &sign.Certificate{EKUs: ekus} }
	for name, tt := range map[string]struct {
		class     fact.SignatureClass
		leaf      *sign.Certificate
		qualified bool
		want      fact.Tri
	}{
		"attested":              {fact.ClassWHCP, leafOf(ekuWHQL, ekuAttested), false, fact.Yes},
		"tested":                {fact.ClassWHCP, leafOf(ekuWHQL, ekuEVWHQL), true, fact.No},
		"tested, older":         {fact.ClassWHCP, leafOf(ekuWHQL), false, fact.No},
		"one against the other": {fact.ClassWHCP, leafOf(ekuWHQL, ekuAttested), true, ""},
		"of Windows":            {fact.ClassInbox, leafOf(ekuInbox), false, ""},
	} {
		if got := attested(tt.class, tt.leaf, tt.qualified); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
