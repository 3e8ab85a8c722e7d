// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A siPolicy is what of a code integrity policy denies drivers.
type siPolicy struct {
	audit   bool
	extends bool                     // it supplements another policy
	failing bool                     // it only reports once a driver that the boot needs is refused
	unread  int                      // bytes of a format's own blocks that were not read
	hashes  map[string][]*policyRule // by folded digest
	files   []*policyRule
	attribs map[string]*policyRule
	rules   map[string]*policyRule // of every kind, by id
	signers []*policySigner
	ekus    map[string]string // id → dotted
}

// factExcept is the evidence of a rule that counts for what a signer signed: an exception to what it is allowed.
const factExcept = "exceptDenyRule"

// Evidence that leaves open whether a rule counts for a driver.
const (
	factSignTime = "signTime"       // no timestamp proves when it was signed, and the rule asks that
	factPath     = "path"           // the rule names a path
	factOther    = "otherSignature" // another signature, which the rule does not speak of, may carry the driver
	// Data lies beside the signature, and nothing else is wrong with it.
	factBeside = "besideSignature"
	// The signer is that of a catalog that lists the driver as if it were any file.
	factUncounted = "uncountedCatalog"
	factAddition  = "supplement" // the policy supplements another one
	factApps      = "apps"       // the rule is for what certain apps load
	factAnySigner = "anySigner"  // the rule counts for what a signer signed, and whether it signed this is not known
	factNoVersion = "anyVersion" // the rule names versions, and the resource has no number of one
	factBlanks    = "blanks"     // the rule's name and the file's differ in blanks at their ends
	factExempt    = "exempt"     // an exception may fit the file
)

// doubts say why such evidence leaves it open.
var doubts = [...]struct{ fact, because string }{
	// "FilePath", learn.microsoft.com, App Control rules and file rule levels.
	{factPath, "Windows documents rules for paths for user-mode code alone"},
	{factOther, "the driver has another signature, which the policy does not deny"},
	{factBeside, "data lies beside the signature, and whether Windows takes such a signature is not known"},
	{factUncounted, "the kernel does not look up a catalog by the digest of an image's bytes"},
	{factSignTime, "no timestamp proves when it was signed"},
	{factAddition, "the policy supplements another one, and such a policy can only allow"},
	{factApps, "the rule is for certain apps, and whether it counts for drivers is not known"},
	{factAnySigner, "the rule counts for what some signer signed, and whether that one signed the driver is not known"},
	{factNoVersion, "the rule is for certain versions, and the file's version resource has no number"},
	{factBlanks, "the names differ in blanks at their ends, and whether they are the same to Windows is not known"},
	{factExempt, "whether an exception of the policy counts for the file is not known"},
}

// bySigner reports whether the rule counts because of who signed the driver.
func (m *BlockMatch) bySigner() bool {
	return m.Kind == RuleSigner ||
		slices.ContainsFunc(m.Evidence, func(e fact.Evidence) bool { return e.Fact == factExcept })
}

// doubtOf returns why the evidence leaves it open whether a rule counts for the driver; empty if it does not.
func doubtOf(evidence []fact.Evidence) string {
	for _, d := range doubts {
		if slices.ContainsFunc(evidence, func(e fact.Evidence) bool { return e.Fact == d.fact }) {
			return d.because
		}
	}
	return ""
}

// A policyRule is a Deny, an Allow or a FileAttrib.
type policyRule struct {
	id, name string
	kind     string        // the element's name
	groups   []policyGroup // of the kernel's scenario, that refer to the rule itself
	hash     string
	fields   []ruleField
	path     string // with macros and wildcards; empty for any
	apps     bool   // it is for certain apps
	min, max *fileVersion
	// allowed are the signers that the kernel's scenario allows except for this rule: it counts for what they signed.
	allowed []allowance
}

// A ruleField is one string of the version resource that must be equal, as the rule has it: Microsoft's own list has
// names with a blank at the end.
type ruleField struct{ attr, resource, want string }

