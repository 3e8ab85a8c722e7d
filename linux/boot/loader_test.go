// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
)

// loaderFiles are files of boot loaders, each with a form of its own.
var loaderFiles = []string{"boot/grub/grub.cfg", "boot/loader/entries/a.conf", "boot/extlinux/extlinux.conf",
	"etc/kernel/cmdline", "boot/grub/grubenv", "boot/efi/EFI/Linux/a.efi"}

// FuzzLoader reads a text as the file of each boot loader. What it says is no more than some times its length.
func FuzzLoader(f *testing.F) {
	f.Add([]byte("set a=b\nmenuentry 'x' {\nlinux /vmlinuz-6.1.0 $a ${b} quiet\ninitrd /initrd.img-6.1.0\n}\n"),
		byte(0))
	f.Add([]byte("title x\nlinux /vmlinuz-6.1.0\noptions a=1 $b\noptions c\ninitrd /x\n"), byte(1))
	f.Add([]byte("label x\nlinux /vmlinuz\nappend initrd=a,b c\n"), byte(2))
	for _, b := range bomb.All() {
		for i, name := range loaderFiles {
			if b.Path == name {
				f.Add(b.Make(3), byte(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, which byte) {
		name := loaderFiles[int(which)%len(loaderFiles)]
		r := fact.Report{Budget: fact.NewBudget(0)}
		setup := Read(fstest.MapFS{name: {Data: text}, "boot/grub/custom.cfg": {Data: text}}, &r)
		size := 0
		for _, e := range setup.Entries {
			size += len(e.Text) + 40*len(e.Words)
		}
		if len(setup.Entries) > maxBootEntries || size > 32<<20+16*len(text) {
			t.Fatalf("%d entries, %d bytes", len(setup.Entries), size)
		}
	})
}
