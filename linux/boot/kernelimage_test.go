// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

var buildID = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

const buildIDText = "0102030405060708090a0b0c0d0e0f1011121314"

// twoCertificates are those of an RSA and of an ECDSA key.
func twoCertificates(t testing.TB) [][]byte {
	t.Helper()
	return [][]byte{linuxtest.NewKey(t, "one", false).Cert.Raw, linuxtest.NewKey(t, "two", true).Cert.Raw}
}

func readKernel(t testing.TB, file []byte) (*KernelImage, error) {
	t.Helper()
	fsys := fstest.MapFS{"boot/vmlinuz": {Data: file}}
	return ReadKernelImage(fsys, "boot/vmlinuz", &fact.Report{Budget: fact.NewBudget(0)})
}

func zstdOf(data []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(data, nil)
}

// packedBy packs with a program, which the machine may lack.
func packedBy(t testing.TB, data []byte, program string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Skip(err)
	}
	return out
}

// TestKernelContainers finds the certificates in every form that a kernel's file has.
func TestKernelContainers(t *testing.T) {
	certs := twoCertificates(t)
	plain := linuxtest.Kernel{BuildID: buildID, Lists: []linuxtest.KernelList{{Certificates: certs, ModuleKey: true}},
		Raw: bytes.Repeat([]byte("kernel "), 200_000)}.Plain()
	raw := bytes.Clone(plain)
	copy(raw, "\x00\x00\x00\x00")
	copy(raw[56:], "ARM\x64")
	quiet := bytes.ReplaceAll(bytes.ReplaceAll(plain, []byte{0xe8}, []byte{1}), []byte{0xe9}, []byte{1})
	for name, c := range map[string]struct {
		packing string
		file    func(t *testing.T) []byte
	}{
		"vmlinux":           {"none", func(*testing.T) []byte { return plain }},
		"Image":             {"none", func(*testing.T) []byte { return raw }},
		"vmlinux.gz":        {"gzip", func(*testing.T) []byte { return linuxtest.Gzip(plain) }},
		"Image.zst":         {"zstd", func(*testing.T) []byte { return zstdOf(raw) }},
		"bzImage with none": {"none", func(*testing.T) []byte { return linuxtest.BzImage(plain, len(plain)) }},
		"bzImage with gzip": {"gzip", func(*testing.T) []byte { return linuxtest.BzImage(linuxtest.Gzip(plain), 0) }},
		"bzImage with zstd": {"zstd", func(*testing.T) []byte { return linuxtest.BzImage(zstdOf(plain), len(plain)) }},
		"bzImage with lz4":  {"lz4", func(*testing.T) []byte { return linuxtest.BzImage(lz4Of(plain), len(plain)) }},
		"bzImage, stored xz": {"xz", func(*testing.T) []byte {
			return linuxtest.BzImage(linuxtest.StoredXZ(quiet), 1)
		}},
		"bzImage with xz": {"xz", func(t *testing.T) []byte {
			args := []string{"--check=crc32", "--x86", "--lzma2=dict=32MiB"}
			return linuxtest.BzImage(packedBy(t, plain, "xz", args...), 1)
		}},
		"bzImage with lzma": {"lzma", func(t *testing.T) []byte {
			return linuxtest.BzImage(packedBy(t, plain, "xz", "--format=lzma", "-9"), 1)
		}},
		"bzImage with bzip2": {"bzip2", func(t *testing.T) []byte {
			return linuxtest.BzImage(packedBy(t, plain, "bzip2", "-9"), 1)
		}},
		"zboot with gzip": {"gzip", func(*testing.T) []byte { return linuxtest.Zboot(linuxtest.Gzip(raw), "gzip") }},
		"zboot with zstd": {"zstd", func(*testing.T) []byte { return linuxtest.Zboot(zstdOf(raw), "zstd22") }},
		"unified image": {"zstd", func(*testing.T) []byte {
			kernel := string(linuxtest.BzImage(zstdOf(plain), len(plain)))
			return linuxtest.Image(".cmdline", "quiet", ".linux", kernel, ".initrd", "x")
		}},
		"unified image of an Image": {"none", func(*testing.T) []byte {
			return linuxtest.Image(".linux", string(raw))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			image, err := readKernel(t, c.file(t))
			if err != nil || image.Compression != c.packing || len(image.Lists) != 1 {
				t.Fatalf("%+v, %v", image, err)
			}
			l := image.Lists[0]
			same := len(l.Certificates) == 2 && bytes.Equal(l.Certificates[0].Raw, certs[0]) &&
				bytes.Equal(l.Certificates[1].Raw, certs[1])
			if name == "bzImage, stored xz" {
				same = len(l.Certificates) == 2 // a few of their bytes were replaced
			}
			if !l.ModuleKey || !same || !slices.Equal(image.BuildIDs, []string{buildIDText}) {
				t.Errorf("%v %d certificates, %v", l.ModuleKey, len(l.Certificates), image.BuildIDs)
			}
		})
	}
}

