// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
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
	a, b := archiveOf("lib/modules/6/a.ko", "x"), archiveOf("usr/lib/modules/6/b.ko", "y")
	zeros := make([]byte, 512)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, data := range map[string][]byte{
		"both plain":          join(a, zeros, b),
		"both in one gzip":    zipped(join(a, zeros, b)),
		"gzip, then gzip":     join(zipped(a), zeros, zipped(b)),
		"gzip, then plain":    join(zipped(a), b),
		"lz4, then plain":     join(lz4Of(a), zeros, b),
		"plain, then lz4":     join(a, lz4Of(b)),
		"lz4 behind lz4":      join(lz4Of(a), lz4Of(b)),
		"both in one lz4":     lz4Of(join(a, b)),
		"padded at the end":   join(zipped(a), zipped(b), zeros),
		"microcode, then two": join(archiveOf("kernel/x86/microcode/a.bin", "z"), zeros, zipped(a), b),
	} {
		i, err := ParseInitramfs(data, "boot/x")
		if err != nil || i.Lost != nil ||
			!slices.Equal(i.Modules, []string{"lib/modules/6/a.ko", "usr/lib/modules/6/b.ko"}) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	i, err := ParseInitramfs(append(zipped(a), "something else"...), "boot/x")
	if err != nil || len(i.Modules) != 1 || !errors.Is(i.Lost, errors.ErrUnsupported) {
		t.Errorf("what follows is not told of: %+v, %v", i, err)
	}
	if i, err := ParseInitramfs(zipped(a[:len(a)-200]), "boot/x"); err == nil {
		t.Errorf("an archive without a trailer: %+v", i)
	}
}

// TestInitramfsOfBootEntries: the files that a boot entry names are read, wherever they are.
func TestInitramfsOfBootEntries(t *testing.T) {
	copyOf := string(zipped(archiveOf("lib/modules/6/kernel/lone.ko", "x")))
	blocked := map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // the bypass's file; "" for none, "?" for unknown
	}{
		{"an entry without one", nil, ""},
		{"named by a loader entry", map[string]string{"boot/loader/entries/a.conf": "version 6\noptions quiet\n" +
			"initrd /m/6/initrd\n", "boot/m/6/initrd": copyOf}, "/boot/m/6/initrd"},
		{"on the EFI partition", map[string]string{"boot/efi/loader/entries/b.conf": "linux /m/6.1/linux\n",
			"boot/loader/entries/a.conf": "options quiet\ninitrd /m/6/initrd\n", "boot/efi/m/6/initrd": copyOf},
			"/boot/efi/m/6/initrd"},
		{"two of one entry", map[string]string{"boot/loader/entries/a.conf": "initrd /ucode.img\n" +
			"initrd /initramfs-linux.img\n", "boot/ucode.img": string(archiveOf("kernel/x86/a.bin", "z")),
			"boot/initramfs-linux.img": copyOf}, "/boot/initramfs-linux.img"},
		{"named by grub",
			map[string]string{"boot/loader/entries/a.conf": "-", "boot/grub/grub.cfg": "linux ($root)/boot/vmlinuz-6 " +
				"quiet\ninitrd ($root)/boot/early.img /boot/main.img\n",
				"boot/early.img": string(archiveOf("kernel/x86/a.bin", "z")), "boot/main.img": copyOf},
			"/boot/main.img"},
		{"in a unified image",
			map[string]string{"boot/loader/entries/a.conf": "-",
				"efi/EFI/Linux/a.efi": string(madeImage(map[string]string{".cmdline": "quiet", ".initrd": copyOf,
					".uname": "6"}))}, "/efi/EFI/Linux/a.efi"},
		{"named, and not there", map[string]string{"boot/loader/entries/a.conf": "initrd /gone\n"}, "?"},
		{"nothing tells", map[string]string{"boot/loader/entries/a.conf": "-"}, "?"},
		{"only a command line", map[string]string{"boot/loader/entries/a.conf": "-", "etc/kernel/cmdline": "quiet\n"},
			"?"},
		{"the kernel refuses it anyway",
			map[string]string{"boot/loader/entries/a.conf": "options module_blacklist=lone\n",
				"boot/initrd.img-6": copyOf}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts := map[string]string{}
			for _, m := range []map[string]string{blocked, tt.files} {
				for name, text := range m {
					texts[name] = text
				}
			}
			v := checkOf(t, imageOf(texts), "lone")
			if v.NextBoot.Outcome != fact.VerdictBlocked {
				t.Fatalf("%s", outcomes(v))
			}
			got := ""
			for _, b := range v.Bypasses {
				if b.Code == ReasonInitramfs {
					if got = b.File; strings.HasPrefix(b.Text, "unknown") {
						got = "?"
					}
				}
			}
			if got != tt.want {
				t.Errorf("bypass %q, want %q: %+v", got, tt.want, v.Bypasses)
			}
			told := slices.ContainsFunc(v.Problems,
				func(p fact.Problem) bool { return p.Source == SourceInitramfs && errors.Is(p, fs.ErrNotExist) })
			if told != (tt.want == "?") {
				t.Errorf("problems %+v", v.Problems)
			}
		})
	}
}

// TestInitramfsOfDracutSquash: what is packed in a file system of its own is not read.
func TestInitramfsOfDracutSquash(t *testing.T) {
	for _, name := range []string{"squash-root.img", "squash/root.img", "erofs-root.img"} {
		i, err := ParseInitramfs(archiveOf("init", "x", name, "hsqs"), "boot/x")
		if err != nil || !errors.Is(i.Lost, errors.ErrUnsupported) || !strings.Contains(i.Lost.Error(), name) {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	v := checkOf(t,
		imageOf(map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n",
			"boot/initrd.img-6": string(archiveOf("squash-root.img", "hsqs"))}), "lone")
	if !slices.ContainsFunc(v.Bypasses, func(r fact.Reason) bool { return strings.HasPrefix(r.Text, "unknown") }) {
		t.Errorf("%+v", v.Bypasses)
	}
}

// TestInitramfsOfBusybox: its modprobe knows no install lines.
func TestInitramfsOfBusybox(t *testing.T) {
	const module, conf = "lib/modules/6/lone.ko", "etc/modprobe.d/a.conf"
	for _, tt := range []struct {
		name  string
		texts []string
		stops bool
	}{
		{"kmod's", []string{"usr/sbin/modprobe", "/bin/kmod", "bin/kmod", "x", "bin/busybox", "x"}, true},
		{"busybox's", []string{"sbin/modprobe", "../bin/busybox", "bin/busybox", "x", "bin/kmod", "x"}, false},
		{"busybox's, linked when it runs", []string{"bin/busybox", "x"}, false},
		{"a program of its own", []string{"bin/busybox", "x", "sbin/modprobe", ""}, true},
		{"none: a library of kmod's", nil, true},
	} {
		data := archiveOf(append(tt.texts, module, "x", conf, "install lone /bin/false\n")...)
		if len(tt.texts) > 0 && tt.texts[1] != "x" {
			copy(data[14:], "0000a1ff") // the mode of a symbolic link
		}
		i, err := ParseInitramfs(data, "boot/x")
		if err != nil || (i.Copy("lone") == nil) != tt.stops {
			t.Errorf("%s: %+v, %v", tt.name, i, err)
		}
	}
}
