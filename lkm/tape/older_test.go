// SPDX-License-Identifier: Apache-2.0

package tape_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

// text returns a tape of the corpus as one that was recorded by version 0.1.0: without a number of questions.
func text(t *testing.T, name string) string {
	t.Helper()
	tp, err := lkmtest.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := tp.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(b.String(), fmt.Sprintf("questions: %d\n", tp.Header().Questions), "", 1)
}

func read(t *testing.T, text string) *tape.Tape {
	t.Helper()
	tp, err := tape.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

// listed is what a list of a tape's machine says, and what is missing of it under --strict.
func listed(t *testing.T, tp *tape.Tape, detail lkm.Detail) (list, missing string) {
	t.Helper()
	sys, err := lkm.OpenMachine(tp.Header().OS, tp, lkm.Options{Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	snap, err := sys.Snapshot(t.Context())
	if err != nil {
		return "", err.Error()
	}
	snap.Detail = 0 // which details were asked for says nothing of the answers
	b, err := json.MarshalIndent(snap, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Err(); err != nil {
		missing = err.Error()
	}
	return string(b), missing
}

// A new optional attribute: the test makes one of an attribute that the library asks for today. A tape that lacks it
// because it is older gives the list of a machine that does not have it; a tape whose recorder knew it does not.
func TestNewAttribute(t *testing.T) {
	entry := regexp.MustCompile(`(?m)^-- (?:file|error open) (sys/module/[^/ ]+/(?:version|srcversion))(?: .*)?--\n` +
		`(?:[^-].*)?\n`)
	tried := 0
	for _, name := range lkmtest.Names() {
		old := text(t, name)
		if !entry.MatchString(old) {
			continue
		}
		without := entry.ReplaceAllString(old, "")
		absent := read(t, entry.ReplaceAllString(old, "-- error open $1 --\nabsent\n"))
		older, newer := read(t, without), read(t, strings.Replace(without, "\n", "\nquestions: 2\n", 1))
		for _, tp := range []*tape.Tape{older, newer} {
			tape.Learn(tp, 2, lkm.Linux, "", "sys/module/*/version")
			tape.Learn(tp, 2, lkm.Linux, "", "sys/module/*/srcversion")
		}
		all, err := lkm.ParseDetail(older.Header().Detail)
		if err != nil {
			t.Fatal(err)
		}
		for _, detail := range []lkm.Detail{0, all} {
			want, missing := listed(t, absent, detail)
			if !strings.Contains(want, `"id": "linux_module:`) {
				continue // no modules, or no list
			}
			tried++
			if got, m := listed(t, older, detail); got != want || m != missing {
				t.Errorf("%s, detail %v: another list, or more is missing: %s\n%s", name, detail,
					golden.Diff(want, got), golden.Diff(missing, m))
			}
			if got, m := listed(t, newer, detail); got == want || m == missing {
				t.Errorf("%s, detail %v: the recorder knew the question, and nothing is missing", name, detail)
			}
		}
	}
	if tried < 5 {
		t.Errorf("only %d tapes have the attribute", tried)
	}
}

// conclusions are what a tape's machine lets the library conclude.
func conclusions(t *testing.T, tp *tape.Tape, queries []string) map[string]string {
	t.Helper()
	sys, err := lkm.OpenMachine(tp.Header().OS, tp, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	out := make(map[string]string)
	if p, err := sys.Policy(t.Context()); err == nil {
		out["policy"] = string(p.Loading)
	}
	for _, q := range queries {
		verdicts, err := sys.Check(t.Context(), q)
		if err != nil {
			continue
		}
		for i, v := range verdicts {
			key := fmt.Sprintf("check %s %d", q, i)
			if v.Now != nil {
				out[key+" now"] = string(v.Now.Outcome)
			}
			if v.NextBoot != nil {
				out[key+" next boot"] = string(v.NextBoot.Outcome)
			}
		}
	}
	return out
}

// queries are modules of each system: one of its list, and one that it does not have.
func queries(tp *tape.Tape) []string {
	list := []string{"no_such_module"}
	sys, err := lkm.OpenMachine(tp.Header().OS, tp, lkm.Options{})
	if err != nil {
		return list
	}
	defer sys.Close()
	var l lkm.List
	if sys.Poll(context.Background(), &l) == nil && len(l.Modules) > 0 {
		list = append(list, l.Modules[len(l.Modules)/2].Name)
	}
	return list
}

// subjectOf returns the op and the subject of an entry, as rows of learned have them, and its shape: entries that
// differ in a number or in the name of a module alone are alike to a reader.
func subjectOf(line string) (op, subject, shape string) {
	words := strings.Split(strings.TrimSuffix(line, " --"), " ")
	words = slices.DeleteFunc(words, func(w string) bool { return strings.Contains(w, "=") })
	kind, words := words[0], words[1:]
	if kind == "error" {
		kind, words = words[0], words[1:]
	}
	if kind == "call" {
		op = "call"
	}
	subject = strings.Join(words, " ")
	shape = regexp.MustCompile(`sys/module/[^/]+|[0-9]+`).ReplaceAllString(kind+" "+subject, "N")
	return op, subject, shape
}

// Whatever an older tape lacks, a list of it has no failure for it, and no conclusion is bolder than that of a tape
// which lacks an answer that its recorder could have got.
func TestOlderThanAnyQuestion(t *testing.T) {
	shapes := make(map[string]bool) // those that were tried, of any tape of the same system
	for _, name := range lkmtest.Names() {
		all := text(t, name)
		full := read(t, all)
		asked := queries(full)
		entries := strings.SplitAfter(all, "\n-- ")
		for i := 1; i < len(entries)-1; i++ {
			line, _, _ := strings.Cut(entries[i], "\n")
			op, subject, shape := subjectOf(line)
			shape = string(full.Header().OS) + " " + shape
			if shapes[shape] || i%5 != 0 || testing.Short() && i%8 != 0 || strings.Contains(subject, "%") {
				continue
			}
			shapes[shape] = true
			without := strings.Join(slices.Concat(entries[:i], entries[i+1:]), "")
			olderThan(t, name+" without "+line, without, op, subject, asked)
		}
	}
	if len(shapes) < 80 && !testing.Short() {
		t.Errorf("only %d kinds of entries", len(shapes))
	}
}

// olderThan compares a tape that is older than a question with the same tape of a recorder that knew it.
func olderThan(t *testing.T, what, text, op, subject string, asked []string) {
	t.Helper()
	older, newer := read(t, text), read(t, strings.Replace(text, "\n", "\nquestions: 2\n", 1))
	tape.Learn(older, 2, "", op, subject)
	if _, missing := listed(t, older, 0); strings.Contains(missing, lkm.ErrOlder.Error()) && !noList(missing) {
		t.Errorf("%s: the list has a failure: %s", what, missing)
	}
	want := conclusions(t, newer, asked)
	for key, got := range conclusions(t, older, asked) {
		if got != want[key] && got != "" && got != string(lkm.VerdictUnknown) {
			t.Errorf("%s: %s is %q, and %q if it could have been asked", what, key, got, want[key])
		}
	}
}

// noList reports whether a list failed altogether.
func noList(missing string) bool { return strings.HasPrefix(missing, "lkm: list modules: ") }
