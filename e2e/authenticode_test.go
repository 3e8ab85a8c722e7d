// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

func TestAuthenticodeStatusAndClass(t *testing.T) {
	f := newSigning(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	microsoft := issue(t, certificateOf{name: "Microsoft Code Verification Root", ca: true}, nil)
	cross := issue(t, certificateOf{name: "Commercial CA", ca: true}, microsoft)
	own := issue(t, certificateOf{name: "Own Driver, Inc.", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, nil)
	leaf := func(name string, ekus ...asn1.ObjectIdentifier) *party {
		return issue(t, certificateOf{name: name, ekus: append([]asn1.ObjectIdentifier{oidCodeSigning}, ekus...)}, f.ca)
	}
	past := certificateOf{name: "Past Vendor", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL},
		from: 2014, to: 2016}
	pastLeaf := issue(t, past, f.ca)
	trusted := keysOf("test", f.root, f.tsaRoot)
	in2015 := time.Date(2015, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		signer *party
		chain  []*party
		args   []string
		keys   []fact.KeySet
		status fact.SignatureStatus
		class  fact.SignatureClass
		at     time.Time
	}{
		{name: "hardware program", signer: leaf("Publisher", oidWHQL, oidAttested), keys: trusted,
			status: fact.SignatureValid, class: fact.ClassWHCP},
		{name: "inbox", signer: leaf("Windows", oidInbox), keys: trusted, status: fact.SignatureValid,
			class: fact.ClassInbox},
		{name: "early launch", signer: leaf("Early", oidELAM), keys: trusted, status: fact.SignatureValid,
			class: fact.ClassELAM},
		{name: "company", signer: leaf("Company"), keys: trusted, status: fact.SignatureValid,
			class: fact.ClassEnterprise},
		{name: "elliptic curve",
			signer: issue(t, certificateOf{name: "Curve", ekus: []asn1.ObjectIdentifier{oidCodeSigning}, key: ec},
				f.ca),
			keys:   trusted,
			status: fact.SignatureValid, class: fact.ClassEnterprise},
		{name: "cross signed",
			signer: issue(t, certificateOf{name: "Vendor", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, cross),
			chain:  []*party{cross},
			keys:   keysOf("ms", microsoft), status: fact.SignatureValid, class: fact.ClassCrossSigned},
		{name: "cross signed, other keys",
			signer: issue(t, certificateOf{name: "Vendor", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, cross),
			chain:  []*party{cross},
			keys:   trusted, status: fact.SignatureUntrusted}, // the name alone is a claim
		{name: "self signed", signer: own, keys: trusted, status: fact.SignatureUntrusted, class: fact.ClassSelfSigned},
		{name: "self signed and trusted", signer: own, keys: keysOf("own", own), status: fact.SignatureValid,
			class: fact.ClassSelfSigned},
		{name: "no keys but Microsoft's", signer: leaf("Publisher", oidWHQL), status: fact.SignatureUntrusted},
		{name: "claims a program, unknown root", signer: leaf("Publisher", oidWHQL), keys: keysOf("ms", microsoft),
			status: fact.SignatureUntrusted},
		{name: "wrong usage", signer: issue(t, certificateOf{name: "Web", ekus: []asn1.ObjectIdentifier{oidServerAuth}},
			f.ca), keys: trusted, status: fact.SignatureUntrusted},
		{name: "issued by no authority",
			signer: issue(t, certificateOf{name: "Leaf of a leaf", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, own),
			chain:  []*party{own}, keys: trusted, status: fact.SignatureUntrusted},
		{name: "expired", signer: pastLeaf, keys: trusted, status: fact.SignatureUntrusted},
		{name: "expired, stamped in time", signer: pastLeaf, args: f.stamped(t, in2015), keys: trusted,
			status: fact.SignatureValid, class: fact.ClassWHCP, at: in2015},
		{name: "expired, stamped in time, for its lifetime only",
			signer: issue(t, certificateOf{name: "Short", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidLifetime},
				from: 2014, to: 2016}, f.ca),
			args: f.stamped(t, in2015), keys: trusted, status: fact.SignatureUntrusted, at: in2015},
		{name: "expired, stamped too late", signer: pastLeaf, args: f.stamped(t, now.AddDate(-1, 0, 0)), keys: trusted,
			status: fact.SignatureUntrusted, at: now.AddDate(-1, 0, 0)},
		{name: "expired, stamp not trusted", signer: pastLeaf, args: f.stamped(t, in2015), keys: keysOf("test", f.root),
			status: fact.SignatureUntrusted, at: in2015},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := c.chain
			if chain == nil {
				chain = []*party{f.ca}
			}
			list := verify(t,
				f.sign(t, "d.sys", f.driver, c.signer, chain, append([]string{"-h", "sha256"}, c.args...)...), c.keys)
			if len(list) != 1 {
				t.Fatalf("%d signatures", len(list))
			}
			s := list[0]
			if s.Status != c.status || s.Class != c.class || s.Fits != fact.Yes ||
				s.Signer().CommonName != c.signer.cert.Subject.CommonName {
				t.Errorf("status %s class %q fits %s signer %q, want %s %q yes %q (%s)", s.Status, s.Class,
					s.Fits, s.Signer().CommonName,
					c.status, c.class, c.signer.cert.Subject.CommonName, s.Reason)
			}
			if (s.KeySet != "") != (s.Status == fact.SignatureValid) ||
				(s.Reason == "") != (s.Status == fact.SignatureValid) {
				t.Errorf("status %s with key set %q and reason %q", s.Status, s.KeySet, s.Reason)
			}
			if !c.at.IsZero() && (!s.SignedAt.Equal(c.at) || s.TimeFrom != authenticode.TimeFromTimestamp) {
				t.Errorf("signed at %s by %s, want %s", s.SignedAt, s.TimeFrom, c.at)
			}
		})
	}
}

func TestAuthenticodeNestedAndPages(t *testing.T) {
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL}}, f.ca)
	keys := keysOf("test", f.root, f.tsaRoot)
	first := f.sign(t, "n.sys", f.driver, leaf, []*party{f.ca}, "-h", "sha1", "-ph", "-n", "Ket Program", "-i",
		"https://example.invalid/ket")
	both := f.sign(t, "n.sys", first, leaf, []*party{f.ca},
		append([]string{"-nest", "-h", "sha256", "-ph"}, f.stamped(t, now.AddDate(0, -1, 0))...)...)
	list := verify(t, both, keys)
	if len(list) != 2 || list[0].HashAlgorithm != "sha1" || list[1].HashAlgorithm != "sha256" ||
		list[0].Nested || !list[1].Nested {
		t.Fatalf("signatures: %+v", list)
	}
	for _, s := range list {
		if s.Status != fact.SignatureValid || s.Class != fact.ClassWHCP {
			t.Errorf("%s: %s %s (%s)", s.HashAlgorithm, s.Status, s.Class, s.Reason)
		}
	}
	if list[0].ProgramName != "Ket Program" || list[0].MoreInfoURL != "https://example.invalid/ket" {
		t.Errorf("program %q at %q", list[0].ProgramName, list[0].MoreInfoURL)
	}
	if p := list[1].PageHashes; p == nil || p.HashAlgorithm != "sha256" || p.Pages < 5 || p.Match != fact.Yes {
		t.Errorf("page hashes %+v", p)
	}
	if p := list[0].PageHashes; p == nil || p.HashAlgorithm != "sha1" || p.Match != fact.Yes {
		t.Errorf("page hashes of the first %+v", p)
	}
	if best, _ := authenticode.Best(list); best.HashAlgorithm != "sha256" {
		t.Errorf("best is %s", best.HashAlgorithm)
	}
	f.againstOssl(t, both)
}

