// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// signedDigest is what osslsigncode verify prints as the digest that it computed itself.
var signedDigest = regexp.MustCompile(`Calculated message digest *: ([0-9A-F]+)`)

// TestAuthenticodeThroughput hashes 400 signed drivers and checks their signatures, with this
// library and with osslsigncode, which makes one process a file, in one run on the same files, and
// logs how long each took. The digests must be equal before anything is timed.
func TestAuthenticodeThroughput(t *testing.T) {
	const n = 400
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL}}, f.ca)
	keys := keysOf("test", f.root, f.tsaRoot)
	roots := f.file(t, "roots.pem", pemOf(f.root.cert))
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	var files []string
	var bytes int64
	for i := range n {
		// Sizes as in System32\drivers: 100 KB in the middle, some of a megabyte.
		code := make([]byte, 30_000+rng.IntN(150_000)+(i%20/19)*rng.IntN(1_500_000))
		for j := range code {
			code[j] = byte(rng.Uint32())
		}
		image := petest.Image{Code: code,
			Imports: []petest.Import{{Library: "ntoskrnl.exe", Functions: []string{"IoCreateDevice"}}}}.Build()
		signed := f.sign(t, "b.sys", image, leaf, []*party{f.ca}, "-h", "sha256")
		name := filepath.Join(dir, fmt.Sprintf("d%03d.sys", i))
		if err := os.WriteFile(name, signed, 0o644); err != nil {
			t.Fatal(err)
		}
		files, bytes = append(files, name), bytes+int64(len(signed))
	}
	theirs := make([]string, n)
	reference := func() time.Duration {
		start := time.Now()
		for i, name := range files {
			out, err := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-CAfile", roots,
				"-in", name).CombinedOutput()
			m := signedDigest.FindSubmatch(out)
			if err != nil || m == nil {
				t.Fatalf("osslsigncode verify %s: %v\n%s", name, err, out)
			}
			theirs[i] = string(m[1])
		}
		return time.Since(start)
	}
	ours := make([]string, n)
	library := func() time.Duration {
		start := time.Now()
		v := authenticode.NewVerifier(keys, now, nil, new(fact.Report))
		for i, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := windows.ParseFile(b, windows.FileOptions{Hashes: true, Verifier: v}, new(fact.Report))
			if err != nil || len(file.Signatures) != 1 || file.Signatures[0].Status != fact.SignatureValid {
				t.Fatalf("%s: %v", name, err)
			}
			ours[i] = fmt.Sprintf("%X", mustHex(t, hex.EncodeToString(file.PE.Authentihash(crypto.SHA256))))
		}
		return time.Since(start)
	}
	reference()
	library()
	for i := range files {
		if ours[i] != theirs[i] {
			t.Fatalf("%s: digest %s, osslsigncode has %s", files[i], ours[i], theirs[i])
		}
	}
	const runs = 5
	var their, our []time.Duration
	for range runs { // in turn, so that what else the machine does slows both
		their, our = append(their, reference()), append(our, library())
	}
	slices.Sort(their)
	slices.Sort(our)
	t.Logf("%d drivers, %.1f MB, %d cores, median of %d runs: osslsigncode verify %v, all hashes and signatures here "+
		"%v on one core: %.1f times as fast", n, float64(bytes)/1e6,
		runtime.NumCPU(), runs, their[runs/2].Round(time.Millisecond), our[runs/2].Round(time.Millisecond),
		float64(their[runs/2])/float64(our[runs/2]))
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
