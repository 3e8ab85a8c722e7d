// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// firstDays is how long the exceptions of a first rule file count.
const firstDays = 90

// First returns a first set of rules from a machine: what is there now is allowed, the code that is not the operating
// system's or not signed is excused for 90 days. A person has to look through it and to name an owner for each
// exception. left says in a text each what the rules leave out, because it is not known or is more than a rule file may
// hold.
func First(ctx context.Context, t Target, today time.Time) (rules *Rules, left []string, err error) {
	rules = &Rules{Title: "first rules of " + t.Name, Rules: []Rule{
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
		return nil, nil, err
	}
	allow := Rule{ID: "allowed", Kind: Allow, Title: "only modules that were there before", Severity: Medium,
		OS: []lkm.OS{m.system()}}
	for i := range snap.Modules {
		allow.Modules = append(allow.Modules, quoteName(snap.Modules[i].Name))
	}
	slices.Sort(allow.Modules)
	allow.Modules = slices.Compact(allow.Modules)
	switch n := len(allow.Modules); {
	case n > maxValues:
		left = append(left,
			fmt.Sprintf("the rule that allows only what is there: %d names, more than %d", n, maxValues))
	case n > 0:
		rules.Rules = append(rules.Rules, allow)
	}
	report, err := Run(ctx, []Target{t}, []*Rules{rules}, Options{Today: today})
	if err != nil {
		return nil, nil, err
	}
	return rules, append(left, rules.except(report.Rows, today)...), nil
}

// except adds an exception for each finding. It returns what has none.
func (r *Rules) except(rows []Row, today time.Time) (left []string) {
	seen := make(map[Exception]bool)
	more := 0
	for i := range rows {
		row := &rows[i]
		switch {
		case row.Status == Unknown:
			left = append(left, strings.TrimSpace(row.Rule+" "+row.Subject)+" is unknown: "+row.Because)
			continue
		case row.Status != Fail:
			continue
		case row.Subject == "":
			left = append(left, row.Rule+": "+row.Because)
			continue
		}
		e := Exception{Rule: row.Rule, Subject: quoteName(row.Subject), Owner: "unassigned",
			Reason:  "there when these rules were made",
			Expires: today.UTC().AddDate(0, 0, firstDays).Format(time.DateOnly)}
		switch {
		case seen[e]:
		case len(r.Exceptions) == maxExceptions:
			more++
		default:
			seen[e] = true
			r.Exceptions = append(r.Exceptions, e)
		}
	}
	if more > 0 {
		left = append(left, fmt.Sprintf("exceptions for %d more findings: a rule file holds %d", more, maxExceptions))
	}
	return left
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
