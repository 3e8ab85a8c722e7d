// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// The list of this machine, and what of it is not the operating system's.
func ExampleOpen() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{}) // lkm.Open(lkm.Options{}) for this machine
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println("no list:", err)
		return
	}
	for _, m := range snap.Modules {
		if m.Origin.Class == lkm.OriginThirdParty {
			fmt.Println(m.ID, m.State, "used by", m.UsedBy)
		}
	}
	// Output:
	// linux_module:kernelext_base loaded used by [kernelext_user]
	// linux_module:kernelext_user loaded used by []
}

// What is loaded in the kernel that runs here.
func ExampleTake() {
	snap, err := lkm.Take(context.Background())
	if err != nil {
		fmt.Println("there is no list:", err) // not supported here, or not allowed
		return
	}
	for _, m := range snap.Modules {
		fmt.Println(m.ID, m.State, m.Size, m.UsedBy)
	}
	fmt.Println(snap.Err()) // what could not be seen, and why; nil if everything was
}

// A kernel without module support has a known empty list; a machine that hides its list has none.
func ExampleSystem_Snapshot() {
	sys := recorded("linux-6.18-nomodules", lkm.Options{})
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	fmt.Println(len(snap.Modules), err)
	src, _ := snap.Source("proc_modules")
	fmt.Println(src.Outcome)

	hidden, _ := lkm.OpenMachine(lkm.Linux, emptyMachine{}, lkm.Options{})
	_, err = hidden.Snapshot(context.Background())
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// 0 <nil>
	// unsupported
	// true
}

// An agent that looks often reads the kernel's own list alone, and only when it may have changed.
func ExampleSystem_Poll() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{})
	defer sys.Close()
	var token lkm.Token
	var list lkm.List
	for range 2 {
		changed, err := sys.Changed(context.Background(), &token)
		if err != nil || !changed {
			fmt.Println("nothing new", err)
			continue
		}
		if err := sys.Poll(context.Background(), &list); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("list read:", len(list.Modules) > 0)
	}
	// Output:
	// list read: true
	// nothing new <nil>
}

// Strict callers take everything or nothing.
func ExampleSnapshot_Err() {
	sys := recorded("debian-6.12-cloud-user", lkm.Options{Detail: lkm.DetailAddresses})
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(errors.Is(snap.Err(), lkm.ErrRestricted)) // the kernel hides addresses from users
	// Output: true
}

func ExampleDiff() {
	a, _ := capture.Read(strings.NewReader("Module Size Used by\nnvme 57344 3\n"), "")
	b, _ := capture.Read(strings.NewReader("Module Size Used by\nnvme 57344 9\next4 815104 1\n"), "")
	d := lkm.Diff(a, b)
	fmt.Println(len(d.Added), len(d.Removed), len(d.Changed)) // reference counts do not count
	// Output: 1 0 0
}
