// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// The ways for a kext to get into a macOS kernel, the words of fact.Way.
const (
	// WayCollection is loading a kext that is linked into a kernel collection: the kernel does it for
	// a device, or root asks for it.
	WayCollection = "collection"
	// WayBundle is loading a bundle from disk, which macOS 10.15 and older do.
	WayBundle = "bundle"
)

// The reasons of a verdict, the words of fact.Reason.
const (
	ReasonLoaded          = "loaded"
	ReasonCollection      = "in_collection"
	ReasonStale           = "stale_collection"
	ReasonInstalled       = "installed"
	ReasonApproved        = "approved"
	ReasonNotApproved     = "not_approved"
	ReasonApprovalUnknown = "approval_unknown"
	ReasonNoSignature     = "no_signature"
	ReasonBootSecurity    = "boot_security"
	ReasonPending         = "pending_reboot"
	ReasonCSR             = "csr"
	ReasonUserSpace       = "user_space"
	ReasonCodeless        = "codeless"
)

// A Subject is what a check knows of one extension.
type Subject struct {
	// Kext is joined with the disk.
	Kext *Kext
	// Loaded says whether it is in the kernel; absent when the list was not read.
	Loaded fact.Tri
	// Apple says whether it is Apple's.
	Apple bool
}

// Check judges whether an extension is, or can get, into the kernel, now and after a boot, from
// its place on disk and the rules. Query, Release and Module of the verdict are the caller's.
func Check(s Subject, r *Rules) fact.Verdict {
	c := &judge{Subject: s, rules: r}
	switch {
	case s.Loaded == fact.Yes:
		c.loaded()
	case s.Kext.PackageType == "DEXT" || s.Kext.SystemExtension != nil:
		c.userSpace()
	case c.linked():
	case s.Kext.Bundle != nil && s.Kext.Bundle.Codeless == fact.Yes:
		c.codeless()
	case s.Kext.Bundle != nil:
		c.onDisk()
	default:
		c.both(fact.VerdictUnknown, nil)
	}
	return c.v
}

type judge struct {
	Subject
	rules *Rules
	v     fact.Verdict
}

func (c *judge) reason(code, file, format string, args ...any) {
	c.v.Reasons = append(c.v.Reasons, fact.Reason{Code: code, Text: fmt.Sprintf(format, args...), File: file})
}

// both sets the same prospect for now and the next boot.
func (c *judge) both(o fact.VerdictOutcome, ways []fact.Way) { c.split(o, o, ways, ways) }

func (c *judge) split(now, next fact.VerdictOutcome, nowWays, nextWays []fact.Way) {
	c.v.Now, c.v.NextBoot = &fact.Prospect{Outcome: now, Ways: nowWays}, &fact.Prospect{Outcome: next, Ways: nextWays}
}

// loaded: it is in the kernel; after a boot it is what the disk says.
func (c *judge) loaded() {
	c.v.Word = "loaded"
	c.reason(ReasonLoaded, "", "the kernel lists it")
	next := judge{Subject: c.Subject, rules: c.rules}
	next.Loaded = fact.No
	switch {
	case c.Kext.Pseudo != "":
		c.split(fact.VerdictLoaded, fact.VerdictLoaded, nil, nil)
		return
	case next.linked():
	case next.Kext.Bundle != nil:
		next.onDisk()
	default:
		next.both(fact.VerdictUnknown, nil)
	}
	c.v.Reasons = append(c.v.Reasons, next.v.Reasons...)
	c.v.Remedies = next.v.Remedies
	c.v.Now, c.v.NextBoot = &fact.Prospect{Outcome: fact.VerdictLoaded}, next.v.NextBoot
	if c.Kext.PendingReboot == fact.Yes {
		c.reason(ReasonPending, c.Kext.Bundle.Path, "version %s is on disk, newer than the loaded one", c.Kext.Bundle.Version)
	}
}

// userSpace: the code of a system extension runs outside the kernel.
func (c *judge) userSpace() {
	c.v.Word = "system extension"
	text := "it runs outside the kernel"
	if e := c.Kext.SystemExtension; e != nil && e.State != "" {
		c.v.Word = e.State
		text += ", state " + e.State
	}
	file := "/" + SysExtFile
	if c.Kext.SystemExtension == nil && c.Kext.Bundle != nil {
		file = c.Kext.Bundle.Path
	}
	c.reason(ReasonUserSpace, file, "%s", text)
	c.both(fact.VerdictBlocked, []fact.Way{})
}

