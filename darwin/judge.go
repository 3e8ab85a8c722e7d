// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A judge says whether one extension is in the kernel or can get there, now and after a boot, from its place on disk
// and the rules.
type judge struct {
	kext   *Kext    // joined with the disk
	loaded fact.Tri // whether it is in the kernel; empty if the list was not read
	apple  bool     // whether it is Apple's
	rules  *rules
	arch   string // the kernel's architecture; empty if it is unknown
	live   bool   // the machine runs: what its file system says of owners is what its kernel sees
	v      fact.Verdict
	// now and next are the facts that decided.
	now, next fact.Reason
}

// verdict judges the extension. Query, Release and Module of the verdict are the caller's.
func (j *judge) verdict() fact.Verdict {
	switch {
	case j.loaded == fact.Yes:
		j.inKernel()
	case j.kext.PackageType == "DEXT" || j.kext.SystemExtension != nil:
		j.userSpace()
	case j.linked():
	case j.kext.Bundle != nil && j.kext.Bundle.Codeless == fact.Yes:
		j.codeless()
	case j.kext.Bundle != nil:
		j.onDisk()
	default:
		j.nowhere()
	}
	return j.v
}

// reason adds a fact that is known.
func (j *judge) reason(code, file, format string, args ...any) fact.Reason {
	because := fact.Reason{Code: code, Text: fmt.Sprintf(format, args...), File: file}
	j.v.Reasons = append(j.v.Reasons, because)
	return because
}

// both sets the same prospect for now and the next boot.
func (j *judge) both(o fact.VerdictOutcome, because fact.Reason, ways ...fact.Way) {
	j.set(fact.Prospect{Outcome: o, Ways: ways}, because)
}

// unsure sets both prospects to unknown.
func (j *judge) unsure(because fact.Reason, ways ...fact.Way) {
	j.set(fact.Prospect{Outcome: fact.VerdictUnknown, Ways: ways, Because: because}, because)
}

func (j *judge) set(p fact.Prospect, because fact.Reason) {
	now, next := p, p
	j.v.Now, j.v.NextBoot = &now, &next
	j.now, j.next = because, because
}

// prospectBy returns the prospect of a bundle that has one way in.
func prospectBy(way string, answer fact.Answer) fact.Prospect {
	p := fact.Prospect{Outcome: fact.VerdictUnknown, Ways: []fact.Way{answer.Way(way)}}
	switch answer.Blocked() {
	case fact.Yes:
		p.Outcome = fact.VerdictBlocked
	case fact.No:
		p.Outcome = fact.VerdictLoadable
	default:
		p.Because = answer.Because()
	}
	return p
}

// inKernel judges an extension that the kernel lists; after a boot it is what the disk says.
func (j *judge) inKernel() {
	j.v.Word = "loaded"
	lists := j.reason(ReasonLoaded, "", "the kernel lists it")
	if j.kext.Pseudo != "" {
		j.both(fact.VerdictLoaded, lists)
		return
	}
	next := judge{kext: j.kext, apple: j.apple, rules: j.rules, arch: j.arch, loaded: fact.No, live: j.live}
	switch {
	case next.linked():
	case next.kext.Bundle != nil:
		next.onDisk()
	default:
		next.nowhere()
	}
	j.v.Reasons = append(j.v.Reasons, next.v.Reasons...)
	j.v.Remedies = next.v.Remedies
	j.v.Now, j.v.NextBoot = &fact.Prospect{Outcome: fact.VerdictLoaded}, next.v.NextBoot
	j.now, j.next = lists, next.next
	if j.kext.PendingReboot == fact.Yes {
		j.reason(ReasonPending, j.kext.Bundle.Path, "version %s is on disk, newer than the loaded one",
			j.kext.Bundle.Version)
	}
}

// nowhere judges an extension of which neither a bundle nor a usable collection was found.
func (j *judge) nowhere() {
	text := "no bundle of it and no kernel collection in use that holds it was found"
	for _, source := range []string{SourceBundles, SourceCollections} {
		if j.kext.Views[source] == fact.ViewUnchecked {
			text += "; source " + source + " was not read whole"
		}
	}
	j.unsure(fact.Reason{Code: ReasonUnread, Text: text})
}

