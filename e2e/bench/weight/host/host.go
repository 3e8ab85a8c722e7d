// SPDX-License-Identifier: Apache-2.0

// Package host is the program that the agents are built into: a server and JSON.
package host

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Out is where the program writes what it has.
var Out = json.NewEncoder(io.Discard)

// Run starts the server and calls poll as often as the program's second argument says. A third argument "working" makes
// the program work beside it, as one does that has a server: each round is a request that it answers and decodes. Run
// prints how many modules the last poll found, and ends when its input does, so that one can look at the process.
func Run(poll func() int) {
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(l, http.HandlerFunc(answer))) }()
	working, n := len(os.Args) > 3 && os.Args[3] == "working", 0
	for range rounds {
		if working {
			if err := ask("http://" + l.Addr().String()); err != nil {
				log.Fatal(err)
			}
		}
		n = poll()
		if err := Out.Encode(n); err != nil {
			log.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	fmt.Println(n, "modules")
	io.Copy(io.Discard, os.Stdin)
}

// answer writes what was asked.
func answer(w http.ResponseWriter, r *http.Request) {
	json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "time": time.Now()})
}

// ask asks the server once.
func ask(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var got map[string]any
	return json.NewDecoder(response.Body).Decode(&got)
}