// anyName reports whether the field asks nothing of a file.
func (f ruleField) anyName() bool { return f.attr == "FileName" && strings.TrimSpace(f.want) == "*" }

type policySigner struct {
	id, name  string
	denials   []denial // references of the kernel's scenario to it
	root      string   // TBS digest; empty when the signer is named otherwise
	wellKnown uint32   // the number of one of Microsoft's roots; 0 when it is named otherwise
	publisher string   // common name of the signer's certificate
	issuer    string   // common name of that certificate's issuer
	oem       string   // the vendor's name, where Microsoft signed for a vendor
	after     time.Time
	ekus      []string
	attribs   []string // ids of FileAttrib: one of them must fit; none given fits all
}

// comparable reports whether what the signer names is known: a certificate or a root, and every purpose.
func (s *policySigner) comparable(p *siPolicy) bool {
	unknown := func(id string) bool { return p.ekus[id] == "" }
	return (s.root != "" || s.wellKnown != 0) && !slices.ContainsFunc(s.ekus, unknown)
}

// resourceFields pairs a rule's attribute with the version resource's string.
var resourceFields = [...]struct{ attr, resource string }{
	{"FileName", "OriginalFilename"}, {"InternalName", "InternalName"},
	{"FileDescription", "FileDescription"}, {"ProductName", "ProductName"},
}

func (p *siPolicy) result(list, id, name, kind string, g policyGroup, evidence ...fact.Evidence) BlockMatch {
	if p.extends {
		evidence = append(slices.Clip(evidence), fact.Evidence{Fact: factAddition, Value: "can only allow",
			Source: sourceBlockList})
	}
	m := BlockMatch{
		List: list, Rule: id, Name: name, Kind: kind, Strength: StrengthStrong,
		Evidence: append([]fact.Evidence{}, evidence...),
		Inactive: g == groupNone, Group: g.word(), Audit: p.audit,
	}
	if g != groupProduct || doubtOf(evidence) != "" {
		m.Strength = StrengthWeak
	}
	return m
}

func (p *siPolicy) match(list string, e BlockEvidence) []BlockMatch {
	var out []BlockMatch
	seen := map[string]bool{}
	asked := map[*policySigner]carried{} // what the signers of ExceptDenyRule answer: many rules may name one
	for _, h := range e.hashes() {
		if h.value == "" {
			continue
		}
		for _, r := range p.hashes[h.value] {
			if seen[r.id] {
				continue
			}
			seen[r.id] = true
			ev := append([]fact.Evidence{{Fact: h.name, Value: h.value, Source: SourceFile}}, r.forApps()...)
			g, more := p.inForce(r, e, asked)
			out = append(out, p.result(list, r.id, r.name, RuleHash, g, append(ev, more...)...))
		}
	}
	for _, r := range p.files {
		if ev, ok := r.matches(e, true); ok {
			g, more := p.inForce(r, e, asked)
			out = append(out, p.result(list, r.id, r.name, RuleFile, g, append(ev, more...)...))
		}
	}
	return append(out, p.matchSigners(list, e)...)
}

// matchSigners returns the denied signers that hit. A driver of several signatures is denied for sure if each of them
// is of a denied signer: which of them Windows asks its policies about is not known.
func (p *siPolicy) matchSigners(list string, e BlockEvidence) []BlockMatch {
	type hit struct {
		signer *policySigner
		group  policyGroup
		ev     []fact.Evidence
	}
	var hits []hit
	denied := make([]bool, len(e.Signatures)) // on every system
	for _, s := range p.signers {
		by := s.carries(p, e, true)
		if by.signatures == nil {
			continue
		}
		g, open, ok := s.denied(p, e)
		if !ok {
			continue
		}
		hits = append(hits, hit{s, g, append(slices.Clip(by.first), open...)})
		for i := range denied {
			denied[i] = denied[i] || g == groupProduct && by.signatures[i]
		}
	}
	other := e.otherSignature(denied)
	out := make([]BlockMatch, 0, len(hits))
	for _, h := range hits {
		if h.group == groupProduct {
			h.ev = append(h.ev, other...)
		}
		out = append(out, p.result(list, h.signer.id, h.signer.name, RuleSigner, h.group, h.ev...))
	}
	return out
}

