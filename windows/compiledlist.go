// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// compiledList returns the rules of a compiled policy as a block list. The compiler dropped ids and names: a rule is
// called by its place, and by what it names.
func compiledList(p *sipolicy.Policy, r *fact.Report) *BlockList {
	c := &compiled{
		policy: p, rules: make([]*policyRule, len(p.Rules)), signers: make([]*policySigner, len(p.Signers)),
		out: &siPolicy{
			audit: p.Audit(), extends: p.BaseID != p.ID, unread: p.Unread,
			failing: p.Options&sipolicy.OptionBootAudit != 0,
			hashes:  map[string][]*policyRule{}, attribs: map[string]*policyRule{},
			rules: map[string]*policyRule{}, ekus: map[string]string{},
		},
	}
	for i, oid := range p.EKUs {
		c.out.ekus[strconv.Itoa(i)] = oid
	}
	for i := range p.Rules {
		c.addRule(i)
	}
	used, denied := c.usedSigners()
	for i := range p.Signers {
		c.addSigner(i, denied[i], r)
	}
	c.followScenarios()
	for i, s := range c.signers {
		if denied[i] || !used[i] { // what another one signed is allowed
			c.out.signers = append(c.out.signers, s)
		}
	}
	l := &BlockList{Name: p.Name(), Version: unpackVersion(p.Version).String(), policy: c.out, Rules: c.count()}
	if l.Name == "" {
		l.Name = "SiPolicy"
	}
	if p.Unread > 0 {
		r.Problem(sourceBlockList, "", "format",
			fmt.Errorf("format %d is newer than what is known: %d bytes of its own "+
				"blocks, which may deny more, were not read: %w", p.Format, p.Unread, errors.ErrUnsupported))
	}
	return l
}

// compiled turns a compiled policy into one that is compared.
type compiled struct {
	policy  *sipolicy.Policy
	rules   []*policyRule
	signers []*policySigner
	out     *siPolicy
}

var ruleKinds = [...]string{sipolicy.Deny: "Deny", sipolicy.Allow: "Allow", sipolicy.Attrib: "FileAttrib"}

func ruleID(i int) string { return fmt.Sprintf("rule %d", i) }

func (c *compiled) addRule(i int) {
	f := &c.policy.Rules[i]
	rule := &policyRule{id: ruleID(i), kind: ruleKinds[f.Kind], hash: hex.EncodeToString(f.Hash), path: f.FilePath,
		apps: len(f.AppIDs) > 0 || f.PackageFamilyName != ""}
	for j, v := range [...]string{f.FileName, f.InternalName, f.FileDescription, f.ProductName} {
		if strings.TrimSpace(v) != "" {
			rule.fields = append(rule.fields, ruleField{resourceFields[j].attr, resourceFields[j].resource, v})
		}
	}
	if f.Maximum != 0 {
		v := unpackVersion(f.Maximum)
		rule.max = &v
	}
	if f.Minimum != 0 || f.Kind == sipolicy.Deny { // a rule that denies every version has AnyVersion
		v := unpackVersion(f.Minimum)
		rule.min = &v
	}
	rule.name = rule.title()
	c.rules[i] = rule
	c.out.rules[rule.id] = rule
	switch {
	case f.Kind == sipolicy.Attrib:
		c.out.attribs[rule.id] = rule
	case f.Kind != sipolicy.Deny:
	case rule.hash != "":
		c.out.hashes[rule.hash] = append(c.out.hashes[rule.hash], rule)
	case len(rule.fields) > 0 || rule.path != "":
		c.out.files = append(c.out.files, rule)
	}
}

// title says what the rule names.
func (r *policyRule) title() string {
	words := make([]string, 0, len(r.fields)+1)
	for _, f := range r.fields {
		words = append(words, strings.TrimSpace(f.want))
	}
	if r.path != "" {
		words = append(words, r.path)
	}
	return strings.Join(words, " ")
}

