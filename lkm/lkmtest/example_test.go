// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A program that uses lkm can be tested on machines that it does not have.
func Example() {
	t, err := lkmtest.Open("synthetic-debian-user")
	if err != nil {
		log.Fatal(err)
	}
	sys, err := lkm.OpenMachine(t.Header().OS, t, lkm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range snap.Modules {
		if m.Origin.Class == lkm.OriginThirdParty {
			fmt.Println(m.Name, m.Version, m.Linux.Taints)
		}
	}
	// Output:
	// nvidia 535.183.01 [P O E]
	// nvidia_drm 535.183.01 [P O E]
	// nvidia_modeset 535.183.01 [P O E]
	// vboxdrv 7.0.20 [O E]
}
