// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A watcher prints what comes and goes, with whose code it is. The same lines serve every system; Linux gives the
// events without privilege.
func Example_watcher() {
	o := lkm.Options{Host: "web-1"}
	tape, err := lkmtest.Open("synthetic-debian-root") // a recorded machine
	if err != nil {
		fmt.Println(err)
		return
	}
	sys, err := lkm.OpenMachine(tape.Header().OS, tape, o) // lkm.Open(o) for this machine
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	for e, err := range sys.Watch(context.Background(), lkm.WatchOptions{PollOnly: true}) {
		if err != nil {
			fmt.Println("the watch ended:", lkm.CodeOf(err), err)
			return
		}
		switch e.Type {
		case lkm.EventBaseline:
			fmt.Println(e.Host, "watches", len(e.Snapshot.Modules), "modules of", e.Snapshot.Release)
		case lkm.EventLoad:
			fmt.Println("loaded", e.ID, e.After.Origin.Class)
		case lkm.EventUnload:
			fmt.Println("unloaded", e.ID)
		case lkm.EventLost:
			fmt.Println("the kernel dropped", e.Dropped, "events; what they changed follows")
		}
		break // a recording changes no more
	}
	// Output: web-1 watches 35 modules of 6.1.0-56-amd64
}