func (c *compiled) addSigner(i int, denied bool, r *fact.Report) {
	f := &c.policy.Signers[i]
	s := &policySigner{
		id: fmt.Sprintf("signer %d", i), root: hex.EncodeToString(f.Root), publisher: f.Publisher, issuer: f.Issuer,
		oem: f.OEMID, after: f.SignTimeAfter,
	}
	s.name = strings.Join(slices.DeleteFunc([]string{f.Publisher, f.Issuer, f.OEMID}, func(w string) bool {
		return w == ""
	}), ", ")
	for _, e := range f.EKUs {
		s.ekus = append(s.ekus, strconv.Itoa(e))
	}
	for _, a := range f.Attribs {
		s.attribs = append(s.attribs, ruleID(a))
	}
	switch {
	case f.ByNumber && authenticode.RootName(f.WellKnown) != "":
		s.wellKnown = f.WellKnown
	case f.ByNumber && denied:
		r.Problem(sourceBlockList, s.id, "root",
			fmt.Errorf("%w: the key of root %d is not known: the signer hits nothing",
				errors.ErrUnsupported, f.WellKnown))
	case denied && !s.comparable(c.out):
		r.Problem(sourceBlockList, s.id, "eku", errUnknownEKU)
	}
	c.signers[i] = s
}

// usedSigners returns the signers that a scenario, whichever, denies, and those that something else uses.
func (c *compiled) usedSigners() (used, denied map[int]bool) {
	used, denied = map[int]bool{}, map[int]bool{}
	for _, list := range [][]int{c.policy.UpdateSigners, c.policy.CISigners, c.policy.SupplementalSigners} {
		for _, i := range list {
			used[i] = true
		}
	}
	for i := range c.policy.Scenarios {
		for _, g := range c.policy.Scenarios[i].Groups() {
			for _, r := range g.Allowed {
				used[r.Signer] = true
			}
			for _, r := range g.Denied {
				denied[r.Signer] = true
			}
		}
	}
	return used, denied
}

// followScenarios marks what the scenario of drivers refers to, with those that it takes over.
func (c *compiled) followScenarios() {
	list := c.policy.Scenarios
	counts := inheriting(len(list), func(i int) bool { return list[i].Value == sipolicy.ScenarioDrivers },
		func(i int) []int { return list[i].Inherited })
	for i := range list {
		if !counts[i] {
			continue
		}
		for g, group := range list[i].Groups() { // in the order of the constants
			c.refer(policyGroup(g), group)
		}
	}
}

// refer marks what a group of the kernel's scenario refers to.
func (c *compiled) refer(name policyGroup, g *sipolicy.Group) {
	for _, i := range g.Rules {
		c.rules[i].refer(name)
	}
	for _, ref := range g.Denied {
		d := denial{group: name}
		for _, i := range ref.Except {
			d.except = append(d.except, ruleID(i))
		}
		s := c.signers[ref.Signer]
		s.denials = append(s.denials, d)
	}
	for _, ref := range g.Allowed {
		for _, i := range ref.Except {
			c.rules[i].allowed = append(c.rules[i].allowed, allowance{name, c.signers[ref.Signer]})
		}
	}
}

// count returns how many rules can hit.
func (c *compiled) count() int {
	n := len(c.out.files)
	for _, list := range c.out.hashes {
		n += len(list)
	}
	for _, s := range c.out.signers {
		if s.root != "" || s.wellKnown != 0 {
			n++
		}
	}
	return n
}

// unpackVersion returns a version of a compiled policy, the first number in the highest bits.
func unpackVersion(n uint64) fileVersion {
	return fileVersion{uint16(n >> 48), uint16(n >> 32), uint16(n >> 16), uint16(n)}
}

func (v fileVersion) String() string { return fmt.Sprintf("%d.%d.%d.%d", v[0], v[1], v[2], v[3]) }
