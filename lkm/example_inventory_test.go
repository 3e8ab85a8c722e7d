// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// An inventory of everything that is loaded or on disk, one line a module, for every system alike: the columns of a
// bill of materials.
func Example_inventory() {
	o := lkm.Options{Detail: lkm.DetailFiles | lkm.DetailHashes | lkm.DetailSignatures}
	tape, err := lkmtest.Open("synthetic-windows11-admin") // a recorded machine
	if err != nil {
		fmt.Println(err)
		return
	}
	sys, err := lkm.OpenMachine(tape.Header().OS, tape, o) // lkm.Open(o) for this machine
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	snap, err := sys.SnapshotOf(context.Background(), lkm.ScopeAll)
	if err != nil {
		fmt.Println("no list:", err)
		return
	}
	out := csv.NewWriter(os.Stdout)
	for _, m := range snap.Modules {
		if m.Origin.Class != lkm.OriginThirdParty {
			continue
		}
		var p lkm.Package
		if m.Package != nil {
			p = *m.Package
		}
		out.Write([]string{
			m.ID, string(m.State), m.Version, m.License, p.Name, p.Version, m.Hashes.SHA256, string(m.Signature.Status),
		})
	}
	out.Flush()
	fmt.Println("whole:", snap.Err() == nil)
	// Output:
	// windows_driver:ketnet.sys,loaded,4.410.137.0,,,,5b017f8c19f7e8cfd621cf22387e4a1a04f2e55644c98a9bede82d753efb5aa5,
	// whole: false
}
