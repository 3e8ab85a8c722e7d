// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakelinux"
	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/internal/tour"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

var update = flag.Bool("update", false, "rewrite the synthetic tapes and the golden files")

// A madeUp is a synthetic tape of the corpus.
type madeUp struct {
	name, comment string
	os            lkm.OS
	machine       func() lkm.Machine
}

// onLinux is a made-up Linux host as a machine.
func onLinux(h fakelinux.Host) func() lkm.Machine { return func() lkm.Machine { return h.Machine() } }

func madeUps() []madeUp {
	root := fakelinux.Debian()
	user := root
	user.User = true
	return append([]madeUp{
		{"synthetic-debian-root", "Debian 12 with 35 modules, one proprietary and one out of tree, as root",
			lkm.Linux, onLinux(root)},
		{"synthetic-debian-user", "the same machine as an ordinary user", lkm.Linux, onLinux(user)},
		{"synthetic-nomodules", "a kernel built without loadable modules", lkm.Linux, onLinux(fakelinux.NoModules())},
		{"synthetic-container", "Debian 12 from a container without /sys/module", lkm.Linux,
			onLinux(fakelinux.Container())},
		{"synthetic-procsubset", "Debian 12 from a service with ProcSubset=pid", lkm.Linux,
			onLinux(fakelinux.ProcSubsetPID())},
		{"synthetic-protectmodules", "Debian 12 from a service with ProtectKernelModules=", lkm.Linux,
			onLinux(fakelinux.ProtectKernelModules())},
	}, slices.Concat(unixMadeUps(), macMadeUps(), windowsMadeUps())...)
}

