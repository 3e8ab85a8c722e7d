// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

// The root of the cross certificates signed this one for "DigiCert High Assurance EV Root CA",
// serial 61204db4000000000027: the SHA-1 of its signed part and the signature, as published with
// drivers that carry it.
const (
	crossTBS       = "ee20bff28ffe13be731c294c90d6ded5aae0ec0e"
	crossSignature = "" +
		"208cc159ed6f9c6b2dc14a3e751d454c41501cbd80ead9b0928b062a133f53169e56396a8a63b6782479f57db8b947a1" +
		"0a96c2f6cbbda2669f06e1acd279090efd3cdcac020c70af3f1bec787ed4eb4b056026d973619121edb06863e09712ab" +
		"6fa012edd99fd2da273cb3e456f9d1d4810f71bd427ca689dccdd5bd95a2abf193117de8ac3129a85d6670419dfc75c9" +
		"d5b31a392ad08505508bac91cac493cb71a59da4946f580cfa6e20c40831b5859d7e81f9d23dca5b18856c0a86ec2209" +
		"1ba574344f7f28bc954aab1db698b05d09a477767eefa78e5d84f61824cbd16da6c3a19cc2107580ff9d32fde6cf433a" +
		"82f7ce8fe1722a9b62b75fed951a395c2f946d48b7015f332fbbdc2d73348904420a1c8b79f9a3fa17effaa11a10dfe0" +
		"b2c195eb5c0c05973b353e18884ddb6cbf24898dc8bdd89f7b393a24a0d5dfd1f34a1a97f6a66f7a1fb090a9b3ac0139" +
		"91d361b764f13e573803afce7ad2b590f5aedc3999d5b63c97eda6cb16c77d6b2a4c9094e64c54fd1ecd20ecce689c87" +
		"58e96160beeb0ec9d5197d9fe978bd0eac2175078fa96ee08c6a2a6b9ce3e765bcbc2d3c6ddc04dc67453632af0481bc" +
		"a8006e614c95c55cd48e8e9f2fc13274bdbd11650307cdefb75e0257da86d41a2834af8849b2cfa5dd82566f68aa14e2" +
		"5954feffeaeeefea9270226081e32523c09fcc0f49b235aa58c33ac3d9169410"
)

func TestProgramKeys(t *testing.T) {
	for i := range programKeys {
		k := &programKeys[i]
		root, ok := k.anchor(&sign.Certificate{})
		if !ok {
			t.Fatal(k.name)
		}
		key, err := root.PublicKey()
		pub, ok := key.(*rsa.PublicKey)
		if err != nil || !ok {
			t.Fatalf("%s: %T, %v", k.name, key, err)
		}
		if !k.cross {
			continue
		}
		digest, err := hex.DecodeString(crossTBS)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := hex.DecodeString(crossSignature)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(pub, crypto.SHA1, digest, signature); err != nil {
			t.Errorf("%s did not sign a known cross certificate: %v", k.name, err)
		}
	}
}

