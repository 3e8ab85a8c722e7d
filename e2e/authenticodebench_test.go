// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto"
	"encoding/asn1"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"syscall"
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
// logs how long each took, and its CPU time, which other work on the machine changes little. The
// digests must be equal before anything is timed.
func TestAuthenticodeThroughput(t *testing.T) {
	if !full {
		t.Skip("times 400 drivers against osslsigncode: .ci/run full")
	}
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
	var theirCPU, ourCPU []time.Duration
	reference := func() time.Duration {
		start, cpu := time.Now(), time.Duration(0)
		defer func() { theirCPU = append(theirCPU, cpu) }()
		for i, name := range files {
			cmd := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-CAfile", roots, "-in", name)
			out, err := cmd.CombinedOutput()
			cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
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
		start, cpu := time.Now(), ownCPU(t)
		defer func() { ourCPU = append(ourCPU, ownCPU(t)-cpu) }()
		v := authenticode.NewVerifier(keys, now, nil, new(fact.Report))
		var wait sync.WaitGroup
		next := make(chan int)
		for range min(runtime.GOMAXPROCS(0), 8) { // as many as a list of drivers takes
			wait.Go(func() {
				for i := range next {
					ours[i] = digestOf(t, files[i], v)
				}
			})
		}
		for i := range files {
			next <- i
		}
		close(next)
		wait.Wait()
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
		"%v: %.1f times as fast", n, float64(bytes)/1e6,
		runtime.NumCPU(), runs, their[runs/2].Round(time.Millisecond), our[runs/2].Round(time.Millisecond),
		float64(their[runs/2])/float64(our[runs/2]))
	slices.Sort(theirCPU)
	slices.Sort(ourCPU)
	t.Logf("CPU time: osslsigncode verify %v, here %v: 1/%.1f", theirCPU[runs/2], ourCPU[runs/2],
		float64(theirCPU[runs/2])/float64(ourCPU[runs/2]))
}

// digestOf makes all hashes of a driver and checks its signature. It returns the digest that was signed, empty if the
// signature is not valid.
func digestOf(t *testing.T, name string, v *authenticode.Verifier) string {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
		return ""
	}
	file, err := windows.ParseFile(b, windows.FileOptions{Hashes: true, Verifier: v}, new(fact.Report))
	if err != nil || len(file.Signatures) != 1 || file.Signatures[0].Status != fact.SignatureValid {
		t.Errorf("%s: %v", name, err)
		return ""
	}
	return fmt.Sprintf("%X", file.PE.Authentihash(crypto.SHA256))
}

// ownCPU returns the CPU time that this process took so far.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
