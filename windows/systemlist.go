// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// A systemList is a policy that this machine itself has.
type systemList struct {
	*BlockList
	file    string // DOS path
	builtIn bool   // the list that comes with Windows, which a switch turns on
}

// keptLists are the machine's policies with how reading them went.
type keptLists struct {
	lists  []systemList
	report fact.Report
}

// systemLists returns the machine's own policies, which are read once, and reports how that went.
func (k *Kernel) systemLists(ctx context.Context, r *fact.Report) []systemList {
	k.mu.Lock()
	kept := k.lists
	k.mu.Unlock()
	if kept == nil {
		kept = k.readLists(ctx)
		if ctx.Err() == nil {
			k.mu.Lock()
			k.lists = kept
			k.mu.Unlock()
		}
	}
	r.Append(&kept.report)
	return kept.lists
}

func (k *Kernel) readLists(ctx context.Context) *keptLists {
	kept := &keptLists{}
	kept.report.Budget = fact.NewBudget(0) // its own: lists are kept beyond the call
	paths, err := k.paths(ctx)
	if err == nil && paths.SystemRoot == "" {
		err = fact.ErrUnrecorded
	}
	if err != nil {
		kept.report.Source(SourceCIFiles, "", fact.Count{}, err)
		return kept
	}
	files, err := k.policyPaths(paths)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		kept.report.Problem(SourceCIFiles, PolicyFolder, "", err)
	}
	var older error
	for _, f := range files {
		list, err := k.readList(paths, f.path, &kept.report)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errors.ErrUnsupported):
			older = err
		case err != nil:
			kept.report.Problem(SourceCIFiles, f.path, "", err)
		default:
			kept.lists = append(kept.lists, systemList{list, f.path, f.builtIn})
		}
	}
	count := fact.CountOf(int64(len(kept.lists)))
	switch {
	case len(kept.lists) == 0 && older != nil:
		kept.report.Source(SourceCIFiles, "", fact.Count{}, older)
	case len(kept.lists) == 0 && kept.report.Count(SourceCIFiles) == 0:
		kept.report.Source(SourceCIFiles, fact.OutcomeAbsent, count, fs.ErrNotExist)
	default:
		kept.report.Done(SourceCIFiles, count)
	}
	return kept
}

