// SPDX-License-Identifier: Apache-2.0

package pe_test

import (
	"crypto"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

// A driver's file says what it imports, which build it is and what its vendor calls it.
func ExampleParse() {
	var r fact.Report
	file, err := pe.Parse(petest.Sample().Build(), &r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.Machine, file.Subsystem, file.Checksum == file.ComputedChecksum)
	for _, i := range file.Imports {
		fmt.Println("imports", i.Library, i.Functions)
	}
	fmt.Println("build", file.PDB.ID())
	version, err := file.Version()
	fmt.Println("version", version.File, version.String("CompanyName"), err)
	fmt.Println("authentihash of", len(file.Authentihash(crypto.SHA256)), "bytes")
	fmt.Println("problems:", len(r.Problems))
	// Output:
	// amd64 native true
	// imports NTOSKRNL.exe [IoCreateDevice #12]
	// imports Fltmgr.SYS [FltRegisterFilter]
	// build A30C7413C3EAF4C899AC95798321BE651
	// version 2.0.70.1 Ket, Inc. <nil>
	// authentihash of 32 bytes
	// problems: 0
}
