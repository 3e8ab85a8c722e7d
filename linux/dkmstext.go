// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceDKMSText is the source of a capture of dkms status.
const SourceDKMSText = "dkms_status"

// dkmsRow matches a row: "name/version, kernel, arch: state" of DKMS 3, "name, version, kernel, arch: state" before.
// The kernel is missing while the state is "added".
var dkmsRow = lazy.Regexp{Pattern: `^([A-Za-z0-9_.+-]{1,128})(?:/|, )([A-Za-z0-9_.+:~-]{1,128})(?:, ([^,\s]{1,128}), ` +
	`([a-z0-9_]{1,32}))?: (added|built|installed|broken)\s*(.*)$`}

// ReadDKMS reads what dkms status prints: packages of sources, the kernels that they were built for, and their states.
// A package has another name than its modules may have.
func ReadDKMS(text string, r *fact.Report) fact.Capture[Module] {
	var c fact.Capture[Module]
	c.Stray = capture.Scan(text, capture.Form{Tool: "dkms", Source: SourceDKMSText}, r, func(line string) error {
		m := dkmsRow.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case m == nil && strings.HasPrefix(line, "Deprecated feature:"), m == nil && dkmsRemark(line) && c.Rows > 0:
			return nil
		case m == nil:
			return fmt.Errorf("%.60q is not a row", line)
		}
		c.Rows++
		if len(c.Records) < capture.MaxRows {
			c.Records = append(c.Records, dkmsRecord(m))
		}
		return nil
	})
	if c.Rows > 0 {
		r.Add(fact.Problem{Source: SourceDKMSText, Field: "name", Code: fact.CodeUnsupported, Count: c.Rows,
			Text: "the names are those of DKMS packages: which modules one builds is not in the text"})
	}
	r.Source(SourceDKMSText, fact.OutcomePartial, fact.CountOf(int64(c.Rows)), nil)
	return c
}

// dkmsRemark reports whether a line goes on with a row's remark, "(WARNING! Diff between built" and so on.
func dkmsRemark(line string) bool {
	return strings.Contains("(WARNING! Diff between built and installed module!)", strings.TrimSpace(line)) ||
		strings.HasPrefix(line, "(WARNING! Diff") || strings.HasPrefix(line, "and installed module!)") ||
		strings.HasPrefix(line, "built and installed module!)")
}

func dkmsRecord(m []string) Record {
	state := map[string]fact.State{"installed": fact.StateInstalled, "built": fact.StateStaged,
		"added": fact.StateStaged}[m[5]]
	rec := newRecord(m[1], state)
	rec.Version = m[2]
	rec.Package = &fact.Package{Manager: "dkms", Name: m[1], Version: m[2], Arch: m[4]}
	rec.Own = &Module{Release: m[3]}
	if strings.Contains(m[6], "Diff between built and installed") {
		rec.AddProblem(fact.Problem{Source: SourceDKMSText, Subject: m[1], Field: "version", Code: fact.CodeOther,
			Text: "DKMS says that another module is installed than the one it built"})
	}
	return rec
}
