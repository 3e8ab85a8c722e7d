// SPDX-License-Identifier: Apache-2.0

// Command byhand is the agent as one writes it without this library: it reads /proc/modules and /sys/module of the root
// at its first argument itself, once with every attribute and then the bare list again and again.
package main

import (
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/kernelext/kernelext/e2e/bench/weight/host"
)

type module struct {
	Name, Size, Refs, Users, State, Taint string
	Attributes                            map[string]string
}

func main() {
	list := read(os.Args[1])
	for i := range list {
		attributes(os.Args[1], &list[i])
	}
	if err := host.Out.Encode(list); err != nil {
		log.Fatal(err)
	}
	host.Run(func() int {
		if list = read(os.Args[1]); len(list) == 0 {
			log.Fatal("no modules")
		}
		return len(list)
	})
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
