// SPDX-License-Identifier: Apache-2.0

package linux_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// A machine is a file system and a function for calls; lkm.Live returns the running one.
type machine struct{ fstest.MapFS }

func (machine) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, fact.ErrUnrecorded)
}

func Example() {
	m := machine{fstest.MapFS{
		linux.ModulesFile: {Data: []byte("nvme 57344 3 - Live 0x0\nmine 16384 0 - Live 0x0 (OE)\nwhat is this\n")},
	}}
	var r fact.Report
	modules, err := linux.Open(m, fact.Options{}).Loaded(context.Background(), new(fact.Header), &r)
	if err != nil {
		fmt.Println("no list:", err)
		return
	}
	for _, m := range modules {
		fmt.Println(m.Name, m.State, m.Size, m.Own.Taints)
	}
	if !r.Whole(linux.SourceModules) {
		fmt.Println("the list is not whole:")
	}
	for _, p := range r.Problems {
		if p.Source == linux.SourceModules {
			fmt.Println(p)
		}
	}
	// Output:
	// mine loaded 16384 [O E]
	// nvme loaded 57344 []
	// the list is not whole:
	// proc_modules: /proc/modules:3: has 3 fields, not 6 or 7
}
