// SPDX-License-Identifier: Apache-2.0

package darwin

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
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/internal/unsettled"
)

// Policy returns what the system enforces on loading. Of an image it is what is certain of the next boot.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	release, err := k.release(ctx)
	rules := k.rules(ctx, release, err)
	p := rules.policy()
	if k.options.Image {
		k.unsettle(p)
	}
	r.Policy(p)
	rules.addLosses(r)
	return p, nil
}

// unsettle makes unknown what an image lacks whose folders are not there: since macOS 10.15 they are on the Data
// volume, and the System volume has empty folders in their place.
func (k *Kernel) unsettle(p *fact.Policy) {
	for _, c := range []struct{ folder, source string }{{"private/var/db", SourceKextPolicy},
		{"Library/Preferences", SourceProfiles}, {"Library/Preferences", SourceSysExt}} {
		if _, err := fs.Stat(k.machine, c.folder); errors.Is(err, fs.ErrNotExist) {
			unsettled.Facts(p, fact.Problem{Source: c.source, Code: fact.CodeAbsent,
				Text: "this root has no /" + c.folder + ": its Data volume is not mounted"}, c.source)
		}
	}
}

// rules reads the settings that decide what may load. err is why the release is unknown.
func (k *Kernel) rules(ctx context.Context, release string, err error) *rules {
	if k.options.Image {
		return readRules(ctx, k.machine, release, err, nil)
	}
	return readRules(ctx, k.machine, release, err, k.machine.Call)
}

// rules are the settings that decide which kexts may load. A setting that could not be read is nil, and the source of
// its name in the report says why.
type rules struct {
	// report says how reading each went. It is not that of the call: the call's may have read system extensions for
	// their list, and the policy's own Problems come before these.
	report fact.Report
	// major is the kernel's major release, 20 for macOS 11; 0 is unknown.
	major int
	// silicon says whether this is an Apple silicon Mac; empty is unknown.
	silicon fact.Tri
	// csr is what System Integrity Protection allows, csrSource where that was read.
	csr       *uint32
	csrSource string
	// nvram are the firmware's variables.
	nvram *nvram
	// boot is the boot security of an Apple silicon Mac.
	boot *bootPolicy
	// approvals are the decisions about kexts.
	approvals *kextPolicy
	// managed is what a management server says about kexts, managedExtensions about system extensions.
	managed           *managedPolicy
	managedExtensions *systemExtensionPolicy
	// managedUnread is why the latter's profile could not be read; nil if it was read, or does not exist.
	managedUnread error
	// extensions is the database of system extensions.
	extensions *systemExtensionDB
}

// errImage is why calls are not made.
var errImage error = &sentinel.Error{Before: "an image has no running system", Cause: errors.ErrUnsupported}

// readRules reads the settings. call makes the machine's calls; it is nil for an image. releaseErr is why the release
// is unknown.
func readRules(ctx context.Context, fsys fs.FS, release string, releaseErr error, call fact.Call) *rules {
	r := &rules{csrSource: SourceCSR}
	r.readMajor(fsys, release, releaseErr)
	if call == nil {
		call = func(context.Context, string, ...string) ([]byte, error) { return nil, errImage }
	}
	r.readCalls(ctx, call)
	approvals, err := readKextPolicy(fsys, &r.report)
	r.approvals = noted(r, SourceKextPolicy, approvals, err)
	managed, err := readManagedPolicy(fsys, &r.report)
	r.managed = noted(r, SourceProfiles, managed, err)
	extensions, err := readSystemExtensions(fsys, &r.report)
	r.extensions = noted(r, SourceSysExt, extensions, err)
	r.managedExtensions = r.readManagedExtensions(fsys)
	return r
}

