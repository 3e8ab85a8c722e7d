// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// A signer is a key made for the test, with its certificate.
type signer struct {
	name string
	cert *x509.Certificate
	dir  string // key.pem, cert.pem
}

// newSigner makes a certificate whose serial number has its first bit set, and which has two common names.
func newSigner(t *testing.T, name string, key crypto.Signer) signer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetUint64(uint64(time.Now().UnixNano()) | 1<<63),
		Subject: pkix.Name{CommonName: "kernelext " + name, ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "another name of " + name},
		}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SubjectKeyId: []byte(name),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{name: name, dir: t.TempDir()}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.dir+"/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	writeFile(t, s.dir+"/cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return s
}

func newSigners(t *testing.T) []signer {
	t.Helper()
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return []signer{newSigner(t, "rsa", rsaKey), newSigner(t, "ecdsa", ecKey)}
}

func (s signer) keys() []lkm.KeySet {
	return []lkm.KeySet{{Name: s.name, Certificates: []*x509.Certificate{s.cert}}}
}

// kernelSign signs a module with the kernel's own program.
func (s signer) kernelSign(t *testing.T, program, hash string, module []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.ko")
	writeFile(t, file, module)
	output(t, program, hash, s.dir+"/key.pem", s.dir+"/cert.pem", file)
	signed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// opensslSign signs a module with openssl; the signer is named by the key's identifier.
func (s signer) opensslSign(t *testing.T, hash string, module []byte) []byte {
	t.Helper()
	return appendSignature(module, opensslCMS(t, hash, module, []signer{s}, "-noattr", "-keyid"))
}

// opensslCMS gives the signatures of a module by several signers, as one message.
func opensslCMS(t *testing.T, hash string, module []byte, signers []signer, options ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.ko")
	writeFile(t, file, module)
	args := []string{"cms", "-sign", "-binary", "-nocerts", "-nosmimecap", "-md", hash, "-outform", "DER", "-in",
		file, "-out", file + ".p7s"}
	for _, s := range signers {
		args = append(args, "-signer", s.dir+"/cert.pem", "-inkey", s.dir+"/key.pem")
	}
	output(t, "openssl", append(args, options...)...)
	block, err := os.ReadFile(file + ".p7s")
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// appendSignature makes a signed module of a module and a PKCS#7 message.
func appendSignature(module, block []byte) []byte {
	trailer := binary.BigEndian.AppendUint32([]byte{0, 0, 2, 0, 0, 0, 0, 0}, uint32(len(block)))
	return bytes.Join([][]byte{module, block, trailer, []byte(signatureMark)}, nil)
}

// mergeCMS puts the signers of two messages into one: openssl signs with one digest algorithm at a time.
func mergeCMS(t *testing.T, a, b []byte) []byte {
	t.Helper()
	type signedData struct {
		Version int
		Digests []asn1.RawValue `asn1:"set"`
		Content asn1.RawValue
		Signers []asn1.RawValue `asn1:"set"`
	}
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content signedData `asn1:"explicit,tag:0"`
	}
	var one, two contentInfo
	_, err1 := asn1.Unmarshal(a, &one)
	_, err2 := asn1.Unmarshal(b, &two)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	one.Content.Digests = append(one.Content.Digests, two.Content.Digests...)
	one.Content.Signers = append(one.Content.Signers, two.Content.Signers...)
	merged, err := asn1.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

// opensslVerify fails unless openssl takes every signature of a message for one of the module.
func opensslVerify(t *testing.T, module, block []byte, signers []signer) {
	t.Helper()
	dir := t.TempDir()
	var certs []byte
	for _, s := range signers {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})...)
	}
	writeFile(t, dir+"/certs.pem", certs)
	writeFile(t, dir+"/m.ko", module)
	writeFile(t, dir+"/m.p7s", block)
	output(t, "openssl", "cms", "-verify", "-binary", "-noverify", "-inform", "DER", "-in", dir+"/m.p7s", "-content",
		dir+"/m.ko", "-certfile", dir+"/certs.pem", "-out", os.DevNull)
}

const signatureMark = "~Module signature appended~\n"

// unsigned cuts off the signature that Debian put on a module.
func unsigned(t *testing.T, module []byte) []byte {
	t.Helper()
	content, ok := bytes.CutSuffix(module, []byte(signatureMark))
	if !ok || len(content) < 12 {
		t.Fatal("the module has no signature")
	}
	size := int(binary.BigEndian.Uint32(content[len(content)-4:]))
	return content[: len(content)-12-size : len(content)-12-size]
}

