// SPDX-License-Identifier: Apache-2.0

// Package report makes one page of HTML of the Snapshots of one machine or of many: first the answer (what is
// third-party, not signed, changed, and what could get in), then the modules in a table, who needs whom, the policy,
// the findings, and what could not be read. The page needs no network and no other file.
//
// Names of modules are chosen by others. They are escaped, and the page's policy lets no other script run than its own.
package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// A Report gathers Snapshots. It keeps of each only what the page shows, so that a fleet's need not be in memory at
// once.
type Report struct {
	hosts    []host
	rows     map[rowKey]*row
	findings map[findingKey][]int32 // → the hosts
	unread   map[unreadKey][]int32
	totals   totals
	single   *lkm.Snapshot // of one host alone
}

// New returns an empty Report.
func New() *Report {
	return &Report{rows: make(map[rowKey]*row), findings: make(map[findingKey][]int32),
		unread: make(map[unreadKey][]int32)}
}

// A host is a line of the table of hosts.
type host struct {
	Name, OS, Release             string
	Modules, ThirdParty, Unsigned tally
	Loading                       string
	Complete                      bool
}

// A tally is a number of modules, and whether there may be more.
type tally struct {
	N     int
	Maybe bool
}

// String is the number: "unknown" for none that are known where there may be some.
func (t tally) String() string {
	switch {
	case !t.Maybe:
		return number(t.N)
	case t.N == 0:
		return unknownWord
	}
	return "≥ " + number(t.N)
}

// A rowKey is what makes two modules of different hosts one row.
type rowKey struct{ ID, Name, State, Version, Origin, Signature, Signer, Package, Taints, Kinds string }

type row struct {
	rowKey
	Size, UsedBy string
	Alarm        bool
	hosts        []int32
}

type findingKey struct{ What, Class, Module, Evidence string }

type unreadKey struct{ Source, Outcome, Text string }

// totals are counted over modules, each on each host. Maybe counts are those that could not be decided.
type totals struct {
	modules, third, thirdMaybe, unsigned, unsignedMaybe, changed, changedMaybe, noFile, listed int
	unlisted                                                                                   int // hosts
	loading                                                                                    map[string]int
}

// Add adds the Snapshot of one host.
func (r *Report) Add(s *lkm.Snapshot) {
	n := int32(len(r.hosts))
	name := "this machine"
	if s.Live == lkm.No {
		name = "this image"
	}
	h := host{Name: text(cmp.Or(s.Host, name)), OS: text(cmp.Or(string(s.OS), unknownWord)), Release: text(s.Release),
		Modules: tally{N: len(s.Modules)}, Loading: loadingWord(s), Complete: s.Err() == nil}
	if err := s.ListErr(""); err != nil {
		h.Modules.Maybe, h.ThirdParty.Maybe, h.Unsigned.Maybe, h.Complete = true, true, true, false
		r.totals.unlisted++
		key := unreadKey{"list of modules", "not whole", text(err.Error())}
		r.unread[key] = append(r.unread[key], n)
	}
	if r.totals.loading == nil {
		r.totals.loading = make(map[string]int)
	}
	r.totals.loading[h.Loading]++
	for i := range s.Modules {
		r.module(&s.Modules[i], n, &h)
	}
	r.missed(s, n)
	r.hosts = append(r.hosts, h)
	if r.single = s; n > 0 {
		r.single = nil
	}
}

// Failed adds a host, or a file of one, that could not be read at all.
func (r *Report) Failed(name string, err error) {
	n := int32(len(r.hosts))
	none := tally{Maybe: true}
	r.hosts = append(r.hosts, host{Name: text(name), OS: unknownWord, Modules: none, ThirdParty: none, Unsigned: none,
		Loading: unknownWord})
	r.totals.unlisted++
	if r.totals.loading == nil {
		r.totals.loading = make(map[string]int)
	}
	r.totals.loading[unknownWord]++
	key := unreadKey{text(name), "failed", text(err.Error())}
	r.unread[key] = append(r.unread[key], n)
	r.single = nil
}