// otherSignature returns the evidence of the first signature that may carry the driver and is not of the given ones;
// nil if none is left.
func (e BlockEvidence) otherSignature(given []bool) []fact.Evidence {
	for i := range e.Signatures {
		s := &e.Signatures[i]
		if given[i] || !s.MayCarry() {
			continue
		}
		name := s.Source
		if leaf := s.Signer(); leaf != nil {
			name = cmp.Or(leaf.CommonName, leaf.Subject)
		}
		return []fact.Evidence{{Fact: factOther, Value: name, Source: SourceFile}}
	}
	return nil
}

// inForce returns the first group of the kernel's scenario that applies a rule to the driver: it refers to the rule
// itself, or it allows a signer of the driver except for the rule.
func (p *siPolicy) inForce(
	r *policyRule, e BlockEvidence, asked map[*policySigner]carried,
) (policyGroup, []fact.Evidence) {
	first := groupNone
	for _, g := range r.groups {
		first = min(first, g)
	}
	var by, unknown *policySigner
	for _, a := range r.allowed {
		if a.group >= first {
			continue
		}
		if !e.signersKnown() || !a.signer.comparable(p) {
			if _, fits := a.signer.narrowed(p, e, false); fits {
				unknown = a.signer
			}
		}
		hit, known := asked[a.signer]
		if !known {
			hit = a.signer.carries(p, e, false)
			asked[a.signer] = hit
		}
		if hit.signatures != nil {
			first, by = a.group, a.signer
		}
	}
	switch {
	case unknown != nil && (by == nil || first != groupProduct):
		return groupProduct, []fact.Evidence{{Fact: factAnySigner, Value: unknown.title(), Source: SourceFile}}
	case by == nil:
		return first, nil
	}
	ev := []fact.Evidence{{Fact: factExcept, Value: by.title(), Source: SourceFile}}
	for i := range e.Signatures { // one that does not count comes without any that does
		if sig := &e.Signatures[i]; sig.Uncounted() {
			ev = append(ev, fact.Evidence{Fact: factUncounted, Value: sig.Catalog, Source: SourceFile})
			break
		}
	}
	return first, append(ev, e.otherSignature(asked[by].signatures)...)
}

// signersKnown reports whether it is known who signed the driver.
func (e BlockEvidence) signersKnown() bool {
	return e.Signatures != nil && authenticode.SignersKnown(e.Signatures)
}

// title returns a signer's name for people.
func (s *policySigner) title() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// matches compares the rule's strings and range with the version resource, and its path with the file's. Everything
// that the rule names must fit. A file without a version resource cannot be hit by name, but for the name "*", which is
// that of every file. denies is set for a rule that
// denies, by itself or for a signer that is denied.
func (r *policyRule) matches(e BlockEvidence, denies bool) ([]fact.Evidence, bool) {
	lowest, highest := r.bounds(denies)
	ranged := lowest != nil || highest != nil
	v := e.Version
	named := slices.ContainsFunc(r.fields, func(f ruleField) bool { return !f.anyName() })
	if len(r.fields) == 0 && !ranged && r.path == "" || v == nil && (named || ranged) {
		return nil, false
	}
	var ev []fact.Evidence
	if r.path != "" {
		if !pathFits(r.path, e.Path) {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: factPath, Value: e.Path, Source: SourceFile})
	}
	for _, f := range r.fields {
		if f.anyName() {
			continue
		}
		got, ok := equalString(v, f.resource, f.want)
		if !ok {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: f.resource, Value: got, Source: SourceFile})
		if !strings.EqualFold(got, f.want) {
			ev = append(ev, fact.Evidence{Fact: factBlanks, Value: got, Source: SourceFile})
		}
	}
	if ranged {
		have, ok := parseVersion(v.File)
		switch {
		case !ok && !denies:
			return nil, false
		case !ok:
			ev = append(ev, fact.Evidence{Fact: factNoVersion, Value: "no number", Source: SourceFile})
		case lowest != nil && have.less(*lowest) || highest != nil && highest.less(have):
			return nil, false
		default:
			ev = append(ev, fact.Evidence{Fact: "fileVersion", Value: v.File, Source: SourceFile})
		}
	}
	return append(ev, r.forApps()...), true
}