// record returns the tape of a made-up host that was looked at in every way, in all detail.
func record(t testing.TB, m madeUp, unredacted bool) *tape.Tape {
	t.Helper()
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	r := tape.Record(m.os, m.machine(), tape.Options{Unredacted: unredacted, Header: tape.Header{
		Producer: "go test ./lkm/lkmtest -update", Comment: "made up: " + m.comment, Synthetic: true,
		Detail: detail.String(),
	}})
	sys, err := lkm.OpenMachine(m.os, r, lkm.Options{Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	snap, err := tour.Take(context.Background(), sys)
	if err != nil {
		t.Fatal(err)
	}
	if snap != nil {
		r.Describe(snap.Release, snap.Arch, snap.Privilege)
	}
	return r.Tape()
}

func write(t testing.TB, tp *tape.Tape) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := tp.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The synthetic tapes are what the made-up hosts give now. A new question to a machine changes
// them; -update records them again.
func TestSyntheticTapes(t *testing.T) {
	for _, m := range madeUps() {
		tp := record(t, m, false)
		golden.Check(t, filepath.Join("testdata", m.name+".tape"), write(t, tp), *update)
		for _, e := range tp.Entries() {
			if e.Code == lkm.CodeTooLarge || e.Code == lkm.CodeTimeout {
				t.Errorf("%s: %s: %s", m.name, e.Subject, e.Code)
			}
		}
	}
}

// corpus returns the tapes that are in the source tree now: with -update some are newer than those
// that this test was built with.
func corpus(t *testing.T) map[string]*tape.Tape {
	t.Helper()
	tapes := make(map[string]*tape.Tape)
	for _, name := range lkmtest.Names() {
		tp, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tapes[name] = tp
	}
	for _, m := range madeUps() {
		tapes[m.name] = record(t, m, false)
	}
	return tapes
}

func TestCorpus(t *testing.T) {
	names := lkmtest.Names()
	if !slices.IsSorted(names) || len(names) == 0 {
		t.Errorf("names: %q", names)
	}
	for _, name := range names {
		tp, err := lkmtest.Open(name)
		if err != nil {
			t.Error(err)
			continue
		}
		h := tp.Header()
		if h.Producer == "" || h.OS == "" {
			t.Errorf("%s: header %+v", name, h)
		}
		if strings.HasPrefix(name, "synthetic-") != h.Synthetic {
			t.Errorf("%s: the name and the header differ on whether it is synthetic", name)
		}
		if h.OS == lkm.Linux && h.Redactions == nil {
			t.Errorf("%s: not redacted", name)
		}
		if *update {
			continue // the files are newer than this test's program
		}
		text, err := os.ReadFile(filepath.Join("testdata", name+".tape"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // compressed
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if len(text) > 1<<20 {
			t.Errorf("%s: %d bytes; compress it", name, len(text))
		}
		if got := write(t, tp); !bytes.Equal(got, text) {
			t.Errorf("%s is written differently from how it was read: %s", name, golden.Diff(string(text), string(got)))
		}
	}
	if _, err := lkmtest.Open("no such tape"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := lkmtest.Open("../lkmtest.go"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that is a path: %v", err)
	}
}

// An outlook is everything that a tape gives: the Snapshot, or why it could not be taken, and what is built in.
type outlook struct {
	Snapshot *lkm.Snapshot `json:"snapshot,omitzero"`
	Error    string        `json:"error,omitzero"`
	Code     lkm.Code      `json:"code,omitzero"`
	Builtin  *lkm.Snapshot `json:"builtin,omitzero"`
}

func look(t testing.TB, os lkm.OS, m lkm.Machine, detail lkm.Detail) outlook {
	t.Helper()
	sys, err := lkm.OpenMachine(os, m, lkm.Options{Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	var o outlook
	ctx := context.Background()
	if o.Snapshot, err = sys.Snapshot(ctx); err != nil {
		o.Error, o.Code = err.Error(), fact.CodeOf(err)
	} else {
		o.Snapshot.Producer = ""
	}
	if o.Builtin, err = sys.SnapshotOf(ctx, lkm.ScopeBuiltin); err == nil {
		o.Builtin.Producer = ""
	} else if o.Code == "" {
		o.Code = fact.CodeOf(err)
	}
	return o
}

func details(t testing.TB, h tape.Header) []lkm.Detail {
	t.Helper()
	d, err := lkm.ParseDetail(h.Detail)
	if err != nil {
		t.Fatal(err)
	}
	if d == 0 {
		return []lkm.Detail{0}
	}
	return []lkm.Detail{0, d}
}

// Every tape gives on every system what its golden file says, in all the detail that it was
// recorded with. Without detail the golden files of the command say the same.
func TestGolden(t *testing.T) {
	for name, tp := range corpus(t) {
		for _, d := range details(t, tp.Header()) {
			o := look(t, tp.Header().OS, tp, d)
			if d.String() == tp.Header().Detail {
				got, err := json.MarshalIndent(o, "", "\t")
				if err != nil {
					t.Fatal(err)
				}
				golden.Check(t, filepath.Join("testdata", "golden", name+".json"), append(got, '\n'), *update)
			}
			if o.Snapshot == nil {
				continue
			}
			text, err := json.Marshal(o.Snapshot)
			if err != nil {
				t.Fatal(err)
			}
			again, err := lkm.Decode(bytes.NewReader(text))
			if err != nil {
				t.Errorf("%s: its own JSON is refused: %v", name, err)
				continue
			}
			if twice, _ := json.Marshal(again); !bytes.Equal(twice, text) {
				t.Errorf("%s: another Snapshot after a trip through JSON: %s", name,
					golden.Diff(string(text), string(twice)))
			}
		}
	}
}

// A tape that was cut from another machine's answers never makes the library claim more than is on
// it: whatever entry is missing, the result is the same, or something says that it is not whole.
func TestWithoutAnEntry(t *testing.T) {
	whole := os.Getenv("KERNELEXT_FULL") != "" // else every eighth entry
	for name, tp := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := tp.Header()
			for _, d := range details(t, h) {
				full := look(t, h.OS, tp, d)
				entries := strings.SplitAfter(string(write(t, tp)), "\n-- ")
				shapes := make(map[string]int)
				for i := 1; i < len(entries)-1; i++ {
					line, _, _ := strings.Cut(entries[i], "\n")
					if shapes[shape(line)]++; shapes[shape(line)] > 2 || !whole && i%8 != 0 {
						continue
					}
					rest := strings.Join(slices.Concat(entries[:i], entries[i+1:]), "")
					cut, err := tape.Read(strings.NewReader(rest))
					if err != nil {
						t.Fatalf("without %q: %v", entries[i], err)
					}
					if err := lessButSaid(full, look(t, h.OS, cut, d)); err != nil {
						t.Errorf("detail %q, without %q: %v", d, line, err)
					}
				}
			}
		})
	}
}

// shape returns an entry's first line with the names of modules, parameters and sections left out,
// and without what stat said: entries of one shape are alike to a reader, and two of each are
// enough.
func shape(line string) string {
	kind, path, _ := strings.Cut(line, " sys/module/")
	words := strings.Split(path, " ")
	elems := strings.Split(words[0], "/")
	for i := range elems {
		if i == 0 || elems[i-1] == "parameters" || elems[i-1] == "sections" {
			elems[i] = "NAME"
		}
	}
	return kind + " " + strings.Join(elems, "/")
}

// lessButSaid returns an error when less differs from full and does not say why.
func lessButSaid(full, less outlook) error {
	if full.Code == "" && less.Code != "" || full.Error != "" && less.Error != "" {
		return nil // no list, with an error
	}
	if full.Error != "" {
		return fmt.Errorf("there is a list where there was the error %s", full.Error)
	}
	for _, pair := range [][2]*lkm.Snapshot{{full.Snapshot, less.Snapshot}, {full.Builtin, less.Builtin}} {
		if pair[0] == nil || pair[1] == nil {
			continue
		}
		was, is := bare(pair[0]), bare(pair[1])
		if was != is && !unrecordedProblem(pair[1]) {
			return fmt.Errorf("another result, and nothing says that an answer was not recorded: %s",
				golden.Diff(was, is))
		}
	}
	return nil
}

// bare returns a Snapshot's facts as text, without the problems.
func bare(s *lkm.Snapshot) string {
	c := *s
	c.Problems = nil
	c.Modules = slices.Clone(s.Modules)
	for i := range c.Modules {
		c.Modules[i].Problems = nil
	}
	b, err := json.MarshalIndent(&c, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func unrecordedProblem(s *lkm.Snapshot) bool {
	for _, src := range s.Sources {
		if src.Code == lkm.CodeUnrecorded {
			return true
		}
	}
	for p := range problems(s) {
		if p.Code == lkm.CodeUnrecorded {
			return true
		}
	}
	return false
}

func problems(s *lkm.Snapshot) func(yield func(lkm.Problem) bool) {
	return func(yield func(lkm.Problem) bool) {
		for _, p := range s.Problems {
			if !yield(p) {
				return
			}
		}
		for i := range s.Modules {
			for _, p := range s.Modules[i].Problems {
				if !yield(p) {
					return
				}
			}
		}
	}
}