// againstOssl compares the digests of a signed file with those that osslsigncode prints.
func (f *signingFixture) againstOssl(t *testing.T, image []byte) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-in",
		f.file(t, "check.sys", image)).CombinedOutput()
	p, err := pe.Parse(image, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		if want := strings.ToUpper(hex.EncodeToString(p.Authentihash(h))); !strings.Contains(string(out), want) {
			t.Errorf("osslsigncode does not print the digest %s:\n%s", want, out)
		}
	}
}

// No byte of a signed file can change, outside what signing itself leaves out, without the
// signature being invalid; and no changed byte of the signature makes anything valid that does not
// fit.
func TestAuthenticodeTampered(t *testing.T) {
	t.Parallel()
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL}}, f.ca)
	keys := keysOf("test", f.root, f.tsaRoot)
	image := f.sign(t, "t.sys", f.driver, leaf, []*party{f.ca},
		append([]string{"-h", "sha256", "-ph"}, f.stamped(t, now.AddDate(0, -1, 0))...)...)
	if s := verify(t, image, keys); len(s) != 1 || s[0].Status != fact.SignatureValid {
		t.Fatalf("untouched: %+v", s)
	}
	table := len(f.driver)
	opt := int(image[0x3c]) + 24
	open := uncovered(t, image, table, f)
	for i := range 4 {
		open[opt+64+i] = "checksum"
	}
	changed, valid := 0, map[string]int{}
	for i := 0; i < len(image); i++ {
		if i >= 0x400 && i < table && i%97 != 0 { // of the code, one byte in a hundred
			continue
		}
		for _, bit := range []byte{0x01, 0x80} {
			mutant := bytes.Clone(image)
			mutant[i] ^= bit
			v := authenticode.NewVerifier(keys, now, nil, new(fact.Report))
			p, err := windows.ParseFile(mutant, windows.FileOptions{Verifier: v}, new(fact.Report))
			if err != nil {
				continue // no image any more
			}
			changed++
			for _, s := range p.Signatures {
				if s.Status != fact.SignatureValid {
					continue
				}
				if open[i] == "" || s.Fits != fact.Yes {
					t.Fatalf("byte %#x (table %+d) changed by %#x: valid, fits %s", i, i-table, bit, s.Fits)
				}
				valid[open[i]]++
			}
		}
	}
	t.Logf("%d changed files; still valid, by what was changed: %v", changed, valid)
	if len(valid) < 4 {
		t.Error("nothing was left uncovered: the test looks at the wrong bytes")
	}
	for name, mutant := range map[string][]byte{
		"appended after the table":       append(bytes.Clone(image), 1, 2, 3, 4, 5, 6, 7, 8),
		"table moved over the code":      moveTable(image, opt, 0x400),
		"data after the signature":       grow(image, opt, table),
		"a second entry of another type": secondEntry(image, opt, table, 1, 0x0200),
		"a second entry of no revision":  secondEntry(image, opt, table, 2, 0x0300),
		"data between two entries":       padded(image, opt, table),
		"zero bytes and data":            append(grow(image, opt, table)[:len(image)+56], 0, 0, 0, 0, 0, 0, 0, 1),
		"signature of another, swapped":  append(append(bytes.Clone(image[:0x500]), image[0x501]^1), image[0x501:]...),
	} {
		v := authenticode.NewVerifier(keys, now, nil, new(fact.Report))
		p, err := windows.ParseFile(mutant, windows.FileOptions{Verifier: v}, new(fact.Report))
		if err != nil {
			continue
		}
		for _, s := range p.Signatures {
			if s.Status == fact.SignatureValid {
				t.Errorf("%s: valid", name)
			}
		}
	}
}

