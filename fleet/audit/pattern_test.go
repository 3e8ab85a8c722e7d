// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// A matcher agrees with path.Match of each pattern, which a plain name costs no look at.
func TestMatcher(t *testing.T) {
	patterns := []string{"a", "a*", `a\*`, "[ab]", `\[ab]`, "a?b", "a/b", "a/*", `\\`, `a\`, "[", "a-b", "", "é*"}
	texts := []string{"", "a", "a*", "ab", "[ab]", "b", "axb", "a/b", "a/b/c", `\`, `a\`, "[", "a-b", "éa", "\xff"}
	for _, p := range patterns {
		for _, text := range texts {
			want, err := path.Match(strings.ReplaceAll(p, "/", "\x01"), strings.ReplaceAll(text, "/", "\x01"))
			if got := newMatcher([]string{p}, nil).match(text); got != (want && err == nil) {
				t.Errorf("%q of %q: %v, want %v, %v", p, text, got, want, err)
			}
		}
	}
	names := make([]string, 5000)
	for i := range names {
		names[i] = quoteName(fmt.Sprintf("module_[%d]", i))
	}
	if m := newMatcher(names, nil); len(m.patterns) != 0 || !m.match("module_[4999]") || m.match("module_4") {
		t.Errorf("%d names are patterns", len(m.patterns))
	}
}

// Of thousands of exceptions a row is compared with those that may be about it, in their order.
func TestExceptionIndex(t *testing.T) {
	var list []Exception
	for i := range 1000 {
		name := fmt.Sprintf("module_%d", i)
		list = append(list, Exception{Rule: "allowed", Subject: name}, Exception{Rule: "allowed", Host: name},
			Exception{Rule: name}, Exception{Rule: "a*", Subject: name},
			Exception{Rule: "allowed", Subject: name, Host: "h*"})
	}
	list = append(list, Exception{Rule: "*"}, Exception{Rule: "allowed", Subject: "module_1?"})
	x := newExceptionIndex(fact.Linux, list)
	for _, row := range []Row{{Rule: "allowed", Subject: "module_17", Target: "host"}, {Rule: "allowed"},
		{Rule: "other", Subject: "module_17", Target: "module_3"}, {Rule: "module_3", Target: "module_3"}} {
		var want, got []int
		for i := range list {
			if x.covers[i].covers(fact.Linux, &row) {
				want = append(want, i)
			}
		}
		about := x.about(&row)
		for _, i := range about {
			if x.covers[i].covers(fact.Linux, &row) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, want) || len(about) > 8 {
			t.Errorf("%+v: %d of %v, want %v", row, about, got, want)
		}
	}
	rows := []Row{{Rule: "allowed", Subject: "s", Status: Fail}}
	ends := func(subject, day string) Exception { return Exception{Rule: "allowed", Subject: subject, Expires: day} }
	x = newExceptionIndex(fact.Linux,
		[]Exception{ends("s", "2026-01-01"), ends("*", "2027-01-01"), ends("s", "2028-01-01")})
	x.excuse(rows, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), make(map[Exception]bool))
	if rows[0].Status != Excepted || rows[0].Exception.Expires != "2027-01-01" {
		t.Errorf("%+v, %+v", rows[0], rows[0].Exception)
	}
}

// An exception names a module as a rule does: as the system compares names, with its file's suffix or without.
func TestExceptionNames(t *testing.T) {
	for _, c := range []struct {
		os              lkm.OS
		subject, module string
		want            Status
	}{
		{fact.Linux, "snd-hda-intel", "snd_hda_intel", Excepted},
		{fact.Linux, "snd_hda_*", "snd-hda-intel", Excepted},
		{fact.Windows, "fltmgr", "FLTMGR.SYS", Excepted},
		{fact.FreeBSD, "zfs", "zfs.ko", Excepted},
		{fact.FreeBSD, "zfs.ko", "zfs", Excepted},
		{fact.FreeBSD, "*fs", "zfs.ko", Fail},
		{fact.FreeBSD, "ZFS", "zfs.ko", Fail},
		{fact.NetBSD, "a-b", "a_b", Fail},
		{fact.Linux, ".ko", "", Fail},
	} {
		rows := []Row{{Rule: "r", Subject: c.module, Status: Fail}}
		x := newExceptionIndex(c.os, []Exception{{Rule: "r", Subject: c.subject, Expires: "2027-01-01"}})
		x.excuse(rows, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), make(map[Exception]bool))
		if rows[0].Status != c.want {
			t.Errorf("%s of %s on %s: %s", c.subject, c.module, c.os, rows[0].Status)
		}
	}
}

// An exception with patterns is compared with thousands of rows, and takes no memory for each.
func TestCoverAllocatesNothing(t *testing.T) {
	c := (&Exception{Rule: "a*", Subject: "mod*", Host: "web*"}).cover(fact.Windows)
	row := &Row{Rule: "all", Subject: "other.sys", Target: "web1"}
	if n := testing.AllocsPerRun(100, func() { c.covers(fact.Windows, row) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
