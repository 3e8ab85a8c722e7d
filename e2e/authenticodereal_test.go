// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
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
// expired years ago: they are judged at their timestamps. osslsigncode says the same when it is told
// that time instead of the timestamp, whose authority it judges at today's; its last word is about a
// revocation list, which is not looked for.
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
	for name, class := range map[string]fact.SignatureClass{"acpi.sys": fact.ClassInbox, "amdxata.sys": fact.ClassInbox, "WdBoot.sys": fact.ClassELAM} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("skipped: %v (go mod download github.com/saferwall/pe@v1.6.5)", err)
		}
		list := verify(t, b, keys)
		if len(list) != 1 {
			t.Fatalf("%s: %d signatures", name, len(list))
		}
		s := list[0]
		if s.Status != fact.SignatureValid || s.KeySet != "microsoft" || s.Class != class || len(s.Certificates) != 3 || s.Certificates[2].CommonName != "Microsoft Root Certificate Authority 2010" {
			t.Errorf("%s: %s %s by %d certificates (%s)", name, s.Status, s.Class, len(s.Certificates), s.Reason)
		}
		if len(s.Timestamps) != 1 || s.Timestamps[0].Status != fact.SignatureValid || now.Before(s.Certificates[0].NotAfter) {
			t.Errorf("%s: timestamps %+v", name, s.Timestamps)
		}
		out, _ := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-ignore-cdp", "-ignore-timestamp", "-time", fmt.Sprint(s.SignedAt.Unix()),
			"-CAfile", roots, "-in", filepath.Join(dir, name)).CombinedOutput()
		m := signedDigest.FindSubmatch(out)
		if m == nil || !strings.EqualFold(string(m[1]), s.Digest) || !strings.Contains(string(out), "Signing certificate chain verified using:") {
			t.Errorf("osslsigncode verify %s: %s is signed here\n%s", name, s.Digest, out)
		}
		v, _ := windows.NewVerifier(keys, now)
		b[len(b)/2] ^= 0x80
		f, err := windows.ParseFile(b, windows.FileOptions{Verifier: v})
		if err != nil || f.Signatures[0].Status != fact.SignatureInvalid {
			t.Errorf("%s, changed: %+v, %v", name, f, err)
		}
	}
}
