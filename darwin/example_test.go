// SPDX-License-Identifier: Apache-2.0

package darwin_test

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// A Mac's kernel lists its kexts. The machine here is made up; a recording or the running Mac answers alike.
func ExampleOpen() {
	k := darwin.Open(fakedarwin.Intel().Machine(), fact.Options{})
	var report fact.Report
	kexts, err := k.Loaded(context.Background(), new(fact.Header), &report)
	if err != nil {
		fmt.Println(err) // there is no list
		return
	}
	for _, m := range kexts {
		if m.Own.Pseudo == "" {
			fmt.Println(m.Own.BundleID, m.Version, m.Origin.Class)
		}
	}
	for _, p := range report.Problems {
		fmt.Println(p)
	}
	// Output:
	// com.apple.driver.Made000 1.0.0 os
	// com.apple.driver.Made001 1.1.0 os
	// com.apple.driver.Made002 1.2.0 os
	// com.apple.driver.Made003 1.3.0 os
	// com.apple.driver.Made004 1.4.0 os
	// com.apple.driver.Made005 1.5.0 os
	// com.vendor.driver 1.2.2 third_party
}
