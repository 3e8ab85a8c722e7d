// SPDX-License-Identifier: Apache-2.0

// Command bare is the agent without this library.
package main

import (
	"encoding/json"
	"log"
	"net/http"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(r.Header) })
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
