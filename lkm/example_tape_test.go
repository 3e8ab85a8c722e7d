// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// thirdParty is code to test: it counts the modules from anybody but the maker of the operating system.
func thirdParty(ctx context.Context, sys *lkm.System) (int, error) {
	snap, err := sys.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, m := range snap.Modules {
		if m.Origin.Class == lkm.OriginThirdParty {
			n++
		}
	}
	return n, nil
}

// recorded opens a machine of the corpus, so that the examples print the same everywhere.
func recorded(name string, o lkm.Options) *lkm.System {
	tape, err := lkmtest.Open(name)
	if err != nil {
		panic(err)
	}
	sys, err := lkm.OpenMachine(tape.Header().OS, tape, o)
	if err != nil {
		panic(err)
	}
	return sys
}

// Tests on tapes: a program that uses lkm runs on machines that nobody here has, and on broken ones.
func Example_testsOnTapes() {
	for _, name := range []string{"synthetic-debian-root", "synthetic-freebsd-root", "synthetic-macos-root"} {
		sys := recorded(name, lkm.Options{})
		n, err := thirdParty(context.Background(), sys)
		fmt.Println(name, n, err)
		sys.Close()
	}
	tape, err := lkmtest.Open("synthetic-debian-root") // tape.ReadFile for one of your own
	if err != nil {
		fmt.Println(err)
		return
	}
	refused := lkmtest.Faults(tape, map[string]error{"proc/modules": fs.ErrPermission})
	sys, err := lkm.OpenMachine(lkm.Linux, refused, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	_, err = thirdParty(context.Background(), sys)
	fmt.Println(errors.Is(err, fs.ErrPermission), lkm.CodeOf(err))
	// Output:
	// synthetic-debian-root 4 <nil>
	// synthetic-freebsd-root 2 <nil>
	// synthetic-macos-root 1 <nil>
	// true permission
}
