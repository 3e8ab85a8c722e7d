// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"slices"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// expired reports whether an exception no longer counts on a day.
func (e *Exception) expired(today time.Time) bool {
	day, err := time.Parse(time.DateOnly, e.Expires)
	return err != nil || today.IsZero() || !today.UTC().Before(day.AddDate(0, 0, 1))
}

// covers reports whether an exception is about a row of a machine of that system, which says how names are compared. A
// row about no one subject is covered only by an exception for the whole rule.
func (e *Exception) covers(os lkm.OS, row *Row) bool {
	return match([]string{e.Rule}, row.Rule) && (e.Host == "" || match([]string{e.Host}, row.Target)) &&
		(e.Subject == "" || row.Subject != "" && e.names(os, row.Subject))
}

// names reports whether the exception's subject is that of a row.
func (e *Exception) names(os lkm.OS, subject string) bool {
	fold := func(name string) string { return foldFor(os, name) }
	if name, ok := plain(fold(e.Subject)); ok && bareFor(os, name) == fold(subject) {
		return true
	}
	return matchName(os, newMatcher([]string{e.Subject}, fold), subject, Allow)
}

// An exceptionIndex finds the exceptions that may be about a row without a look at all of them.
type exceptionIndex struct {
	os   lkm.OS // of the machines
	list []Exception
	at   map[exceptionKey][]int // in order
}

// An exceptionKey is what an exception is about, by plain names; empty where it has none or a pattern.
type exceptionKey struct{ rule, subject, host string }

func newExceptionIndex(os lkm.OS, list []Exception) *exceptionIndex {
	x := &exceptionIndex{os: os, list: list, at: make(map[exceptionKey][]int)}
	name := func(pattern string) string {
		n, _ := plain(pattern)
		return n
	}
	for i := range list {
		key := exceptionKey{name(list[i].Rule), x.subject(name(list[i].Subject)), name(list[i].Host)}
		x.at[key] = append(x.at[key], i)
	}
	return x
}

// subject returns a subject as the system compares names, without its file's suffix.
func (x *exceptionIndex) subject(name string) string { return bareFor(x.os, foldFor(x.os, name)) }

// about returns the indexes of the exceptions that may be about a row, in order.
func (x *exceptionIndex) about(row *Row) []int {
	var found []int
	for _, rule := range []string{row.Rule, ""} {
		for _, subject := range []string{x.subject(row.Subject), ""} {
			for _, host := range []string{row.Target, ""} {
				found = append(found, x.at[exceptionKey{rule, subject, host}]...)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// excuse enters the exceptions into the findings that they are about. An unknown row is not excused: what is not known
// is not what somebody answers for.
func (x *exceptionIndex) excuse(rows []Row, today time.Time, used map[Exception]bool) {
	for i := range rows {
		row := &rows[i]
		if row.Status != Fail {
			continue
		}
		for _, j := range x.about(row) {
			e := &x.list[j]
			if !e.covers(x.os, row) {
				continue
			}
			used[*e] = true
			row.Exception, row.Expired = e, e.expired(today)
			if !row.Expired {
				row.Status = Excepted
				break
			}
		}
	}
}

// stale returns a finding for each exception that has expired and is about no finding: it can go. One for other hosts
// than the targets says nothing of these.
func stale(exceptions []Exception, targets []TargetInfo, today time.Time, used map[Exception]bool) []Row {
	var rows []Row
	for i := range exceptions {
		e := &exceptions[i]
		here := func(t TargetInfo) bool { return match([]string{e.Host}, t.Name) }
		if used[*e] || !e.expired(today) || e.Host != "" && !slices.ContainsFunc(targets, here) {
			continue
		}
		used[*e] = true
		rows = append(rows, Row{Target: e.Host, Rule: e.Rule, Kind: ExceptionKind, Severity: Low, Subject: e.Subject,
			Status: Fail, Exception: e, Expired: true, Because: "expired, and excuses nothing any more: remove it"})
	}
	return rows
}
