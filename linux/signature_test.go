// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

func TestReadSignature(t *testing.T) {
	module := moduleOf(binary.LittleEndian, true, entriesOf("demo")...).bytes()
	mine, other := newTestKey(t, "Mine", false), newTestKey(t, "Other", false)
	for _, k := range []testKey{mine, newTestKey(t, "Mine", true)} {
		signed := k.sign(t, module, nil)
		sig, verdict, err := ReadSignature(signed, k.keys(t, "set"))
		if err != nil || verdict.Status != fact.SignatureValid || verdict.KeySet != "set" || verdict.Signer != "Mine" || verdict.Hash != "sha256" {
			t.Fatalf("%+v, %v", verdict, err)
		}
		if sig.IDType != "pkcs7" || sig.KeyID != "12:34:56:78:90" || sig.Size != int64(len(signed)-len(module)-40) || len(sig.Value) == 0 {
			t.Errorf("%+v", sig)
		}
		if _, verdict, err := ReadSignature(signed, nil); err != nil || verdict.Status != fact.SignatureUnchecked || verdict.KeySet != "" {
			t.Errorf("without keys: %+v, %v", verdict, err)
		}
		if _, verdict, err := ReadSignature(signed, other.keys(t, "set")); verdict.Status == fact.SignatureValid {
			t.Errorf("with another key: %+v, %v", verdict, err)
		}
		changed := bytes.Clone(signed)
		changed[100] ^= 1
		if _, verdict, err := ReadSignature(changed, k.keys(t, "set")); err != nil || verdict.Status != fact.SignatureInvalid {
			t.Errorf("changed: %+v, %v", verdict, err)
		}
	}
}

// TestFlips flips every bit behind the content of a signed module, and some before.
func TestFlips(t *testing.T) {
	module := moduleOf(binary.LittleEndian, true, entriesOf("demo")...).bytes()
	for _, ec := range []bool{false, true} {
		k := newTestKey(t, "Mine", ec)
		keys := k.keys(t, "set")
		signed := k.sign(t, module, nil)
		for i := 0; i < len(signed); i++ {
			if i < len(module) && i%97 != 0 {
				continue
			}
			for bit := range 8 {
				signed[i] ^= 1 << bit
				if _, verdict, _ := ReadSignature(signed, keys); verdict.Status == fact.SignatureValid {
					t.Errorf("ec=%v: byte %d of %d (content %d), bit %d: valid", ec, i, len(signed), len(module), bit)
				}
				signed[i] ^= 1 << bit
			}
		}
	}
}

func TestSignatureNames(t *testing.T) {
	module := []byte("content")
	k := newTestKey(t, "Mine", false)
	for _, c := range []struct {
		oid  asn1.ObjectIdentifier
		want string
	}{{nil, "rsa"}, {oidMLDSA65, "ml-dsa-65"}, {oidUnknown, "1.2.3.4.5"}} {
		sig, verdict, err := ReadSignature(k.sign(t, module, c.oid), k.keys(t, "set"))
		if sig.Algorithm != c.want {
			t.Errorf("algorithm %s, want %s", sig.Algorithm, c.want)
		}
		if c.oid != nil && (verdict.Status != fact.SignatureUnchecked || err == nil) {
			t.Errorf("%s: %+v, %v; want unchecked with a reason", c.want, verdict, err)
		}
	}
	for oid, want := range map[string]string{
		"2.16.840.1.101.3.4.2.10": "sha3-512", "2.16.840.1.101.3.4.2.2": "sha384", "1.3.14.3.2.26": "sha1", "9.9": "9.9",
	} {
		if got := hashName(oid); got != want {
			t.Errorf("hash %s = %s, want %s", oid, got, want)
		}
	}
	for oid, want := range map[string]string{
		"2.16.840.1.101.3.4.3.17": "ml-dsa-44", "2.16.840.1.101.3.4.3.19": "ml-dsa-87", "1.2.840.10045.4.3.3": "ecdsa",
		"2.16.840.1.101.3.4.3.11": "ecdsa", "2.16.840.1.101.3.4.3.16": "rsa", "1.2.840.113549.1.1.11": "rsa", "1.2.840.113549.1.1.10": "rsa-pss",
	} {
		if got := algorithmName(oid); got != want {
			t.Errorf("algorithm %s = %s, want %s", oid, got, want)
		}
	}
}

func TestTrailer(t *testing.T) {
	if sig, verdict, err := ReadSignature([]byte("no signature"), nil); sig != nil || verdict.Status != fact.SignatureNone || err != nil {
		t.Errorf("%+v %+v %v", sig, verdict, err)
	}
	for name, data := range map[string][]byte{
		"mark alone":  []byte(signatureMark),
		"no PKCS#7":   trailer([]byte("content"), []byte("garbage")),
		"empty":       trailer([]byte("content"), nil),
		"size":        append([]byte("x\x00\x00\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff"), signatureMark...),
		"other field": append([]byte("content\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"), signatureMark...),
	} {
		if _, verdict, err := ReadSignature(data, nil); verdict.Status != fact.SignatureUnchecked || err == nil {
			t.Errorf("%s: %+v, %v", name, verdict, err)
		}
	}
	// A trailer of kernels before 4.3 says who signed before the signature.
	old := append([]byte("content"), "Old key"...)
	old = append(old, 0xaa, 0xbb)                              // key id
	old = append(old, 1, 2, 3)                                 // signature
	old = append(old, 1, 4, idX509, 7, 2, 0, 0, 0, 0, 0, 0, 3) // rsa, sha256
	sig, verdict, err := ReadSignature(append(old, signatureMark...), nil)
	want := ModuleSignature{IDType: "x509", Signer: "Old key", KeyID: "AA:BB", Hash: "sha256", Algorithm: "rsa", Size: 3}
	if err != nil || sig.IDType != want.IDType || sig.Signer != want.Signer || sig.KeyID != want.KeyID || sig.Hash != want.Hash || sig.Algorithm != want.Algorithm || sig.Size != 3 || verdict.Status != fact.SignatureUnchecked {
		t.Errorf("%+v %+v %v", sig, verdict, err)
	}
}

func FuzzSignature(f *testing.F) {
	k := newTestKey(f, "Mine", true)
	keys := k.keys(f, "set")
	signed := k.sign(f, []byte("content"), nil)
	f.Add(signed)
	f.Add(append([]byte("x\x01\x04\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), signatureMark...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, verdict, _ := ReadSignature(data, keys)
		if verdict.Status == fact.SignatureValid && !bytes.HasPrefix(data, []byte("content")) {
			t.Fatal("valid, but nobody signed this")
		}
	})
}