// A certificate that only has the name of one of Microsoft's roots as its issuer gives no class.
func TestClassNeedsTheKey(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(petest.RealDrivers(t), "acpi.sys"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := pe.Parse(b, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.CertificateTable()
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := entries(table)
	if err != nil || len(blobs) != 1 {
		t.Fatal(err)
	}
	sd, err := sign.ParseContentInfo(blobs[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf := sd.Signers[0].Certificate(sd.Certificates)
	chain := sign.BuildChain(leaf, sign.ChainQuery{Pool: sd.Certificates})
	if len(chain.Certificates) != 2 || classOf(chain, new(Verifier).programOf(chain, sd.Certificates),
		fact.SignatureUnchecked) != fact.ClassInbox {
		t.Fatalf("%d certificates", len(chain.Certificates))
	}
	changed := bytes.Clone(chain.Certificates[1].Raw)
	changed[bytes.Index(changed, chain.Certificates[1].RawTBS)+len(chain.Certificates[1].RawTBS)-1] ^= 1
	if chain.Certificates[1], err = sign.ParseCertificate(changed); err != nil {
		t.Fatal(err)
	}
	if class := classOf(chain, new(Verifier).programOf(chain, nil), fact.SignatureUnchecked); class != "" {
		t.Errorf("a changed authority: %s", class)
	}
}

// A testAuthority has a certificate and its key.
type testAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var testSerial int64

// issue makes a certificate; a nil authority makes its own.
func (a *testAuthority) issue(t *testing.T, name string, ca bool, ekus ...asn1.ObjectIdentifier) *testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	testSerial++
	c := &x509.Certificate{SerialNumber: big.NewInt(testSerial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: ca, UnknownExtKeyUsage: ekus}
	if a == nil {
		a = &testAuthority{c, key}
	}
	b, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(b); err != nil {
		t.Fatal(err)
	}
	return &testAuthority{c, key}
}

func signCertificates(t *testing.T, list ...*testAuthority) []*sign.Certificate {
	t.Helper()
	var out []*sign.Certificate
	for _, a := range list {
		c, err := sign.ParseCertificate(a.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// Who has a certificate from Microsoft's authority that may not issue others issues none of a
// program.
func TestClassNeedsAuthorities(t *testing.T) {
	old := programKeys[0]
	defer func() { programKeys[0] = old }()
	root := (*testAuthority)(nil).issue(t, "Test Root", true)
	spki, err := x509.MarshalPKIXPublicKey(root.cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	programKeys[0] = programKey{name: "Test Root", key: base64.StdEncoding.EncodeToString(spki)}
	for ca, want := range map[bool]fact.SignatureClass{true: fact.ClassInbox, false: ""} {
		middle := root.issue(t, "Middle", ca)
		leaf := middle.issue(t, "Leaf", false, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3},
			asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 6})
		pool := signCertificates(t, leaf, middle)
		chain := sign.BuildChain(pool[0], sign.ChainQuery{Pool: pool})
		if got := classOf(chain, new(Verifier).programOf(chain, pool), fact.SignatureUnchecked); got != want ||
			len(chain.Certificates) != 2 {
			t.Errorf("an authority %v: class %q, %d certificates", ca, got, len(chain.Certificates))
		}
	}
}

// Data beside a signature makes it invalid; this case is distinguished from other changed bytes.
func TestForeignData(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(petest.RealDrivers(t), "acpi.sys"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	entry := int(le.Uint32(b[0x3c:])) + 24 + 144 // of the table in the data directory
	table := int(le.Uint32(b[entry:]))
	grow := func(within bool) []byte {
		c := append(bytes.Clone(b), bytes.Repeat([]byte{0xcc}, 64)...)
		le.PutUint32(c[entry+4:], uint32(len(c)-table))
		if within {
			le.PutUint32(c[table:], uint32(len(c)-table))
		}
		return c
	}
	changed := grow(true)
	changed[len(b)/2] ^= 1
	for name, c := range map[string]struct {
		file    []byte
		status  fact.SignatureStatus
		foreign bool
	}{
		"as it is":           {b, fact.SignatureValid, false},
		"after the entry":    {grow(false), fact.SignatureInvalid, true},
		"within the entry":   {grow(true), fact.SignatureInvalid, true},
		"and a changed file": {changed, fact.SignatureInvalid, false},
	} {
		p, err := pe.Parse(c.file, new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		list := (&Verifier{}).Verify(p, nil)
		if len(list) == 0 || list[0].Status != c.status || list[0].OnlyForeign() != c.foreign {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// A purpose of Microsoft's programs under a cross certificate alone is the word of a commercial authority.
func TestClassUnderCross(t *testing.T) {
	chain := sign.Chain{Certificates: []*sign.Certificate{{EKUs: []string{ekuWHQL}}, {}}}
	for name, tt := range map[string]struct {
		p    program
		want fact.SignatureClass
	}{
		"a cross certificate":  {program{cross: true}, fact.ClassCrossSigned},
		"Microsoft's own":      {program{cross: true, microsoft: true}, fact.ClassWHCP},
		"the caller's":         {program{}, fact.ClassWHCP},
		"not all looked at":    {program{cut: fact.ErrTooLarge}, ""},
		"Microsoft's, not all": {program{cut: fact.ErrTooLarge, microsoft: true}, fact.ClassWHCP},
	} {
		if got := classOf(chain, tt.p, fact.SignatureValid); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
