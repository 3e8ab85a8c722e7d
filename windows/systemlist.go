// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// A systemList is a policy that this machine itself has.
type systemList struct {
	*BlockList
	file    string // DOS path
	builtIn bool   // the list that comes with Windows, which a switch turns on
	doubt   string // why it is not known whether Windows takes the policy; empty if it does
}

// keptLists are the machine's policies with how reading them went.
type keptLists struct {
	lists  []systemList
	unread []unreadList
	report fact.Report
}

// An unreadList is a policy, or a folder of policies, that could not be read.
type unreadList struct {
	file    string // DOS path
	builtIn bool   // the list that comes with Windows
	err     error
}

// systemLists returns the machine's own policies, which are read once, and reports how that went.
func (k *Kernel) systemLists(ctx context.Context, r *fact.Report) *keptLists {
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
	return kept
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
	build := k.build(ctx)
	files, older := k.policyPaths(paths)
	if older != nil && !errors.Is(older, errors.ErrUnsupported) {
		kept.report.Problem(SourceCIFiles, PolicyFolder, "", older)
		kept.unread = append(kept.unread, unreadList{paths.SystemRoot + `\` + PolicyFolder, false, older})
	}
	for _, f := range files {
		list, err := k.readList(paths, f, &kept.report)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errors.ErrUnsupported):
			older = err
		case err != nil:
			kept.report.Problem(SourceCIFiles, f.path, "", err)
			kept.unread = append(kept.unread, unreadList{f.path, f.builtIn, err})
		default:
			if f.active && build > 0 && build < firstMultiple {
				list.doubt = "; this Windows is older than those that are known to take policies of that folder"
			}
			kept.lists = append(kept.lists, list)
		}
	}
	kept.done(older)
	return kept
}

// firstMultiple is the build of the first Windows that takes several policies, 10 version 1903 ("Use multiple App
// Control for Business Policies", learn.microsoft.com).
const firstMultiple = 18362

// build returns the third number of the release of a Windows 10 or later; 0 if it is not known.
func (k *Kernel) build(ctx context.Context) int {
	var h fact.Header
	if k.options.Image {
		k.imageHeader(&h)
	} else if text, err := k.machine.Call(ctx, OpUname); err == nil {
		_, rest, _ := strings.Cut("\n"+string(text), "\nrelease ")
		h.Release, _, _ = strings.Cut(rest, "\n")
	}
	parts := strings.Split(strings.TrimSpace(h.Release), ".")
	if len(parts) < 3 || parts[0] != "10" {
		return 0
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		return 0
	}
	return n
}

// done reports how reading the policies went. older is why one could not be read that this library, or an older tape,
// has no answer for. A policy with a part that is not compared was not read whole.
func (kept *keptLists) done(older error) {
	r, count := &kept.report, fact.CountOf(int64(len(kept.lists)))
	uncompared, found := r.First(sourceBlockList)
	switch {
	case len(kept.lists) == 0 && older != nil:
		r.Source(SourceCIFiles, "", fact.Count{}, older)
	case len(kept.lists) == 0 && r.Count(SourceCIFiles) == 0:
		r.Source(SourceCIFiles, fact.OutcomeAbsent, count, fs.ErrNotExist)
	case found:
		r.Source(SourceCIFiles, fact.OutcomePartial, count, uncompared)
	case older != nil:
		r.Source(SourceCIFiles, fact.OutcomePartial, count, older)
	default:
		r.Done(SourceCIFiles, count)
	}
}

func (k *Kernel) readList(paths ntPaths, f policyPath, r *fact.Report) (systemList, error) {
	name, err := paths.file(f.path)
	if err != nil {
		return systemList{}, err
	}
	raw, item, err := limit.ReadItem(k.machine, name, maxPolicyFile, r.Budget)
	defer item.Done()
	if err != nil {
		return systemList{}, err
	}
	p, err := sipolicy.Parse(raw, item)
	if err != nil {
		return systemList{}, err
	}
	return systemList{compiledList(p, r), f.path, f.builtIn, f.doubt(p, raw, item)}, nil
}

// doubt returns why it is not known whether Windows takes a policy that was read; empty if it does. Of the active
// policies it takes those whose file has the policy's own id as its name ("Deploy App Control policies",
// learn.microsoft.com), and an unsigned one only if the policy allows that ("Enabled:Unsigned System Integrity
// Policy"). What a signature other than Microsoft's is worth to it is not known here. Its own list comes signed.
func (f policyPath) doubt(p *sipolicy.Policy, raw []byte, item *fact.Item) string {
	signed := raw[0] == 0x30
	switch {
	case f.active && !strings.EqualFold(baseName(f.path), "{"+p.ID+"}.cip"):
		return "; its file does not have the policy's id as its name: whether Windows takes it is not known"
	case signed && authenticode.SignedByMicrosoft(raw, item):
	case signed:
		return "; whether Windows accepts the policy's signature is not known"
	case f.builtIn:
		return "; it is not signed, and the list that Windows brings is: whether Windows takes it is not known"
	case p.Options&sipolicy.OptionUnsigned == 0:
		return "; it is not signed, and does not say that it may be so: whether Windows takes it is not known"
	}
	return ""
}

// A policyPath is where a policy may lie.
type policyPath struct {
	path, meaning string
	builtIn       bool
	active        bool // in the folder of those that are called by their id
}

// maxActivePolicies is how many active policies are read; Windows takes 32.
const maxActivePolicies = 256

// policyPaths returns the policies' files: those with a fixed name, then the active ones. The error says that the
// folder of the active ones could not be listed.
func (k *Kernel) policyPaths(paths ntPaths) ([]policyPath, error) {
	folder := paths.SystemRoot + `\` + PolicyFolder
	var list []policyPath
	for i, f := range policyFileNames {
		list = append(list, policyPath{path: folder + `\` + f.name, meaning: f.meaning, builtIn: i == 0})
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
			list = append(list, policyPath{path: active + `\` + e.Name(), meaning: "an active policy", active: true})
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
	for _, l := range c.lists {
		for _, m := range l.Match(e.Driver.Evidence(e.Name, e.Path)) {
			a := c.listed(&l, &m)
			if a.Blocked() == fact.Yes && e.catalogsUnread && m.bySigner() {
				a = fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: l.file, Text: a.Because().Text +
					"; not all catalogs were read: another signature may carry the driver"})
			}
			if m.Inactive && e.catalogsUnread && l.policy.excepts(m.Rule) {
				a = fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: l.file, Text: fmt.Sprintf("%s of %q counts "+
					"for what some signer signed, and not all catalogs were read: one may be of that signer",
					m.Rule, l.Name)})
			}
			switch {
			case a.Blocked() == fact.Yes:
				return a
			case !answer.Applies(), answer.Blocked() == fact.No && a.Blocked() == "":
				answer = a
			}
		}
	}
	if may := c.mayDeny(e); may.Applies() && (!answer.Applies() || answer.Blocked() == fact.No) {
		return may
	}
	return answer
}

// mayDeny answers for a driver of which something is not known that a policy may name: its file is not whole, or its
// signature was not read, or not its whole chain. It does not apply if everything is known.
func (c *checker) mayDeny(e *entry) fact.Answer {
	signers, evidence := e.Driver.SignersKnown(), e.Driver.Evidence(e.Name, e.Path)
	part := ""
	if e.Driver.Signatures != nil {
		part = " whole"
	}
	for _, l := range c.lists {
		text := ""
		switch {
		case l.policy == nil || l.policy.audit || l.builtIn && c.builtInList() == fact.No:
			continue
		case l.policy.open(evidence) != "":
			text = fmt.Sprintf("whether %q names %s is not known: %s", l.Name, e.Name, l.policy.open(evidence))
		case e.truncated:
			text = fmt.Sprintf("the file ends before what its headers name: whether %q names it whole is not known",
				l.Name)
		case versionUnread(e.Problems):
			text = fmt.Sprintf("the version of %s was not read whole: whether %q names it is not known", e.Name, l.Name)
		case !signers && l.DeniesSigners():
			text = fmt.Sprintf("the signature of %s was not read%s: whether %q denies its signer is not known",
				e.Name, part, l.Name)
		default:
			continue
		}
		return fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: l.file, Text: text})
	}
	for _, l := range c.unreadLists {
		if !l.builtIn || c.builtInList() != fact.No {
			return fact.UnsureOf(fact.Reason{Code: ReasonBlockList, File: l.file, Text: "whether a policy that could " +
				"not be read names it is not known: " + l.err.Error()})
		}
	}
	return fact.Answer{}
}

// versionUnread reports whether the file has a version resource that was not read whole.
func versionUnread(list []fact.Problem) bool {
	return slices.ContainsFunc(list, func(p fact.Problem) bool {
		return p.Source == SourceFile && p.Field == "version"
	})
}

// excepts reports whether a signer is allowed except for the rule.
func (p *siPolicy) excepts(rule string) bool {
	r := p.rules[rule]
	return r != nil && len(r.allowed) > 0
}

// open returns why the policy may deny the driver by what is not compared; empty if it does not.
func (p *siPolicy) open(e BlockEvidence) string {
	if p.unread > 0 {
		return "its format is newer than what is known"
	}
	for _, s := range p.signers {
		if len(s.denials) == 0 || s.comparable(p) {
			continue
		}
		if _, fits := s.narrowed(p, e, true); fits {
			return "who " + s.title() + " is, whom it denies, is not known"
		}
	}
	return ""
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
	case l.policy != nil && l.policy.unread > 0 && m.bySigner():
		return fact.UnsureOf(because("; its format is newer than what is known, and may make exceptions of a signer"))
	case doubtOf(m.Evidence) != "":
		return fact.UnsureOf(because("; " + doubtOf(m.Evidence)))
	case m.Strength != StrengthStrong:
		return fact.UnsureOf(because("; whether the rule counts for it is not known"))
	}
	return c.enforced(l, because)
}

// enforced answers for a rule that denies the driver for sure, if its policy is in force.
func (c *checker) enforced(l *systemList, because func(string) fact.Reason) fact.Answer {
	on := fact.Yes
	if l.builtIn {
		on = c.builtInList()
	}
	switch {
	case on == fact.No:
		return fact.Passes(because("; the list is switched off"))
	case !c.enforces():
		return fact.UnsureOf(because("; code integrity is not known to be on, or a debugger may overrule it"))
	case l.doubt != "":
		return fact.UnsureOf(because(l.doubt))
	case on == "" && c.now && c.setting(PolicyBlockList) != "":
		return fact.UnsureOf(because("; the switch of the list that comes with Windows counts from the next boot, " +
			"and how it was at this one is not known"))
	case on == "":
		return fact.UnsureOf(because("; whether the list that comes with Windows is on is not known"))
	case l.policy != nil && l.policy.failing:
		return fact.UnsureOf(because("; the policy only reports once a driver that the boot needs is refused"))
	}
	return fact.Stops(because(""))
}

// enforces reports whether code integrity is known to be on and in nobody's way: with it off no policy counts, and a
// kernel debugger may make the kernel load what it refuses; one may be there unless Windows says otherwise. An image is
// judged as if it boots so, unless its last boot did not. Test signing changes nothing: policies count beside it.
func (c *checker) enforces() bool {
	if c.image {
		return c.bootedChecked()
	}
	options := strings.Fields(c.setting(PolicyCodeIntegrity))
	debug := slices.Contains(options, "debug_mode") || debuggerMayBe(c.policy)
	return slices.Contains(options, "enabled") && (!debug || c.setting(PolicyHVCI) == "yes")
}

// bootOptionsKey has the options of an image's last boot (SystemStartOptions).
const bootOptionsKey = `SYSTEM\CurrentControlSet\Control`

// bootedChecked reports whether an image's last boot is not known to have been one with a debugger, or without checks
// of integrity: the options of a boot are in its configuration, which is most often on another volume.
func (c *checker) bootedChecked() bool {
	key, err := c.kernel.registry(c.ctx, bootOptionsKey)
	if err != nil {
		return errors.Is(err, errNotThere) || hiveIsMissing(err)
	}
	options, _ := key.Text("SystemStartOptions")
	return !slices.ContainsFunc(strings.Fields(strings.ToUpper(options)), func(o string) bool {
		o = strings.TrimPrefix(o, "/")
		return o == "DEBUG" || strings.HasPrefix(o, "DEBUG=") || o == "DISABLE_INTEGRITY_CHECKS"
	})
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
// wanted does not mean that it runs: firmware or a driver may keep it from starting. The switch counts from the next
// boot on: whether this one began with it is not known.
func (c *checker) builtInList() fact.Tri {
	hvci, wanted := c.setting(PolicyHVCI), c.setting(PolicyHVCIConfig)
	switch {
	case c.now && hvci == "yes":
		return fact.Yes
	case c.now:
		return ""
	case hvci == "yes", c.setting(PolicyBlockList) == "1":
		return fact.Yes
	case c.setting(PolicyBlockList) != "0", wanted == "1":
		return ""
	case (hvci == "no" || hvci == "" && wanted == "0") && !c.otherwiseListed():
		return fact.No
	}
	return ""
}

// ciPolicyKey has the states of Smart App Control and of S mode.
const ciPolicyKey = `SYSTEM\CurrentControlSet\Control\CI\Policy`

// otherwiseListed reports whether something else than the switch and the hypervisor may put the list that comes with
// Windows into force: Smart App Control and S mode do ("Microsoft recommended driver block rules",
// learn.microsoft.com).
func (c *checker) otherwiseListed() bool {
	key, err := c.kernel.registry(c.ctx, ciPolicyKey)
	if err != nil {
		return !errors.Is(err, errNotThere)
	}
	for _, name := range []string{"VerifiedAndReputablePolicyState", "SkuPolicyRequired"} {
		n, ok := key.Dword(name)
		if _, there := key.Value(name); there && (!ok || n == 1) {
			return true
		}
	}
	return false
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