func (k *Kernel) readList(paths ntPaths, dos string, r *fact.Report) (*BlockList, error) {
	name, err := paths.file(dos)
	if err != nil {
		return nil, err
	}
	raw, item, err := limit.ReadItem(k.machine, name, maxPolicyFile, r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	p, err := sipolicy.Parse(raw, item)
	if err != nil {
		return nil, err
	}
	return compiledList(p, r), nil
}

// A policyPath is where a policy may lie.
type policyPath struct {
	path, meaning string
	builtIn       bool
}

// maxActivePolicies is how many active policies are read; Windows takes 32.
const maxActivePolicies = 256

// policyPaths returns the policies' files: those with a fixed name, then the active ones. The error says that the
// folder of the active ones could not be listed.
func (k *Kernel) policyPaths(paths ntPaths) ([]policyPath, error) {
	folder := paths.SystemRoot + `\` + PolicyFolder
	var list []policyPath
	for i, f := range policyFileNames {
		list = append(list, policyPath{folder + `\` + f.name, f.meaning, i == 0})
	}
	active := folder + `\CIPolicies\Active`
	entries, err := k.readFolder(paths, active)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for i, e := range entries {
		if i == maxActivePolicies {
			return list, fmt.Errorf("%w: more than %d active policies", fact.ErrTooLarge, maxActivePolicies)
		}
		if !e.IsDir() && strings.HasSuffix(strings.ToLower(e.Name()), ".cip") {
			list = append(list, policyPath{active + `\` + e.Name(), "an active policy", false})
		}
	}
	return list, err
}

// matchSystem adds the rules of the machine's own policies that hit the driver.
func (e *entry) matchSystem(lists []systemList) {
	if e.Driver.PE == nil {
		return
	}
	for _, l := range lists {
		e.Driver.Blocked = append(e.Driver.Blocked, l.Match(e.Driver.Evidence(e.Name, e.Path))...)
	}
}

// blockList answers for every way by the policies of this machine. It does not apply if none of their rules names the
// driver.
func (c *checker) blockList(e *entry) fact.Answer {
	if e.Driver.PE == nil {
		if len(c.lists) == 0 || c.policy.Loading == fact.LoadingSigned { // the signature answers
			return fact.Answer{}
		}
		return fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: e.Path,
			Text: "the file was not read: whether a policy of this machine names it is not known"})
	}
	var answer fact.Answer
	if e.Driver.Signatures == nil {
		answer = c.unreadSigners(e)
	}
	for _, l := range c.lists {
		for _, m := range l.Match(e.Driver.Evidence(e.Name, e.Path)) {
			a := c.listed(&l, &m)
			switch {
			case a.Blocked() == fact.Yes:
				return a
			case !answer.Applies(), answer.Blocked() == fact.No && a.Blocked() == "":
				answer = a
			}
		}
	}
	return answer
}

// unreadSigners answers for a driver whose signature was not read: a policy that denies signers may deny its signer.
func (c *checker) unreadSigners(e *entry) fact.Answer {
	for _, l := range c.lists {
		if l.DeniesSigners() && !l.policy.audit && !(l.builtIn && c.builtInList() == fact.No) {
			return fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: l.file,
				Text: fmt.Sprintf("the signature of %s was not read: whether %q denies its signer is not known", e.Name,
					l.Name)})
		}
	}
	return fact.Answer{}
}

// DeniesSigners reports whether the list denies what some signer signed.
func (l *BlockList) DeniesSigners() bool {
	if l.policy == nil {
		return false
	}
	return slices.ContainsFunc(l.policy.signers, func(s *policySigner) bool { return len(s.denials) > 0 })
}

// listed answers for one rule that names the driver.
func (c *checker) listed(l *systemList, m *BlockMatch) fact.Answer {
	text := fmt.Sprintf("%s of %q names it", m.Rule, l.Name)
	if m.Name != "" {
		text = fmt.Sprintf("%s of %q (%s) names it", m.Rule, l.Name, m.Name)
	}
	because := func(more string) fact.Reason {
		return fact.Reason{Code: ReasonBlockList, Text: text + more, File: l.file}
	}
	switch {
	case m.Audit:
		return fact.Passes(because("; the policy only reports"))
	case m.Inactive:
		return fact.Passes(because("; the policy does not refer to the rule"))
	case m.Group != "":
		return c.testGroup(m, because)
	case l.policy != nil && l.policy.extends:
		return fact.UnsureOf(because("; the policy supplements another one, and such a policy can only allow"))
	case slices.ContainsFunc(m.Evidence, func(e fact.Evidence) bool { return e.Fact == factPath }):
		return fact.UnsureOf(because("; Windows documents rules for paths for user-mode code alone"))
	case m.Strength != StrengthStrong:
		return fact.UnsureOf(because("; no timestamp proves when it was signed"))
	case !l.builtIn:
		return fact.Stops(because(""))
	}
	switch on := c.builtInList(); on {
	case fact.Yes:
		return fact.Stops(because(""))
	case fact.No:
		return fact.Passes(because("; the list is switched off"))
	}
	return fact.UnsureOf(because("; whether the list that comes with Windows is on is not known"))
}

// testGroup answers for a rule that counts on test systems, or with test signing on.
func (c *checker) testGroup(m *BlockMatch, because func(string) fact.Reason) fact.Answer {
	if m.Group == GroupTestSigning && c.setting(PolicyTestSign) == "no" {
		return fact.Passes(because("; the rule counts with test signing on, which is off"))
	}
	return fact.UnsureOf(because("; the rule counts on systems for tests, and whether this is one is not known"))
}

// builtInList reports whether the block list that comes with Windows is in force: code integrity by the hypervisor
// takes it, and so does the switch in the registry, whose default differs between versions. That the hypervisor's is
// wanted does not mean that it runs: firmware or a driver may keep it from starting.
func (c *checker) builtInList() fact.Tri {
	hvci, wanted := c.setting(PolicyHVCI), c.setting(PolicyHVCIConfig)
	switch {
	case hvci == "yes", c.setting(PolicyBlockList) == "1":
		return fact.Yes
	case c.setting(PolicyBlockList) != "0", wanted == "1":
		return ""
	case hvci == "no", hvci == "" && wanted == "0":
		return fact.No
	}
	return ""
}

// memoryIntegrity answers for what code integrity by the hypervisor asks of an image beside its signature: no section
// that is both writable and executable.
func (c *checker) memoryIntegrity(e *entry) fact.Answer {
	if e.Driver.PE == nil || c.setting(PolicyHVCI) != "yes" {
		return fact.Answer{}
	}
	for _, s := range e.Driver.PE.Sections {
		var bits uint32
		if _, err := fmt.Sscanf(s.Characteristics, "0x%x", &bits); err == nil && bits&0xa0000000 == 0xa0000000 {
			return fact.Unsure(ReasonPolicy, fmt.Sprintf(
				"section %q is writable and executable: code integrity by the hypervisor refuses such images", s.Name))
		}
	}
	return fact.Answer{}
}
