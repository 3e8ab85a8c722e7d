// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// A watch begins with what there is. The loop ends it, as does its context.
func ExampleSystem_Watch() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{})
	defer sys.Close()
	for e, err := range sys.Watch(context.Background(), lkm.WatchOptions{Interval: time.Second}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch e.Type {
		case lkm.EventBaseline:
			fmt.Println("baseline of", len(e.Snapshot.Modules), "modules")
		case lkm.EventLoad, lkm.EventUnload, lkm.EventChange:
			fmt.Println(e.Type, e.ID)
		case lkm.EventLost:
			n, _ := e.Dropped.Get()
			fmt.Println("up to", n, "loads and unloads have no event; what they changed follows")
		case lkm.EventDegraded:
			fmt.Println("it cannot be seen any more:", e.Error)
		}
		break // a recording changes no more
	}
	// Output: baseline of 50 modules
}

// On the far side, a Mirror of the events is the machine's state, or has an error.
func ExampleMirror() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{})
	defer sys.Close()
	var mirror lkm.Mirror
	for e, err := range sys.Watch(context.Background(), lkm.WatchOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := mirror.Apply(e); err != nil {
			fmt.Println("ask for a new baseline:", err) // it matches lkm.ErrGap
		}
		far := mirror.Snapshot()
		fmt.Println(len(far.Modules), "modules, the same as there:", far.Digest() == e.Digest)
		break // a recording changes no more
	}
	// Output: 50 modules, the same as there: true
}

// None found is not none: a gate asks what was not compared first.
func ExampleSystem_Discrepancies() {
	sys := recorded("synthetic-container", lkm.Options{})
	defer sys.Close()
	found, err := sys.Discrepancies(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range found {
		if d.Kind == linux.KindUnchecked && d.Views[linux.SourceSysModule] == lkm.ViewUnchecked {
			fmt.Println("/sys/module was not compared")
		}
		if d.Grade == lkm.GradeStrong {
			fmt.Println(d.Kind, d.Name)
		}
	}
	// Output: /sys/module was not compared
}