// forApps returns the evidence that the rule is for certain apps; nil if it is for every one.
func (r *policyRule) forApps() []fact.Evidence {
	if !r.apps {
		return nil
	}
	return []fact.Evidence{{Fact: factApps, Value: "certain ones", Source: sourceBlockList}}
}

// bounds returns the lowest and the highest version that the rule covers; nil is no bound. What denies and has a
// minimum alone covers what is up to it: that is how the loader reads it, and why the compiler writes the highest
// version there is where a rule gives no minimum. For a signer that is allowed a minimum is a minimum.
func (r *policyRule) bounds(denies bool) (lowest, highest *fileVersion) {
	switch {
	case !denies:
		return r.min, r.max
	case r.min != nil && *r.min == (fileVersion{65535, 65535, 65535, 65535}):
		return nil, r.max
	case r.max == nil:
		return nil, r.min
	}
	return r.min, r.max
}

// equalString returns the string of that name that is equal, or else one that is but for blanks at the ends.
func equalString(v *pe.Version, name, want string) (got string, ok bool) {
	for _, s := range v.Strings(name) {
		if strings.EqualFold(s, want) {
			return s, true
		}
		if strings.EqualFold(strings.TrimSpace(s), strings.TrimSpace(want)) {
			got, ok = s, true
		}
	}
	return got, ok
}

// carried says which signatures of a driver a signer made.
type carried struct {
	signatures []bool          // for each one of the driver; nil if it made none
	first      []fact.Evidence // of the first of them
}

// carries returns the signatures of the driver that lead through the signer's certificate, where everything else that
// the rule names fits. denies is set for a signer that is denied.
func (s *policySigner) carries(p *siPolicy, e BlockEvidence, denies bool) carried {
	var c carried
	if s.root == "" && s.wellKnown == 0 {
		return c
	}
	for i := range e.Signatures {
		ev, ok := s.carriesOne(p, e, &e.Signatures[i], denies)
		if !ok {
			continue
		}
		if c.signatures == nil {
			c.signatures, c.first = make([]bool, len(e.Signatures)), ev
		}
		c.signatures[i] = true
	}
	return c
}

// carriesOne answers for one signature. What is invalid for nothing but data beside it counts, with that as evidence.
func (s *policySigner) carriesOne(
	p *siPolicy, e BlockEvidence, sig *authenticode.Signature, denies bool,
) ([]fact.Evidence, bool) {
	if sig.Fits == fact.No && !sig.OnlyForeign() || len(sig.Certificates) == 0 {
		return nil, false
	}
	ev, ok := s.signature(p, sig)
	if !ok {
		return nil, false
	}
	if sig.OnlyForeign() {
		ev = append(ev, fact.Evidence{Fact: factBeside, Value: sig.Reason, Source: SourceFile})
	}
	more, ok := s.narrowed(p, e, denies)
	if !ok {
		return nil, false
	}
	return append(ev, more...), true
}

// narrowed reports whether one of the rules that narrow the signer fits the file, or none does narrow it.
func (s *policySigner) narrowed(p *siPolicy, e BlockEvidence, denies bool) ([]fact.Evidence, bool) {
	for _, id := range s.attribs {
		if r := p.attribs[id]; r != nil {
			if ev, ok := r.matches(e, denies); ok {
				return ev, true
			}
		}
	}
	return nil, len(s.attribs) == 0
}

