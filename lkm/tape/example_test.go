// SPDX-License-Identifier: Apache-2.0

package tape_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/kernelext/kernelext/internal/testing/fakelinux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

// A recorder passes questions to a machine, here a made-up one, and writes down the answers.
func Example() {
	machine := fakelinux.Container().Machine()
	recorder := tape.Record(lkm.Linux, machine, tape.Options{Header: tape.Header{Producer: "example 1.0"}})
	sys, err := lkm.OpenMachine(lkm.Linux, recorder, lkm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close()
	if _, err := sys.Snapshot(context.Background()); err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := recorder.WriteTo(&file); err != nil {
		log.Fatal(err)
	}

	// Anywhere else, on any operating system:
	t, err := tape.Read(&file)
	if err != nil {
		log.Fatal(err)
	}
	replayed, err := lkm.OpenMachine(t.Header().OS, t, lkm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer replayed.Close()
	snap, err := replayed.Snapshot(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(snap.Modules), "modules,", snap.Release)
	for _, p := range snap.Problems {
		fmt.Println(p)
	}
	// Output:
	// 35 modules, 6.1.0-56-amd64
	// sys_module: stat /sys/module: file does not exist
	// builtin: readdir /sys/module: file does not exist
}

// What was not asked when a tape was recorded is unknown, which is not the same as absent.
func ExampleTape_unrecorded() {
	t, err := tape.Read(strings.NewReader(`kernelext tape 1
os: linux
-- error open proc/modules --
absent
-- end --
`))
	if err != nil {
		log.Fatal(err)
	}
	_, err = t.Open("proc/modules")
	fmt.Println(err)
	_, err = t.Open("proc/version")
	fmt.Println(err)
	// Output:
	// open proc/modules: file does not exist
	// open proc/version: not recorded on this tape
}
