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

// A cover is what an exception is about, in a form that costs little for each row.
type cover struct {
	rule, subject, host *matcher // nil for every one
	bare                string   // the subject without its file's suffix, if it is a plain name
}

// cover returns what the exception is about on machines of a system, which says how names are compared.
func (e *Exception) cover(os lkm.OS) *cover {
	fold := func(name string) string { return foldFor(os, name) }
	c := &cover{rule: newMatcher([]string{e.Rule}, nil)}
	if e.Host != "" {
		c.host = newMatcher([]string{e.Host}, nil)
	}
	if e.Subject != "" {
		c.subject = newMatcher([]string{e.Subject}, fold)
		name, _ := plain(fold(e.Subject))
		c.bare = bareFor(os, name)
	}
	return c
}

// covers reports whether the exception is about a row. A row about no one subject is covered only by an exception for
// the whole rule.
func (c *cover) covers(os lkm.OS, row *Row) bool {
	if !c.rule.match(row.Rule) || c.host != nil && !c.host.match(row.Target) {
		return false
	}
	return c.subject == nil || row.Subject != "" &&
		(c.bare == foldFor(os, row.Subject) || matchName(os, c.subject, row.Subject, Allow))
}

// An exceptionIndex finds the exceptions that may be about a row without a look at all of them.
type exceptionIndex struct {
	os     lkm.OS // of the machines
	list   []Exception
	covers []*cover               // of each
	at     map[exceptionKey][]int // in order
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
		x.covers = append(x.covers, list[i].cover(os))
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
			if !x.covers[j].covers(x.os, row) {
				continue
			}
			e := &x.list[j]
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
		if used[*e] || !e.expired(today) {
			continue
		}
		hosts := newMatcher([]string{e.Host}, nil)
		here := func(t TargetInfo) bool { return hosts.match(t.Name) }
		if e.Host != "" && !slices.ContainsFunc(targets, here) {
			continue
		}
		used[*e] = true
		rows = append(rows, Row{Target: e.Host, Rule: e.Rule, Kind: ExceptionKind, Severity: Low, Subject: e.Subject,
			Status: Fail, Exception: e, Expired: true, Because: "expired, and excuses nothing any more: remove it"})
	}
	return rows
}