// inspect reads a module in memory with everything that can be read of it.
func inspect(data []byte, keys []lkm.KeySet) (lkm.Module, error) {
	fsys := fstest.MapFS{"m.ko": {Data: data}}
	list, err := lkm.ReadFile(context.Background(), fsys, "m.ko",
		lkm.Options{Detail: lkm.DetailFiles | lkm.DetailSignatures | lkm.DetailSymbols | lkm.DetailHashes, Keys: keys})
	if err != nil {
		return lkm.Module{}, err
	}
	return list[0], nil
}

// TestSignature signs modules with keys of its own, by the kernel's program and by openssl, and
// checks what the library says of them: valid for the right key; never valid for another, for an
// unsigned module, or with any byte changed.
func TestSignature(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "openssl", "xz", "zstd", "gzip")
	k := plainTree(t)
	program, err := debian.SignFile(t.Context(), k)
	lab.Met(t, err)
	signers := newSigners(t)
	files := smallest(t, k, 2)
	if full {
		files = smallest(t, k, 40)
	}
	for i, file := range files {
		module, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		module = unsigned(t, module)
		s, other := signers[i%2], signers[(i+1)%2]
		hash := []string{"sha256", "sha512", "sha384"}[i%3]
		for how, signed := range map[string][]byte{"sign-file": s.kernelSign(t, program, hash, module),
			"openssl": s.opensslSign(t, hash, module)} {
			t.Run(how+" "+s.name+" "+filepath.Base(file), func(t *testing.T) {
				want := verified{lkm.SignatureValid, s.name, hash}
				want.check(t, signed, s.keys())
				want.check(t, signed, append(other.keys(), s.keys()...))
				verified{lkm.SignatureUnchecked, "", hash}.check(t, signed, nil)
				verified{lkm.SignatureUnchecked, "", hash}.check(t, signed, other.keys())
				verified{lkm.SignatureNone, "", ""}.check(t, module, s.keys())
				flipAll(t, signed, len(module), s.keys(), nil)
				if i < 2 && how == "sign-file" {
					flipContainers(t, signed, s.keys())
				}
			})
		}
	}
}

