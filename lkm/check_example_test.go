// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// An image with algif_aead, whose code a process without privilege can bring into the kernel. A
// blacklist line does not stop that: it filters aliases, the module has none, and the kernel asks
// for it by name.
func ExampleSystem_Check() {
	for _, image := range []struct{ what, conf, dep, builtin string }{
		{"blacklist", "blacklist algif_aead\n", "kernel/crypto/algif_aead.ko:\n", ""},
		{"install", "install algif_aead /bin/false\n", "kernel/crypto/algif_aead.ko:\n", ""},
		{"built in", "blacklist algif_aead\n", "", "kernel/crypto/algif_aead.ko\n"},
		{"without it", "", "", ""},
	} {
		files := fstest.MapFS{
			"etc/modprobe.d/cve.conf":           {Data: []byte(image.conf)},
			"lib/modules/6.1.0/modules.dep":     {Data: []byte(image.dep)},
			"lib/modules/6.1.0/modules.builtin": {Data: []byte(image.builtin)},
			"lib/modules/6.1.0/modules.alias":   {},
			"boot/config-6.1.0":                 {Data: []byte("CONFIG_MODULES=y\n")},
			"boot/loader/entries/6.1.0.conf":    {Data: []byte("version 6.1.0\noptions quiet\n")},
		}
		if file, _, ok := strings.Cut(image.dep, ":"); ok {
			files["lib/modules/6.1.0/"+file] = &fstest.MapFile{}
		}
		sys, err := lkm.OpenImage(files, lkm.Options{OS: lkm.Linux})
		if err != nil {
			fmt.Println(err)
			return
		}
		verdicts, err := sys.Check(context.Background(), "algif_aead")
		sys.Close()
		if err != nil {
			fmt.Println(err)
			return
		}
		v := verdicts[0]
		why := v.Reasons[0] // the one that decides
		fmt.Printf("%s: %s (%s:%d %s)\n", image.what, v.NextBoot.Outcome, why.File, why.Line, why.Text)
	}
	// Output:
	// blacklist: loadable (/lib/modules/6.1.0/kernel/crypto/algif_aead.ko:0 module file)
	// install: blocked (/etc/modprobe.d/cve.conf:1 install algif_aead /bin/false)
	// built in: builtin (/lib/modules/6.1.0/modules.builtin:0 compiled into the kernel)
	// without it: absent (:0 no module or alias of that name on disk, compiled in, or in the configuration)
}

// An image may have several kernels: each has a verdict of its own.
func Example_kernels() {
	files := maps.Clone(hardened)
	for _, index := range []string{"dep", "alias", "builtin"} { // a second kernel, with nothing in it
		files["lib/modules/6.2.0/modules."+index] = &fstest.MapFile{}
	}
	files["boot/config-6.2.0"] = hardened["boot/config-6.1.0"]
	files["boot/loader/entries/6.2.0.conf"] = &fstest.MapFile{Data: []byte("version 6.2.0\noptions quiet\n")}
	sys, err := lkm.OpenImage(files, lkm.Options{Kernel: lkm.KernelAll})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	verdicts, err := sys.Check(context.Background(), "udf")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range verdicts {
		fmt.Println(v.Release, v.Worst(), v.Reasons[0].Text)
	}
	// Output:
	// 6.1.0 loadable module file
	// 6.2.0 absent no module or alias of that name on disk, compiled in, or in the configuration
}