// userSpace judges a system extension, whose code runs outside the kernel.
func (j *judge) userSpace() {
	j.v.Word = "system extension"
	text := "it runs outside the kernel"
	if e := j.kext.SystemExtension; e != nil && e.State != "" {
		j.v.Word = e.State
		text += ", state " + e.State
	}
	file := "/" + sysExtFile
	if j.kext.SystemExtension == nil && j.kext.Bundle != nil {
		file = j.kext.Bundle.Path
	}
	j.both(fact.VerdictBlocked, j.reason(ReasonUserSpace, file, "%s", text), []fact.Way{}...)
	if e, p := j.kext.SystemExtension, j.rules.managedExtensions; e != nil && p != nil {
		if p.allows(e.TeamID, e.BundleID) {
			j.reason(ReasonApproved, "/"+sysextProfileFile, "a management server allows it to run")
		} else if p.UserOverrides == fact.No {
			j.reason(ReasonNotApproved, "/"+sysextProfileFile, "the management server allows no extension but its own")
		}
	}
}

// codeless judges a bundle that describes devices for other kexts.
func (j *judge) codeless() {
	j.v.Word = "no code"
	because := j.reason(ReasonCodeless, j.kext.Bundle.Path,
		"it has no code of its own, and describes devices for other extensions")
	j.both(fact.VerdictBlocked, because, []fact.Way{}...)
}

// linked judges by the kernel collections; it returns false if no usable one holds the extension.
func (j *judge) linked() bool {
	var usable, shut fact.Reason // the first collection in use; why the auxiliary one is not
	for _, m := range j.kext.Collections {
		if m.Stale == fact.Yes {
			j.reason(ReasonStale, m.Path, "linked against another boot collection: this one is not used")
			continue
		}
		if m.Kind == KindAuxiliary && j.rules.boot.allowsOthers() == fact.No {
			shut = j.shut()
			continue
		}
		holds := j.reason(ReasonCollection, m.Path, "linked into the %s collection", m.Kind)
		usable = cmp.Or(usable, holds)
	}
	if usable == (fact.Reason{}) && shut != (fact.Reason{}) {
		j.v.Word = "blocked"
		j.both(fact.VerdictBlocked, shut, fact.Way{Way: WayCollection, Blocked: fact.Yes})
		return true
	}
	if usable == (fact.Reason{}) {
		return false
	}
	j.v.Word = "linked"
	j.both(fact.VerdictLoadable, usable, fact.Way{Way: WayCollection, Blocked: fact.No})
	return true
}

// onDisk judges a bundle that no usable collection holds.
func (j *judge) onDisk() {
	installed := j.reason(ReasonInstalled, j.kext.Bundle.Path, "installed, version %s", j.kext.Bundle.Version)
	answer := j.mayLoad(installed)
	switch j.rules.needsCollection() {
	case fact.No:
		j.set(prospectBy(WayBundle, answer), answer.Because())
		if answer.Blocked() == fact.No {
			j.v.Word = "loadable"
		}
	case fact.Yes:
		if unread := j.collectionsUnread(); unread.Applies() {
			j.mayBeLinked(unread, answer)
			break
		}
		j.onceLinked(answer)
	default:
		unread := j.rules.unread(SourceMachine, ReasonRelease, "the release of macOS is unknown")
		j.unsure(unread, answer.Way(WayBundle))
	}
	j.v.Remedies = append(j.v.Remedies, fact.Remedy{Text: "remove " + j.kext.Bundle.Path +
		", and on macOS 11 and later rebuild the auxiliary collection and restart"})
}

// collectionsUnread says that a kernel collection which was not read may hold the extension; it does not apply if all
// were read.
func (j *judge) collectionsUnread() fact.Answer {
	if j.kext.Views[SourceCollections] != fact.ViewUnchecked {
		return fact.Answer{}
	}
	because := fact.Reason{Code: ReasonUnread, Unread: "the kernel collections",
		Text: "source " + SourceCollections + " was not read whole: one may hold it"}
	j.v.Reasons = append(j.v.Reasons, because)
	return fact.UnsureOf(because)
}

