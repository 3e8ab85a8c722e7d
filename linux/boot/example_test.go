// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// The entries of all boot loaders, with the words that their kernels will see.
func ExampleRead() {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	var r fact.Report
	setup := boot.Read(fstest.MapFS{
		"lib/modules/6.1.0/modules.dep": text(""),
		"boot/loader/entries/a.conf": text("title Linux\nversion 6.1.0\nlinux /vmlinuz-6.1.0\n" +
			"initrd /initrd-6.1.0\noptions root=/dev/sda1 module_blacklist=floppy,pcspkr\n"),
	}, &r)
	for _, e := range setup.For("6.1.0") {
		fmt.Printf("%s (%s), %s, initrd %s\n", e.Title, e.Release, e.File, e.Initrds)
		for _, w := range e.Words {
			fmt.Printf("  %s is %s\n", w.Key, w.Value)
		}
	}
	fmt.Println("problems:", len(r.Problems))
	// Output:
	// Linux (6.1.0), boot/loader/entries/a.conf, initrd [/initrd-6.1.0]
	//   root is /dev/sda1
	//   module_blacklist is floppy,pcspkr
	// problems: 0
}
