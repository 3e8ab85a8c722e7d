// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/certtest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

var (
	inboxEKU  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 6}
	codingEKU = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
)

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func constructed(t testing.TB, class, tag int, b []byte) asn1.RawValue {
	return asn1.RawValue{FullBytes: der(t, asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: b})}
}

// signList makes a catalog of a list that the authority signs. The certificates come with it.
func (a *testAuthority) signList(t testing.TB, list []byte, certs ...*testAuthority) []byte {
	t.Helper()
	return a.signAs(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1}, list, certs...)
}

// signAs makes a signature with its content, which is of that type. The certificates come with it.
func (a *testAuthority) signAs(
	t testing.TB, typ asn1.ObjectIdentifier, content []byte, certs ...*testAuthority,
) []byte {
	t.Helper()
	type attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue
	}
	var covered asn1.RawValue
	if _, err := asn1.Unmarshal(content, &covered); err != nil {
		t.Fatal(err)
	}
	attrs := append(der(t, attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3},
		constructed(t, 0, 17, der(t, typ))}),
		der(t, attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4},
			constructed(t, 0, 17, der(t, sign.Sum(crypto.SHA256, covered.Bytes)))})...)
	set := constructed(t, 0, 17, attrs)
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sign.Sum(crypto.SHA256, set.FullBytes))
	if err != nil {
		t.Fatal(err)
	}
	sha256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	type id struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	signer := der(t, struct {
		Version   int
		ID        id
		Digest    pkix.AlgorithmIdentifier
		Attrs     asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}{1, id{asn1.RawValue{FullBytes: a.cert.RawIssuer}, a.cert.SerialNumber}, sha256,
		constructed(t, 2, 0, attrs),
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, sig})
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.cert.Raw...)
	}
	data := der(t, struct {
		Version int
		Digests []pkix.AlgorithmIdentifier `asn1:"set"`
		Content struct {
			Type asn1.ObjectIdentifier
			Data asn1.RawValue
		}
		Certificates asn1.RawValue
		Signers      asn1.RawValue
	}{1, []pkix.AlgorithmIdentifier{sha256}, struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{typ, constructed(t, 2, 0, content)}, constructed(t, 2, 0, raw), constructed(t, 0, 17, signer)})
	return der(t, struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, constructed(t, 2, 0, data)})
}

// inbox are a root that this package takes for one of Microsoft's, and a publisher of Windows under it.
type inbox struct{ root, middle, leaf *testAuthority }

func newInbox(t *testing.T) inbox {
	t.Helper()
	root := (*testAuthority)(nil).issue(t, "Test Root", true)
	builtIn(t, root, "")
	middle := root.issue(t, "Middle", true)
	return inbox{root, middle, middle.issue(t, "Leaf", false, inboxEKU, codingEKU)}
}

// catalog lists a digest.
func (x inbox) catalog(t *testing.T, id []byte) []byte {
	return x.leaf.signList(t, trustListOf(t, id), x.leaf, x.middle)
}