// mayBeLinked judges a bundle that may be linked already, for all that was read. answer is that of the rules.
func (j *judge) mayBeLinked(unread, answer fact.Answer) {
	j.unsure(unread.Because(), unread.Way(WayCollection))
	if answer.Blocked() == fact.No {
		next := prospectBy(WayCollection, answer)
		j.v.NextBoot, j.next = &next, answer.Because()
	}
}

// onceLinked judges a bundle that must be linked into the auxiliary collection first, which a reboot does if it is
// approved.
func (j *judge) onceLinked(answer fact.Answer) {
	shut := fact.Way{Way: WayCollection, Blocked: fact.Yes}
	j.v.Now = &fact.Prospect{Outcome: fact.VerdictBlocked, Ways: []fact.Way{shut}}
	next := prospectBy(WayCollection, answer)
	j.v.NextBoot = &next
	j.next = answer.Because()
	switch answer.Blocked() {
	case fact.Yes:
		j.now = j.next
	case fact.No:
		j.v.Word = "needs reboot"
		j.now = j.reason(ReasonPending, "", "it loads once the auxiliary collection is rebuilt and the Mac restarted")
	}
}

// mayLoad answers whether the rules stop a bundle: processor, owner and mode, signature, approval, boot security, in
// that order. The first step that stops it decides; without one, the first step whose answer is unknown decides.
// Apple's own bundles pass for this processor, because they are installed.
func (j *judge) mayLoad(installed fact.Reason) fact.Answer {
	if other := j.machine(); j.apple || other.Applies() {
		return cmp.Or(other, fact.Passes(installed))
	}
	var answer fact.Answer
	for _, step := range []func() fact.Answer{j.access, j.signed, j.approved, j.bootSecurity} {
		switch a := step(); {
		case !a.Applies():
		case a.Blocked() == fact.Yes:
			return a
		case !answer.Applies(), answer.Blocked() == fact.No && a.Blocked() == "":
			answer = a
		}
	}
	return answer
}

// machine answers whether the bundle's code is for other processors than the kernel's, so that nothing of it can be
// loaded or linked. It does not apply if the kernel's processor, or the code's, is not known.
func (j *judge) machine() fact.Answer {
	b, own := j.kext.Bundle, baseArch(j.arch)
	known := own == "x86_64" || own == "arm64" || own == "i386"
	fits := func(s Slice) bool { return baseArch(s.Architecture) == own }
	if !known || !b.allSlices || slices.ContainsFunc(b.Slices, fits) {
		return fact.Answer{}
	}
	j.v.Word = "blocked"
	return fact.Stops(j.reason(ReasonMachine, b.ExecutablePath, "its code is for %s, the kernel is for %s",
		strings.Join(architectures(b.Slices), ", "), j.arch))
}

// access answers whether others than root can write the bundle, which the system does not load then (kext_tools,
// OSKext.c, __OSKextBasicFilesystemAuthentication). Of an image it is only a reason: a disk that is mounted elsewhere
// may show other owners.
func (j *judge) access() fact.Answer {
	b := j.kext.Bundle
	wrong := ""
	switch {
	case b.Owner != "" && b.Owner != "0:0":
		wrong = "owner " + b.Owner + " is not root:wheel"
	case len(b.Mode) == 10 && (b.Mode[5] == 'w' || b.Mode[8] == 'w'):
		wrong = "others than root may write it, " + b.Mode
	}
	if wrong == "" {
		return fact.Answer{}
	}
	because := j.reason(ReasonAccess, b.Path, "%s", wrong)
	if !j.live {
		return fact.Answer{}
	}
	j.v.Word = "blocked"
	return fact.Stops(because)
}

