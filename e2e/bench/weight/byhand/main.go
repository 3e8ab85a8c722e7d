// SPDX-License-Identifier: Apache-2.0

// Command byhand is the agent as one writes it without this library: it reads /proc/modules and /sys/module of the root
// at its first argument itself, once with every attribute and then the bare list again and again.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type module struct {
	Name, Size, Refs, Users, State, Taint string
	Attributes                            map[string]string
}

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
	out := json.NewEncoder(io.Discard)
	list := read(os.Args[1])
	for i := range list {
		attributes(os.Args[1], &list[i])
	}
	if err := out.Encode(list); err != nil {
		log.Fatal(err)
	}
	for range polls {
		if list = read(os.Args[1]); len(list) == 0 {
			log.Fatal("no modules")
		}
		if err := out.Encode(len(list)); err != nil {
			log.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	os.Stdout.WriteString(strconv.Itoa(len(list)) + " modules\n")
	io.Copy(io.Discard, os.Stdin) // until it was looked at
}

func read(root string) (list []module) {
	b, err := os.ReadFile(filepath.Join(root, "proc/modules"))
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := append(strings.Fields(line), "", "", "", "", "", "", "")
		list = append(list, module{Name: f[0], Size: f[1], Refs: f[2], Users: f[3], State: f[4], Taint: f[6]})
	}
	return list
}

func attributes(root string, m *module) {
	m.Attributes = make(map[string]string)
	for _, name := range []string{"coresize", "initsize", "initstate", "taint", "version", "srcversion",
		"notes/.note.gnu.build-id"} {
		if b, err := os.ReadFile(filepath.Join(root, "sys/module", m.Name, name)); err == nil {
			m.Attributes[name] = strings.TrimSpace(string(b))
		}
	}
}
