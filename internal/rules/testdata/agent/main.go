// SPDX-License-Identifier: Apache-2.0

// Command agent watches its own machine: the least that an agent does.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"github.com/kernelext/kernelext/lkm"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(r.Header) })
	go func() { log.Fatal(http.ListenAndServe("localhost:8080", nil)) }()
	sys, err := lkm.Open(lkm.Options{})
	if err != nil {
		log.Fatal(err)
	}
	out := json.NewEncoder(os.Stdout)
	var last *lkm.Snapshot
	for e, err := range sys.Watch(context.Background(), lkm.WatchOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		out.Encode(e)
		if e.Snapshot == nil {
			continue
		}
		if last != nil {
			out.Encode(lkm.Diff(last, e.Snapshot))
		}
		last = e.Snapshot
	}
}