// refused returns why the system does not take the signature: it does not fit; the kext has an id of Apple's, and Apple
// did not sign it; or it is not by a Developer ID that is for kexts (kext_tools, security.c). Empty if it takes it, or
// that is not known.
func refused(sig *CodeSignature, bundleID string) string {
	switch {
	case signatureOf(sig).Status == fact.SignatureInvalid:
		return "its signature is invalid: " + strings.Join(sig.Reasons, "; ")
	case sig.Anchor != AnchorGeneric:
		return ""
	case strings.HasPrefix(bundleID, "com.apple."):
		return "it has a bundle id of Apple's, and Apple did not sign it"
	case sig.Program != ProgramDeveloperID || sig.ForKexts == fact.No:
		return "its certificate is not for kexts"
	}
	return ""
}

// signed answers whether the rules ask for a signature that the bundle lacks.
func (j *judge) signed() fact.Answer {
	need := j.rules.needsSignature()
	if need == fact.No {
		return fact.Passes(j.reason(ReasonCSR, "", "System Integrity Protection does not ask for a signature"))
	}
	sig := j.kext.CodeSignature
	if sig != nil && (sig.Present == fact.No || sig.AdHoc == fact.Yes) {
		j.v.Word = "blocked"
		because := j.reason(ReasonNoSignature, j.kext.Bundle.ExecutablePath, "no signature of a developer")
		if need == fact.Yes {
			return fact.Stops(because)
		}
	} else if sig != nil {
		if why := refused(sig, j.kext.BundleID); why != "" {
			because := j.reason(ReasonSignature, j.kext.Bundle.ExecutablePath, "%s", why)
			if need == fact.Yes {
				j.v.Word = "blocked"
				return fact.Stops(because)
			}
		} else if signatureOf(sig).Status == fact.SignatureUntrusted && len(sig.Reasons) > 0 {
			j.reason(ReasonSignature, j.kext.Bundle.ExecutablePath, "%s", strings.Join(sig.Reasons, "; "))
		}
	}
	if need == "" {
		return j.rules.integrityUnread()
	}
	return fact.Answer{}
}

// bootSecurity answers whether the boot security of an Apple silicon Mac allows kexts that are not Apple's (its
// LocalPolicy, "Allow user management of kernel extensions"). An Intel Mac has no such setting, and no Mac has before
// macOS 11: it leaves the decision to the other steps. An Apple silicon Mac whose setting was not read may refuse the
// kext, and so may a Mac of which neither is known.
func (j *judge) bootSecurity() fact.Answer {
	r := j.rules
	switch allowed := r.boot.allowsOthers(); {
	case allowed == fact.No:
		j.v.Word = "blocked"
		return fact.Stops(j.shut())
	case allowed == fact.Yes, r.silicon == fact.No, r.major > 0 && r.major < firstSilicon:
		return fact.Answer{}
	case r.boot != nil && r.silicon == "":
		return fact.Answer{} // the report of an Intel Mac has no such setting
	}
	because := r.unread(SourceBootPolicy, ReasonBootSecurity,
		"whether the boot security of this Mac allows kexts that are not Apple's is unknown")
	if r.boot != nil {
		because.Text += ": the report of this Mac does not say it"
	}
	j.v.Word = cmp.Or(j.v.Word, "boot security unknown")
	j.v.Reasons = append(j.v.Reasons, because)
	return fact.UnsureOf(because)
}

// shut adds the reason that the boot security allows no kext but Apple's.
func (j *judge) shut() fact.Reason {
	return j.reason(ReasonBootSecurity, "", "the boot security of this Mac (%s) allows no kexts but Apple's",
		j.rules.boot.SecureBoot)
}

// approved answers whether the rules ask for an approval that the kext lacks.
func (j *judge) approved() fact.Answer {
	need := j.rules.needsApproval()
	if need == fact.No {
		return fact.Passes(j.reason(ReasonCSR, "", "no approval is needed"))
	}
	answer := j.rules.approvedFor(j.kext.CodeSignature, j.kext.BundleID)
	j.v.Reasons = append(j.v.Reasons, answer.Because())
	switch answer.Blocked() {
	case fact.Yes:
		j.v.Word = "needs approval"
		if need == "" {
			return j.rules.integrityUnread()
		}
	case "":
		j.v.Word = "approval unknown"
	}
	return answer
}

