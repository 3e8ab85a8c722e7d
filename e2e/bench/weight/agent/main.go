// SPDX-License-Identifier: Apache-2.0

// Command agent watches and polls the host whose root is mounted at its first argument, beside a server and JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

func main() {
	polls, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			json.NewEncoder(w).Encode(r.Header)
		})))
	}()
	sys, err := lkm.Open(lkm.Options{HostRoot: os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	go watch(sys)
	var list lkm.List
	out := json.NewEncoder(io.Discard)
	for range polls {
		if err := sys.Poll(context.Background(), &list); err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(len(list.Modules)); err != nil {
			log.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println(len(list.Modules), "modules")
	io.Copy(io.Discard, os.Stdin) // until it was looked at
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
