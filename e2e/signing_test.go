// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/certtest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// A party has a certificate and its key.
type party struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var (
	oidCodeSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	oidServerAuth  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidStamping    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	oidWHQL        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 5}
	oidAttested    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 5, 1}
	oidInbox       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 6}
	oidELAM        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 61, 4, 1}
	oidLifetime    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 13}
	now            = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

// A certificateOf describes a certificate to issue.
type certificateOf struct {
	name     string
	ca       bool
	ekus     []asn1.ObjectIdentifier
	from, to int // years
	key      crypto.Signer
}

// issue makes a certificate signed by issuer, or by itself when that is nil.
func issue(t testing.TB, c certificateOf, issuer *party) *party {
	t.Helper()
	key := c.key
	if key == nil {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key = k
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.name, Organization: []string{"Kernelext Test"}},
		NotBefore:             time.Date(max(c.from, 2010), 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(max(c.to, 2040*boolInt(c.to == 0)), 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: c.ca, UnknownExtKeyUsage: c.ekus, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if c.ca {
		tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if issuer == nil {
		return &party{certtest.Issue(t, tmpl, key, nil, nil), key}
	}
	return &party{certtest.Issue(t, tmpl, key, issuer.cert, issuer.key), key}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// An ossl runs osslsigncode in a folder.
type ossl struct{ dir string }

func (o ossl) file(t testing.TB, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(o.dir, name)
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func pemOf(certs ...*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return b
}

func pemKey(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign signs data (an image, or a catalog when name ends in .cat) as signer, with the chain in it.
func (o ossl) sign(t testing.TB, name string, data []byte, signer *party, chain []*party, args ...string) []byte {
	t.Helper()
	in, out := o.file(t, "in-"+name, data), filepath.Join(o.dir, "out-"+name)
	_ = os.Remove(out)
	certs := []*x509.Certificate{signer.cert}
	for _, c := range chain {
		certs = append(certs, c.cert)
	}
	argv := append([]string{"sign", "-certs", o.file(t, "certs.pem", pemOf(certs...)), "-key",
		o.file(t, "key.pem", pemKey(t, signer.key))}, args...)
	argv = append(argv, "-in", in, "-out", out)
	if text, err := exec.CommandContext(t.Context(), "osslsigncode", argv...).CombinedOutput(); err != nil {
		t.Fatalf("osslsigncode %q: %v\n%s", argv, err, text)
	}
	signed, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// keysOf makes a set of trusted certificates.
func keysOf(name string, parties ...*party) []fact.KeySet {
	s := fact.KeySet{Name: name}
	for _, p := range parties {
		s.Certificates = append(s.Certificates, p.cert)
	}
	return []fact.KeySet{s}
}

func verify(t testing.TB, image []byte, keys []fact.KeySet,
	catalogs ...*authenticode.Catalogs) []authenticode.Signature {
	t.Helper()
	var r fact.Report
	v := authenticode.NewVerifier(keys, now, catalogs, &r)
	if len(r.Problems) > 0 {
		t.Fatal(r.Problems)
	}
	f, err := windows.ParseFile(image, windows.FileOptions{Verifier: v}, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return f.Signatures
}

// testDriver is a small driver of our own.
func testDriver() []byte {
	return petest.Image{
		TimeStamp: 1600000000, PDB: `C:\build\ket.pdb`, Code: bytes.Repeat([]byte{0x90, 0xc3, 0x31, 0xc0}, 3000),
		Imports: []petest.Import{
			{Library: "ntoskrnl.exe", Functions: []string{"IoCreateDevice", "RtlInitUnicodeString"}},
			{Library: "HAL.dll", Functions: []string{"#7"}}},
		Version: map[string]string{"OriginalFilename": "ket.sys", "FileDescription": "Ket test driver",
			"FileVersion": "1.2.3.4"}, Numbers: [4]uint16{1, 2, 3, 4},
	}.Build()
}

// signingFixture is a small world of authorities.
type signingFixture struct {
	ossl
	root, ca, tsaRoot, tsa *party
	driver                 []byte
}

func newSigning(t testing.TB) *signingFixture {
	t.Helper()
	if _, err := exec.LookPath("osslsigncode"); err != nil {
		if tt, ok := t.(*testing.T); ok {
			lab.Tools(tt, "osslsigncode")
		}
		t.Skip("skipped: ", err)
	}
	f := &signingFixture{ossl: ossl{t.TempDir()}, driver: testDriver()}
	f.root = issue(t, certificateOf{name: "Test Root", ca: true}, nil)
	f.ca = issue(t, certificateOf{name: "Test Code CA", ca: true}, f.root)
	f.tsaRoot = issue(t, certificateOf{name: "Test Time Root", ca: true}, nil)
	f.tsa = issue(t, certificateOf{name: "Test Time Stamping", ekus: nil}, f.tsaRoot)
	f.tsa = issueStamping(t, f.tsaRoot)
	return f
}

// issueStamping makes a time stamping certificate, whose usage must be critical.
func issueStamping(t testing.TB, root *party) *party {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{oidStamping})
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "Test Time Stamping"},
		NotBefore: time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:  time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, root.cert, key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &party{cert, key}
}

// stamped are the arguments for a timestamp of our own authority.
func (f *signingFixture) stamped(t testing.TB, at time.Time) []string {
	return []string{
		"-TSA-certs", f.file(t, "tsa.pem", pemOf(f.tsa.cert, f.tsaRoot.cert)), "-TSA-key",
		f.file(t, "tsa.key", pemKey(t, f.tsa.key)),
		"-TSA-time", fmt.Sprint(at.Unix()),
	}
}