// text is a text of others, safe to show.
func text(s string) string { return escape.Text(s) }

const unknownWord = "unknown"

// loadingWord says whether new code can get into the kernel.
func loadingWord(s *lkm.Snapshot) string {
	if s.Policy == nil {
		return unknownWord
	}
	switch s.Policy.Loading {
	case lkm.LoadingAny:
		return "any code"
	case lkm.LoadingSigned:
		return "signed code"
	case lkm.LoadingNone:
		return "no code"
	}
	return unknownWord
}

// originWord says whose code it is.
func originWord(m *lkm.Module) string {
	switch m.Origin.Class {
	case lkm.OriginThirdParty:
		return "third-party"
	case lkm.OriginOS:
		return "system"
	}
	return unknownWord
}

// kinds are the words of a module that the page's filter knows; an alarm is what has no harmless explanation.
func (r *Report) kinds(m *lkm.Module, h *host) (words []string, alarm bool) {
	t := &r.totals
	t.modules++
	switch m.Origin.Class {
	case lkm.OriginThirdParty:
		t.third++
		h.ThirdParty.N++
		words = append(words, "third")
	case lkm.OriginOS:
	default:
		t.thirdMaybe++
		h.ThirdParty.Maybe = true
	}
	switch m.Signature.Status {
	case lkm.SignatureNone, lkm.SignatureInvalid, lkm.SignatureUntrusted:
		t.unsigned++
		h.Unsigned.N++
		words = append(words, "unsigned")
		alarm = m.Signature.Status == lkm.SignatureInvalid
	case lkm.SignatureValid:
	default:
		if m.Signature.Evidence != "" { // taint E: it was loaded without a valid signature
			t.unsigned++
			h.Unsigned.N++
			words = append(words, "unsigned")
		} else {
			t.unsignedMaybe++
			h.Unsigned.Maybe = true
		}
	}
	switch m.OnDisk.Match {
	case lkm.MatchDifferent:
		t.changed++
		words = append(words, "changed")
	case lkm.MatchAbsent:
		t.noFile++
		words = append(words, "nofile")
	case lkm.MatchSame:
	default:
		t.changedMaybe++
	}
	if listed(m) {
		t.listed++
		words, alarm = append(words, "listed"), true
	}
	if len(m.Problems) > 0 {
		words = append(words, "problem")
	}
	return words, alarm
}

// hint is the strength of a rule that only names a driver, or what it imports: windows.StrengthHint.
const hint = "hint"

// listed reports whether a block list has the driver, and not only its name.
func listed(m *lkm.Module) bool {
	if m.Windows == nil {
		return false
	}
	for i := range m.Windows.Blocked {
		if m.Windows.Blocked[i].Strength != hint {
			return true
		}
	}
	return false
}

func (r *Report) module(m *lkm.Module, n int32, h *host) {
	words, alarm := r.kinds(m, h)
	key := rowKey{ID: m.ID, Name: text(m.Name), State: text(string(m.State)), Version: text(m.Version),
		Origin: originWord(m), Kinds: strings.Join(words, " "),
		Signature: text(cmp.Or(string(m.Signature.Status), m.Signature.Evidence, unknownWord)),
		Signer:    text(m.Signature.Signer)}
	if p := m.Package; p != nil {
		key.Package = text(strings.TrimSpace(p.Name + " " + p.Version))
	}
	if m.Linux != nil {
		key.Taints = text(strings.Join(m.Linux.Taints, ""))
	}
	at := r.rows[key]
	if at == nil {
		at = &row{rowKey: key, Alarm: alarm, UsedBy: text(strings.Join(m.UsedBy, " ")), Size: m.Size.String()}
		if m.Size.IsZero() {
			at.Size = ""
		}
		r.rows[key] = at
	}
	at.hosts = withHost(at.hosts, n)
	r.found(m, n)
}

