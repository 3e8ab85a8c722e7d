// SPDX-License-Identifier: Apache-2.0

// Command agent watches and polls the host whose root is mounted at its first argument, beside a server and JSON.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"time"

	"github.com/kernelext/kernelext/e2e/bench/weight/host"
	"github.com/kernelext/kernelext/lkm"
)

func main() {
	sys, err := lkm.Open(lkm.Options{HostRoot: os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	go watch(sys)
	var list lkm.List
	host.Run(func() int {
		if err := sys.Poll(context.Background(), &list); err != nil {
			log.Fatal(err)
		}
		return len(list.Modules)
	})
}

func watch(sys *lkm.System) {
	out := json.NewEncoder(io.Discard)
	for e, err := range sys.Watch(context.Background(), lkm.WatchOptions{Heartbeat: time.Second}) {
		if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(e); err != nil {
			log.Fatal(err)
		}
	}
}