// approvedFor is approved for a signature. A kext without the developer's has no team; of one whose signature could not
// be read, or that names no team, the team is unknown, and every row may be another's.
func (r *rules) approvedFor(s *CodeSignature, bundleID string) fact.Answer {
	team, known := s.team()
	switch {
	case known:
		return r.approved(team, bundleID)
	case r.managed == nil && r.approvals == nil:
		return r.approved("", bundleID) // there is no row to compare with
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonApprovalUnknown, File: "/" + kextPolicyFile,
		Text: "whether it was approved is unknown: so is its team"})
}

// notApproved answers for a kext that no row that was read allows. A profile that could not be read whole may allow it.
func (r *rules) notApproved() fact.Answer {
	database := "/" + kextPolicyFile
	switch profiles, ok := r.report.Find(SourceProfiles); {
	case ok && r.managed == nil && profiles.Code != fact.CodeAbsent &&
		profiles.Code != fact.CodeOlder:
		because := r.unread(SourceProfiles, ReasonApprovalUnknown, "whether a management server approved it is unknown")
		because.File = "/" + profileFile
		return fact.UnsureOf(because)
	case ok && profiles.Outcome == fact.OutcomePartial:
		return fact.UnsureOf(fact.Reason{Code: ReasonApprovalUnknown, File: "/" + profileFile,
			Text: "whether a management server approved it is unknown: its profile was not read whole"})
	}
	return fact.Stops(fact.Reason{Code: ReasonNotApproved, Text: "not approved", File: database})
}

// approved answers whether the kext was approved, by whom or why that is unknown.
func (r *rules) approved(teamID, bundleID string) fact.Answer {
	database := "/" + kextPolicyFile
	switch {
	case r.managed != nil && r.managed.allows(teamID, bundleID):
		return fact.Passes(fact.Reason{Code: ReasonApproved, Text: "approved by a management server",
			File: "/" + profileFile})
	case r.approvals != nil:
		return r.decided(teamID, bundleID)
	case r.code(SourceKextPolicy) == fact.CodeAbsent:
		return r.notApproved() // nobody was asked yet
	}
	because := r.unread(SourceKextPolicy, ReasonApprovalUnknown, "whether it was approved is unknown")
	because.File = database
	return fact.UnsureOf(because)
}

// decided answers by the rows of the database. A management server's row outdoes the user's, so that what a user
// decided counts only if all of the server's rows were read.
func (r *rules) decided(teamID, bundleID string) fact.Answer {
	database := "/" + kextPolicyFile
	a, ok := r.approvals.approved(teamID, bundleID)
	unread := r.approvals.unread
	if !ok {
		unread = errors.Join(r.approvals.managedUnread, unread)
	} else if !a.Managed || a.BundleID == "" {
		unread = r.approvals.managedUnread
	}
	switch {
	case ok && a.Managed && a.BundleID != "": // nothing outdoes it
	case unread != nil:
		return fact.UnsureOf(fact.Reason{Code: ReasonApprovalUnknown, File: database,
			Text: "whether it was approved is unknown: " + unread.Error()})
	case !ok, a.Allowed == fact.No && !a.Managed:
		return r.notApproved()
	}
	switch by := ""; a.Allowed {
	case fact.Yes:
		if a.Managed {
			by = " by a management server"
		}
		return fact.Passes(fact.Reason{Code: ReasonApproved, Text: "approved" + by, File: database})
	case fact.No:
		return fact.Stops(fact.Reason{Code: ReasonNotApproved, Text: "not approved", File: database})
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonApprovalUnknown, File: database,
		Text: "whether it was approved is unknown: its row in the database has no decision"})
}

// integrityUnread answers for a step that needs the state of System Integrity Protection where that is unknown.
func (r *rules) integrityUnread() fact.Answer {
	return fact.UnsureOf(r.unread(SourceCSR, ReasonCSR, "the state of System Integrity Protection is unknown"))
}
