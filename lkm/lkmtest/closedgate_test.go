// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

// A command is one way to ask a machine. It returns what the answer claims, and whether the answer says that
// something was not read.
type command struct {
	name string
	run  func(context.Context, *lkm.System, []string) claims
}

// claims are what an answer says that a reader relies on.
type claims struct {
	err      error
	exit     map[string]int    // of a check, by query: 0 is "nothing to fear"
	outcomes map[string]string // of a check, by query, module and time
	findings map[string]bool   // discrepancies of weight
	list     map[string]string // things that are named, each with what is concluded of it
	told     bool              // some problem, source or unknown says that something was not read
}

var commands = []command{
	{"check", checkClaims}, {"policy", policyClaims}, {"discrepancies", discrepancyClaims},
	{"installed", listClaims(lkm.ScopeInstalled)}, {"loaded", listClaims(lkm.ScopeLoaded)}, {"resolve", resolveClaims},
	{"block list, given", givenListClaims}, {"block list, its own", ownListClaims},
}

func checkClaims(ctx context.Context, s *lkm.System, queries []string) claims {
	c := claims{exit: make(map[string]int), outcomes: make(map[string]string)}
	for _, q := range queries {
		verdicts, err := s.Check(ctx, q)
		if err != nil {
			c.exit[q] = 2
			continue
		}
		for _, v := range verdicts {
			for when, p := range map[string]*lkm.Prospect{"now": v.Now, "next boot": v.NextBoot} {
				if p == nil {
					continue
				}
				c.outcomes[strings.Join([]string{q, v.Release, v.Module, when}, "|")] = string(p.Outcome)
				switch p.Outcome {
				case fact.VerdictBlocked, fact.VerdictAbsent:
				case fact.VerdictUnknown:
					if c.exit[q] == 0 {
						c.exit[q] = 3
					}
				default:
					c.exit[q] = 1
				}
			}
			c.told = c.told || len(v.Problems) > 0
		}
		c.exit[q] += 0
	}
	return c
}

func policyClaims(ctx context.Context, s *lkm.System, _ []string) claims {
	p, err := s.Policy(ctx)
	if err != nil {
		return claims{err: err}
	}
	c := claims{list: map[string]string{"loading": string(p.Loading)}, told: p.Err() != nil}
	for _, f := range p.Facts {
		c.list[f.Name] += fmt.Sprintln(f.Value, f.Unset)
		c.told = c.told || f.Unknown
	}
	return c
}

func discrepancyClaims(ctx context.Context, s *lkm.System, _ []string) claims {
	found, err := s.Discrepancies(ctx)
	if err != nil {
		return claims{err: err}
	}
	c := claims{findings: make(map[string]bool)}
	for _, d := range found {
		switch {
		case d.Kind == "unchecked":
			c.told = true
		case d.Grade != fact.GradeTransient:
			name := d.Name
			if strings.HasPrefix(name, "/") {
				name = name[strings.LastIndexByte(name, '/')+1:] // the directory of a release, wherever it is
			}
			for _, e := range d.Evidence {
				switch e.Fact { // what it is about has another name where its file is not known
				case "service":
					name = e.Value
				case "package":
					name, _, _ = strings.Cut(e.Value, " ") // without its version
				}
			}
			c.findings[plainName(name)+" "+d.Kind] = true
		}
	}
	return c
}

// plainName is the one name of a driver that is called by its service or by its file.
func plainName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".sys") }

func listClaims(scope lkm.Scope) func(context.Context, *lkm.System, []string) claims {
	return func(ctx context.Context, s *lkm.System, _ []string) claims {
		snap, err := s.SnapshotOf(ctx, scope)
		if err != nil {
			return claims{err: err}
		}
		c := claims{list: make(map[string]string), told: snap.Err() != nil}
		for _, m := range snap.Modules {
			text := ""
			if m.Origin.Class == fact.OriginOS {
				text += "os "
			}
			if m.Signature.Status == fact.SignatureValid {
				text += "valid "
			}
			c.list[plainName(m.Name)+" "+m.Path] += text
			c.told = c.told || len(m.Problems) > 0
		}
		for _, src := range snap.Sources {
			c.told = c.told || src.Incomplete()
		}
		return c
	}
}

func resolveClaims(ctx context.Context, s *lkm.System, queries []string) claims {
	c := claims{list: make(map[string]string)}
	for _, q := range queries {
		modules, err := s.Resolve(ctx, q)
		if err != nil {
			c.told = true
		}
		for _, m := range modules {
			c.list[q+" → "+m.Name] = ""
			c.told = c.told || len(m.Problems) > 0
		}
	}
	return c
}

// givenList names a driver by what its file says, and another one by a hash that no file has.
const givenList = `<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><FileRules>` +
	`<Deny ID="ID_DENY_1" FriendlyName="x" FileName="ketwatch.sys" MaximumFileVersion="9.0.0.0"/>` +
	`<Deny ID="ID_DENY_2" FriendlyName="x" FileName="tcpip.sys" MaximumFileVersion="99.0.0.0"/>` +
	`<Deny ID="ID_DENY_3" FriendlyName="x" Hash="0000000000000000000000000000000000000000000000000000000000000000"/>` +
	`</FileRules><SigningScenarios><SigningScenario Value="131"><ProductSigners><FileRulesRef>` +
	`<FileRuleRef RuleID="ID_DENY_1"/><FileRuleRef RuleID="ID_DENY_2"/><FileRuleRef RuleID="ID_DENY_3"/>` +
	`</FileRulesRef></ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`

