// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/lkm"
)

// signedDigest is what osslsigncode verify prints as the digest that it computed itself.
var signedDigest = regexp.MustCompile(`Calculated message digest *: ([0-9A-F]+)`)

// TestAuthenticodeThroughput checks the signatures of the 400 signed drivers of a Windows volume, with this library and
// with osslsigncode, which makes one process a file, in one run on the same files, and logs how long each took, and its
// CPU time, which other work on the machine changes little. Once more with every hash of the files, which osslsigncode
// does not make. The answers must be equal before anything is timed.
func TestAuthenticodeThroughput(t *testing.T) {
	if !full {
		t.Skip("times 400 drivers against osslsigncode: .ci/run full")
	}
	d := newDriversVolume(t, 400)
	theirs := d.reference(t)
	for _, detail := range []lkm.Detail{lkm.DetailSignatures, lkm.DetailSignatures | lkm.DetailHashes} {
		for name, ours := range d.library(t, detail) {
			if ours.digest != theirs.digests[name] || ours.digest == "" {
				t.Fatalf("%s: digest %q, osslsigncode has %q", name, ours.digest, theirs.digests[name])
			}
			if want := d.sums[name]; detail&lkm.DetailHashes != 0 && ours.sum != want {
				t.Fatalf("%s: SHA-256 %s, want %s", name, ours.sum, want)
			}
		}
	}
	const runs = 5
	var their, signatures, hashes []cost
	for range runs { // in turn, so that what else the machine does slows all
		their = append(their, d.reference(t).cost)
		signatures = append(signatures, costOf(t, func() { d.library(t, lkm.DetailSignatures) }))
		hashes = append(hashes, costOf(t, func() { d.library(t, lkm.DetailSignatures|lkm.DetailHashes) }))
	}
	ref := median(their)
	t.Logf("%d drivers, %.1f MB, %d cores, median of %d runs: osslsigncode verify %v, CPU %v", len(d.sums),
		float64(d.bytes)/1e6, runtime.NumCPU(), runs, ref.wall, ref.cpu)
	for name, list := range map[string][]cost{"signatures": signatures, "signatures and all hashes": hashes} {
		c := median(list)
		t.Logf("%s here: %v (1/%.1f), CPU %v (1/%.1f)", name, c.wall, float64(ref.wall)/float64(c.wall), c.cpu,
			float64(ref.cpu)/float64(c.cpu))
	}
}

// A driversVolume is a folder with the signed drivers of a Windows volume.
type driversVolume struct {
	root  string            // of the volume
	dir   string            // System32\drivers
	roots string            // the certificates that they lead to, for osslsigncode
	keys  []fact.KeySet     // the same
	sums  map[string]string // SHA-256 of each file
	bytes int64             // of all files
}

func newDriversVolume(t *testing.T, n int) *driversVolume {
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning, oidWHQL}}, f.ca)
	d := &driversVolume{root: t.TempDir(), sums: map[string]string{}, keys: keysOf("test", f.root, f.tsaRoot)}
	d.roots = f.file(t, "roots.pem", pemOf(f.root.cert))
	d.dir = filepath.Join(d.root, "Windows", "System32", "drivers")
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeSoftware(t, filepath.Join(d.root, "Windows", "System32", "config"))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		// Sizes as in System32\drivers: 100 KB in the middle, some of a megabyte.
		code := make([]byte, 30_000+rng.IntN(150_000)+(i%20/19)*rng.IntN(1_500_000))
		for j := range code {
			code[j] = byte(rng.Uint32())
		}
		image := petest.Image{Code: code,
			Imports: []petest.Import{{Library: "ntoskrnl.exe", Functions: []string{"IoCreateDevice"}}}}.Build()
		signed := f.sign(t, "b.sys", image, leaf, []*party{f.ca}, "-h", "sha256")
		name := fmt.Sprintf("d%03d.sys", i)
		if err := os.WriteFile(filepath.Join(d.dir, name), signed, 0o644); err != nil {
			t.Fatal(err)
		}
		d.sums[name], d.bytes = fmt.Sprintf("%x", sha256.Sum256(signed)), d.bytes+int64(len(signed))
	}
	return d
}

// A cost is what one run takes.
type cost struct{ wall, cpu time.Duration }

// costOf measures what f takes of this process.
func costOf(t *testing.T, f func()) cost {
	start, cpu := time.Now(), ownCPU(t)
	f()
	return cost{time.Since(start), ownCPU(t) - cpu}
}

// median returns the median of each.
func median(list []cost) cost {
	var m cost
	for _, v := range []struct {
		to *time.Duration
		of func(cost) time.Duration
	}{{&m.wall, func(c cost) time.Duration { return c.wall }}, {&m.cpu, func(c cost) time.Duration { return c.cpu }}} {
		all := make([]time.Duration, 0, len(list))
		for _, c := range list {
			all = append(all, v.of(c))
		}
		slices.Sort(all)
		*v.to = all[len(all)/2].Round(time.Millisecond)
	}
	return m
}

type referenceRun struct {
	cost
	digests map[string]string // by file
}

// reference verifies each file with osslsigncode.
func (d *driversVolume) reference(t *testing.T) referenceRun {
	run := referenceRun{digests: map[string]string{}}
	start := time.Now()
	for name := range d.sums {
		file := filepath.Join(d.dir, name)
		cmd := exec.CommandContext(t.Context(), "osslsigncode", "verify", "-CAfile", d.roots, "-in", file)
		out, err := cmd.CombinedOutput()
		run.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		m := signedDigest.FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("osslsigncode verify %s: %v\n%s", file, err, out)
		}
		run.digests[name] = strings.ToLower(string(m[1]))
	}
	run.wall = time.Since(start)
	return run
}

type libraryAnswer struct{ digest, sum string }

// library lists the volume's drivers. The digest is empty if the signature is not valid.
func (d *driversVolume) library(t *testing.T, detail lkm.Detail) map[string]libraryAnswer {
	fsys, err := lkm.Dir(d.root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lkm.OpenImage(fsys, lkm.Options{OS: lkm.Windows, Keys: d.keys, Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	answers := make(map[string]libraryAnswer, len(d.sums))
	for m, err := range s.Installed(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var a libraryAnswer
		if w := m.Windows; len(w.Signatures) == 1 && w.Signatures[0].Status == fact.SignatureValid {
			a.digest = w.Signatures[0].Digest
		}
		if m.Windows.Hashes != nil {
			a.sum = m.Windows.Hashes.SHA256
		}
		answers[m.Name] = a
	}
	if len(answers) != len(d.sums) {
		t.Fatalf("%d drivers listed, want %d", len(answers), len(d.sums))
	}
	return answers
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
