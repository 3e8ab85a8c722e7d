// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"slices"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// firstDays is how long the exceptions of a first rule file count.
const firstDays = 90

// First returns a first set of rules from a machine: what is there now is allowed, the code that is not the operating
// system's or not signed is excused for 90 days. A person has to look through it and to name an owner for each
// exception.
func First(ctx context.Context, t Target, today time.Time) (*Rules, error) {
	rules := &Rules{Title: "first rules of " + t.Name, Rules: []Rule{
		{ID: "third-party", Kind: ThirdParty, Title: "only the operating system's own code", Severity: High,
			References: []string{"ATT&CK T1547.006"}},
		{ID: "unsigned", Kind: Unsigned, Title: "only signed code", Severity: High,
			References: []string{"ATT&CK T1553.006"}},
		{ID: "discrepancy", Kind: Discrepancies, Title: "sources agree", Severity: Critical,
			References: []string{"ATT&CK T1014"}},
	}}
	m := &machine{Target: &t, snaps: make(map[lkm.Scope]taken)}
	snap, err := m.snapshot(ctx, m.scope(&Rule{}))
	if err != nil {
		return nil, err
	}
	allow := Rule{ID: "allowed", Kind: Allow, Title: "only modules that were there before", Severity: Medium,
		OS: []lkm.OS{m.system()}}
	for i := range snap.Modules {
		allow.Modules = append(allow.Modules, quoteName(snap.Modules[i].Name))
	}
	slices.Sort(allow.Modules)
	if allow.Modules = slices.Compact(allow.Modules); len(allow.Modules) > 0 && len(allow.Modules) <= maxValues {
		rules.Rules = append(rules.Rules, allow)
	}
	report, err := Run(ctx, []Target{t}, []*Rules{rules}, Options{Today: today})
	if err != nil {
		return nil, err
	}
	seen := make(map[Exception]bool)
	for _, row := range report.Rows {
		if row.Status != Fail || row.Subject == "" {
			continue
		}
		e := Exception{Rule: row.Rule, Subject: quoteName(row.Subject), Owner: "unassigned",
			Reason:  "there when these rules were made",
			Expires: today.UTC().AddDate(0, 0, firstDays).Format(time.DateOnly)}
		if !seen[e] && len(rules.Exceptions) < maxExceptions {
			seen[e] = true
			rules.Exceptions = append(rules.Exceptions, e)
		}
	}
	return rules, nil
}

// quoteName returns a pattern that matches the name alone.
func quoteName(name string) string {
	var b []byte
	for i := range len(name) {
		if c := name[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	return string(b)
}
