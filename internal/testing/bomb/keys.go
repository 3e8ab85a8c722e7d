// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// LinuxKeys is the reader of where certificates come from: the signature of a module, verified by what the disk or the
// machine shows.
const LinuxKeys = "linux keys"

// keyBombs are where certificates come from.
func keyBombs() []Bomb {
	const kernel, variable = "boot/vmlinuz-6.1.0", "sys/firmware/efi/mok-variables/MokListXRT"
	certificate := linuxtest.Certificate()
	aligned := append(certificate, make([]byte, -len(certificate)&7)...)
	plain := func(n int) []byte { return linuxtest.Kernel{Raw: bytes.Repeat(aligned, n)}.Plain() }
	digests := func(n int) []byte {
		const kind = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
		b := binary.LittleEndian.AppendUint32([]byte(kind), uint32(28+48*n))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, 48)
		for i := range n {
			b = append(append(b, make([]byte, 41)...), number(i)...)
		}
		return b
	}
	return []Bomb{
		{Name: "kernel of certificates", Of: LinuxKeys, Path: kernel, Make: plain, Small: 50, Big: 2000},
		{Name: "packed kernel of certificates", Of: LinuxKeys, Path: kernel,
			Make: func(n int) []byte { return linuxtest.BzImage(zipped(plain(n), 0), 0) }, Small: 50, Big: 2000},
		{Name: "kernel of one list", Of: LinuxKeys, Path: kernel, Make: func(n int) []byte {
			list := linuxtest.KernelList{Certificates: slices.Repeat([][]byte{certificate}, n), ModuleKey: true}
			return linuxtest.Kernel{Lists: []linuxtest.KernelList{list}}.Plain()
		}, Small: 50, Big: 600},
		{Name: "packed kernel of zeros", Of: LinuxKeys, Path: kernel,
			Make: func(n int) []byte { return linuxtest.BzImage(zipped(nil, n), 0) }, Small: 500, Big: 500_000},
		{Name: "kernel of notes", Of: LinuxKeys, Path: kernel, Make: func(n int) []byte {
			note := "\x04\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00GNU\x00a"
			var raw []byte
			for i := range n {
				raw = append(append(raw, note...), number(i)...)
			}
			return linuxtest.Kernel{Raw: raw}.Plain()
		}, Small: 1000, Big: 40_000},
		{Name: "firmware of digests", Of: LinuxKeys, Path: variable, Make: digests, Small: 1000, Big: 20_000},
	}
}
