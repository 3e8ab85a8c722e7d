// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// A link is one certificate of a generated chain before it is signed: the leaf, an authority or the root.
type link struct{ *x509.Certificate }

// add puts an extension of its own into a certificate.
func (l link) add(t testing.TB, id asn1.ObjectIdentifier, critical bool, value any) {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: der})
}

// A chainCase is a chain that differs from one in order by one thing.
type chainCase struct {
	name  string
	do    func(t testing.TB, leaf, authority, root link)
	more  int       // further authorities between the leaf and the first one
	stamp time.Time // zero for none
	ours  fact.SignatureStatus
	// theirs is whether osslsigncode passes it.
	theirs bool
	// because explains where the two differ; empty where they agree.
	because string
}

var (
	idUnknown     = asn1.ObjectIdentifier{1, 2, 3, 4, 5}
	idPolicies    = asn1.ObjectIdentifier{2, 5, 29, 32}
	idPolicyRules = asn1.ObjectIdentifier{2, 5, 29, 36}
	idPolicyA     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

type policyOf struct{ ID asn1.ObjectIdentifier }

type policyRule struct {
	Require int `asn1:"tag:0"`
}

const (
	becauseUsage = "a key whose usage is not to sign does not sign (RFC 5280, 4.2.1.3); " +
		"osslsigncode asks no keyUsage of a leaf"
	becausePolicy = "a required policy is a part of the path's validity (RFC 5280, 6.1); OpenSSL looks at " +
		"policies only where X509_V_FLAG_POLICY_CHECK is set, which osslsigncode does not"
	becauseNested = "Windows takes the purposes of each authority as a limit of those below; " +
		"osslsigncode asks the leaf alone"
	becauseRootEnd = "what a caller trusts has no end here: Microsoft's roots of drivers have ended; OpenSSL asks it"
)

// chainCases are chains and what each verifier says of them at the time now.
func chainCases() []chainCase {
	valid, untrusted := fact.SignatureValid, fact.SignatureUntrusted
	ended := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	dns := func(c link) { c.DNSNames = []string{"host.ket.example"} }
	return []chainCase{
		{name: "in order", ours: valid, theirs: true},
		{name: "permitted name", ours: valid, theirs: true, do: func(_ testing.TB, leaf, ca, _ link) {
			dns(leaf)
			ca.PermittedDNSDomains, ca.PermittedDNSDomainsCritical = []string{"ket.example"}, true
		}},
		{name: "name outside of what is permitted", ours: untrusted, do: func(_ testing.TB, leaf, ca, _ link) {
			dns(leaf)
			ca.PermittedDNSDomains, ca.PermittedDNSDomainsCritical = []string{"other.example"}, true
		}},
		{name: "excluded name", ours: untrusted, do: func(_ testing.TB, leaf, ca, _ link) {
			dns(leaf)
			ca.ExcludedDNSDomains, ca.PermittedDNSDomainsCritical = []string{"ket.example"}, true
		}},
		{name: "excluded address, by the root", ours: untrusted, do: func(_ testing.TB, leaf, _, root link) {
			leaf.IPAddresses = []net.IP{{10, 1, 2, 3}}
			root.ExcludedIPRanges = []*net.IPNet{{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}}
		}},
		{name: "names that are not critical", ours: untrusted, do: func(_ testing.TB, leaf, ca, _ link) {
			dns(leaf)
			ca.ExcludedDNSDomains = []string{"ket.example"}
		}},
		{name: "a policy", ours: valid, theirs: true, do: func(t testing.TB, leaf, ca, _ link) {
			leaf.add(t, idPolicies, true, []policyOf{{idPolicyA}})
			ca.add(t, idPolicies, false, []policyOf{{idPolicyA}})
		}},
		{name: "a policy required and there", ours: valid, theirs: true, do: func(t testing.TB, leaf, ca, _ link) {
			leaf.add(t, idPolicies, false, []policyOf{{idPolicyA}})
			ca.add(t, idPolicies, false, []policyOf{{idPolicyA}})
			ca.add(t, idPolicyRules, true, policyRule{0})
		}},
		{name: "a policy required and not there", ours: untrusted, theirs: true, because: becausePolicy,
			do: func(t testing.TB, _, ca, _ link) {
				ca.add(t, idPolicies, false, []policyOf{{idPolicyA}})
				ca.add(t, idPolicyRules, true, policyRule{0})
			}},
		{name: "authority that may sign no certificates", ours: untrusted, do: func(_ testing.TB, _, ca, _ link) {
			ca.KeyUsage = x509.KeyUsageDigitalSignature
		}},
		{name: "not an authority", ours: untrusted, do: func(_ testing.TB, _, ca, _ link) {
			ca.IsCA, ca.KeyUsage = false, x509.KeyUsageDigitalSignature
		}},
		{name: "leaf of a key exchange", ours: untrusted, theirs: true, because: becauseUsage,
			do: func(_ testing.TB, leaf, _, _ link) { leaf.KeyUsage = x509.KeyUsageKeyEncipherment }},
		{name: "leaf of servers", ours: untrusted, do: func(_ testing.TB, leaf, _, _ link) {
			leaf.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidServerAuth}
		}},
		{name: "authority of servers", ours: untrusted, theirs: true, because: becauseNested,
			do: func(_ testing.TB, _, ca, _ link) { ca.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidServerAuth} }},
		{name: "leaf without purposes", ours: valid, theirs: true, do: func(_ testing.TB, leaf, _, _ link) {
			leaf.UnknownExtKeyUsage = nil
		}},
		{name: "unknown critical extension of the leaf", ours: untrusted, do: func(t testing.TB, leaf, _, _ link) {
			leaf.add(t, idUnknown, true, "x")
		}},
		{name: "unknown critical extension of the authority", ours: untrusted,
			do: func(t testing.TB, _, ca, _ link) { ca.add(t, idUnknown, true, "x") }},
		{name: "unknown critical extension of the root", ours: untrusted,
			do: func(t testing.TB, _, _, root link) { root.add(t, idUnknown, true, "x") }},
		{name: "unknown extension", ours: valid, theirs: true, do: func(t testing.TB, leaf, ca, root link) {
			for _, c := range []link{leaf, ca, root} {
				c.add(t, idUnknown, false, "x")
			}
		}},
		{name: "leaf that ended", ours: untrusted, do: func(_ testing.TB, leaf, _, _ link) { leaf.NotAfter = ended }},
		{name: "leaf not begun", ours: untrusted, do: func(_ testing.TB, leaf, _, _ link) {
			leaf.NotBefore = now.AddDate(1, 0, 0)
		}},
		{name: "authority that ended", ours: untrusted, do: func(_ testing.TB, _, ca, _ link) { ca.NotAfter = ended }},
		{name: "root that ended", ours: valid, because: becauseRootEnd, do: func(_ testing.TB, _, _, root link) {
			root.NotAfter = ended
		}},
		{name: "stamped in time", ours: valid, theirs: true, stamp: ended.AddDate(-1, 0, 0),
			do: func(_ testing.TB, leaf, _, _ link) { leaf.NotAfter = ended }},
		{name: "stamped too late", ours: untrusted, stamp: ended.AddDate(1, 0, 0),
			do: func(_ testing.TB, leaf, _, _ link) { leaf.NotAfter = ended }},
		{name: "three authorities", ours: valid, theirs: true, more: 2},
		{name: "deeper than the root allows", ours: untrusted, more: 2, do: func(_ testing.TB, _, _, root link) {
			root.MaxPathLen = 1
		}},
		{name: "as deep as the root allows", ours: valid, theirs: true, more: 2,
			do: func(_ testing.TB, _, _, root link) { root.MaxPathLen = 3 }},
		{name: "deeper than the authority allows", ours: untrusted, more: 1, do: func(_ testing.TB, _, ca, _ link) {
			ca.MaxPathLen, ca.MaxPathLenZero = 0, true
		}},
	}
}

