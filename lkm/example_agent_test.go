// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// runAgent sends what changes, and a sign of life after five quiet minutes, until ctx ends, also through refusals.
func runAgent(ctx context.Context, sys *lkm.System) error {
	out := json.NewEncoder(os.Stdout)
	for e, err := range sys.Watch(ctx, lkm.WatchOptions{Heartbeat: 5 * time.Minute}) {
		if err != nil {
			return err // this system has no such list, and never will
		}
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// An agent that runs on every host of a fleet, the same on each system. A Mirror on the far side adds its lines up.
func Example_agent() {
	sys, err := lkm.Open(lkm.Options{Host: "web-1"})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := runAgent(ctx, sys); err != nil {
		log.Print(err)
	}
}
