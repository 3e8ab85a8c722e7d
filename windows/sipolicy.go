// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// maxPolicyRules is how many rules a policy may have; Microsoft's has some 4,000.
const maxPolicyRules = 1_000_000

// kernelScenario is the signing scenario of drivers.
const kernelScenario = "131"

// A siPolicy is what of a code integrity policy denies drivers.
type siPolicy struct {
	audit   bool
	hashes  map[string][]*policyRule // by folded digest
	files   []*policyRule
	attribs map[string]*policyRule
	rules   map[string]*policyRule // of every kind, by id
	signers []*policySigner
	ekus    map[string]string // id → dotted
}

// A policyRule is a Deny, an Allow or a FileAttrib.
type policyRule struct {
	id, name string
	kind     string // the element's name
	active   bool
	hash     string
	fields   []ruleField
	min, max *fileVersion
}

// A ruleField is one string of the version resource that must be equal.
type ruleField struct{ attr, resource, want string }

type policySigner struct {
	id, name  string
	active    bool
	root      string // TBS digest; empty when the signer is named otherwise
	publisher string // common name of the signer's certificate
	issuer    string // common name of that certificate's issuer
	oem       string // the vendor's name, where Microsoft signed for a vendor
	after     time.Time
	ekus      []string
	attribs   []string // ids of FileAttrib: one of them must fit; none given fits all
	except    []string // ids of Allow: what fits one of them is not denied
}

// resourceFields pairs a rule's attribute with the version resource's string.
var resourceFields = [...]struct{ attr, resource string }{
	{"FileName", "OriginalFilename"}, {"InternalName", "InternalName"},
	{"FileDescription", "FileDescription"}, {"ProductName", "ProductName"},
}

func policyError(format string, args ...any) error {
	return &fact.ParseError{Source: "SiPolicy", Reason: fmt.Sprintf(format, args...)}
}

type policyParser struct {
	report   *fact.Report
	list     *BlockList
	policy   *siPolicy
	byID     map[string]*policyRule
	signerID map[string]*policySigner
	path     []string
	signer   *policySigner
	denied   string // id of the DeniedSigner that is being read
	scenario string
	setting  [2]string
	rules    int
	// References to rules and signers in the kernel's scenario, and a denied signer's exceptions:
	// they are followed when all is read, wherever they stand.
	ruleRefs, signerRefs []string
	exceptions           [][2]string // signer, rule
}

func parseSiPolicy(text string, r *fact.Report) (*BlockList, error) {
	p := &policyParser{
		report: r,
		list:   &BlockList{Name: "SiPolicy"},
		policy: &siPolicy{hashes: map[string][]*policyRule{}, attribs: map[string]*policyRule{}, ekus: map[string]string{}},
		byID:   map[string]*policyRule{}, signerID: map[string]*policySigner{},
	}
	d := xml.NewDecoder(strings.NewReader(text))
	// The text was decoded already, whatever its declaration says.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, policyError("%v", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := p.start(t); err != nil {
				return nil, err
			}
		case xml.EndElement:
			if n := len(p.path); n == 0 || p.path[n-1] != t.Name.Local {
				return nil, policyError("an end of %q without its start", t.Name.Local)
			}
			p.end()
		case xml.CharData:
			p.text(string(t))
		}
	}
	if len(p.path) != 0 {
		return nil, policyError("ends within an element")
	}
	if p.finish(); p.list.Rules == 0 {
		return nil, policyError("no rule that denies a driver")
	}
	return p.list, nil
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (p *policyParser) start(t xml.StartElement) error {
	if len(p.path) == 0 && t.Name.Local != "SiPolicy" {
		return policyError("root is %q", t.Name.Local)
	}
	if len(p.path) >= 32 {
		return policyError("nested deeper than 32")
	}
	p.path = append(p.path, t.Name.Local)
	if p.rules++; p.rules > maxPolicyRules {
		return policyError("more than %d elements", maxPolicyRules)
	}
	switch t.Name.Local {
	case "EKU":
		p.policy.ekus[attr(t, "ID")] = ekuOfPolicy(attr(t, "Value"))
	case "SiPolicy":
		if name := attr(t, "FriendlyName"); name != "" {
			p.list.Name = name
		}
	case "Deny", "Allow", "FileAttrib":
		p.rule(t)
	case "Signer":
		p.newSigner(t)
	case "CertRoot", "CertPublisher", "CertIssuer", "CertOemID", "CertEKU", "FileAttribRef":
		if p.signer != nil {
			p.signer.part(t)
		}
	case "SigningScenario":
		p.scenario = attr(t, "Value")
	case "DeniedSigner", "ExceptAllowRule", "FileRuleRef":
		if p.scenario == kernelScenario {
			p.reference(t)
		}
	case "Setting":
		p.setting = [2]string{attr(t, "Key"), attr(t, "ValueName")}
	}
	return nil
}