func sampleFile(t *testing.T, code string) *pe.File {
	t.Helper()
	image := petest.Sample()
	image.Code = []byte(code)
	p, err := pe.Parse(image.Build(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func verifierOf(files fstest.MapFS) *Verifier {
	return NewVerifier(nil, time.Now(), []*Catalogs{NewCatalogs(files, ".")}, new(fact.Report))
}

// Catalogs whose signature does not fit hide no other one, and neither do those that are valid: that there are more
// than are looked at is said.
func TestDecoyCatalogs(t *testing.T) {
	x := newInbox(t)
	p := sampleFile(t, "code")
	good := x.catalog(t, p.Authentihash(crypto.SHA256))
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	for name, tt := range map[string]struct {
		before, after int // decoys, by name, around the one that is valid
		want          fact.SignatureStatus
		n             int
		known         bool
	}{
		"alone":           {0, 0, fact.SignatureValid, 1, true},
		"before more":     {3, 20, fact.SignatureValid, 24, true},
		"the last":        {maxPerDigest - 1, 0, fact.SignatureValid, maxPerDigest, true},
		"one too many":    {maxPerDigest, 0, fact.SignatureUnchecked, maxPerDigest + 1, false},
		"before too many": {3, maxPerDigest, fact.SignatureValid, maxPerDigest + 1, false},
	} {
		files := fstest.MapFS{"m.cat": {Data: good}}
		for i := range tt.before {
			files[fmt.Sprintf("a%02d.cat", i)] = &fstest.MapFile{Data: broken}
		}
		for i := range tt.after {
			files[fmt.Sprintf("z%02d.cat", i)] = &fstest.MapFile{Data: broken}
		}
		list := verifierOf(files).Verify(p, nil)
		best, _ := Best(list)
		if best.Status != tt.want || len(list) != tt.n || SignersKnown(list) != tt.known {
			t.Errorf("%s: %s (%s), %d signatures, all signers known: %v", name, best.Status, best.Reason, len(list),
				SignersKnown(list))
		}
	}
}

// A catalog that lists an image by the digest of its bytes proves nothing of it, whoever signed it.
func TestListedByBytes(t *testing.T) {
	x := newInbox(t)
	p := sampleFile(t, "code")
	flat := x.catalog(t, p.Digest(crypto.SHA256))
	counted := x.catalog(t, p.Authentihash(crypto.SHA256))
	stranger := (*testAuthority)(nil).issue(t, "Stranger", true)
	own := stranger.signList(t, trustListOf(t, p.Digest(crypto.SHA256)), stranger)
	broken := append([]byte(nil), flat...)
	broken[len(broken)-1] ^= 1
	for name, tt := range map[string]struct {
		files     fstest.MapFS
		status    fact.SignatureStatus
		reason    string
		class     fact.SignatureClass
		uncounted bool
	}{
		"by its authentihash": {fstest.MapFS{"a.cat": {Data: counted}}, fact.SignatureValid, "", fact.ClassInbox,
			false},
		"by its bytes": {fstest.MapFS{"a.cat": {Data: flat}}, fact.SignatureUntrusted, errByBytes.Error(), "",
			true},
		"by both": {fstest.MapFS{"a.cat": {Data: flat}, "b.cat": {Data: counted}}, fact.SignatureValid, "",
			fact.ClassInbox, false},
		"by its bytes, self-signed": {fstest.MapFS{"a.cat": {Data: own}}, fact.SignatureUntrusted,
			`"Stranger" is not among the given keys`, "", true},
		"by its bytes, broken": {fstest.MapFS{"a.cat": {Data: broken}}, fact.SignatureInvalid,
			"signature does not fit", "", true},
	} {
		list := verifierOf(tt.files).Verify(p, nil)
		if len(list) != 1 {
			t.Errorf("%s: %d signatures", name, len(list))
			continue
		}
		if s := list[0]; s.Status != tt.status || s.Reason != tt.reason || s.Class != tt.class || s.Attested != "" ||
			s.Uncounted() != tt.uncounted || (s.KeySet != "") != (tt.status == fact.SignatureValid) {
			t.Errorf("%s: %s by %q (%s), class %q, uncounted %v", name, s.Status, s.KeySet, s.Reason, s.Class,
				s.Uncounted())
		}
	}
}

// A catalog is judged once for all files that it lists, and what one file could not pay for is said of that one alone.
func TestMemoOfCatalog(t *testing.T) {
	x := newInbox(t)
	p := sampleFile(t, "code")
	files := fstest.MapFS{"a.cat": {Data: x.catalog(t, p.Authentihash(crypto.SHA256))}}
	whole := verifierOf(files).Verify(p, nil)[0]
	if whole.Status != fact.SignatureValid || whole.Class != fact.ClassInbox || whole.Cut() != nil {
		t.Fatalf("%+v", whole)
	}
	partly := 0
	for left := int64(0); left < 3e6; left += 5e4 {
		item := new(fact.Budget).Item(0)
		if err := item.Work(item.MaxWork() - left); err != nil {
			t.Fatal(err)
		}
		v := verifierOf(files)
		poor := v.Verify(p, item)[0]
		if poor.Class == "" && poor.Cut() == nil {
			t.Errorf("%d steps: %s without a class, and nothing says why", left, poor.Status)
		}
		if poor.Status == fact.SignatureValid && poor.Class == "" {
			partly++
		}
		if s := v.Verify(p, nil)[0]; s.Status != whole.Status || s.Class != whole.Class || s.Cut() != nil {
			t.Errorf("after a file with %d steps left (%s, %q): %s, class %q, %v", left, poor.Status, poor.Class,
				s.Status, s.Class, s.Cut())
		}
	}
	if partly == 0 {
		t.Error("no budget was enough for the verdict and not for the class")
	}
	var m memo
	judged := 0
	for range 3 {
		mark := &catalog{mark: new(byte)}
		for range 3 {
			if s := m.ofCatalog(mark, nil, func() Signature {
				judged++
				return Signature{Status: fact.SignatureValid, Reason: fmt.Sprint(judged)}
			}); s.Reason != fmt.Sprint(judged) {
				t.Errorf("verdict %s after %d", s.Reason, judged)
			}
		}
	}
	if judged != 3 {
		t.Errorf("3 catalogs were judged %d times", judged)
	}
}

// impostors are certificates of the authority's name and key identifier, each of another key.
func impostors(t *testing.T, a *testAuthority, n int) []*testAuthority {
	t.Helper()
	var list []*testAuthority
	for i := range n {
		key := certtest.Key(t)
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: a.cert.Subject,
			SubjectKeyId: a.cert.SubjectKeyId, NotAfter: time.Now().Add(time.Hour), IsCA: true}
		list = append(list, &testAuthority{certtest.Issue(t, c, key, nil, nil), key})
	}
	return list
}

// Certificates that hide an authority from the search, or that cannot be read, leave it open who signed.
func TestSignersKnown(t *testing.T) {
	root := (*testAuthority)(nil).issue(t, "Root", true)
	middle := root.issue(t, "Middle", true)
	leaf := middle.issue(t, "Leaf", false, codingEKU)
	junk := impostors(t, middle, 100)
	list := trustListOf(t, make([]byte, 32))
	hidden := slices.Concat([]*testAuthority{leaf}, junk, []*testAuthority{middle})
	for name, tt := range map[string]struct {
		certs  []*testAuthority
		trusts *testAuthority
		status fact.SignatureStatus
		known  bool
	}{
		"nobody's":              {[]*testAuthority{leaf, middle, root}, nil, fact.SignatureUntrusted, true},
		"trusted":               {[]*testAuthority{leaf, middle}, root, fact.SignatureValid, true},
		"hidden":                {hidden, nil, fact.SignatureUnchecked, false},
		"hidden, trusted":       {hidden, root, fact.SignatureUnchecked, false},
		"hidden above the keys": {hidden, leaf, fact.SignatureValid, false},
		"data after its end":    {[]*testAuthority{leaf, middle.damaged(t)}, nil, fact.SignatureUnchecked, false},
		"without the signer's":  {[]*testAuthority{middle, root}, nil, fact.SignatureUnchecked, false},
		"junk, not too much": {slices.Concat([]*testAuthority{leaf, middle}, junk[:90]), root,
			fact.SignatureValid, true},
	} {
		cat := new(catalog)
		if err := cat.parse(leaf.signList(t, list, tt.certs...)); err != nil {
			t.Fatal(err)
		}
		v := &Verifier{Now: time.Now()}
		if tt.trusts != nil {
			v.Roots = v.Roots.With("k", signCertificates(t, tt.trusts))
		}
		s := v.ofCatalog(cat)
		if s.Status != tt.status || SignersKnown([]Signature{s}) != tt.known || s.Fits == fact.No {
			t.Errorf("%s: %s (%s), known %v: %v", name, s.Status, s.Reason, s.Cut() == nil, s.Cut())
		}
		var saved Signature
		if text, err := json.Marshal(s); err != nil || json.Unmarshal(text, &saved) != nil ||
			SignersKnown([]Signature{saved}) {
			t.Errorf("%s: a saved signature says all of its signer, %v", name, err)
		}
		if saved.Fits = fact.No; SignersKnown([]Signature{saved}) {
			t.Errorf("%s: a saved signature says that no more than data beside it is wrong", name)
		}
		if s.Fits = fact.No; !SignersKnown([]Signature{s}) {
			t.Errorf("%s: the signer of what does not fit counts", name)
		}
		if s.foreign = true; SignersKnown([]Signature{s}) != tt.known {
			t.Errorf("%s: the signer of what has data beside it, known %v", name, !tt.known)
		}
		if s.rest = fact.ErrMalformed; SignersKnown([]Signature{s}) {
			t.Errorf("%s: what follows in the table was not read", name)
		}
	}
}
