// SPDX-License-Identifier: Apache-2.0

package windows

import (
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
	hashes  map[string][]*policyRule // by folded digest
	files   []*policyRule
	attribs map[string]*policyRule
	rules   map[string]*policyRule // of every kind, by id
	signers []*policySigner
	ekus    map[string]string // id → dotted
}

// factSignTime is the evidence of a rule for what was signed later, where no timestamp proves when that was.
const factSignTime = "signTime"

// factPath is the evidence of a rule for a path, which code integrity asks of user-mode code alone ("FilePath",
// learn.microsoft.com, App Control rules and file rule levels).
const factPath = "path"

// A policyRule is a Deny, an Allow or a FileAttrib.
type policyRule struct {
	id, name string
	kind     string        // the element's name
	groups   []policyGroup // of the kernel's scenario, that refer to the rule itself
	hash     string
	fields   []ruleField
	path     string // with macros and wildcards; empty for any
	min, max *fileVersion
	// allowed are the signers that the kernel's scenario allows except for this rule: it counts for what they signed.
	allowed []allowance
}

// A ruleField is one string of the version resource that must be equal.
type ruleField struct{ attr, resource, want string }

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

// resourceFields pairs a rule's attribute with the version resource's string.
var resourceFields = [...]struct{ attr, resource string }{
	{"FileName", "OriginalFilename"}, {"InternalName", "InternalName"},
	{"FileDescription", "FileDescription"}, {"ProductName", "ProductName"},
}

func (p *siPolicy) result(list, id, name, kind string, g policyGroup, evidence ...fact.Evidence) BlockMatch {
	m := BlockMatch{
		List: list, Rule: id, Name: name, Kind: kind, Strength: StrengthStrong,
		Evidence: append([]fact.Evidence{}, evidence...),
		Inactive: g == groupNone, Group: g.word(), Audit: p.audit,
	}
	unproved := func(e fact.Evidence) bool { return e.Fact == factSignTime || e.Fact == factPath }
	if g != groupProduct || slices.ContainsFunc(evidence, unproved) {
		m.Strength = StrengthWeak
	}
	return m
}

func (p *siPolicy) match(list string, e BlockEvidence) []BlockMatch {
	var out []BlockMatch
	seen := map[string]bool{}
	asked := map[*policySigner]bool{} // what the signers of ExceptDenyRule answer: many rules may name one
	for _, h := range e.hashes() {
		if h.value == "" {
			continue
		}
		for _, r := range p.hashes[h.value] {
			if seen[r.id] {
				continue
			}
			seen[r.id] = true
			ev := []fact.Evidence{{Fact: h.name, Value: h.value, Source: SourceFile}}
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
	for _, s := range p.signers {
		ev, ok := s.matches(p, e, true)
		if !ok {
			continue
		}
		if g, denied := s.denied(p, e); denied {
			out = append(out, p.result(list, s.id, s.name, RuleSigner, g, ev...))
		}
	}
	return out
}

// inForce returns the first group of the kernel's scenario that applies a rule to the driver: it refers to the rule
// itself, or it allows a signer of the driver except for the rule.
func (p *siPolicy) inForce(
	r *policyRule, e BlockEvidence, asked map[*policySigner]bool,
) (policyGroup, []fact.Evidence) {
	first := groupNone
	for _, g := range r.groups {
		first = min(first, g)
	}
	var by *policySigner
	for _, a := range r.allowed {
		if a.group >= first {
			continue
		}
		hit, known := asked[a.signer]
		if !known {
			_, hit = a.signer.matches(p, e, false)
			asked[a.signer] = hit
		}
		if hit {
			first, by = a.group, a.signer
		}
	}
	if by == nil {
		return first, nil
	}
	return first, []fact.Evidence{{Fact: "exceptDenyRule", Value: by.title(), Source: SourceFile}}
}

// title returns a signer's name for people.
func (s *policySigner) title() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// matches compares the rule's strings and range with the version resource, and its path with the file's. Everything
// that the rule names must fit. A file without a version resource cannot be hit by name. denies is set for a rule that
// denies, by itself or for a signer that is denied.
func (r *policyRule) matches(e BlockEvidence, denies bool) ([]fact.Evidence, bool) {
	lowest, highest := r.bounds(denies)
	ranged := lowest != nil || highest != nil
	v := e.Version
	if len(r.fields) == 0 && !ranged && r.path == "" || v == nil && (len(r.fields) > 0 || ranged) {
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
		if f.attr == "FileName" && f.want == "*" {
			continue
		}
		got, ok := equalString(v, f.resource, f.want)
		if !ok {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: f.resource, Value: got, Source: SourceFile})
	}
	if ranged {
		have, ok := parseVersion(v.File)
		if !ok || lowest != nil && have.less(*lowest) || highest != nil && highest.less(have) {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: "fileVersion", Value: v.File, Source: SourceFile})
	}
	return ev, true
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

func equalString(v *pe.Version, name, want string) (string, bool) {
	for _, s := range v.Strings(name) {
		if strings.EqualFold(s, want) {
			return s, true
		}
	}
	return "", false
}

// matches reports whether a signature of the driver leads through the signer's certificate, and
// everything else that the rule names fits. denies is set for a signer that is denied.
func (s *policySigner) matches(p *siPolicy, e BlockEvidence, denies bool) ([]fact.Evidence, bool) {
	if s.root == "" && s.wellKnown == 0 {
		return nil, false
	}
	for i := range e.Signatures {
		sig := &e.Signatures[i]
		if sig.Fits == fact.No || len(sig.Certificates) == 0 {
			continue
		}
		ev, ok := s.signature(p, sig)
		if !ok {
			continue
		}
		if len(s.attribs) == 0 {
			return ev, true
		}
		for _, id := range s.attribs {
			if r := p.attribs[id]; r != nil {
				if more, ok := r.matches(e, denies); ok {
					return append(ev, more...), true
				}
			}
		}
	}
	return nil, false
}

// excepted reports whether one of the Allow rules fits the file.
func (p *siPolicy) excepted(rules []string, e BlockEvidence) bool {
	for _, id := range rules {
		r := p.rules[id]
		if r == nil || r.kind != "Allow" {
			continue
		}
		if _, ok := r.matches(e, false); ok {
			return true
		}
		for _, h := range e.hashes() {
			if r.hash != "" && h.value == r.hash {
				return true
			}
		}
	}
	return false
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