// readManagedExtensions reads what a management server says about system extensions: its profile, and what the system
// took over from profiles into its database. nil if neither says anything, or could be read.
func (r *rules) readManagedExtensions(fsys fs.FS) *systemExtensionPolicy {
	p, err := readSystemExtensionPolicy(fsys, &r.report)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && fact.CodeOf(err) != fact.CodeOlder {
		r.managedUnread = err
	}
	known := err == nil
	if r.extensions != nil {
		for _, one := range r.extensions.Policies {
			known = true
			p.AllowedTeams = append(p.AllowedTeams, one.AllowedTeams...)
			for team, list := range one.Allowed {
				if p.Allowed == nil {
					p.Allowed = map[string][]string{}
				}
				p.Allowed[team] = append(p.Allowed[team], list...)
			}
		}
	}
	if !known {
		return nil
	}
	return &p
}

// noted reports how reading a setting went, and returns it; nil if it could not be read.
func noted[T any](r *rules, source string, setting T, err error) *T {
	if err == nil {
		r.report.Done(source, fact.Count{})
		return &setting
	}
	r.report.Problem(source, "", "policy", err)
	r.report.Source(source, "", fact.Count{}, err)
	return nil
}

// readMajor takes the major release from the kernel's, and without it from the macOS that is installed.
func (r *rules) readMajor(fsys fs.FS, release string, err error) {
	major, _, _ := strings.Cut(release, ".")
	r.major, _ = strconv.Atoi(major) // 0 if it is not a number
	if r.major == 0 {
		var installed error
		r.major, installed = installedMajor(fsys)
		err = errors.Join(err, installed)
	}
	if r.major == 0 {
		noted(r, SourceMachine, r.major, err)
	}
}

// versionFile says which macOS is installed.
const versionFile = "System/Library/CoreServices/SystemVersion.plist"

// installedMajor is the kernel's major release of the macOS that is installed; 0 when it is not
// known. The kernel counted 4 ahead of 10.x, then 9 ahead until macOS took the year's number.
func installedMajor(fsys fs.FS) (int, error) {
	data, err := limit.ReadFile(fsys, versionFile, limit.PlistBytes)
	if err != nil {
		return 0, err
	}
	n, err := decodePlist(versionFile, data)
	if err != nil {
		return 0, err
	}
	version := n.dict["ProductVersion"].str
	first, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(first)
	y, _ := strconv.Atoi(minor)
	switch {
	case err != nil:
	case x == 10:
		return y + 4, nil
	case x >= 11 && x <= 15:
		return x + 9, nil
	case x >= 26 && x < 100:
		return x - 1, nil
	}
	return 0, &fact.ParseError{Source: versionFile, Field: "ProductVersion", Reason: fmt.Sprintf("%.40q", version)}
}

func (r *rules) readCalls(ctx context.Context, call fact.Call) {
	text, csrErr := call(ctx, OpCSRConfig)
	var mask uint32
	if csrErr == nil {
		mask, csrErr = parseCSR(text)
	}
	var variables nvram
	data, err := call(ctx, OpNVRAM)
	if err == nil {
		variables, err = parseNVRAM(data, &r.report)
	}
	r.nvram = noted(r, SourceNVRAM, variables, err)
	if csrErr != nil && r.nvram != nil && r.nvram.CSR != nil {
		r.csr, r.csrSource = r.nvram.CSR, SourceNVRAM
	} else {
		r.csr = noted(r, SourceCSR, mask, csrErr)
	}
	var boot bootPolicy
	data, err = call(ctx, OpBridge)
	if err == nil {
		boot, err = parseBootPolicy(data, &r.report)
	}
	r.boot = noted(r, SourceBootPolicy, boot, err)
}

// code returns why a setting could not be read; empty if it was.
func (r *rules) code(source string) fact.Code {
	s, _ := r.report.Find(source)
	return s.Code
}

// unread returns the reason of a step that needs a setting which could not be read. unknown says what that makes
// unknown.
func (r *rules) unread(source, code, unknown string) fact.Reason {
	because := fact.Reason{Code: code, Text: unknown}
	for _, p := range r.report.Problems {
		if p.Source == source && p.Field == "policy" {
			because.Text += ": " + p.Text
		}
	}
	return because
}

