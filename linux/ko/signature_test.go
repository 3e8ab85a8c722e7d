// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

func TestReadSignature(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	mine, other := linuxtest.NewKey(t, "Mine", false), linuxtest.NewKey(t, "Other", false)
	for _, k := range []linuxtest.Key{mine, linuxtest.NewKey(t, "Mine", true)} {
		signed := k.Sign(t, module, nil)
		sig, verdict, err := readSignature(signed, keysOf(t, k, "set"), nil)
		if err != nil || verdict.Status != fact.SignatureValid || verdict.KeySet != "set" || verdict.Signer != "Mine" ||
			verdict.Hash != "sha256" {
			t.Fatalf("%+v, %v", verdict, err)
		}
		if sig.IDType != "pkcs7" || sig.KeyID != "12:34:56:78:90" || sig.Size != int64(len(signed)-len(module)-40) ||
			len(sig.Value) == 0 {
			t.Errorf("%+v", sig)
		}
		if _, verdict, err := readSignature(signed, nil, nil); err != nil ||
			verdict.Status != fact.SignatureUnchecked || verdict.KeySet != "" {
			t.Errorf("without keys: %+v, %v", verdict, err)
		}
		_, verdict, err = readSignature(signed, keysOf(t, other, "set"), nil)
		if verdict.Status == fact.SignatureValid {
			t.Errorf("with another key: %+v, %v", verdict, err)
		}
		changed := bytes.Clone(signed)
		changed[100] ^= 1
		if _, verdict, err := readSignature(changed, keysOf(t, k, "set"), nil); err != nil ||
			verdict.Status != fact.SignatureInvalid {
			t.Errorf("changed: %+v, %v", verdict, err)
		}
	}
}

// TestFlips flips every bit after the content of a signed module, and some before.
func TestFlips(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	for _, ec := range []bool{false, true} {
		k := linuxtest.NewKey(t, "Mine", ec)
		keys := keysOf(t, k, "set")
		signed := k.Sign(t, module, nil)
		for i := 0; i < len(signed); i++ {
			if i < len(module) && i%97 != 0 {
				continue
			}
			for bit := range 8 {
				signed[i] ^= 1 << bit
				if _, verdict, _ := readSignature(signed, keys, nil); verdict.Status == fact.SignatureValid {
					t.Errorf("ec=%v: byte %d of %d (content %d), bit %d: valid", ec, i, len(signed), len(module), bit)
				}
				signed[i] ^= 1 << bit
			}
		}
	}
}

// TestSignedAttributes: the kernel refuses a module whose signature has signed attributes.
func TestSignedAttributes(t *testing.T) {
	module := []byte("content")
	k := linuxtest.NewKey(t, "Mine", false)
	keys := keysOf(t, k, "set")
	if _, verdict, err := readSignature(linuxtest.SignAll(t, module, linuxtest.Signing{Key: k, Attributes: true}),
		keys, nil); verdict.Status != fact.SignatureUnchecked || !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("RSA: %+v, %v", verdict, err)
	}
	// Kernels may be built to take them with ML-DSA: what fails then is the algorithm, not the form.
	if _, verdict, err :=
		readSignature(linuxtest.SignAll(t, module,
			linuxtest.Signing{Key: k, Attributes: true, Algorithm: linuxtest.OIDMLDSA65}),
			keys, nil); verdict.Status != fact.SignatureUnchecked || !errors.Is(err, sign.ErrAlgorithm) {
		t.Errorf("ML-DSA: %+v, %v", verdict, err)
	}
}