func put32(b []byte, at int, v uint32) {
	b[at], b[at+1], b[at+2], b[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

// moveTable says that the certificate table lies elsewhere, with its contents copied there.
func moveTable(image []byte, opt, to int) []byte {
	b := bytes.Clone(image)
	from := int(b[opt+144]) | int(b[opt+145])<<8 | int(b[opt+146])<<16
	copy(b[to:], image[from:])
	put32(b, opt+144, uint32(to))
	return b
}

// grow adds bytes within the certificate table, behind the signature.
func grow(image []byte, opt, table int) []byte {
	b := append(bytes.Clone(image), bytes.Repeat([]byte{0xcc}, 64)...)
	size := uint32(len(b) - table)
	put32(b, opt+148, size)
	put32(b, table, size)
	return b
}

// secondEntry adds an entry to the certificate table.
func secondEntry(image []byte, opt, table int, typ, revision uint16) []byte {
	b := append(bytes.Clone(image), 16, 0, 0, 0, byte(revision), byte(revision>>8), byte(typ),
		byte(typ>>8), 1, 2, 3, 4, 5, 6, 7, 8)
	put32(b, opt+148, uint32(len(b)-table))
	return b
}

// padded makes the entry end within the zero bytes after the signature, and fills the rest.
func padded(image []byte, opt, table int) []byte {
	b := bytes.Clone(image)
	for n := len(b); n > len(image)-8 && b[n-1] == 0; n-- {
		put32(b, table, uint32(n-1-table))
		b[len(b)-1] = 0xcc
	}
	if bytes.Equal(b, image) { // no zero bytes: make room
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0xcc)
		put32(b, table, uint32(len(image)+1-table))
		put32(b, opt+148, uint32(len(b)-table))
	}
	return b
}

// uncovered names the bytes of a signed file's PKCS#7 that no digest covers, by their offset in the
// file: what package windows says of Verify.
func uncovered(t *testing.T, image []byte, table int, f *signingFixture) map[int]string {
	t.Helper()
	open := map[int]string{}
	image = image[:len(image):len(image)]
	blob := image[table+8:]
	// Values refer to the bytes that were decoded, so that their place follows from what is left.
	mark := func(what string, b []byte) {
		at := len(image) - cap(b)
		for i := range b {
			open[at+i] = what
		}
	}
	body := func(r *sign.Reader) sign.Value {
		v, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	top := sign.NewReader(blob)
	info := body(&top).Reader()
	body(&info) // content type
	content := body(&info).Reader()
	signed := body(&content).Reader()
	mark("version", body(&signed).Body)
	mark("digest algorithms", body(&signed).Full)
	body(&signed) // the content
	certs := body(&signed)
	for r := certs.Reader(); !r.Empty(); {
		c := body(&r)
		cert, err := sign.ParseCertificate(c.Full)
		if err != nil {
			t.Fatal(err)
		}
		if name := cert.Subject.CommonName(); name != "Publisher" && name != f.ca.cert.Subject.CommonName {
			mark("other certificates", c.Full)
		}
	}
	signers := body(&signed).Reader()
	signer := body(&signers).Reader()
	mark("version", body(&signer).Body)
	body(&signer) // issuer and serial number
	for !signer.Empty() {
		switch v := body(&signer); {
		case v.IsContext(1):
			mark("unsigned attributes", v.Full)
		case v.Is(sign.TagSequence): // digest and signature algorithm
			r := v.Reader()
			body(&r)
			if !r.Empty() {
				mark("parameters", r.Rest())
			}
		}
	}
	return open
}