// found adds the findings of a module.
func (r *Report) found(m *lkm.Module, n int32) {
	add := func(what, class, evidence string) {
		key := findingKey{what, class, text(m.Name), text(evidence)}
		r.findings[key] = withHost(r.findings[key], n)
	}
	switch m.Signature.Status {
	case lkm.SignatureInvalid:
		add("invalid or revoked signature", "bad", m.Signature.Signer)
	case lkm.SignatureNone:
		add("not signed", "warn", m.Path)
	case lkm.SignatureUntrusted:
		add("signed by nobody trusted", "warn", m.Signature.Signer)
	}
	if m.Signature.Evidence != "" {
		add("loaded without a valid signature", "warn", m.Signature.Evidence)
	}
	switch m.OnDisk.Match {
	case lkm.MatchDifferent:
		add("other code than on disk", "bad", m.OnDisk.Path)
	case lkm.MatchAbsent:
		add("no file on disk", "warn", m.OnDisk.Path)
	}
	if m.Origin.Class == lkm.OriginThirdParty {
		var facts []string
		for _, e := range m.Origin.Evidence {
			facts = append(facts, strings.TrimSpace(e.Fact+" "+e.Value))
		}
		add("third-party code", "", strings.Join(facts, ", "))
	}
	if m.Windows != nil {
		for _, b := range m.Windows.Blocked {
			if b.Strength == hint {
				add("named like one on the block list "+text(b.List), "warn", cmp.Or(b.Name, b.Rule))
			} else {
				add("on the block list "+text(b.List), "bad", cmp.Or(b.Name, b.Rule))
			}
		}
	}
}

// withHost adds a host, the last one of all, once.
func withHost(hosts []int32, n int32) []int32 {
	if len(hosts) > 0 && hosts[len(hosts)-1] == n {
		return hosts
	}
	return append(hosts, n)
}

// missed adds what could not be read.
func (r *Report) missed(s *lkm.Snapshot, n int32) {
	add := func(key unreadKey) { r.unread[key] = withHost(r.unread[key], n) }
	for _, src := range s.Sources {
		if src.Incomplete() {
			add(unreadKey{text(src.Name), text(string(src.Outcome)), text(string(src.Code))})
		}
	}
	problems := func(list []lkm.Problem) {
		for _, p := range list {
			why := strings.TrimSpace(p.Subject + " " + p.Field + ": " + p.Text)
			add(unreadKey{text(p.Source), text(string(p.Code)), text(why)})
		}
	}
	problems(s.Problems)
	for i := range s.Modules {
		problems(s.Modules[i].Problems)
	}
}

// hostNames are the names of hosts, the first few.
func (r *Report) hostNames(hosts []int32) string {
	const most = 8
	var names []string
	for _, n := range hosts[:min(len(hosts), most)] {
		names = append(names, r.hosts[n].Name)
	}
	if more := len(hosts) - most; more > 0 {
		names = append(names, "and "+number(more)+" more")
	}
	return strings.Join(names, ", ")
}

// sorted returns the rows: what needs attention first, then by name.
func (r *Report) sorted() []*row {
	rows := make([]*row, 0, len(r.rows))
	for _, at := range r.rows {
		rows = append(rows, at)
	}
	rank := func(a *row) int {
		switch {
		case a.Alarm:
			return 0
		case strings.Contains(a.Kinds, "third"), strings.Contains(a.Kinds, "changed"):
			return 1
		}
		return 2
	}
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Version, b.Version), cmp.Compare(len(b.hosts), len(a.hosts)), compareKeys(a.rowKey, b.rowKey))
	})
	return rows
}

// compareKeys orders rows that agree in all that a reader sorts by, so that a page is the same each time.
func compareKeys(a, b rowKey) int {
	return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Signature, b.Signature),
		cmp.Compare(a.Signer, b.Signer), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Taints, b.Taints),
		cmp.Compare(a.Kinds, b.Kinds))
}
