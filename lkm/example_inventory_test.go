// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"

	"github.com/kernelext/kernelext/lkm"
)

// An inventory of everything that is loaded or on disk, one line a module, for every system alike.
func Example_inventory() {
	o := lkm.Options{Detail: lkm.DetailFiles | lkm.DetailSignatures}
	sys := recorded("synthetic-windows11-admin", o) // lkm.Open(o) for this machine
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
		out.Write([]string{
			m.ID, string(m.State), m.Version, m.Size.String(), string(m.Signature.Status), m.Signature.Signer,
		})
	}
	out.Flush()
	if snap.Err() != nil {
		fmt.Println("the inventory is not whole:", len(snap.Problems), "sources were not read")
	}
	// Output:
	// windows_driver:ketnet.sys,loaded,4.410.137.0,65536,,
	// the inventory is not whole: 1 sources were not read
}
