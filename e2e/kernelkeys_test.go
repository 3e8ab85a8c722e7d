// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/lkm"
)

// unpackers are the programs that unpack a kernel, by the library's word for the packing.
var unpackers = map[string][]string{"xz": {"xz", "-dc", "--single-stream"}, "zstd": {"zstd", "-dcq", "--long=27"}}

// kernelCertificates reads the certificates in a kernel's file.
func kernelCertificates(t *testing.T, k debian.Kernel) (*boot.KernelImage, []*x509.Certificate) {
	t.Helper()
	r := &fact.Report{Budget: fact.NewBudget(0)}
	image, err := boot.ReadKernelImage(os.DirFS(k.Root), "boot/"+filepath.Base(k.Image()), r)
	if err != nil || len(image.Lists) != 1 || !image.Lists[0].ModuleKey {
		t.Fatalf("%+v, %v", image, err)
	}
	var certificates []*x509.Certificate
	for _, c := range image.Lists[0].Certificates {
		x, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		certificates = append(certificates, x)
	}
	return image, certificates
}

// plainKernel unpacks a bzImage by the program for it.
func plainKernel(t *testing.T, k debian.Kernel, packing string) []byte {
	t.Helper()
	file, err := os.ReadFile(k.Image())
	if err != nil {
		t.Fatal(err)
	}
	argv := unpackers[packing]
	lab.Tools(t, argv[0])
	le := binary.LittleEndian
	start := (int(file[0x1f1])+1)*512 + int(le.Uint32(file[0x248:]))
	payload := file[start : start+int(le.Uint32(file[0x24c:]))-4]
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(payload)
	plain, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// TestKernelCertificates: openssl finds the same certificates among all that begins like one in the plain kernel.
func TestKernelCertificates(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "openssl")
	for _, k := range []debian.Kernel{plainTree(t), xzTree(t)} {
		image, certificates := kernelCertificates(t, k)
		plain := plainKernel(t, k, image.Compression)
		var found [][]byte
		for at := 0; at+6 < len(plain); at += 8 {
			if !bytes.HasPrefix(plain[at:], []byte("\x30\x82")) || plain[at+4] != 0x30 {
				continue
			}
			size := 4 + int(binary.BigEndian.Uint16(plain[at+2:]))
			if size < 256 || at+size > len(plain) {
				continue
			}
			cmd := exec.Command("openssl", "x509", "-inform", "DER", "-outform", "DER")
			cmd.Stdin = bytes.NewReader(plain[at : at+size])
			if der, err := cmd.Output(); err == nil {
				found = append(found, der)
			}
		}
		if len(found) != len(certificates) {
			t.Fatalf("%s: openssl finds %d certificates, the library %d", k.Release, len(found), len(certificates))
		}
		for i, c := range certificates {
			if !bytes.Equal(c.Raw, found[i]) {
				t.Errorf("%s: certificate %d differs", k.Release, i)
			}
		}
	}
}

// TestModulesOfTheirKernel verifies the modules of whole kernels against the certificates in their own images, without
// any option. In full it takes every module, else one of twenty.
func TestModulesOfTheirKernel(t *testing.T) {
	t.Parallel()
	for _, k := range []debian.Kernel{plainTree(t), xzTree(t)} {
		fsys, err := lkm.Dir(k.Root)
		if err != nil {
			t.Fatal(err)
		}
		took := make(map[lkm.Trust]time.Duration)
		for _, trust := range []lkm.Trust{lkm.TrustCaller, 0} {
			s, err := lkm.OpenImage(fsys, lkm.Options{Detail: lkm.DetailSignatures, Trust: trust, Only: oneOfTwenty})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			valid, looked := 0, 0
			for m, err := range s.Installed(t.Context()) {
				switch {
				case err != nil:
					t.Fatal(err)
				case !oneOfTwenty(&m):
					continue
				}
				looked++
				if m.Signature.Status == lkm.SignatureValid && m.Signature.KeySet == "/boot/vmlinuz-"+k.Release {
					valid++
				}
			}
			took[trust] = time.Since(start)
			if want := map[lkm.Trust]int{0: looked}[trust]; looked == 0 || valid != want {
				t.Errorf("%s: %d of %d modules are valid, want %d", k.Release, valid, looked, want)
			}
			t.Logf("%s: %d of %d valid in %v", k.Release, valid, looked, took[trust])
		}
	}
}

func oneOfTwenty(m *lkm.Module) bool {
	h := fnv.New32()
	h.Write([]byte(m.Name))
	return full || h.Sum32()%20 == 0
}

// TestChangedModules changes one byte of a module 2,000 times: none is valid.
func TestChangedModules(t *testing.T) {
	t.Parallel()
	k := plainTree(t)
	_, certificates := kernelCertificates(t, k)
	keys := []lkm.KeySet{{Name: "image", Certificates: certificates}}
	file := smallest(t, k, 1)[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := inspect(data, keys); err != nil || m.Signature.Status != lkm.SignatureValid {
		t.Fatalf("%+v, %v", m.Signature, err)
	}
	rng := rand.New(rand.NewPCG(15, 2000))
	for range 2000 {
		at, bit := rng.IntN(len(data)), byte(1)<<rng.IntN(8)
		data[at] ^= bit
		if m, err := inspect(data, keys); err == nil && m.Signature.Status == lkm.SignatureValid {
			t.Errorf("%s is valid with byte %d changed", file, at)
		}
		data[at] ^= bit
	}
}
