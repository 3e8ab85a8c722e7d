// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// TestAppleRoots compares the roots with the digests of their keys that are known.
func TestAppleRoots(t *testing.T) {
	want := []string{
		"eb4993efa9b089e593418aa893f8e93a7374d810e52fcbe01e7f1d7e92a6d024 Apple Root CA",
		"eb4993efa9b089e593418aa893f8e93a7374d810e52fcbe01e7f1d7e92a6d024 Apple Root Certificate Authority",
		"674039e472561963c8cb00d21a97a90a18bb8a1c4c317ac67e382a652bb573c0 Apple Root CA - G2",
		"9b219d0fbff36a5fb32090571906bceea68617c833a3f61b81e962a8e64db8af Apple Root CA - G3",
	}
	var got []string
	for _, c := range appleKeys.Get().Certificates {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		got = append(got, hex.EncodeToString(sum[:])+" "+c.Subject.CommonName)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestKeySets(t *testing.T) {
	own := fact.KeySet{Name: "own.pem"}
	microsoft := fact.KeySet{Name: "microsoft", Origin: fact.TrustMicrosoft}
	for trust, want := range map[fact.Trust]string{
		0: "[own.pem microsoft apple]", fact.TrustAll &^ fact.TrustApple: "[own.pem microsoft]",
		fact.TrustCaller: "[own.pem]", fact.TrustApple: "[own.pem apple]",
	} {
		var names []string
		for _, s := range keySets(fact.Options{Keys: []fact.KeySet{own, microsoft}, Trust: trust}) {
			names = append(names, s.Name)
		}
		if fmt.Sprint(names) != want {
			t.Errorf("trust %b: %v", trust, names)
		}
	}
}

// apples is a made-up root in Apple's place, and forger a root with the same name and another key.
func apples() (apple, forger *fakedarwin.Authority, keys []fact.KeySet) {
	apple, forger = fakedarwin.NewAuthority("Apple Root CA"), fakedarwin.NewAuthority("Apple Root  CA")
	return apple, forger, []fact.KeySet{{Name: "apple's place", Origin: fact.TrustApple,
		Certificates: []*x509.Certificate{apple.Root}}}
}

// signedBundle reads a bundle that the signer made, and verifies it.
func signedBundle(t *testing.T, s *fakedarwin.Signer, keys []fact.KeySet) *CodeSignature {
	t.Helper()
	files := fakedarwin.BundleFiles(kextDir, "com.vendor.driver", s)
	b, err := bundleReader{FS: files, Code: true, Signatures: true, Verify: true, Keys: keys}.tested(kextDir)
	if err != nil || b.signature == nil {
		t.Fatal(err)
	}
	return b.signature
}

// TestPrograms signs one bundle with certificates of every kind and time.
func TestPrograms(t *testing.T) {
	apple, forger, keys := apples()
	date := func(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }
	developer := fakedarwin.Certificate{Name: "Developer ID Application: V (ABCDE12345)", Team: "ABCDE12345",
		Marks:   []string{fakedarwin.MarkDeveloperID, fakedarwin.MarkKext},
		CAMarks: []string{fakedarwin.MarkDeveloperIDCA}}
	software := fakedarwin.Certificate{Name: "Software Signing", Marks: []string{fakedarwin.MarkPlatform},
		CA: "Apple Code Signing Certification Authority"}
	with := func(c fakedarwin.Certificate, change func(*fakedarwin.Certificate)) fakedarwin.Certificate {
		change(&c)
		return c
	}
	type certificate = fakedarwin.Certificate
	for name, tt := range map[string]struct {
		by   *fakedarwin.Authority
		cert certificate
		team string
		want string // status, anchor, program, for kexts
	}{
		"Developer ID for kexts": {apple, developer, "ABCDE12345", "valid apple generic developer_id yes"},
		"Developer ID without the kext mark": {apple, with(developer, func(c *certificate) { c.Marks = c.Marks[:1] }),
			"ABCDE12345", "valid apple generic developer_id no"},
		"Developer ID without the authority's mark": {apple, with(developer, func(c *certificate) { c.CAMarks = nil }),
			"ABCDE12345", "valid apple generic  "},
		"Developer ID of another team": {apple, developer, "ZZZZZ12345", "invalid apple generic developer_id yes"},
		"Developer ID without a team":  {apple, developer, "", "invalid apple generic developer_id yes"},
		"Apple's own":                  {apple, software, "", "valid apple apple "},
		"Apple's own, of another organization": {apple, with(software, func(c *certificate) {
			c.CAOrganization = "Apple"
		}), "", "valid apple generic  "},
		"store": {apple, certificate{Name: "Apple Mac OS Application Signing",
			Marks: []string{fakedarwin.MarkAppStore}}, "", "valid apple generic app_store "},
		"development": {apple, certificate{Name: "Mac Developer: x",
			Marks: []string{fakedarwin.MarkDevelopment}}, "ABCDE12345", "valid apple generic development "},
		"every mark, another root": {forger, with(software, func(c *certificate) {
			c.Marks = append(c.Marks, fakedarwin.MarkDeveloperID, fakedarwin.MarkKext)
			c.CAMarks = []string{fakedarwin.MarkDeveloperIDCA, fakedarwin.MarkPlatform}
		}), "", "untrusted   "},
		"not for code": {apple, with(developer, func(c *certificate) { c.NoCode = true }), "ABCDE12345",
			"untrusted   "},
		"by no authority": {apple, with(developer, func(c *certificate) { c.NoIssuer = true }), "ABCDE12345",
			"untrusted   "},
		"expired, no time": {apple, with(developer, func(c *certificate) { c.Until = date(2021) }), "ABCDE12345",
			"valid apple generic developer_id yes"},
		"not yet valid, no time": {apple, with(developer, func(c *certificate) { c.From = date(2038) }), "ABCDE12345",
			"valid apple generic developer_id yes"},
		"authority expired, no time": {apple, with(software, func(c *certificate) { c.CAUntil = date(2024) }), "",
			"valid apple apple "},
		"expired at the signer's word": {apple, with(developer, func(c *certificate) {
			c.Until, c.SignedAt = date(2021), date(2026)
		}), "ABCDE12345", "valid apple generic developer_id yes"},
		"valid at the timestamp": {apple, with(developer, func(c *certificate) {
			c.Until, c.StampedAt = date(2021), date(2020)
		}), "ABCDE12345", "valid apple generic developer_id yes"},
		"expired at the timestamp": {apple, with(developer, func(c *certificate) {
			c.Until, c.StampedAt = date(2021), date(2022)
		}), "ABCDE12345", "untrusted   "},
		"authority expired at the timestamp": {apple, with(developer, func(c *certificate) {
			c.CAUntil, c.StampedAt = date(2021), date(2022)
		}), "ABCDE12345", "untrusted   "},
		"timestamp of another root": {apple, with(developer, func(c *certificate) {
			c.StampedAt, c.StampedBy = date(2022), forger
		}), "ABCDE12345", "untrusted   "},
		"timestamp of other bytes": {apple, with(developer, func(c *certificate) {
			c.StampedAt, c.StampSpoiled = date(2022), true
		}), "ABCDE12345", "untrusted   "},
		"timestamp by a certificate for code": {apple, with(developer, func(c *certificate) {
			c.StampedAt, c.StampNoPurpose = date(2022), true
		}), "ABCDE12345", "untrusted   "},
	} {
		s := signedBundle(t, &fakedarwin.Signer{Identifier: "com.vendor.driver", Team: tt.team, Platform: 13,
			CMS: tt.by.Sign(tt.cert)}, keys)
		f := signatureOf(s)
		got := strings.Join([]string{string(f.Status), s.Anchor, s.Program, string(s.ForKexts)}, " ")
		if got != tt.want {
			t.Errorf("%s: %q, want %q (%q)", name, got, tt.want, s.Reasons)
		}
		valid := f.Status == fact.SignatureValid
		if valid != (f.KeySet == "apple's place") || valid != (len(s.Reasons) == 0) {
			t.Errorf("%s: key set %q, reasons %q", name, f.KeySet, s.Reasons)
		}
		if stamped := strings.HasPrefix(name, "valid at the timestamp"); stamped != !s.TimestampedAt.IsZero() {
			t.Errorf("%s: timestamp %v", name, s.TimestampedAt)
		}
		class, want := originOf(&Kext{BundleID: "com.apple.x", CodeSignature: s}, "", "").Class, fact.OriginClass("")
		switch {
		case s.Anchor == AnchorApple:
			want = fact.OriginOS
		case tt.team != "":
			want = fact.OriginThirdParty
		}
		if class != want {
			t.Errorf("%s: origin %q, want %q", name, class, want)
		}
	}
}

// TestOtherKeys verifies with keys that are not Apple's: their certificates have no marks.
func TestOtherKeys(t *testing.T) {
	_, forger, keys := apples()
	keys[0].Certificates = []*x509.Certificate{forger.Root}
	keys[0].Origin, keys[0].Name = 0, "own.pem"
	cms := forger.Sign(fakedarwin.Certificate{Name: "Software Signing",
		CA:      "Apple Code Signing Certification Authority",
		CAMarks: []string{fakedarwin.MarkDeveloperIDCA}, Marks: []string{fakedarwin.MarkDeveloperID}})
	s := signedBundle(t, &fakedarwin.Signer{Identifier: "a", CMS: cms}, keys)
	f := signatureOf(s)
	if f.Status != fact.SignatureValid || f.KeySet != "own.pem" || s.Anchor != "" || s.Program != "" {
		t.Errorf("%+v, %q %q", f, s.Anchor, s.Program)
	}
	if o := originOf(&Kext{BundleID: "com.apple.x", CodeSignature: s}, "", ""); o.Class != "" {
		t.Errorf("a caller's key makes it Apple's: %+v", o)
	}
	s = signedBundle(t, &fakedarwin.Signer{Identifier: "a", CMS: cms}, nil)
	if f := signatureOf(s); f.Status != fact.SignatureUnchecked {
		t.Errorf("without any key: %+v", f)
	}
	s = signedBundle(t, &fakedarwin.Signer{Identifier: "a", Platform: 1}, keys)
	if f := signatureOf(s); f.Status != fact.SignatureUntrusted || len(s.Reasons) != 1 {
		t.Errorf("no certificate: %+v, %q", f, s.Reasons)
	}
	s = signedBundle(t, &fakedarwin.Signer{Identifier: "a", Flags: 2}, keys)
	if f := signatureOf(s); f.Status != fact.SignatureUnchecked || f.Evidence != "adhoc" || len(s.Reasons) != 0 {
		t.Errorf("ad hoc: %+v, %q", f, s.Reasons)
	}
}

// TestTwoDirectories signs a directory of SHA-1 beside which lies one of SHA-256, which the system uses.
func TestTwoDirectories(t *testing.T) {
	apple, _, keys := apples()
	cert := fakedarwin.Certificate{Name: "Software Signing", CA: "Apple Code Signing Certification Authority"}
	plain := apple.Sign(cert)
	same, other := &fakedarwin.Signer{Identifier: "a", Flags: 0x200}, &fakedarwin.Signer{Identifier: "a", Platform: 2}
	listing := func(attribute func(digest []byte) []byte) func([]byte) []byte {
		c := cert
		c.Agility = func(directory []byte) [][]byte {
			sum := sha1.Sum(directory)
			return [][]byte{attribute(append(sum[:], make([]byte, 12)...))}
		}
		return apple.Sign(c)
	}
	for name, tt := range map[string]struct {
		alternate *fakedarwin.Signer
		cms       func([]byte) []byte
		want      fact.SignatureStatus
	}{
		"one":                            {nil, plain, fact.SignatureValid},
		"two that say the same":          {same, plain, fact.SignatureValid},
		"the second says something else": {other, plain, fact.SignatureInvalid},
		"a list without the second": {same,
			listing(func(d []byte) []byte { return fakedarwin.AgilityList(d) }), fact.SignatureInvalid},
		"a digest that is not the second's": {same, listing(fakedarwin.AgilityDigest), fact.SignatureInvalid},
	} {
		s := signedBundle(t,
			&fakedarwin.Signer{Identifier: "a", Flags: 0x200, Alternate: tt.alternate, CMS: tt.cms}, keys)
		if f := signatureOf(s); f.Status != tt.want || tt.alternate != nil && s.HashType != "sha256" {
			t.Errorf("%s: %+v, %q", name, f, s.Reasons)
		}
	}
	// A list with the second covers it, whatever it says.
	for name, attribute := range map[string]func([]byte) []byte{
		"truncated": func(d []byte) []byte { return fakedarwin.AgilityList(make([]byte, 20), d) },
		"digest":    fakedarwin.AgilityDigest,
	} {
		s := signedBundle(t, &fakedarwin.Signer{Identifier: "a", Flags: 0x200, Alternate: other,
			Both: func(directory, alternate []byte) []byte {
				c := cert
				sum := sha256.Sum256(alternate)
				c.Agility = func([]byte) [][]byte { return [][]byte{attribute(sum[:])} }
				return apple.Sign(c)(directory)
			}}, keys)
		if f := signatureOf(s); f.Status != fact.SignatureValid || s.Platform.String() != "2" {
			t.Errorf("%s: %+v, %q", name, f, s.Reasons)
		}
	}
}

// TestByteFlips changes each byte of a signed bundle in turn: it is not valid any more, unless the byte belongs to
// nothing or nobody signed it.
func TestByteFlips(t *testing.T) {
	apple, _, keys := apples()
	files := fakedarwin.BundleFiles(kextDir, "com.vendor.driver", &fakedarwin.Signer{Identifier: "com.vendor.driver",
		CMS: apple.Sign(fakedarwin.Certificate{Name: "Software Signing",
			CA: "Apple Code Signing Certification Authority"})})
	reader := bundleReader{FS: files, Code: true, Signatures: true, Verify: true, Keys: keys}
	status := func() fact.SignatureStatus {
		b, err := reader.tested(kextDir)
		if err != nil || b.signature == nil {
			return ""
		}
		return signatureOf(b.signature).Status
	}
	if got := status(); got != fact.SignatureValid {
		t.Fatal(got)
	}
	flips, still := 0, 0
	for name, file := range files {
		if strings.HasSuffix(name, ".DS_Store") || strings.HasSuffix(name, "Contents/CodeResources") {
			continue // what is not sealed
		}
		free := unsigned(t, file.Data)
		step := 1
		if len(file.Data) > 5000 {
			step = 29
		}
		for i := 0; i < len(file.Data); i += step {
			file.Data[i] ^= 0x10
			flips++
			if status() == fact.SignatureValid {
				if still++; !free(i) {
					t.Errorf("%s, byte %d of %d: still valid", name, i, len(file.Data))
				}
			}
			file.Data[i] ^= 0x10
		}
	}
	t.Logf("%d bytes changed, %d of no use", flips, still)
	if got := status(); got != fact.SignatureValid {
		t.Errorf("as it was: %s", got)
	}
}

// unsigned returns a test for the bytes of a fat file that nobody signed: the gaps between slices, what comes after
// the code directory in a signature (its CMS has unsigned parts), and the header of the signature.
func unsigned(t *testing.T, data []byte) func(int) bool {
	t.Helper()
	if !isMachO(data) {
		return func(int) bool { return false }
	}
	all, err := readSlices("x", strings.NewReader(string(data)), int64(len(data)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(i int) bool {
		for _, s := range all {
			at := int64(i) - s.offset
			if at < 0 || at >= s.size {
				continue
			}
			blob := data[s.offset+s.signature.offset:]
			directory := s.signature.offset + int64(be32(blob, 16))
			end := directory + int64(be32(blob, int(be32(blob, 16))+4))
			return at >= s.signature.offset && at < directory || at >= end
		}
		return true
	}
}

// TestSignatureParts changes, and takes away, parts of a signature that the code directory lists.
func TestSignatureParts(t *testing.T) {
	apple, _, keys := apples()
	sign := apple.Sign(fakedarwin.Certificate{Name: "Software Signing",
		CA: "Apple Code Signing Certification Authority"})
	for name, tt := range map[string]struct {
		old, new string // in each slice
		want     fact.SignatureStatus
	}{
		"intact":                     {"", "", fact.SignatureValid},
		"requirements changed":       {"the requirements", "The requirements", fact.SignatureInvalid},
		"entitlements changed":       {"the entitlements", "The entitlements", fact.SignatureInvalid},
		"entitlements in other slot": {"\x00\x00\x00\x05", "\x00\x00\x00\x06", fact.SignatureInvalid},
	} {
		files := fakedarwin.BundleFiles(kextDir, "com.apple.x", &fakedarwin.Signer{Identifier: "com.apple.x", CMS: sign,
			Parts: map[int][]byte{2: []byte("the requirements"), 5: []byte("the entitlements")}})
		code := files[kextDir+"/Contents/MacOS/Driver"]
		if tt.old != "" {
			at := 0
			for { // after each beginning of a signature
				start := bytes.Index(code.Data[at:], []byte("\xfa\xde\x0c\xc0"))
				if start < 0 {
					break
				}
				at += start + 12
				part := bytes.Index(code.Data[at:], []byte(tt.old))
				copy(code.Data[at+part:], tt.new)
			}
		}
		b, err := bundleReader{FS: files, Code: true, Signatures: true, Verify: true, Keys: keys}.tested(kextDir)
		if err != nil || b.signature == nil {
			t.Fatal(err)
		}
		got := signatureOf(b.signature)
		if got.Status != tt.want || (len(b.signature.Reasons) > 0) != (tt.want == fact.SignatureInvalid) {
			t.Errorf("%s: %s, want %s; %q", name, got.Status, tt.want, b.signature.Reasons)
		}
	}
}
