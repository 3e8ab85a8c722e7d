// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
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

// A recorder keeps what a program asks of a machine, for a test of that program.
func Example_record() {
	machine, err := lkmtest.Open("synthetic-container") // os, machine, err := lkm.Live(lkm.Options{}) for this machine
	if err != nil {
		log.Fatal(err)
	}
	recorder := tape.Record(lkm.Linux, machine, tape.Options{Header: tape.Header{Comment: "for a test"}})
	sys, err := lkm.OpenMachine(lkm.Linux, recorder, lkm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close()
	if _, err := sys.Snapshot(context.Background()); err != nil { // what the program asks
		log.Fatal(err)
	}
	var file bytes.Buffer // os.Create("testdata/web.tape")
	if _, err := recorder.WriteTo(&file); err != nil {
		log.Fatal(err)
	}
	again, err := tape.Read(&file) // tape.ReadFile("testdata/web.tape")
	if err != nil {
		log.Fatal(err)
	}
	_, err = again.Open("proc/sys/kernel/modules_disabled")
	fmt.Println(again.Header().Comment, errors.Is(err, fact.ErrUnrecorded))
	// Output: for a test true
}
