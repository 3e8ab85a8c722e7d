// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// runAgent sends what changes, and a sign of life after five quiet minutes, until ctx ends. It goes on if the list is
// refused.
func runAgent(ctx context.Context, sys *lkm.System) error {
	out := json.NewEncoder(os.Stdout)
	for e, err := range sys.Watch(ctx, lkm.WatchOptions{Heartbeat: 5 * time.Minute}) {
		if err != nil {
			return err // this system has no such list, and never will
		}
		e.Stream, e.Digest, e.At, e.Snapshot = "", "", time.Time{}, nil // for this example: an agent sends all of it
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// An agent that runs on every host of a fleet, the same on each system. A Mirror on the far side adds its lines up.
func Example_agent() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{Host: "web-1"}) // lkm.Open for this machine
	defer sys.Close()
	ctx, stop := context.WithTimeout(context.Background(), time.Second/10)
	defer stop() // an agent goes on until it is stopped
	if err := runAgent(ctx, sys); err != nil {
		log.Fatal(err)
	}
	// Output: {"seq":1,"host":"web-1","type":"baseline"}
}
