// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
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
	"github.com/kernelext/kernelext/internal/testing/certtest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

// The root of the cross certificates signed this one for "DigiCert High Assurance EV Root CA",
// serial 61204db4000000000027: the SHA-1 of its signed part and the signature, as published with
// drivers that carry it.
const (
	crossTBS = "ee20bff28ffe13be731c294c90d6ded5aae0ec0e"
	// The root's own signature of its own certificate, likewise published: it proves the digest of its signed part.
	crossRootSignature = "" +
		"6142e8eb18c871dc4619696dea0ecd3867ac3ea707f64d163c9e57fbb8b8a7c78709e66357d03d469050f50599c9ca74" +
		"3afb01ad7a4d6aab84e0405357c89cd5043682b8b71ec68799c2d8c7209ec6f23e55f98f744451dd2bb6d014ddc6ded2" +
		"c5ff85af17b9a075dac60de24576961acb3e53fbe9345b3203236cbfd87e9a3d850fc8153b9d00564fafddb1251ca0cc" +
		"29661b47ce7b67ef64ef484792de9d145069b85f82a9f2ad932b53efab623237eabf040b46eb1984a6aa49a06dc1ab2d" +
		"83416ab4d6437bd23b7a0cd26dd00d20dc5bc229a7f8822422160135d81ad64422dc476756a6682effc9669ffb7fb464" +
		"c61e6776e0312e3ad9730d6799c8f5611e5dc1a7b88f311f38dfe3b3874c4db3c4f6605cacac0da02c02b9eff0a35d27" +
		"bd967d0dd0d44006d1a4d6cb6eb3d536fe48c8f23826563a206aa4c30048e71829e7aba3ab7c07a47fa56b4aba023f86" +
		"975db96e5924e07c8fedefc3cfaaaf15513fdff728785deb4d1f5d34089b343b2aa1c891097d53c1ff7d801fe06b28d4" +
		"b9dd587421b89f2dbd153a4e454a5cc3ac7c07b2d02115b8cf69da14e42c24fb66e5019e1a66b4c4ad4d2bad6062e4e4" +
		"8fea370dcad836dc7fdb207a33c04ad61f2de085ce2ba192d754532061867c3703038cfc4347e4f8488bac1a42ea9882" +
		"5d6253816b534630b2e785abbc189c86965986b61aaffafd4831245c011cbb1c"
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
		for digest, signature := range map[string]string{crossTBS: crossSignature, k.tbs: crossRootSignature} {
			sum, err := hex.DecodeString(digest)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := hex.DecodeString(signature)
			if err != nil {
				t.Fatal(err)
			}
			if err := rsa.VerifyPKCS1v15(pub, crypto.SHA1, sum, signed); err != nil {
				t.Errorf("%s did not sign what has digest %s: %v", k.name, digest, err)
			}
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
	key := certtest.Key(t)
	testSerial++
	c := &x509.Certificate{SerialNumber: big.NewInt(testSerial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: ca, UnknownExtKeyUsage: ekus}
	if a == nil {
		a = &testAuthority{c, key}
	}
	return &testAuthority{certtest.Issue(t, c, key, a.cert, a.key), key}
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
