// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/pe"
)

// digest is that of an old driver.
const digest = "11bd2c9f9e2397c9a16e0990e4ed2cf0679498fe0fd418a3dfdac60b5c160ee5"

// A block list names drivers by digest, name and version, or signer; here a list in the form of LOLDrivers names one by
// its digest.
func ExampleParseBlockList() {
	list := `[{"Id": "1", "Category": "vulnerable driver", "Tags": ["old.sys"],
		"KnownVulnerableSamples": [{"SHA256": "` + digest + `"}]}]`
	var r fact.Report
	l, err := windows.ParseBlockList([]byte(list), &r)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range l.Match(windows.BlockEvidence{Hashes: &pe.Hashes{SHA256: digest}}) {
		fmt.Println(m.List, m.Name, m.Category, m.Strength, "by", m.Evidence[0].Fact)
	}
	fmt.Println("problems:", len(r.Problems))
	// Output:
	// LOLDrivers old.sys vulnerable driver strong by sha256
	// problems: 0
}