// codeless: the bundle describes devices for other kexts.
func (c *judge) codeless() {
	c.v.Word = "no code"
	c.reason(ReasonCodeless, c.Kext.Bundle.Path, "it has no code of its own, and describes devices for other extensions")
	c.both(fact.VerdictBlocked, []fact.Way{})
}

// linked judges by the kernel collections; false when none holds it.
func (c *judge) linked() bool {
	usable := false
	for _, m := range c.Kext.Collections {
		switch {
		case m.Stale == fact.Yes:
			c.reason(ReasonStale, m.Path, "linked against another boot collection: this one is not used")
		default:
			usable = true
			c.reason(ReasonCollection, m.Path, "linked into the %s collection", m.Kind)
		}
	}
	if !usable {
		return false
	}
	c.v.Word = "linked"
	open := []fact.Way{{Way: WayCollection, Blocked: fact.No}}
	c.both(fact.VerdictLoadable, open)
	return true
}

// onDisk judges a bundle that no usable collection holds.
func (c *judge) onDisk() {
	c.reason(ReasonInstalled, c.Kext.Bundle.Path, "installed, version %s", c.Kext.Bundle.Version)
	blocked := c.bundleBlocked()
	way := fact.Way{Way: WayBundle, Blocked: blocked}
	outcome := map[fact.Tri]fact.VerdictOutcome{fact.Yes: fact.VerdictBlocked, fact.No: fact.VerdictLoadable, "": fact.VerdictUnknown}[blocked]
	switch c.rules.NeedsCollection() {
	case fact.No:
		c.both(outcome, []fact.Way{way})
		if blocked == fact.No {
			c.v.Word = "loadable"
		}
	case fact.Yes:
		// It must be linked into the auxiliary collection first, which a reboot does when it is approved.
		shut := []fact.Way{{Way: WayCollection, Blocked: fact.Yes}}
		c.split(fact.VerdictBlocked, outcome, shut, []fact.Way{{Way: WayCollection, Blocked: blocked}})
		if blocked == fact.No {
			c.v.Word = "needs reboot"
			c.reason(ReasonPending, "", "it loads once the auxiliary collection is rebuilt and the Mac restarted")
		}
	default:
		c.split(fact.VerdictUnknown, fact.VerdictUnknown, []fact.Way{way}, []fact.Way{way})
	}
	c.v.Remedies = append(c.v.Remedies, fact.Remedy{Text: "remove " + c.Kext.Bundle.Path + ", and on macOS 11 and later rebuild the auxiliary collection and restart"})
}

// bundleBlocked says whether the rules stop a bundle: signature, boot security, approval, in that
// order.
func (c *judge) bundleBlocked() fact.Tri {
	if c.Apple {
		return fact.No
	}
	unknown := false
	sig := c.Kext.CodeSignature
	switch need := c.rules.NeedsSignature(); {
	case need == fact.No:
		c.reason(ReasonCSR, "", "System Integrity Protection does not ask for a signature")
	case sig != nil && (sig.Present == fact.No || sig.AdHoc == fact.Yes):
		c.v.Word = "blocked"
		c.reason(ReasonNoSignature, c.Kext.Bundle.ExecutablePath, "no signature of a developer")
		if need == fact.Yes {
			return fact.Yes
		}
		unknown = true
	case need == "":
		unknown = true
	}
	if c.rules.BootErr == nil && c.rules.Boot.OtherKexts == fact.No {
		c.v.Word = "blocked"
		c.reason(ReasonBootSecurity, "", "the boot security of this Mac (%s) allows no kexts but Apple's", c.rules.Boot.SecureBoot)
		return fact.Yes
	}
	switch c.approved() {
	case fact.No:
		return fact.Yes
	case "":
		unknown = true
	}
	if unknown {
		return ""
	}
	return fact.No
}

// approved says whether the approval that it needs is there; yes when it needs none.
func (c *judge) approved() fact.Tri {
	need := c.rules.NeedsApproval()
	if need == fact.No {
		c.reason(ReasonCSR, "", "no approval is needed")
		return fact.Yes
	}
	team := ""
	if s := c.Kext.CodeSignature; s != nil {
		team = s.TeamID
	}
	approved, by := c.rules.Approved(team, c.Kext.BundleID)
	switch approved {
	case fact.Yes:
		c.reason(ReasonApproved, by, "approved")
	case fact.No:
		c.v.Word = "needs approval"
		c.reason(ReasonNotApproved, by, "not approved")
		if need == "" {
			return ""
		}
	default:
		c.v.Word = "approval unknown"
		c.reason(ReasonApprovalUnknown, by, "whether it was approved is unknown: %v", c.rules.KextPolicyErr)
	}
	return approved
}