// The given list names drivers of the made-up machine: else the property would compare nothing.
func TestGivenListNames(t *testing.T) {
	for _, s := range subjects(t) {
		if s.name != "windows synthetic-windows11-admin" {
			continue
		}
		c := s.ask(t, command{"", givenListClaims}, faultyMachine(s.machine(), "", ""), nil)
		named := 0
		for _, exit := range c.exit {
			if exit == 1 {
				named++
			}
		}
		if named != 2 {
			t.Errorf("%d are named: %v", named, c.exit)
		}
	}
}

// givenListClaims compares the drivers of a machine with a list that the caller has.
func givenListClaims(ctx context.Context, s *lkm.System, _ []string) claims {
	list, err := windows.ParseBlockList([]byte(givenList), new(fact.Report))
	if err != nil {
		return claims{err: err}
	}
	return driverClaims(ctx, s, func(m *lkm.Module) []windows.BlockMatch {
		return list.Match(m.Windows.Evidence(m.Name, m.Path))
	})
}

// ownListClaims takes what the machine's own lists say of its drivers.
func ownListClaims(ctx context.Context, s *lkm.System, _ []string) claims {
	return driverClaims(ctx, s, func(m *lkm.Module) []windows.BlockMatch { return m.Windows.Blocked })
}

// driverClaims says of each driver whether a list names it, as the exit code of a check: a driver whose file was not
// read, or with a problem, or of a machine whose lists were not read whole, may be named.
func driverClaims(
	ctx context.Context, s *lkm.System, blocked func(*lkm.Module) []windows.BlockMatch,
) claims {
	snap, err := s.SnapshotOf(ctx, lkm.ScopeInstalled)
	if err != nil {
		return claims{err: err}
	}
	lists, _ := snap.Source(windows.SourceCIFiles)
	c := claims{exit: make(map[string]int)}
	for i := range snap.Modules {
		m := &snap.Modules[i]
		if m.Windows == nil {
			continue
		}
		name := plainName(m.Name) + " " + m.Path
		switch {
		case len(blocked(m)) > 0:
			c.exit[name] = 1
		case m.Windows.PE == nil || len(m.Problems) > 0 || lists.Incomplete():
			c.exit[name] = 3
		default:
			c.exit[name] = 0
		}
	}
	return c
}

