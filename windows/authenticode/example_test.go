// SPDX-License-Identifier: Apache-2.0

package authenticode_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A driver without a signature has none; one whose certificate table lies elsewhere has an invalid one.
func ExampleVerifier_Verify() {
	var r fact.Report
	catalogs := authenticode.NewCatalogs(fstest.MapFS{"readme.txt": {}}, ".")
	n, err := catalogs.Load(context.Background(), &r)
	fmt.Println("catalogs:", n, err)
	v := authenticode.NewVerifier(nil, time.Time{}, []*authenticode.Catalogs{catalogs}, &r)

	driver := petest.Sample().Build()
	show := func() {
		file, err := pe.Parse(driver, &r)
		if err != nil {
			fmt.Println(err)
			return
		}
		list := v.Verify(file, nil)
		fmt.Println("signatures:", len(list))
		for _, s := range list {
			fmt.Println(s.Source, s.Status, s.Reason)
		}
	}
	show()
	table := int(driver[0x3c]) + 24 + 144 // its entry in the data directory
	binary.LittleEndian.PutUint32(driver[table:], 0x400)
	binary.LittleEndian.PutUint32(driver[table+4:], 64)
	show()
	// Output:
	// catalogs: 0 <nil>
	// signatures: 0
	// signatures: 1
	// embedded invalid signature does not fit: certificate table is not after the sections, within the file
}