// chain makes the certificates of a case, the leaf first and the root last.
func (c *chainCase) chain(t testing.TB, keys []*ecdsa.PrivateKey) []*party {
	t.Helper()
	plan := []link{}
	for i := range 3 + c.more {
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(int64(100 + i)), Subject: pkix.Name{CommonName: fmt.Sprintf("%s %d", c.name, i)},
			NotBefore:             time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC),
			NotAfter:              time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
			BasicConstraintsValid: true, IsCA: i > 0, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign,
		}
		if i == 0 {
			tmpl.KeyUsage = x509.KeyUsageDigitalSignature
			tmpl.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidCodeSigning}
		}
		plan = append(plan, link{tmpl})
	}
	last := len(plan) - 1
	if c.do != nil {
		c.do(t, plan[0], plan[last-1], plan[last])
	}
	made := make([]*party, len(plan))
	for i := last; i >= 0; i-- {
		parent, signer := plan[i].Certificate, keys[i]
		if i < last {
			parent, signer = made[i+1].cert, keys[i+1]
		}
		der, err := x509.CreateCertificate(rand.Reader, plan[i].Certificate, parent, keys[i].Public(), signer)
		if err != nil {
			t.Fatal(c.name, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(c.name, err)
		}
		made[i] = &party{cert, keys[i]}
	}
	return made
}

// passes reports whether osslsigncode finds the signature of an image good, at the time now.
func (f *signingFixture) passes(t testing.TB, image []byte, root *party) (bool, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-ignore-cdp", "-CAfile",
		f.file(t, "root.pem", pemOf(root.cert)), "-TSA-CAfile", f.file(t, "tsaroot.pem", pemOf(f.tsaRoot.cert)),
		"-time", fmt.Sprint(now.Unix()), "-in", f.file(t, "verified.sys", image))
	out, err := cmd.CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("Succeeded")) {
		t.Fatalf("osslsigncode says neither yes nor no:\n%s", out)
	}
	return err == nil, string(out)
}

// TestAuthenticodeChainsAsOsslsigncode signs a driver with chains of all kinds, and compares what osslsigncode says of
// each with what is said here. Where they differ, the table says why.
func TestAuthenticodeChainsAsOsslsigncode(t *testing.T) {
	f := newSigning(t)
	var keys []*ecdsa.PrivateKey
	for range 6 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for _, c := range chainCases() {
		t.Run(c.name, func(t *testing.T) {
			chain := c.chain(t, keys)
			args := []string{"-h", "sha256"}
			if !c.stamp.IsZero() {
				args = append(args, f.stamped(t, c.stamp)...)
			}
			root := chain[len(chain)-1]
			image := f.sign(t, "c.sys", f.driver, chain[0], chain[1:len(chain)-1], args...)
			list := verify(t, image, keysOf("test", root, f.tsaRoot))
			if len(list) != 1 || list[0].Fits != fact.Yes {
				t.Fatalf("%+v", list)
			}
			theirs, said := f.passes(t, image, root)
			if ours := list[0].Status; ours != c.ours || theirs != c.theirs {
				t.Errorf("%s (%s), osslsigncode passes it: %v; want %s and %v\n%s", ours, list[0].Reason, theirs,
					c.ours, c.theirs, lastLines(said))
			}
			if differ := (c.ours == fact.SignatureValid) != c.theirs; differ != (c.because != "") {
				t.Errorf("%s and %v, explained by %q", c.ours, c.theirs, c.because)
			}
		})
	}
}

// lastLines returns the end of what a tool printed.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(len(lines)-12, 0):], "\n")
}
