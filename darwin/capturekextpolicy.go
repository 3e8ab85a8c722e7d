// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// ReadKextPolicyText reads rows "team|bundle id|allowed|developer|flags" that the sqlite3 tool printed of the table
// kext_policy, with the tool's prompts and the schema around them.
func ReadKextPolicyText(text string, r *fact.Report) fact.Capture[Kext] {
	c := readText(text, SourceKextPolicy, r, func(c *reading, line string) error {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			return nil
		case strings.HasPrefix(line, "CREATE TABLE"), strings.HasPrefix(line, "sqlite> "):
			c.Sure = c.Sure || strings.Contains(line, "kext_policy")
			return nil
		}
		a, ok := approvalRow(strings.Split(line, "|"))
		if !ok {
			return noPrompt(line)
		}
		if c.full() {
			return noRow(line)
		}
		c.add(Record{Kind: fact.KindMacOSKext, Name: a.BundleID, Own: &Kext{BundleID: a.BundleID, Approval: a}})
		return nil
	})
	return c.done()
}

func approvalRow(f []string) (*Approval, bool) {
	if len(f) != 5 || f[0] != "" && !isTeamID(f[0]) || !isBundleID(f[1]) || f[2] != "0" && f[2] != "1" {
		return nil, false
	}
	a := &Approval{TeamID: f[0], BundleID: f[1], Allowed: fact.TriOf(f[2] == "1"), Developer: escape.UTF8(f[3])}
	if flags, err := strconv.ParseInt(f[4], 10, 64); err == nil {
		a.Flags = fact.CountOf(flags)
	}
	return a, true
}