// addLosses reports what is lost of the settings that were read. Those that could not be read are in the policy's
// facts.
func (r *rules) addLosses(report *fact.Report) {
	for _, p := range r.report.Problems {
		if s, _ := r.report.Find(p.Source); s.Outcome == fact.OutcomePartial && !slices.Contains(report.Problems, p) {
			report.Add(p)
		}
	}
}

// needsApproval says whether a kext that is not Apple's must have been approved: since macOS 10.13,
// unless System Integrity Protection allows unapproved ones.
func (r *rules) needsApproval() fact.Tri { return r.protects(17, csrAllowUnapprovedKexts) }

// needsSignature says whether a kext must have a valid signature: since OS X 10.10, unless System
// Integrity Protection (a boot argument in 10.10) allows others.
func (r *rules) needsSignature() fact.Tri { return r.protects(14, csrAllowUntrustedKexts) }

// protects says whether a kernel since the major release enforces what a bit of System Integrity Protection turns off.
func (r *rules) protects(since int, off uint32) fact.Tri {
	switch {
	case r.major > 0 && r.major < since:
		return fact.No
	case r.csr != nil:
		return fact.TriOf(*r.csr&off == 0)
	}
	return ""
}

// needsCollection says whether a kext that is not Apple's loads from the auxiliary collection only,
// after a reboot: since macOS 11.
func (r *rules) needsCollection() fact.Tri {
	if r.major == 0 {
		return ""
	}
	return fact.TriOf(r.major >= firstSilicon)
}

// firstSilicon is the major release of macOS 11, the first for Apple silicon and the first with an auxiliary
// collection.
const firstSilicon = 20

// policy returns the settings as facts, in a fixed order.
func (r *rules) policy() *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{r.csrFact()}}
	switch r.needsSignature() {
	case fact.Yes:
		p.Loading = fact.LoadingSigned
	case fact.No:
		p.Loading = fact.LoadingAny
	}
	p.Facts = append(p.Facts, r.bootFacts()...)
	p.Facts = append(p.Facts, r.approvalFacts()...)
	return p
}

func (r *rules) csrFact() fact.PolicyFact {
	f := fact.PolicyFact{Name: "csr_active_config", Source: r.csrSource}
	if r.csr == nil {
		f.Code = r.code(r.csrSource)
		return f
	}
	f.Value = csrText(*r.csr)
	switch {
	case *r.csr&csrAllowUntrustedKexts != 0:
		f.Effect = "kexts without a valid signature load"
	case *r.csr&csrAllowUnapprovedKexts != 0:
		f.Effect = "signed kexts load without approval"
	default:
		f.Effect = "kexts must be signed and approved"
	}
	return f
}

func (r *rules) bootFacts() []fact.PolicyFact {
	secure := fact.PolicyFact{Name: "secure_boot", Source: SourceBootPolicy}
	other := fact.PolicyFact{Name: "other_kexts", Source: SourceBootPolicy}
	args := fact.PolicyFact{Name: "boot_args", Source: SourceNVRAM, Code: r.code(SourceNVRAM)}
	secure.Code, other.Code = r.code(SourceBootPolicy), r.code(SourceBootPolicy)
	if r.boot != nil {
		secure.Value, secure.Code = known(r.boot.SecureBoot)
		other.Value, other.Code = known(string(r.boot.OtherKexts))
		if r.boot.OtherKexts == fact.No {
			other.Effect = "the boot security of this Mac allows no kexts but Apple's"
		}
	}
	if r.nvram != nil {
		args.Value, args.Code = strings.Join(r.nvram.BootArgs, " "), ""
		if secure.Value == "" && r.nvram.SecureBoot != "" {
			secure.Value, secure.Source, secure.Code = r.nvram.SecureBoot, SourceNVRAM, ""
		}
	}
	return []fact.PolicyFact{secure, other, args}
}

