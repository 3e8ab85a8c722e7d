// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// lz4Of compresses into one block of the kernel's form, with a match for every four bytes seen before.
func lz4Of(data []byte) []byte {
	length := func(out []byte, n int) []byte {
		for n -= 15; n >= 255; n -= 255 {
			out = append(out, 255)
		}
		return append(out, byte(n))
	}
	var block []byte
	seen := make(map[[4]byte]int)
	run := 0 // where the literals begin
	for i := 0; i+4 <= len(data); i++ {
		key := [4]byte(data[i:])
		at, known := seen[key]
		seen[key] = i
		if !known || i-at > 65535 || i < run {
			continue
		}
		n := 4
		for i+n < len(data) && data[at+n] == data[i+n] {
			n++
		}
		block = append(block, byte(min(i-run, 15)<<4|min(n-4, 15)))
		if i-run >= 15 {
			block = length(block, i-run)
		}
		block = append(block, data[run:i]...)
		block = binary.LittleEndian.AppendUint16(block, uint16(i-at))
		if n-4 >= 15 {
			block = length(block, n-4)
		}
		run = i + n
	}
	rest := data[run:]
	block = append(block, byte(min(len(rest), 15)<<4))
	if len(rest) >= 15 {
		block = length(block, len(rest))
	}
	block = append(block, rest...)
	out := binary.LittleEndian.AppendUint32([]byte(lz4Magic), uint32(len(block)))
	return append(out, block...)
}

func TestLZ4(t *testing.T) {
	for name, data := range map[string][]byte{"nothing": {}, "short": []byte("abc"), "zeros": make([]byte, 70000),
		"text": bytes.Repeat([]byte("kernel/crypto/a.ko\n"), 3000)} {
		packed := lz4Of(data)
		got, err := io.ReadAll(newLZ4Reader(bytes.NewReader(packed)))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
		}
		for n := 5; n < len(packed)-1; n += 1 + len(packed)/40 {
			if got, err := io.ReadAll(newLZ4Reader(bytes.NewReader(packed[:n]))); err == nil && n > 8 {
				t.Errorf("%s cut at %d: %d bytes", name, n, len(got))
			}
		}
	}
}

func FuzzLZ4(f *testing.F) {
	f.Add(lz4Of([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcdabcdabcd"))[8:])
	f.Fuzz(func(t *testing.T, block []byte) {
		out, err := appendLZ4(nil, block)
		if len(out) > lz4Block || err == nil && len(out) > 256*len(block) {
			t.Fatalf("%d bytes of %d", len(out), len(block))
		}
	})
}

// TestInitramfsOfSeveralArchives: the kernel unpacks whatever follows, compressed or not.
func TestInitramfsOfSeveralArchives(t *testing.T) {
	a, b := linuxtest.Archive("lib/modules/6/a.ko", "x"), linuxtest.Archive("usr/lib/modules/6/b.ko", "y")
	zeros := make([]byte, 512)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, data := range map[string][]byte{
		"both plain":          join(a, zeros, b),
		"both in one gzip":    linuxtest.Gzip(join(a, zeros, b)),
		"gzip, then gzip":     join(linuxtest.Gzip(a), zeros, linuxtest.Gzip(b)),
		"gzip, then plain":    join(linuxtest.Gzip(a), b),
		"lz4, then plain":     join(lz4Of(a), zeros, b),
		"plain, then lz4":     join(a, lz4Of(b)),
		"lz4 after lz4":       join(lz4Of(a), lz4Of(b)),
		"both in one lz4":     lz4Of(join(a, b)),
		"padded at the end":   join(linuxtest.Gzip(a), linuxtest.Gzip(b), zeros),
		"microcode, then two": join(linuxtest.Archive("kernel/x86/microcode/a.bin", "z"), zeros, linuxtest.Gzip(a), b),
	} {
		var r fact.Report
		i, err := ParseInitramfs(data, "boot/x", &r)
		if err != nil || r.Problems != nil ||
			!slices.Equal(i.Modules, []string{"lib/modules/6/a.ko", "usr/lib/modules/6/b.ko"}) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	var r fact.Report
	i, err := ParseInitramfs(append(linuxtest.Gzip(a), "something else"...), "boot/x", &r)
	if err != nil || len(i.Modules) != 1 || len(r.Problems) != 1 ||
		!errors.Is(r.Problems[0], errors.ErrUnsupported) {
		t.Errorf("what follows is not reported: %+v, %v", i, err)
	}
	if i, err := ParseInitramfs(linuxtest.Gzip(a[:len(a)-200]), "boot/x", &r); err == nil {
		t.Errorf("an archive without a trailer: %+v", i)
	}
}

func FuzzInitramfs(f *testing.F) {
	f.Add(linuxtest.Archive("lib/modules/6/a.ko", "x", "conf/modules", "a\n"))
	f.Add(linuxtest.Gzip(linuxtest.Archive("etc/modprobe.d/a.conf", "install a b\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := ParseInitramfs(data, "x", new(fact.Report))
		if (i == nil) == (err == nil) {
			t.Fatal("value xor error")
		}
	})
}

// TestInitialFileNamedAsAProgram: NixOS gives each file on its boot partition the ending of a program.
func TestInitialFileNamedAsAProgram(t *testing.T) {
	var r fact.Report
	i, err := ReadInitramfs(linuxtest.Files(map[string]string{"boot/EFI/nixos/i.efi": string(linuxtest.Archive(
		"lib/modules/6/a.ko", "x"))}), []string{"boot/EFI/nixos/i.efi"}, &r)
	if err != nil || len(r.Problems) > 0 || len(i.Modules) != 1 {
		t.Errorf("%+v, %v, %v", i, err, r.Problems)
	}
}

// TestPartitionOfAFile: which partition a kernel is on adds nothing to its command line, and a line of fstab for /boot
// means that a boot needs what is there.
func TestPartitionOfAFile(t *testing.T) {
	b := Read(linuxtest.Files(map[string]string{"boot/grub/grub.cfg": "search --set=drive1 --fs-uuid 1\n" +
		"linux ($drive1)//kernels/6-bzImage a\ninitrd ($drive1)//kernels/6-initrd\n", "boot/kernels/6-initrd": "x"}),
		new(fact.Report))
	var r fact.Report
	fsys := linuxtest.Files(map[string]string{"boot/kernels/6-initrd": "x"})
	if e := b.Entries[0]; len(b.Entries) != 1 || len(e.Unresolved) > 0 || len(b.Initial(fsys, e, "6", &r).Sets) != 1 ||
		len(r.Problems) > 0 {
		t.Errorf("%+v, %v", b.Entries, r.Problems)
	}
	for fstab, bare := range map[string]bool{"UUID=1 / ext4\n": true, "UUID=2 /boot ext4\n": false} {
		root := linuxtest.Files(map[string]string{"etc/fstab": fstab, "boot/lost.txt": ""})
		if i := new(Setup).Initial(root, Entry{}, "6", new(fact.Report)); i.Bare != bare {
			t.Errorf("%q: %+v", fstab, i)
		}
	}
}