// TestSeveralSigners: none may be wrong, and one must be trusted.
func TestSeveralSigners(t *testing.T) {
	module, changed := []byte("content"), []byte("contents")
	a, b := linuxtest.NewKey(t, "A", true), linuxtest.NewKey(t, "B", false) // DER sorts the shorter first
	both := NewKeys([]fact.KeySet{{Name: "A", Certificates: []*x509.Certificate{a.Cert}},
		{Name: "B", Certificates: []*x509.Certificate{b.Cert}}})
	// graft puts the trailer of a signed module after another content.
	graft := func(signed, content []byte) []byte { return append(bytes.Clone(content), signed[len(module):]...) }
	two := linuxtest.SignAll(t, module, linuxtest.Signing{Key: a}, linuxtest.Signing{Key: b})
	mixed := linuxtest.SignAll(t, module, linuxtest.Signing{Key: a}, linuxtest.Signing{Key: b, Hash: crypto.SHA512})
	// The second signature is by another key than it says.
	half := linuxtest.SignAll(t, module, linuxtest.Signing{Key: a},
		linuxtest.Signing{Key: linuxtest.Key{Cert: b.Cert, Signer: linuxtest.NewKey(t, "B", false).Signer}})
	for _, c := range []struct {
		what   string
		data   []byte
		keys   *Keys
		status fact.SignatureStatus
		set    string
		signer string
	}{
		{"both keys", two, both, fact.SignatureValid, "A", "A"},
		{"the first's key", two, keysOf(t, a, "A"), fact.SignatureValid, "A", "A"},
		{"the second's key", two, keysOf(t, b, "B"), fact.SignatureValid, "B", "B"},
		{"nobody's key", two, keysOf(t, linuxtest.NewKey(t, "C", false), "C"), fact.SignatureUnchecked, "", "A"},
		{"two digests", mixed, both, fact.SignatureValid, "A", "A"},
		{"two digests, the second's key", mixed, keysOf(t, b, "B"), fact.SignatureValid, "B", "B"},
		{"other content", graft(two, changed), both, fact.SignatureInvalid, "", "A"},
		{"other content, the second's key", graft(two, changed), keysOf(t, b, "B"), fact.SignatureInvalid, "", "B"},
		{"one wrong", half, both, fact.SignatureInvalid, "", "B"},
		{"one wrong, whose key is unknown", half, keysOf(t, a, "A"), fact.SignatureValid, "A", "A"},
		{"one that cannot be checked",
			linuxtest.SignAll(t, module, linuxtest.Signing{Key: a},
				linuxtest.Signing{Key: b, Algorithm: linuxtest.OIDMLDSA65}), both, fact.SignatureValid, "A", "A"},
		{"one that no kernel knows",
			linuxtest.SignAll(t, module, linuxtest.Signing{Key: a},
				linuxtest.Signing{Key: b, Algorithm: linuxtest.OIDUnknown}), both, fact.SignatureUnchecked, "", "A"},
		{"one with attributes",
			linuxtest.SignAll(t, module, linuxtest.Signing{Key: a}, linuxtest.Signing{Key: b, Attributes: true}), both,
			fact.SignatureUnchecked, "", "A"},
	} {
		_, verdict, err := readSignature(c.data, c.keys, nil)
		if verdict.Status != c.status || verdict.KeySet != c.set || verdict.Signer != c.signer {
			t.Errorf("%s: %+v, %v", c.what, verdict, err)
		}
		if (err != nil) != (c.status == fact.SignatureUnchecked) {
			t.Errorf("%s: %s with error %v", c.what, c.status, err)
		}
	}
}

// TestDigestList: the list of digest algorithms says what the signers do, no more and no less.
func TestDigestList(t *testing.T) {
	one, two := []byte{0x30, 1, 1}, []byte{0x30, 1, 2}
	for _, c := range []struct {
		list    [][]byte
		signers [][]byte
		good    bool
	}{
		{[][]byte{one}, [][]byte{one, one}, true},
		{[][]byte{one, two}, [][]byte{two, one, two}, true},
		{[][]byte{one, one}, [][]byte{one}, false},
		{[][]byte{one}, [][]byte{one, two}, false},
		{[][]byte{one, two}, [][]byte{one}, false},
		{nil, [][]byte{one}, false},
		{[][]byte{one, {0x30}}, [][]byte{one}, false},
	} {
		f := signedForm{digests: bytes.Join(c.list, nil), signerDigests: c.signers}
		if err := f.sameDigests(); (err == nil) != c.good {
			t.Errorf("%x of %x: %v", c.list, c.signers, err)
		}
	}
}

// TestSignerKey compares with what modinfo of kmod 30 prints.
func TestSignerKey(t *testing.T) {
	k := linuxtest.NewKey(t, "Mine", false)
	issuer, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "organization"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "first"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "second"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for serial, want := range map[int64]string{0x80112233: "80:11:22:33", 0x7f01: "7F:01", 0x0102: "01:02",
		-0x1234: "12:34", 0: ""} {
		sig, verdict, err :=
			readSignature(linuxtest.SignAll(t, []byte("x"),
				linuxtest.Signing{Key: k, Serial: big.NewInt(serial), Issuer: issuer}), nil, nil)
		if err != nil || sig.KeyID != want || sig.Signer != "first" || verdict.Signer != "first" {
			t.Errorf("%#x: %+v, %+v, %v", serial, sig, verdict, err)
		}
	}
}

func TestSignatureNames(t *testing.T) {
	module := []byte("content")
	k := linuxtest.NewKey(t, "Mine", false)
	for _, c := range []struct {
		oid  asn1.ObjectIdentifier
		want string
	}{{nil, "rsa"}, {linuxtest.OIDMLDSA65, "ml-dsa-65"}, {linuxtest.OIDUnknown, "1.2.3.4.5"}} {
		sig, verdict, err := readSignature(k.Sign(t, module, c.oid), keysOf(t, k, "set"), nil)
		if sig.Algorithm != c.want {
			t.Errorf("algorithm %s, want %s", sig.Algorithm, c.want)
		}
		if c.oid != nil && (verdict.Status != fact.SignatureUnchecked || err == nil) {
			t.Errorf("%s: %+v, %v; want unchecked with a reason", c.want, verdict, err)
		}
	}
	for oid, want := range map[string]string{
		"2.16.840.1.101.3.4.2.10": "sha3-512", "2.16.840.1.101.3.4.2.2": "sha384",
		"1.3.14.3.2.26": "sha1", "9.9": "9.9",
	} {
		if got := hashName(oid); got != want {
			t.Errorf("hash %s = %s, want %s", oid, got, want)
		}
	}
	for oid, want := range map[string]string{
		"2.16.840.1.101.3.4.3.17": "ml-dsa-44", "2.16.840.1.101.3.4.3.19": "ml-dsa-87", "1.2.840.10045.4.3.3": "ecdsa",
		"2.16.840.1.101.3.4.3.11": "ecdsa", "2.16.840.1.101.3.4.3.16": "rsa", "1.2.840.113549.1.1.11": "rsa",
		"1.2.840.113549.1.1.10": "rsa-pss",
	} {
		if got := algorithmName(oid); got != want {
			t.Errorf("algorithm %s = %s, want %s", oid, got, want)
		}
	}
}