// known returns a value and its code: absent if it is empty.
func known(value string) (string, fact.Code) {
	if value == "" {
		return "", fact.CodeAbsent
	}
	return value, ""
}

func (r *rules) approvalFacts() []fact.PolicyFact {
	approvals := fact.PolicyFact{Name: "kext_approvals", Source: SourceKextPolicy, File: "/" + kextPolicyFile,
		Code: r.code(SourceKextPolicy)}
	if r.approvals != nil {
		allowed := 0
		for _, a := range r.approvals.Approvals {
			if a.Allowed == fact.Yes {
				allowed++
			}
		}
		approvals.Value = fmt.Sprintf("%d allowed, %d not", allowed, len(r.approvals.Approvals)-allowed)
		approvals.Code = ""
	}
	managed := fact.PolicyFact{Name: "managed_kexts", Source: SourceProfiles, File: "/" + profileFile,
		Code: r.code(SourceProfiles)}
	if r.managed != nil {
		kexts := 0
		for _, list := range r.managed.Kexts {
			kexts += len(list)
		}
		managed.Value, managed.Code = fmt.Sprintf("%d teams, %d kexts", len(r.managed.Teams), kexts), ""
		if r.managed.UserOverrides == fact.No {
			managed.Effect = "users may approve no others"
		}
	}
	developer := fact.PolicyFact{Name: "system_extensions_developer_mode", Source: SourceSysExt, File: "/" + sysExtFile,
		Code: r.code(SourceSysExt)}
	if r.extensions != nil {
		developer.Value, developer.Code = known(string(r.extensions.DeveloperMode))
	}
	return append([]fact.PolicyFact{approvals, managed, developer}, r.namedFacts()...)
}

// namedFacts lists what is approved, by whom: kexts and teams, and a management server's system extensions.
func (r *rules) namedFacts() []fact.PolicyFact {
	var facts []fact.PolicyFact
	list := func(name, source, file, effect string, names []string) {
		if len(names) > 0 {
			facts = append(facts, fact.PolicyFact{Name: name, Value: shorten(names), Effect: effect, Source: source,
				File: "/" + file})
		}
	}
	if r.approvals != nil {
		list("approved_kexts", SourceKextPolicy, kextPolicyFile, "may load",
			r.approvals.names(func(a Approval) bool { return a.Allowed == fact.Yes }))
		list("denied_kexts", SourceKextPolicy, kextPolicyFile, "may not load",
			r.approvals.names(func(a Approval) bool { return a.Allowed == fact.No }))
	}
	if r.managed != nil {
		list("managed_teams", SourceProfiles, profileFile, "all their kexts may load", r.managed.Teams)
		list("managed_kext_list", SourceProfiles, profileFile, "may load", byTeam(r.managed.Kexts))
	}
	f := fact.PolicyFact{Name: "managed_system_extensions", Source: SourceProfiles, File: "/" + sysextProfileFile}
	if r.managedUnread != nil {
		f.Code = fact.CodeOf(r.managedUnread)
		return append(facts, f)
	}
	if p := r.managedExtensions; p != nil {
		f.Value = p.counts()
		if p.UserOverrides == fact.No {
			f.Effect = "users may approve no others"
		}
		facts = append(facts, f)
		list("managed_system_extension_teams", SourceProfiles, sysextProfileFile, "all their extensions may run",
			p.AllowedTeams)
		list("managed_system_extension_list", SourceProfiles, sysextProfileFile, "may run", byTeam(p.Allowed))
	}
	return facts
}

// byTeam lists bundle ids with their teams, "bundle id (team)", sorted.
func byTeam(lists map[string][]string) []string {
	var all []string
	for team, list := range lists {
		for _, id := range list {
			if team != "" {
				id += " (" + team + ")"
			}
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// shorten joins names, the first of very many.
func shorten(names []string) string {
	const most = 100
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
