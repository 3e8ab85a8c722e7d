// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// twoKernels is a disk with two kernels. The newer one has no iptable_nat, which a list asks for.
var twoKernels = fstest.MapFS{
	"etc/modules-load.d/k8s.conf":       {Data: []byte("br_netfilter\niptable_nat\n")},
	"etc/modprobe.d/a.conf":             {Data: []byte("options br_netfilter a=1\nblacklist usb-storge\n")},
	"lib/modules/6.1.0/modules.dep":     {Data: []byte("kernel/br_netfilter.ko:\nkernel/iptable_nat.ko:\n")},
	"lib/modules/6.1.0/modules.alias":   {},
	"lib/modules/6.1.0/modules.builtin": {Data: []byte("kernel/ext4.ko\n")},
	"lib/modules/6.2.0/modules.dep":     {Data: []byte("kernel/br_netfilter.ko:\n")},
	"lib/modules/6.2.0/modules.alias":   {},
	"lib/modules/6.2.0/modules.builtin": {Data: []byte("kernel/ext4.ko\n")},
}

// Before a reboot: what the next kernel lacks of what the machine uses.
func ExampleSystem_Upgrade() {
	sys, err := lkm.OpenImage(twoKernels, lkm.Options{Kernel: "6.1.0"}) // lkm.Open(lkm.Options{}) for this machine
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	u, err := sys.Upgrade(context.Background(), "6.2.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range u.Changes {
		fmt.Println(c.Grade, c.Module, c.File, c.Line)
	}
	fmt.Println("loses:", u.Loses(), "gone:", u.Gone)
	// Output:
	// lost iptable_nat /etc/modules-load.d/k8s.conf 2
	// loses: true gone: [iptable_nat]
}

// The configuration of modprobe with the place of each line, and the lines of it that do nothing.
func ExampleSystem_Config() {
	sys, err := lkm.OpenImage(twoKernels, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	cfg, err := sys.Config(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range cfg.Settings {
		fmt.Println(s.File, s.Line, s.Directive, s.Name)
	}
	if cfg, err = sys.Lint(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range cfg.Idle {
		fmt.Println("idle:", l.Text, l.Reason.Code)
	}
	// Output:
	// /etc/modprobe.d/a.conf 2 blacklist usb_storge
	// /etc/modprobe.d/a.conf 1 options br_netfilter
	// idle: blacklist usb_storge no_module
}
