// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestSigcheck reads a made-up CSV of sigcheck: the columns are found by name, other files are not drivers.
func TestSigcheck(t *testing.T) {
	sha := strings.Repeat("0A", 32)
	text := "\nSigcheck v2.90\n\nPath,Verified,Date,Publisher,Company,MD5,SHA256,IMP\n" +
		`"c:\windows\system32\drivers\a.sys","Signed","07:28 12/7/2019","Example, Inc.","Example","n/a",` +
		`"` + sha + `","n/a"` + "\n" + `"c:\windows\system32\b.dll","Signed","n/a","n/a","n/a","n/a","n/a","n/a"` + "\n"
	var r fact.Report
	c := ReadSigcheck(text, &r)
	if len(c.Records) != 1 || !c.Sure || c.Records[0].State != "" {
		t.Fatalf("%+v, %v", c, r.Problems)
	}
	m := c.Records[0]
	if m.Path != `c:\windows\system32\drivers\a.sys` || m.Own.Hashes == nil ||
		m.Own.Hashes.SHA256 != strings.ToLower(sha) ||
		m.Own.Hashes.MD5 != "" || m.Own.Columns[2] != (Column{"publisher", "Example, Inc."}) {
		t.Errorf("%+v, %+v", m, m.Own)
	}
	tabs := "Path\tVerified\tDate\tPublisher\nc:\\windows\\x, y.sys\tUnsigned\tn/a\tn/a\n"
	if c := read(ReadSigcheck, tabs); len(c.Records) != 1 || c.Records[0].Name != "x, y.sys" || c.Stray != 0 {
		t.Errorf("%+v", c)
	}
	if c := read(ReadSigcheck, "Path,Size\nc:\\a.sys,5\n"); c.Rows != 0 || c.Sure {
		t.Errorf("%+v", c)
	}
}