func TestTrailer(t *testing.T) {
	if sig, verdict, err := readSignature([]byte("no signature"), nil, nil); sig != nil ||
		verdict.Status != fact.SignatureNone || err != nil {
		t.Errorf("%+v %+v %v", sig, verdict, err)
	}
	for name, data := range map[string][]byte{
		"mark alone":  []byte(signatureMark),
		"no PKCS#7":   linuxtest.Trailer([]byte("content"), []byte("garbage")),
		"empty":       linuxtest.Trailer([]byte("content"), nil),
		"size":        append([]byte("x\x00\x00\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff"), signatureMark...),
		"other field": append([]byte("content\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"), signatureMark...),
	} {
		if _, verdict, err := readSignature(data, nil, nil); verdict.Status != fact.SignatureUnchecked || err == nil {
			t.Errorf("%s: %+v, %v", name, verdict, err)
		}
	}
	// What is of no known kind is not read as one that is.
	for kind, want := range map[byte]string{3: "3", 255: "255"} {
		data := append([]byte("content\x00\x00"), kind)
		sig, verdict, err := readSignature(append(append(data, make([]byte, 9)...), signatureMark...), nil, nil)
		if err != nil || verdict.Status != fact.SignatureUnchecked || verdict.Hash != "" || sig.IDType != want ||
			sig.Hash != "" || sig.Algorithm != "" || sig.Signer != "" || sig.KeyID != "" {
			t.Errorf("kind %d: %+v %+v %v", kind, sig, verdict, err)
		}
	}
	// A trailer of kernels before 4.3 says who signed before the signature.
	old := append([]byte("content"), "Old key"...)
	old = append(old, 0xaa, 0xbb)                              // key id
	old = append(old, 1, 2, 3)                                 // signature
	old = append(old, 1, 4, idX509, 7, 2, 0, 0, 0, 0, 0, 0, 3) // rsa, sha256
	sig, verdict, err := readSignature(append(old, signatureMark...), nil, nil)
	want := Signature{IDType: "x509", Signer: "Old key", KeyID: "AA:BB", Hash: "sha256", Algorithm: "rsa", Size: 3}
	if err != nil || sig.IDType != want.IDType || sig.Signer != want.Signer || sig.KeyID != want.KeyID ||
		sig.Hash != want.Hash || sig.Algorithm != want.Algorithm || sig.Size != 3 ||
		verdict.Status != fact.SignatureUnchecked {
		t.Errorf("%+v %+v %v", sig, verdict, err)
	}
}

func FuzzSignature(f *testing.F) {
	k := linuxtest.NewKey(f, "Mine", true)
	keys := keysOf(f, k, "set")
	signed := k.Sign(f, []byte("content"), nil)
	f.Add(signed)
	f.Add(append([]byte("x\x01\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), signatureMark...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, verdict, _ := readSignature(data, keys, nil)
		if verdict.Status == fact.SignatureValid && !bytes.HasPrefix(data, []byte("content")) {
			t.Fatal("valid, but nobody signed this")
		}
	})
}

// keysOf are the keys of one set with the key's certificate.
func keysOf(t testing.TB, k linuxtest.Key, name string) *Keys {
	t.Helper()
	keys := NewKeys([]fact.KeySet{{Name: name, Certificates: []*x509.Certificate{k.Cert}}})
	var r fact.Report
	if keys.Report(&r); r.Problems != nil {
		t.Fatal(r.Problems)
	}
	return keys
}

// TestUnusableKeys: a certificate that cannot be used is reported to each caller, and costs no other.
func TestUnusableKeys(t *testing.T) {
	k := linuxtest.NewKey(t, "A", true)
	keys := NewKeys([]fact.KeySet{{Name: "set", Certificates: []*x509.Certificate{{Raw: []byte("x")}, k.Cert}}})
	for range 2 {
		var r fact.Report
		if keys.Report(&r); len(r.Problems) != 1 || r.Problems[0].Source != SourceKeys || keys.Empty() ||
			!strings.Contains(r.Problems[0].Text, "set") {
			t.Errorf("%v", r.Problems)
		}
	}
	var none *Keys
	none.Report(nil)
}
