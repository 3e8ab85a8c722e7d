// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// wineRoots is the library in which Wine ships the roots of Microsoft.
const wineRoots = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/crypt32.dll"

// root2010 is the SHA-256 of the certificate of Microsoft Root Certificate Authority 2010.
const root2010 = "df545bf919a2439c36983b54cdfc903dfa4f37d3996d8d84b4c31eec6f3c163e"

// microsoftRoot finds the certificate of that root in Wine's library.
func microsoftRoot(t *testing.T) *party {
	t.Helper()
	b, err := os.ReadFile(wineRoots)
	if err != nil {
		lab.Tools(t, "wine64")
		t.Skip("skipped: ", err)
	}
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], []byte{0x30, 0x82})
		if i < 0 {
			t.Skip("skipped: this Wine has no Microsoft Root Certificate Authority 2010")
		}
		at += i
		if at+4 > len(b) {
			continue
		}
		end := at + 4 + int(b[at+2])<<8 + int(b[at+3])
		if end > len(b) {
			continue
		}
		if sum := sha256.Sum256(b[at:end]); hex.EncodeToString(sum[:]) != root2010 {
			continue
		}
		cert, err := x509.ParseCertificate(b[at:end])
		if err != nil {
			t.Fatal(err)
		}
		return &party{cert: cert}
	}
}

// Drivers of Windows are valid under Microsoft's own root, though their signers' certificates
// expired years ago: they are judged at their timestamps. osslsigncode says the same with that time instead of the
// timestamp, whose authority it judges at today's; its last word is about a revocation list, which is not looked for.
func TestMicrosoftDrivers(t *testing.T) {
	root := microsoftRoot(t)
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(cache)), "github.com", "saferwall", "pe@v1.6.5", "test")
	keys := keysOf("microsoft", root)
	o := ossl{t.TempDir()}
	roots := o.file(t, "root.pem", pemOf(root.cert))
	for name, class := range map[string]fact.SignatureClass{"acpi.sys": fact.ClassInbox, "amdxata.sys": fact.ClassInbox,
		"WdBoot.sys": fact.ClassELAM} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("skipped: %v (go mod download github.com/saferwall/pe@v1.6.5)", err)
		}
		list := verify(t, b, keys)
		if len(list) != 1 {
			t.Fatalf("%s: %d signatures", name, len(list))
		}
		s := list[0]
		if s.Status != fact.SignatureValid || s.KeySet != "microsoft" || s.Class != class || len(s.Certificates) != 3 ||
			s.Certificates[2].CommonName != "Microsoft Root Certificate Authority 2010" {
			t.Errorf("%s: %s %s by %d certificates (%s)", name, s.Status, s.Class, len(s.Certificates), s.Reason)
		}
		if len(s.Timestamps) != 1 || s.Timestamps[0].Status != fact.SignatureValid ||
			now.Before(s.Certificates[0].NotAfter) {
			t.Errorf("%s: timestamps %+v", name, s.Timestamps)
		}
		out, _ := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-ignore-cdp",
			"-ignore-timestamp", "-time",
			fmt.Sprint(s.SignedAt.Unix()),
			"-CAfile", roots, "-in", filepath.Join(dir, name)).CombinedOutput()
		m := signedDigest.FindSubmatch(out)
		if m == nil || !strings.EqualFold(string(m[1]), s.Digest) ||
			!strings.Contains(string(out), "Signing certificate chain verified using:") {
			t.Errorf("osslsigncode verify %s: %s is signed here\n%s", name, s.Digest, out)
		}
		v := authenticode.NewVerifier(keys, now, nil, new(fact.Report))
		b[len(b)/2] ^= 0x80
		f, err := windows.ParseFile(b, windows.FileOptions{Verifier: v}, new(fact.Report))
		if err != nil || f.Signatures[0].Status != fact.SignatureInvalid {
			t.Errorf("%s, changed: %+v, %v", name, f, err)
		}
	}
}

// The digest is that of the whole file but for what signing changes, however sections lie: no gap
// between them, overlap or data after them is left out. osslsigncode signs what is computed here.
func TestAuthenticodeLayouts(t *testing.T) {
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL}}, f.ca)
	keys := keysOf("test", f.root)
	driver := testDriver()
	header := int(driver[0x3c]) + 24 + 240 // of the section table
	sections := int(driver[int(driver[0x3c])+6])
	rawAt := func(i int) int { return header + 40*i + 20 }
	get32 := func(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	last := sections - 1
	from := int(get32(driver, rawAt(last)))
	gap := append(append(bytes.Clone(driver[:from]), bytes.Repeat([]byte{0x5a}, 0x200)...), driver[from:]...)
	put32(gap, rawAt(last), uint32(from+0x200))
	overlap := bytes.Clone(driver)
	put32(overlap, rawAt(last), get32(driver, rawAt(last))-0x200)
	for name, c := range map[string]struct {
		image []byte
		spot  int // a byte that only some way of hashing leaves out
	}{
		"as linked":   {driver, from + 5},
		"gap":         {gap, from + 5},
		"overlap":     {overlap, from - 5},
		"one byte":    {append(bytes.Clone(driver), 7), len(driver)},
		"seven bytes": {append(bytes.Clone(driver), 1, 2, 3, 4, 5, 6, 7), len(driver) + 6},
		"a lot":       {append(bytes.Clone(driver), bytes.Repeat([]byte{9}, 12345)...), len(driver) + 12000},
	} {
		p, err := pe.Parse(c.image, new(fact.Report))
		if err != nil {
			t.Fatal(name, err)
		}
		before := p.Authentihash(crypto.SHA256)
		signed := f.sign(t, "l.sys", c.image, leaf, []*party{f.ca}, "-h", "sha256")
		list := verify(t, signed, keys)
		if len(list) != 1 || list[0].Status != fact.SignatureValid {
			t.Errorf("%s: %+v", name, list)
			continue
		}
		if list[0].Digest != hex.EncodeToString(before) {
			t.Errorf("%s: signed %s, before signing it was %x", name, list[0].Digest, before)
		}
		out, _ := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-in",
			f.file(t, "check.sys", signed)).CombinedOutput()
		if m := signedDigest.FindSubmatch(out); m == nil || !strings.EqualFold(string(m[1]), list[0].Digest) {
			t.Errorf("%s: osslsigncode computes another digest than %s\n%s", name, list[0].Digest, out)
		}
		q, err := pe.Parse(signed, new(fact.Report))
		if err != nil || q.Checksum != q.ComputedChecksum {
			t.Errorf("%s: osslsigncode wrote checksum %s, computed here %s (%v)", name,
				q.Checksum, q.ComputedChecksum, err)
		}
		signed[c.spot] ^= 0x10
		if list := verify(t, signed, keys); list[0].Status != fact.SignatureInvalid {
			t.Errorf("%s: byte %#x changed: %s", name, c.spot, list[0].Status)
		}
	}
}