// TestSignatureForms asks of signatures by openssl what the kernel asks (TestKernelSignatureRules):
// none with signed attributes (pkcs7_verify), and of several signers none that is wrong and one
// that is trusted (pkcs7_validate_trust). openssl takes all that are refused for their form alone.
func TestSignatureForms(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "openssl")
	module, err := os.ReadFile(smallest(t, plainTree(t), 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	module = unsigned(t, module)
	signers := newSigners(t)
	a, b := signers[0], signers[1]
	both := append(a.keys(), b.keys()...)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newSigner(t, "stranger", key).keys()
	changed := bytes.Clone(module)
	changed[len(changed)/2] ^= 1
	check := func(t *testing.T, block []byte, keys []lkm.KeySet, want lkm.SignatureStatus) {
		t.Helper()
		m, err := inspect(appendSignature(module, block), keys)
		if err != nil || m.Signature.Status != want || (want == lkm.SignatureUnchecked) != (len(m.Problems) > 0) {
			t.Errorf("%+v, want %s; %v, %v", m.Signature, want, m.Problems, err)
		}
	}
	for _, s := range signers {
		t.Run("signed attributes "+s.name, func(t *testing.T) {
			block := opensslCMS(t, "sha256", module, []signer{s})
			opensslVerify(t, module, block, signers)
			check(t, block, s.keys(), lkm.SignatureUnchecked)
			check(t, opensslCMS(t, "sha256", module, []signer{s}, "-noattr"), s.keys(), lkm.SignatureValid)
		})
	}
	twoDigests := func(module []byte) []byte {
		return mergeCMS(t, opensslCMS(t, "sha256", module, []signer{a}, "-noattr"),
			opensslCMS(t, "sha512", module, []signer{b}, "-noattr"))
	}
	for what, sign := range map[string]func(module []byte) []byte{
		"two signers": func(m []byte) []byte { return opensslCMS(t, "sha256", m, signers, "-noattr") },
		"two signers by key": func(m []byte) []byte {
			return opensslCMS(t, "sha256", m, signers, "-noattr", "-keyid")
		},
		"two signers of two digests": twoDigests,
	} {
		t.Run(what, func(t *testing.T) {
			block := sign(module)
			opensslVerify(t, module, block, signers)
			for _, keys := range [][]lkm.KeySet{both, a.keys(), b.keys()} {
				check(t, block, keys, lkm.SignatureValid)
				check(t, sign(changed), keys, lkm.SignatureInvalid)
			}
			check(t, block, stranger, lkm.SignatureUnchecked)
		})
	}
	for what, second := range map[string][]byte{
		"attributes of one": opensslCMS(t, "sha512", module, []signer{b}),
		"one named by key":  opensslCMS(t, "sha512", module, []signer{b}, "-noattr", "-keyid"),
		"unknown to the kernel": opensslCMS(t, "sha512", module, []signer{a}, "-noattr",
			"-keyopt", "rsa_padding_mode:pss"),
	} {
		t.Run(what, func(t *testing.T) {
			check(t, mergeCMS(t, opensslCMS(t, "sha256", module, []signer{a}, "-noattr"), second),
				both, lkm.SignatureUnchecked)
		})
	}
	t.Run("one of two is wrong", func(t *testing.T) {
		block := mergeCMS(t, opensslCMS(t, "sha256", module, []signer{a}, "-noattr"),
			opensslCMS(t, "sha512", changed, []signer{b}, "-noattr"))
		check(t, block, both, lkm.SignatureInvalid)
		check(t, block, b.keys(), lkm.SignatureInvalid)
		check(t, block, a.keys(), lkm.SignatureValid) // without the other's key the kernel cannot know
	})
}

// TestSignerNames compares the names of signers with modinfo's.
func TestSignerNames(t *testing.T) {
	lab.Tools(t, "openssl", "modinfo")
	k := plainTree(t)
	program, err := debian.SignFile(t.Context(), k)
	lab.Met(t, err)
	module, err := os.ReadFile(smallest(t, k, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	module = unsigned(t, module)
	signers := newSigners(t)
	for what, signed := range map[string][]byte{
		"sign-file":   signers[0].kernelSign(t, program, "sha256", module),
		"openssl":     appendSignature(module, opensslCMS(t, "sha512", module, signers[1:], "-noattr")),
		"two signers": appendSignature(module, opensslCMS(t, "sha384", module, signers, "-noattr")),
	} {
		file := filepath.Join(t.TempDir(), "m.ko")
		writeFile(t, file, signed)
		m, err := inspect(signed, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, s := modinfo(t, []string{file})[file], m.Linux.Signature
		got := []string{s.Signer, s.KeyID, s.Hash, strings.ToUpper(hex.EncodeToString(s.Value))}
		want := []string{r.get("signer"), r.get("sig_key"), r.get("sig_hashalgo"),
			strings.Map(hexOnly, r.get("signature"))}
		if !slices.Equal(got, want) || s.KeyID[0] < '8' {
			t.Errorf("%s: %q, modinfo: %q", what, got, want)
		}
	}
}

// verified is what the library says of a signature.
type verified struct {
	status lkm.SignatureStatus
	keySet string
	hash   string
}

func (want verified) check(t *testing.T, data []byte, keys []lkm.KeySet) {
	t.Helper()
	m, err := inspect(data, keys)
	if err != nil {
		t.Fatal(err)
	}
	if got := (verified{m.Signature.Status, m.Signature.KeySet, m.Signature.Hash}); got != want {
		t.Errorf("signature %+v, want %+v; %v", got, want, m.Problems)
	}
}

// flipAll changes each byte in turn, from an offset on in nine ways, before it in one, and fails if
// the result is valid. same, if given, reports whether a container still holds the same module: that is not a change of
// the code.
func flipAll(t *testing.T, signed []byte, from int, keys []lkm.KeySet, same func([]byte) bool) {
	t.Helper()
	var next, tried, valid atomic.Int64
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			data := bytes.Clone(signed)
			for i := int(next.Add(1)) - 1; i < len(data); i = int(next.Add(1)) - 1 {
				masks := []byte{1, 2, 4, 8, 16, 32, 64, 128, 255}
				if i < from {
					masks = masks[i%9 : i%9+1]
				}
				for _, mask := range masks {
					data[i] ^= mask
					tried.Add(1)
					if m, err := inspect(data, keys); err == nil && m.Signature.Status == lkm.SignatureValid {
						if same == nil || !same(data) {
							t.Errorf("valid with byte %d of %d changed by %#x", i, len(data), mask)
						}
						valid.Add(1)
					}
					data[i] ^= mask
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d changes of %d bytes; after %d of them the same module is in the container", tried.Load(),
		len(signed), valid.Load())
}

// flipContainers changes each byte of a compressed module.
func flipContainers(t *testing.T, signed []byte, keys []lkm.KeySet) {
	t.Helper()
	for _, container := range [][]string{{"gzip", "-n", "-c"}, {"xz", "--check=crc32", "--lzma2=dict=1MiB", "-c"},
		{"zstd", "-q", "-c"}} {
		data := pipe(t, signed, container...)
		if m, err := inspect(data, keys); err != nil || m.Signature.Status != lkm.SignatureValid {
			t.Fatalf("%s: %v, %v", container[0], m.Signature, err)
		}
		flipAll(t, data, len(data), keys, func(changed []byte) bool {
			return bytes.Equal(pipe(t, changed, container[0], "-q", "-d", "-c"), signed)
		})
	}
}

// pipe gives what a program makes of its standard input.
func pipe(t *testing.T, input []byte, argv ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v", argv[0], err)
	}
	return out
}