func (p *policyParser) newSigner(t xml.StartElement) {
	s := &policySigner{id: attr(t, "ID"), name: attr(t, "Name")}
	p.signer = s
	if text := attr(t, "SignTimeAfter"); text != "" {
		after, err := time.Parse(time.RFC3339, text)
		if err != nil {
			p.note(s.id, "SignTimeAfter", text)
			return
		}
		s.after = after
	}
	p.signerID[s.id] = s
	p.policy.signers = append(p.policy.signers, s)
}

func (p *policyParser) reference(t xml.StartElement) {
	switch t.Name.Local {
	case "DeniedSigner":
		p.denied = attr(t, "SignerId")
		p.signerRefs = append(p.signerRefs, p.denied)
	case "ExceptAllowRule":
		if p.denied != "" {
			p.exceptions = append(p.exceptions, [2]string{p.denied, attr(t, "AllowRuleID")})
		}
	case "FileRuleRef":
		p.ruleRefs = append(p.ruleRefs, attr(t, "RuleID"))
	}
}

func (p *policyParser) end() {
	switch p.path[len(p.path)-1] {
	case "DeniedSigner":
		p.denied = ""
	case "Signer":
		if s := p.signer; s != nil && s.root == "" && p.signerID[s.id] == s {
			p.noteSigner(s)
		}
		p.signer = nil
	case "SigningScenario":
		p.scenario = ""
	}
	p.path = p.path[:len(p.path)-1]
}

func (p *policyParser) text(s string) {
	if s = strings.TrimSpace(s); s == "" || len(p.path) == 0 {
		return
	}
	switch p.path[len(p.path)-1] {
	case "VersionEx":
		p.list.Version = s
	case "Option":
		if strings.EqualFold(s, "Enabled:Audit Mode") {
			p.policy.audit = true
		}
	case "String":
		if p.setting == [2]string{"Information", "Name"} {
			p.list.Name = s
		}
	}
}

func (p *policyParser) rule(t xml.StartElement) {
	r := &policyRule{kind: t.Name.Local, id: attr(t, "ID"), name: attr(t, "FriendlyName"), hash: fold(attr(t, "Hash"))}
	for _, f := range resourceFields {
		// Microsoft's own list has names with a blank at the end.
		if v := strings.TrimSpace(attr(t, f.attr)); v != "" {
			r.fields = append(r.fields, ruleField{f.attr, f.resource, v})
		}
	}
	for _, bound := range []struct {
		attr string
		v    **fileVersion
	}{{"MinimumFileVersion", &r.min}, {"MaximumFileVersion", &r.max}} {
		s := attr(t, bound.attr)
		if s == "" {
			continue
		}
		v, ok := parseVersion(s)
		if !ok {
			p.note(r.id, bound.attr, s)
			return
		}
		*bound.v = &v
	}
	if r.hash != "" {
		if raw, err := hex.DecodeString(r.hash); err != nil || len(raw) < 16 {
			p.note(r.id, "Hash", r.hash)
			return
		}
	}
	p.byID[r.id] = r
	if r.kind == "FileAttrib" {
		p.policy.attribs[r.id] = r
	}
}

// noteSigner says that a signer cannot be compared: it is named by one of the loader's numbered
// roots (Type="Wellknown"), whose certificates a policy does not hold.
func (p *policyParser) noteSigner(s *policySigner) {
	err := fmt.Errorf("%w: signer not named by a certificate's TBS digest: it hits nothing", errors.ErrUnsupported)
	p.report.Problem(sourceBlockList, s.id, "CertRoot", err)
}

func (p *policyParser) note(id, field, value string) {
	p.report.Problem(sourceBlockList, id, field, policyError("%s is %q", field, value))
}

func (s *policySigner) part(t xml.StartElement) {
	value := attr(t, "Value")
	switch t.Name.Local {
	case "CertRoot":
		if strings.EqualFold(attr(t, "Type"), "TBS") {
			s.root = fold(value)
		}
	case "CertPublisher":
		s.publisher = value
	case "CertIssuer":
		s.issuer = value
	case "CertOemID":
		s.oem = value
	case "CertEKU":
		s.ekus = append(s.ekus, attr(t, "ID"))
	case "FileAttribRef":
		s.attribs = append(s.attribs, attr(t, "RuleID"))
	}
}

// ekuOfPolicy reads an EKU as policies write it: hexadecimal DER with 01 in place of the tag.
func ekuOfPolicy(s string) string {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) < 3 {
		return ""
	}
	raw[0] = sign.TagOID
	r := sign.NewReader(raw)
	v, err := r.Next()
	if err != nil {
		return ""
	}
	return sign.OID(v)
}