// excepted reports whether one of the Allow rules fits the file. It is evidence if it is not known whether one counts.
func (p *siPolicy) excepted(rules []string, e BlockEvidence) (open []fact.Evidence, ok bool) {
	for _, id := range rules {
		r := p.rules[id]
		if r == nil || r.kind != "Allow" {
			continue
		}
		switch ev, fits := r.matches(e, false); {
		case fits && doubtOf(ev) == "":
			return nil, true
		case fits:
			open = []fact.Evidence{{Fact: factExempt, Value: id, Source: sourceBlockList}}
		}
		for _, h := range e.hashes() {
			if r.hash != "" && h.value == r.hash {
				return nil, true
			}
		}
	}
	return open, false
}

func (s *policySigner) signature(p *siPolicy, sig *authenticode.Signature) (ev []fact.Evidence, ok bool) {
	leaf := sig.Signer()
	if s.wellKnown != 0 && sig.LeadsTo(s.wellKnown) {
		ev = []fact.Evidence{{Fact: "root", Value: authenticode.RootName(s.wellKnown), Source: SourceFile}}
	}
	for _, c := range slices.Concat(sig.Certificates, sig.Longest()) {
		if s.root != "" && c.TBSHash == s.root {
			ev = append(ev, fact.Evidence{Fact: "tbsHash", Value: c.TBSHash, Source: SourceFile})
			break
		}
	}
	if ev == nil {
		return nil, false
	}
	if s.publisher != "" {
		if leaf.CommonName != s.publisher {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: "publisher", Value: leaf.CommonName, Source: SourceFile})
	}
	if s.issuer != "" && !issuedBy(sig.Certificates, s.issuer) && !issuedBy(sig.Longest(), s.issuer) {
		return nil, false
	}
	if !s.after.IsZero() {
		at, proved := sig.ProvedAt()
		switch {
		case proved && !at.After(s.after):
			return nil, false
		case !proved && len(sig.Timestamps) > 0: // one without a stamp counts as made now
			ev = append(ev, fact.Evidence{Fact: factSignTime, Value: "not proved", Source: SourceFile})
		}
	}
	if s.oem != "" {
		if !strings.EqualFold(sig.ProgramName, s.oem) {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: "programName", Value: sig.ProgramName, Source: SourceFile})
	}
	for _, id := range s.ekus {
		if oid := p.ekus[id]; oid == "" || !slices.Contains(leaf.EKUs, oid) {
			return nil, false
		}
	}
	if sig.Uncounted() {
		ev = append(ev, fact.Evidence{Fact: factUncounted, Value: sig.Catalog, Source: SourceFile})
	}
	return ev, true
}

func issuedBy(chain []authenticode.Certificate, name string) bool {
	return len(chain) > 1 && chain[1].CommonName == name
}

// pathFits compares a rule's path with a file's: the macros of code integrity's rules, and any number of "*".
func pathFits(rule, path string) bool {
	if len(path) < 3 || path[1] != ':' {
		return false
	}
	rule, path = fold(rule), fold(path)
	for _, m := range pathMacros {
		if rest, ok := strings.CutPrefix(rule, m.name); ok {
			rule = path[:2] + m.folder + rest
			break
		}
	}
	return wildcard(rule, path)
}

// pathMacros are the macros that a rule's path may begin with.
var pathMacros = [...]struct{ name, folder string }{
	{"%osdrive%", ""}, {"%windir%", `\windows`}, {"%system32%", `\windows\system32`},
}

// wildcard reports whether a text has the form of a pattern, in which "*" is any text and "?" is any one character.
func wildcard(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(text[t:])
			p, t = p+1, t+size
		case p < len(pattern) && pattern[p] == text[t]:
			p, t = p+1, t+1
		case star >= 0:
			p, mark = star+1, mark+1
			t = mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
