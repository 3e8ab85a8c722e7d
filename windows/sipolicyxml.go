// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// maxPolicyRules is how many rules a policy may have; Microsoft's has some 4,000.
const maxPolicyRules = 1_000_000

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
	setting  [2]string
	ids      [2]string // the policy's own and that of the policy that it supplements
	rules    int
	// The scenarios with their references, which are followed when all is read, because they may precede their target.
	scenarios []policyScenario
	scenario  *policyScenario // that is being read
	group     policyGroup     // that is being read
	denied    *signerRef      // that is being read
	allowed   *signerRef      // that is being read
	// Signers that a scenario, whichever, denies, and those that something else uses.
	deniedIDs, usedIDs map[string]bool
}

// A policyScenario is a signing scenario with its references, unchanged.
type policyScenario struct {
	id, value string
	inherited []string // ids of scenarios that it takes over
	rules     []ruleRef
	denied    []*signerRef
	allowed   []*signerRef
}

// A ruleRef is a group's reference to a rule.
type ruleRef struct {
	group policyGroup
	id    string
}

// A signerRef is a group's reference to a signer, with the rules that it makes an exception of.
type signerRef struct {
	group  policyGroup
	id     string
	except []string
}

func parseSiPolicy(text string, r *fact.Report) (*BlockList, error) {
	p := &policyParser{
		report: r,
		list:   &BlockList{Name: "SiPolicy"},
		policy: &siPolicy{hashes: map[string][]*policyRule{}, attribs: map[string]*policyRule{},
			ekus: map[string]string{}},
		byID: map[string]*policyRule{}, signerID: map[string]*policySigner{},
		deniedIDs: map[string]bool{}, usedIDs: map[string]bool{},
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
		p.policy.extends = strings.EqualFold(attr(t, "PolicyType"), "Supplemental Policy")
	case "Deny", "Allow", "FileAttrib":
		p.rule(t)
	case "Signer":
		p.newSigner(t)
	case "CertRoot", "CertPublisher", "CertIssuer", "CertOemID", "CertEKU", "FileAttribRef":
		if p.signer != nil {
			p.signer.part(t)
		}
	case "SigningScenario":
		p.scenarios = append(p.scenarios, policyScenario{id: attr(t, "ID"), value: attr(t, "Value"),
			inherited: strings.Split(attr(t, "InheritedScenarios"), ",")})
		p.scenario, p.group = &p.scenarios[len(p.scenarios)-1], groupProduct
	case "ProductSigners", "TestSigners", "TestSigningSigners":
		p.group, _ = groupOf(t.Name.Local)
	case "UpdatePolicySigner", "CiSigner", "SupplementalPolicySigner":
		p.usedIDs[attr(t, "SignerId")] = true
	case "DeniedSigner", "ExceptAllowRule", "AllowedSigner", "ExceptDenyRule", "FileRuleRef":
		switch t.Name.Local {
		case "DeniedSigner":
			p.deniedIDs[attr(t, "SignerId")] = true
		case "AllowedSigner":
			p.usedIDs[attr(t, "SignerId")] = true
		}
		if p.scenario != nil {
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
		p.denied = &signerRef{group: p.group, id: attr(t, "SignerId")}
		p.scenario.denied = append(p.scenario.denied, p.denied)
	case "AllowedSigner":
		p.allowed = &signerRef{group: p.group, id: attr(t, "SignerId")}
		p.scenario.allowed = append(p.scenario.allowed, p.allowed)
	case "ExceptDenyRule":
		if p.allowed != nil {
			p.allowed.except = append(p.allowed.except, attr(t, "DenyRuleID"))
		}
	case "ExceptAllowRule":
		if p.denied != nil {
			p.denied.except = append(p.denied.except, attr(t, "AllowRuleID"))
		}
	case "FileRuleRef":
		p.scenario.rules = append(p.scenario.rules, ruleRef{p.group, attr(t, "RuleID")})
	}
}

func (p *policyParser) end() {
	switch p.path[len(p.path)-1] {
	case "DeniedSigner":
		p.denied = nil
	case "AllowedSigner":
		p.allowed = nil
	case "Signer":
		p.signer = nil
	case "SigningScenario":
		p.scenario = nil
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
	case "PolicyID":
		p.ids[0] = s
	case "BasePolicyID":
		p.ids[1] = s
	case "Option":
		if strings.EqualFold(s, "Enabled:Audit Mode") {
			p.policy.audit = true
		}
		if strings.EqualFold(s, "Enabled:Boot Audit on Failure") {
			p.policy.failing = true
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
		if v := attr(t, f.attr); strings.TrimSpace(v) != "" {
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
	if r.max != nil && *r.max == (fileVersion{}) { // the compiler writes 0 where a rule gives none
		r.max = nil
	}
	if r.kind != "Deny" && r.min != nil && *r.min == (fileVersion{}) {
		r.min = nil
	}
	r.path = strings.TrimSpace(attr(t, "FilePath"))
	r.apps = attr(t, "AppIDs") != "" || attr(t, "PackageFamilyName") != ""
	if r.hash != "" {
		if raw, err := hex.DecodeString(r.hash); err != nil || len(raw) < 16 {
			p.note(r.id, "Hash", r.hash)
			return
		}
	}
	if p.byID[r.id] != nil {
		p.report.Problem(sourceBlockList, r.id, "ID", policyError("two rules of one id: the first is not compared"))
	}
	p.byID[r.id] = r
	if r.kind == "FileAttrib" {
		p.policy.attribs[r.id] = r
	}
}

var errUnknownEKU error = &sentinel.Error{
	Before: "signer of a purpose that is no object id: it hits nothing", Cause: fact.ErrMalformed}

// noteSigner says that a signer which a scenario denies cannot be compared: it is named by one of the loader's numbered
// roots (Type="Wellknown") whose key is not known, or by a purpose that is invalid.
func (p *policyParser) noteSigner(s *policySigner) {
	switch {
	case !p.deniedIDs[s.id], p.signerID[s.id] != s:
	case s.root == "" && s.wellKnown == 0:
		err := fmt.Errorf("%w: signer not named by a certificate's TBS digest: it hits nothing", errors.ErrUnsupported)
		p.report.Problem(sourceBlockList, s.id, "CertRoot", err)
	case !s.comparable(p.policy):
		p.report.Problem(sourceBlockList, s.id, "CertEKU", errUnknownEKU)
	}
}

func (p *policyParser) note(id, field, value string) {
	p.report.Problem(sourceBlockList, id, field, policyError("%s is %q", field, value))
}

func (s *policySigner) part(t xml.StartElement) {
	value := attr(t, "Value")
	switch t.Name.Local {
	case "CertRoot":
		switch {
		case strings.EqualFold(attr(t, "Type"), "TBS"):
			s.root = fold(value)
		case strings.EqualFold(attr(t, "Type"), "Wellknown"):
			n, err := strconv.ParseUint(value, 16, 8)
			if err == nil && authenticode.RootName(uint32(n)) != "" {
				s.wellKnown = uint32(n)
			}
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
	if p.ids[1] != "" && !strings.EqualFold(p.ids[0], p.ids[1]) {
		p.policy.extends = true
	}
	n := 0
	for _, r := range p.byID {
		if r.kind != "Deny" {
			continue
		}
		switch {
		case r.hash != "":
			p.policy.hashes[r.hash] = append(p.policy.hashes[r.hash], r)
			n++
		case len(r.fields) > 0 || r.path != "":
			p.policy.files = append(p.policy.files, r)
			n++
		}
	}
	sortRules(p.policy.files)
	for _, list := range p.policy.hashes {
		sortRules(list)
	}
	p.policy.signers = slices.DeleteFunc(p.policy.signers, func(s *policySigner) bool {
		return p.usedIDs[s.id] && !p.deniedIDs[s.id] // what it signed is allowed
	})
	for _, s := range p.policy.signers {
		p.noteSigner(s)
		if s.root != "" || s.wellKnown != 0 {
			n++
		}
	}
	p.policy.rules = p.byID
	p.list.policy, p.list.Rules = p.policy, n
}

// follow marks what the scenario of drivers refers to, with those that it takes over.
func (p *policyParser) follow() {
	byID := make(map[string]int, len(p.scenarios))
	for i := range p.scenarios {
		byID[p.scenarios[i].id] = i
	}
	drivers := strconv.Itoa(sipolicy.ScenarioDrivers)
	counts := inheriting(len(p.scenarios), func(i int) bool { return p.scenarios[i].value == drivers },
		func(i int) (list []int) {
			for _, id := range p.scenarios[i].inherited {
				if n, ok := byID[strings.TrimSpace(id)]; ok {
					list = append(list, n)
				}
			}
			return list
		})
	for i := range p.scenarios {
		if counts[i] {
			p.followScenario(&p.scenarios[i])
		}
	}
}

func (p *policyParser) followScenario(c *policyScenario) {
	for _, ref := range c.rules {
		if r := p.byID[ref.id]; r != nil {
			r.refer(ref.group)
		}
	}
	for _, ref := range c.denied {
		if s := p.signerID[ref.id]; s != nil {
			s.denials = append(s.denials, denial{ref.group, ref.except})
		}
	}
	for _, ref := range c.allowed {
		for _, id := range ref.except {
			if s, r := p.signerID[ref.id], p.byID[id]; s != nil && r != nil {
				r.allowed = append(r.allowed, allowance{ref.group, s})
			}
		}
	}
}