// finish sorts the rules that were read.
func (p *policyParser) finish() {
	p.follow()
	n := 0
	for _, r := range p.byID {
		if r.kind != "Deny" {
			continue
		}
		switch {
		case r.hash != "":
			p.policy.hashes[r.hash] = append(p.policy.hashes[r.hash], r)
			n++
		case len(r.fields) > 0:
			p.policy.files = append(p.policy.files, r)
			n++
		}
	}
	sortRules(p.policy.files)
	for _, list := range p.policy.hashes {
		sortRules(list)
	}
	for _, s := range p.policy.signers {
		if s.root != "" {
			n++
		}
	}
	p.policy.rules = p.byID
	p.list.policy, p.list.Rules = p.policy, n
}

// follow marks what the kernel's scenario refers to.
func (p *policyParser) follow() {
	for _, id := range p.ruleRefs {
		if r := p.byID[id]; r != nil {
			r.active = true
		}
	}
	for _, id := range p.signerRefs {
		if s := p.signerID[id]; s != nil {
			s.active = true
		}
	}
	for _, e := range p.exceptions {
		if s := p.signerID[e[0]]; s != nil {
			s.except = append(s.except, e[1])
		}
	}
}

func (p *siPolicy) result(list, id, name, kind string, active bool, evidence ...fact.Evidence) BlockMatch {
	m := BlockMatch{List: list, Rule: id, Name: name, Kind: kind, Strength: StrengthStrong, Evidence: evidence, Inactive: !active, Audit: p.audit}
	if !active {
		m.Strength = StrengthWeak
	}
	return m
}

func (p *siPolicy) match(list string, e BlockEvidence) []BlockMatch {
	var out []BlockMatch
	seen := map[string]bool{}
	for _, h := range e.hashes() {
		if h.value == "" {
			continue
		}
		for _, r := range p.hashes[h.value] {
			if seen[r.id] {
				continue
			}
			seen[r.id] = true
			out = append(out, p.result(list, r.id, r.name, RuleHash, r.active, fact.Evidence{Fact: h.name, Value: h.value, Source: SourceFile}))
		}
	}
	for _, r := range p.files {
		if ev, ok := r.matches(e.Version); ok {
			out = append(out, p.result(list, r.id, r.name, RuleFile, r.active, ev...))
		}
	}
	for _, s := range p.signers {
		if ev, ok := s.matches(p, e); ok {
			out = append(out, p.result(list, s.id, s.name, RuleSigner, s.active, ev...))
		}
	}
	return out
}

// matches compares the rule's strings and range with the version resource. A file without one
// cannot be hit by name.
func (r *policyRule) matches(v *pe.Version) ([]fact.Evidence, bool) {
	ranged := r.min != nil || r.max != nil
	if v == nil || len(r.fields) == 0 && !ranged {
		return nil, false
	}
	var ev []fact.Evidence
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
		if !ok || !r.covers(have) {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: "fileVersion", Value: v.File, Source: SourceFile})
	}
	return ev, true
}

// covers compares a version with the rule's bounds, which belong to the range. A rule that denies
// and has a minimum alone covers what is up to it: that is how the loader reads it, and why rules
// for all versions have the minimum 65535.65535.65535.65535. FileAttrib are read so too, since
// only those of denied signers are looked at.
func (r *policyRule) covers(v fileVersion) bool {
	if r.max == nil && r.kind != "Allow" {
		return !r.min.less(v)
	}
	return (r.min == nil || !v.less(*r.min)) && (r.max == nil || !r.max.less(v))
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
// everything else that the rule names fits.
func (s *policySigner) matches(p *siPolicy, e BlockEvidence) ([]fact.Evidence, bool) {
	if s.root == "" {
		return nil, false
	}
	if p.excepted(s, e) {
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
				if more, ok := r.matches(e.Version); ok {
					return append(ev, more...), true
				}
			}
		}
	}
	return nil, false
}

// excepted reports whether one of the signer's exceptions allows the file.
func (p *siPolicy) excepted(s *policySigner, e BlockEvidence) bool {
	for _, id := range s.except {
		r := p.rules[id]
		if r == nil || r.kind != "Allow" {
			continue
		}
		if _, ok := r.matches(e.Version); ok {
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

func (s *policySigner) signature(p *siPolicy, sig *authenticode.Signature) ([]fact.Evidence, bool) {
	leaf := sig.Signer()
	var ev []fact.Evidence
	for _, c := range slices.Concat(sig.Certificates, sig.Longest()) {
		if c.TBSHash == s.root {
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
	if !s.after.IsZero() && !sig.SignedAt.After(s.after) {
		return nil, false
	}
	if s.oem != "" {
		if !strings.EqualFold(sig.ProgramName, s.oem) {
			return nil, false
		}
		ev = append(ev, fact.Evidence{Fact: "programName", Value: sig.ProgramName, Source: SourceFile})
	}
	for _, id := range s.ekus {
		if oid := p.ekus[id]; oid == "" || !containsString(leaf.EKUs, oid) {
			return nil, false
		}
	}
	return ev, true
}

func issuedBy(chain []authenticode.Certificate, name string) bool {
	return len(chain) > 1 && chain[1].CommonName == name
}

func containsString(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