// TestManyLists has as many lists of certificates as are kept, and more: then nothing is said of any, since one of
// those left out may be the one that revokes.
func TestManyLists(t *testing.T) {
	certs := twoCertificates(t)
	for _, n := range []int{maxCertLists - 1, maxCertLists, maxCertLists + 1, 3 * maxCertLists} {
		lists := make([]linuxtest.KernelList, n)
		for i := range lists {
			lists[i] = linuxtest.KernelList{Certificates: certs[i%2 : i%2+1], ModuleKey: i == 0}
		}
		image, err := readKernel(t, linuxtest.Kernel{BuildID: buildID, Lists: lists}.Plain())
		switch {
		case n <= maxCertLists && (err != nil || len(image.Lists) != n || !image.Lists[0].ModuleKey):
			t.Errorf("%d lists: %+v, %v", n, image, err)
		case n > maxCertLists && (!errors.Is(err, fact.ErrTooLarge) || image != nil):
			t.Errorf("%d lists: %+v, %v", n, image, err)
		}
	}
}

// TestKernelsThatAreNotRead: a form or packing that is not known is unsupported, and never a kernel without keys.
func TestKernelsThatAreNotRead(t *testing.T) {
	for name, file := range map[string][]byte{
		"lzo":          linuxtest.BzImage([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a and more"), 1),
		"nothing":      {},
		"zImage":       make([]byte, 100_000),
		"old bzImage":  bytes.Replace(linuxtest.BzImage(nil, 1), []byte("HdrS\x0f"), []byte("HdrS\x07"), 1),
		"EFI program":  linuxtest.Image(".text", "x"),
		"Linux 4.15 x": []byte("\x27\x05\x19\x56 uImage"),
	} {
		if image, err := readKernel(t, file); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
	}
	plain := linuxtest.Kernel{}.Plain()
	whole := linuxtest.BzImage(zstdOf(plain), 1)
	nested := linuxtest.Image(".linux", string(linuxtest.Image(".linux", string(whole))))
	for name, file := range map[string][]byte{"cut off": whole[:len(whole)-320], "nested": nested,
		"no room": linuxtest.Zboot(nil, "gzip")} {
		if image, err := readKernel(t, file); fact.CodeOf(err) != fact.CodeMalformed {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
	}
}

// TestCertificateLists confirms lists by their length, whatever the kernel's words look like.
func TestCertificateLists(t *testing.T) {
	certs := twoCertificates(t)
	used := len(certs[1])
	type list = linuxtest.KernelList
	for name, c := range map[string]struct {
		kernel linuxtest.Kernel
		list   list
		key    bool
		count  int // of certificates; 0 for a list that is not confirmed
	}{
		"one":               {list: list{Certificates: certs[:1], ModuleKey: true}, key: true, count: 1},
		"two":               {list: list{Certificates: certs, ModuleKey: true}, key: true, count: 2},
		"no module key":     {list: list{Certificates: certs, NoKey: true}, count: 2},
		"before Linux 5.13": {list: list{Certificates: certs}, count: 2},
		"extra area":        {list: list{Certificates: certs, Extra: 4096, ModuleKey: true}, key: true, count: 2},
		"extra area that is used": {list: list{Certificates: certs, Extra: 4096, Used: used, ModuleKey: true},
			key: true, count: 2},
		"another length": {list: list{Certificates: certs, ModuleKey: true, Claim: 4096}},
		"not aligned":    {list: list{Certificates: certs, ModuleKey: true, Shift: 4}},
		"something between": {list: list{Certificates: certs, ModuleKey: true,
			Between: []byte("\x01\x02\x03\x04\x05")}},
		"two words between": {list: list{Certificates: certs, ModuleKey: true, Extra: 4096, Used: used,
			Between: bytes.Repeat([]byte{1}, 8)}},
		"an area beyond the limit": {list: list{Certificates: certs, ModuleKey: true, Extra: 80 << 10}},
		"many": {list: list{Certificates: slices.Repeat(certs, 100), ModuleKey: true}, key: true,
			count: 200},
		"too many": {list: list{Certificates: slices.Repeat(certs, 400), ModuleKey: true}},
	} {
		for word, k := range map[string]linuxtest.Kernel{"": {}, "32 bits": {Is32: true}, "arm64": {Align: 256},
			"big-endian": {Order: binary.BigEndian}, "big-endian, 32 bits": {Order: binary.BigEndian, Is32: true},
			"big-endian, .align 256": {Order: binary.BigEndian, Align: 256}} {
			k.Lists, k.Raw = []linuxtest.KernelList{c.list}, bytes.Repeat([]byte("kernel "), 50_000)
			image, err := readKernel(t, k.Plain())
			if err != nil && (name != "too many" || fact.CodeOf(err) != fact.CodeTooLarge) {
				t.Fatal(name, err)
			}
			switch {
			case err != nil:
			case c.count == 0 && len(image.Lists) > 0:
				t.Errorf("%s %s: a list of %d", name, word, len(image.Lists[0].Certificates))
			case c.count > 0 && (len(image.Lists) != 1 || len(image.Lists[0].Certificates) != c.count ||
				image.Lists[0].ModuleKey != c.key):
				t.Errorf("%s %s: %d lists, want one of %d, %v", name, word, len(image.Lists), c.count, c.key)
			}
		}
	}
}

// TestTwoLists: the list of revoked keys has the same form, and no word for a module's key.
func TestTwoLists(t *testing.T) {
	certs := twoCertificates(t)
	k := linuxtest.Kernel{Lists: []linuxtest.KernelList{{Certificates: certs[1:]},
		{Certificates: certs[:1], ModuleKey: true}}, Raw: make([]byte, 1<<20)}
	image, err := readKernel(t, k.Plain())
	if err != nil || len(image.Lists) != 2 || image.Lists[0].ModuleKey || !image.Lists[1].ModuleKey {
		t.Fatalf("%+v, %v", image, err)
	}
}

// TestListsAnywhere moves a list through the scanner's window.
func TestListsAnywhere(t *testing.T) {
	certs := twoCertificates(t)
	list := linuxtest.Kernel{Lists: []linuxtest.KernelList{{Certificates: certs, ModuleKey: true}}}.Plain()
	for _, before := range []int{0, scanWindow - 2048, scanWindow - 1024, scanWindow - 1032, scanWindow,
		3*scanWindow - 1600} {
		plain := append([]byte("\x7fELF"), make([]byte, before+4)...)
		plain = append(plain[:len(plain)&^7], list...)
		if image, err := readKernel(t, plain); err != nil || len(image.Lists) != 1 {
			t.Errorf("%d bytes before: %+v, %v", before, image, err)
		}
	}
}

// TestLookAlikes: certificates in a kernel's data are not a list of keys.
func TestLookAlikes(t *testing.T) {
	certs := twoCertificates(t)
	rng := rand.New(rand.NewPCG(15, 1))
	for i := range 200 {
		noise := make([]byte, 4096)
		for j := range noise {
			noise[j] = byte(rng.Uint32() >> (rng.Uint32() % 32)) // small numbers are common
		}
		at := rng.IntN(500) * 8
		copy(noise[at:], certs[i%2])
		k := linuxtest.Kernel{Raw: noise}
		if image, err := readKernel(t, k.Plain()); err != nil || len(image.Lists) > 0 {
			t.Fatalf("%d: %+v, %v", i, image, err)
		}
	}
}

// TestKernelBudget: what asks for too much costs a part of it.
func TestKernelBudget(t *testing.T) {
	one := linuxtest.NewKey(t, "a", true).Cert.Raw
	one = append(bytes.Clone(one), make([]byte, -len(one)&7)...)
	for name, file := range map[string][]byte{
		"gzip of zeros": linuxtest.Gzip(make([]byte, 100<<20)),
		"zstd of zeros": linuxtest.BzImage(zstdOf(make([]byte, 100<<20)), 100<<20),
		"certificates":  linuxtest.Kernel{Raw: bytes.Repeat(one, 20_000)}.Plain(),
	} {
		budget := fact.NewBudget(0)
		_, err := ReadKernelImage(fstest.MapFS{"k": {Data: file}}, "k", &fact.Report{Budget: budget})
		if cost := budget.Cost(); cost.Work > 40<<20+40*int64(len(file)) || cost.Memory > 48<<20+3*int64(len(file)) {
			t.Errorf("%s: %+v for %d bytes", name, cost, len(file))
		}
		if name != "certificates" && fact.CodeOf(err) != fact.CodeTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzKernelImage(f *testing.F) {
	certs := twoCertificates(f)
	lists := []linuxtest.KernelList{{Certificates: certs, ModuleKey: true}}
	plain := linuxtest.Kernel{BuildID: buildID, Lists: lists}.Plain()
	for _, seed := range [][]byte{plain, linuxtest.BzImage(linuxtest.StoredXZ(plain), 1),
		linuxtest.BzImage(lz4Of(plain), 1),
		linuxtest.Zboot(linuxtest.Gzip(plain), "gzip"), linuxtest.Image(".linux", string(plain)),
		linuxtest.BzImage(zstdOf(plain), 1),
		linuxtest.BzImage([]byte("\x5d\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"), 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		image, err := readKernel(t, file)
		if err != nil {
			return
		}
		for _, l := range image.Lists {
			if len(l.Certificates) == 0 || l.Offset%listAlign != 0 {
				t.Fatalf("%+v", l)
			}
		}
	})
}