// worse returns what the answer after a fault claims that the whole machine's does not: a gate that opened, a finding
// that appeared, or something that is gone without a word.
func (c claims) worse(whole claims) []string {
	if c.err != nil || whole.err != nil {
		return nil // an error claims nothing
	}
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for q, exit := range c.exit {
		if was := whole.exit[q]; exit == 0 && was != 0 {
			add("%s: exit 0, it was %d", q, was)
		}
	}
	for key, outcome := range c.outcomes {
		was, ok := whole.outcomes[key]
		if ok && closed(outcome) && !closed(was) { // a file that is not there may be one that nothing loads
			add("%s: %s, it was %s", key, outcome, was)
		}
	}
	for f := range c.findings {
		if !whole.findings[f] {
			add("finding %s appeared", f)
		}
	}
	for f := range whole.findings {
		if !c.findings[f] && !c.told {
			add("finding %s vanished without a word", f)
		}
	}
	for name, was := range whole.list {
		if is, ok := c.list[name]; !c.told && (!ok || is != was) {
			add("%s: %q, it was %q, without a word", name, is, was)
		}
	}
	for name, is := range c.list {
		was, ok := whole.list[name]
		if !ok {
			continue // another file, or one whose place is not known any more
		}
		for _, good := range []string{"os ", "valid "} {
			if strings.Contains(is, good) && !strings.Contains(was, good) {
				add("%s: became %s", name, good)
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// closed reports whether an outcome says that code cannot get in.
func closed(outcome string) bool {
	return outcome == string(fact.VerdictBlocked) || outcome == string(fact.VerdictAbsent)
}

// A subject is a machine to be damaged.
type subject struct {
	name    string
	open    func(*faulty) (*lkm.System, error)
	machine func() lkm.Machine
	queries []string
	whole   bool   // each input is damaged in every way, in short runs, too
	only    string // the one command of which whole is true; empty for every command
}

// queriesOf are names to ask a machine for: some that are loaded, installed and compiled in, and one that nobody knows.
func (s *subject) queriesOf(t testing.TB) []string {
	t.Helper()
	sys, err := s.open(faultyMachine(s.machine(), "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	names := []string{"nosuch"}
	for _, scope := range []lkm.Scope{lkm.ScopeLoaded, lkm.ScopeInstalled, lkm.ScopeBuiltin} {
		snap, err := sys.SnapshotOf(t.Context(), scope)
		if err != nil {
			continue
		}
		var list []string
		for _, m := range snap.Modules {
			list = append(list, m.ID)
		}
		names = append(names, spread(list, 4)...)
	}
	names = append(names, s.queries...)
	slices.Sort(names)
	return slices.Compact(names)
}

// tally counts what the property was asked of.
type tally struct{ inputs, runs, claims int }

func (n *tally) add(m tally) {
	n.inputs, n.runs, n.claims = n.inputs+m.inputs, n.runs+m.runs, n.claims+m.claims
}

// A fault in one input closes no gate: whatever was not read, no outcome becomes blocked or absent, no finding appears,
// nothing becomes the system's own or validly signed, and what is gone says so.
func TestClosedGate(t *testing.T) {
	whole := os.Getenv("KERNELEXT_FULL") != ""
	total := make(map[string]*tally)
	for _, s := range subjects(t) {
		if !whole && strings.Contains(s.name, " tape synthetic-") {
			continue // a made-up machine that is here itself
		}
		t.Run(s.name, func(t *testing.T) {
			queries := s.queriesOf(t)
			for _, c := range commands {
				if strings.HasPrefix(c.name, "block list") && s.kernel() != string(lkm.Windows) {
					continue
				}
				n, wrong := s.property(t, c, queries, whole || s.whole && (s.only == "" || s.only == c.name))
				key := c.name + " " + s.kernel()
				if total[key] == nil {
					total[key] = new(tally)
				}
				total[key].add(n)
				for _, w := range wrong {
					if !allowed(w) {
						t.Error(w)
					}
				}
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(total)) {
		n := total[key]
		t.Logf("%s: %d inputs, %d changed, %d claims compared", key, n.inputs, n.runs, n.claims)
	}
}

func (s *subject) kernel() string { k, _, _ := strings.Cut(s.name, " "); return k }

// property asks one command of a machine whole, then with each of its inputs damaged.
func (s *subject) property(t *testing.T, c command, queries []string, whole bool) (n tally, wrong []string) {
	t.Helper()
	before := faultyMachine(s.machine(), "", "")
	base := s.ask(t, c, before, queries)
	type change struct {
		input string
		fault fault
	}
	var changes []change
	shapes := make(map[string]int)
	for _, input := range before.asked {
		if shapes[shapeOf(input)]++; shapes[shapeOf(input)] > 2 {
			continue
		}
		for _, f := range faults {
			if f.possible(input) {
				changes = append(changes, change{input, f})
			}
		}
	}
	n.inputs = len(before.asked)
	if !whole && len(changes) > 0 { // one, another one for each machine and command
		h := fnv.New32a()
		h.Write([]byte(s.name + c.name))
		i := int(h.Sum32() % uint32(len(changes)))
		changes = changes[i : i+1]
	}
	for _, ch := range changes {
		after := s.ask(t, c, faultyMachine(s.machine(), ch.input, ch.fault), queries)
		n.runs++
		n.claims += len(base.exit) + len(base.outcomes) + len(base.list) + len(after.findings) + len(base.findings)
		for _, w := range after.worse(base) {
			wrong = append(wrong, fmt.Sprintf("%s: %s, %s %s: %s", s.name, c.name, ch.input, ch.fault, w))
		}
	}
	return n, wrong
}

func (s *subject) ask(t *testing.T, c command, m *faulty, queries []string) claims {
	t.Helper()
	sys, err := s.open(m)
	if err != nil {
		return claims{err: err}
	}
	defer sys.Close()
	return c.run(t.Context(), sys, queries)
}

// subjects are all made-up machines and all tapes.
func subjects(t *testing.T) []*subject {
	t.Helper()
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	opener := func(os lkm.OS) func(*faulty) (*lkm.System, error) {
		return func(m *faulty) (*lkm.System, error) { return lkm.OpenMachine(os, m, lkm.Options{Detail: detail}) }
	}
	list := append(slices.Concat(roots(detail), unixRoots(detail)), signedDrivers(t, detail), debuggedDrivers(detail))
	list = append(list, &subject{name: "darwin 10.14", machine: oldMac, open: opener(lkm.Darwin),
		whole: true, only: "check", queries: []string{"com.vendor.inside", "com.vendor.alone", "com.vendor.driver"}})
	for _, m := range madeUps() {
		list = append(list, &subject{name: string(m.os) + " " + m.name, machine: m.machine, open: opener(m.os)})
	}
	for _, name := range slices.Sorted(maps.Keys(corpus(t))) {
		tp := corpus(t)[name]
		os := tp.Header().OS
		list = append(list, &subject{name: string(os) + " tape " + name, open: opener(os),
			machine: func() lkm.Machine { return tp }})
	}
	return list
}

// unmended are failures of the property that are known, each with its reason.
var unmended = []struct{ kernel, command, input, claim, because string }{}

// allowed reports whether a failure of the property is a known one.
func allowed(wrong string) bool {
	for _, u := range unmended {
		if strings.HasPrefix(wrong, u.kernel+" ") && strings.Contains(wrong, ": "+u.command+", ") &&
			strings.Contains(wrong, u.input) && strings.Contains(wrong, u.claim) {
			return true
		}
	}
	return false
}
