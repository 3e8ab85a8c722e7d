// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// A checker makes the verdicts of one query. Each step returns a fact.Answer: whether it stops a way, and why.
type checker struct {
	ctx       context.Context
	kernel    *Kernel
	report    *fact.Report
	query     string
	release   string
	image     bool
	now       bool // what holds until the next boot is asked, not what holds from then on
	policy    *fact.Policy
	inventory *inventory
	entries   []entry    // every driver
	imports   *importers // nil until a driver asks who imports it
	registry  bool       // it was read whole
	folders   bool       // the folders of drivers, the store's among them, were listed whole
	lists     []systemList
	problems  []fact.Problem

	unreadLists []unreadList // policies that may deny a driver, too

	restrictions *restrictions // on installing devices; nil until a staged package asks

	remedies []fact.Remedy // of the driver that is judged
	triggers []fact.Reason // what asks for that driver
}

// nothing is the verdict on a query that means no driver: absent if every source was read whole, else unknown for the
// reason of unseen.
func (c *checker) nothing(unseen fact.Answer) fact.Verdict {
	p := fact.Prospect{Outcome: fact.VerdictAbsent}
	because := fact.Reason{Code: ReasonNoFile, Text: "no driver, no service and no file has that name"}
	if unseen.Applies() {
		because = unseen.Because()
		p = fact.Prospect{Outcome: fact.VerdictUnknown, Because: because}
	}
	next := p
	v := fact.Verdict{Query: c.query, Release: c.release, NextBoot: &next, Problems: c.problems}
	if !c.image {
		v.Now = &p
	}
	v.Lead(because)
	return v
}

func (c *checker) verdict(e *entry) fact.Verdict {
	v := fact.Verdict{
		Query: c.query, Release: c.release, Module: idOf(e.Key), Problems: slices.Concat(c.problems, e.Problems),
	}
	c.remedies, c.triggers = nil, nil
	atOnce := c.waysNow(e)
	file := c.file(e)
	boot, demand := c.services(e, file)
	arrives := c.arrival(e, file)
	imported := c.imported(e, file, boot, demand, arrives)
	v.Reasons = slices.Concat(loadedReasons(e), fileReasons(e, file), c.serviceReasons(e, file), readReasons(e))
	v.Word = word(e)
	if file.Blocked() != fact.Yes {
		v.Remedies = append(c.disabling(e), c.remedies...)
	}
	v.Triggers = c.triggers
	if arrives.Blocked() != fact.Yes || arrives.Because().Code == ReasonRestricted {
		v.Reasons = append(v.Reasons, arrives.Because())
	}
	if imported.Applies() && imported.Blocked() != fact.Yes && imported.Because().Code == ReasonImported {
		v.Reasons = append(v.Reasons, imported.Because())
	}
	device, anew := way{WayArrival, arrives}, way{WayNewService, c.anew(e, file)}
	if atOnce == nil {
		atOnce = []way{{WayService, demand}, {WayImport, imported}, device, anew}
	}
	var now, next fact.Reason
	v.Now, now = prospect(atOnce...)
	v.NextBoot, next = prospect(way{WayBoot, boot}, way{WayService, demand}, way{WayImport, imported}, device,
		anew)
	for _, p := range []*fact.Prospect{v.Now, v.NextBoot} {
		if e.fileAbsent() && p.Outcome == fact.VerdictBlocked {
			p.Outcome = fact.VerdictAbsent
		}
	}
	switch {
	case c.image:
		v.Now = nil
	case e.Loaded:
		v.Now.Outcome, v.Now.Because, v.Word = fact.VerdictLoaded, fact.Reason{}, loadedWord(e)
		now = loadedReason(e)
	}
	v.LeadBy(now, next)
	return v
}

// waysNow returns the ways that are open until the next boot; nil if they are those of the next boot: only of the list
// that comes with Windows it is not known whether its switch holds already.
func (c *checker) waysNow(e *entry) []way {
	ofWindows := slices.ContainsFunc(c.lists, func(l systemList) bool { return l.builtIn }) ||
		slices.ContainsFunc(c.unreadLists, func(l unreadList) bool { return l.builtIn })
	if c.image || !ofWindows && c.file(e).Because().Code != ReasonPending {
		return nil
	}
	c.now = true
	file := c.file(e)
	_, demand := c.services(e, file)
	arrives := c.arrival(e, file)
	ways := []way{{WayService, demand}, {WayImport, c.imported(e, file, demand, arrives)}, {WayArrival, arrives},
		{WayNewService, c.anew(e, file)}}
	c.now, c.remedies, c.triggers = false, nil, nil
	return ways
}

// word returns Windows' own term for the state of a driver that is not loaded.
func word(e *entry) string {
	for _, s := range e.Driver.Services {
		if s.Start == "disabled" {
			return s.Start
		}
	}
	return ""
}

// loadedWord returns the service manager's term for the state of a loaded driver.
func loadedWord(e *entry) string {
	for _, s := range e.Driver.Services {
		if s.State != "" {
			return s.State
		}
	}
	return "loaded"
}

// file answers for every way by what is known of the file itself, which another one may replace at the next boot.
func (c *checker) file(e *entry) fact.Answer {
	a := c.fileNow(e)
	if c.now || a.Blocked() != fact.Yes {
		return a
	}
	if pending := c.replacedAtBoot(e); pending.Applies() {
		return pending
	}
	return a
}

// fileNow answers for every way by what is known of the file itself. It stops all of them if there is no file, or if
// code integrity enforces and no signature fits. The answer is unknown if the kernel may refuse the file by something
// that is not read here.
func (c *checker) fileNow(e *entry) fact.Answer {
	if e.fileAbsent() {
		return fact.Stops(fact.Reason{Code: ReasonNoFile, Text: "there is no file " + e.Path})
	}
	listed := c.blockList(e)
	if listed.Applies() && listed.Blocked() != fact.No {
		return listed
	}
	if a := c.signature(e); a.Blocked() != fact.No || !listed.Applies() {
		return a
	}
	return listed
}

// signature answers for every way by the file's signature under what code integrity is known to enforce.
func (c *checker) signature(e *entry) fact.Answer {
	if c.policy.Loading != fact.LoadingSigned {
		return fact.Passes(fact.Reason{Code: ReasonPolicy, Text: "code integrity is not known to refuse any signature"})
	}
	if e.unreadSignature() {
		// What is not known to be refused counts as a way in, and the verdict says so.
		return fact.Passes(unreadSignatureReason(e))
	}
	if _, bad := badSignature(e.Driver); bad {
		return e.badSignatureAnswer()
	}
	if a := c.memoryIntegrity(e); a.Applies() {
		return a
	}
	switch best, _ := authenticode.Best(e.Driver.Signatures); {
	case best.Status == fact.SignatureUntrusted && best.Class != fact.ClassSelfSigned:
		return fact.Unsure(ReasonPolicy, "it leads to no root that the kernel is known to accept: "+best.Reason)
	case best.Class == fact.ClassSelfSigned:
		return fact.Unsure(ReasonPolicy, "it is self-signed: "+
			"code integrity refuses it unless a policy of this machine allows its signer")
	case best.Class == fact.ClassCrossSigned && c.setting(PolicyWHQL) == "yes":
		return fact.Unsure(ReasonPolicy, "it is cross-signed: "+
			"code integrity refuses it unless Windows or a policy of this machine lists it")
	case best.Class == fact.ClassCrossSigned && c.setting(PolicySecureBoot) == "yes" && lateCross(&best):
		return fact.Unsure(ReasonPolicy, "it is cross-signed with a certificate issued after 2015-07-29: with Secure "+
			"Boot code integrity takes it only on a machine that was upgraded from an older Windows")
	}
	return fact.Passes(fact.Reason{Code: ReasonSignature, Text: "code integrity does not refuse its kind of signature"})
}

// lateCross reports whether the signer's certificate was issued after 2015-07-29: under a cross certificate it counts
// only without Secure Boot, or on an upgraded machine ("Driver signing policy", learn.microsoft.com).
func lateCross(s *authenticode.Signature) bool {
	leaf := s.Signer()
	return leaf != nil && leaf.NotBefore.After(time.Date(2015, time.July, 29, 23, 59, 59, 0, time.UTC))
}

// unreadSignature reports whether it is not known how the driver is signed.
func (e *entry) unreadSignature() bool { return e.Driver.PE == nil || e.Driver.Signatures == nil }

func unreadSignatureReason(e *entry) fact.Reason {
	return fact.Reason{Code: ReasonSignature, File: e.Path,
		Text: "code integrity enforces, and the file's signature was not read"}
}

// badSignature returns what is wrong with the best signature; false if there is nothing, or it was not read.
func badSignature(d *Driver) (fact.Reason, bool) {
	if d.PE == nil || d.Signatures == nil {
		return fact.Reason{}, false
	}
	best, ok := authenticode.Best(d.Signatures)
	switch {
	case !ok:
		return fact.Reason{Code: ReasonSignature, Text: "it has no signature, and no catalog lists it"}, true
	case best.Status == fact.SignatureInvalid && best.Barred():
		return fact.Reason{Code: ReasonSignature, Text: "its signature is not allowed: " + best.Reason}, true
	case best.Status == fact.SignatureInvalid:
		return fact.Reason{Code: ReasonSignature, Text: "its signature does not fit: " + best.Reason}, true
	}
	return fact.Reason{}, false
}

// badSignatureAnswer answers for a driver without a signature that fits where code integrity enforces. What is invalid
// by this machine's own stores alone stops nothing: the kernel is not known to ask them.
func (e *entry) badSignatureAnswer() fact.Answer {
	for i := range e.Driver.Signatures {
		switch s := &e.Driver.Signatures[i]; {
		case s.OnlyForeign():
			return fact.Unsure(ReasonPolicy, "code integrity may let pass what lies beside a signature")
		case s.Barred():
			return fact.Unsure(ReasonPolicy, "this machine's store Disallowed does not allow its certificate, "+
				"and the kernel is not known to ask that store")
		}
	}
	if e.truncated {
		return fact.Unsure(ReasonPolicy, "the file ends before what its headers name: whether the whole file has a "+
			"signature that fits is not known")
	}
	if e.catalogsUnread {
		return fact.Unsure(ReasonPolicy, "no signature that was read fits, and not all catalogs were read: "+
			"one that was not may list the file")
	}
	return fact.Stops(fact.Reason{
		Code: ReasonPolicy, Text: "code integrity refuses drivers without a signature that fits"})
}

// setting returns the value of a policy fact; empty if it is unknown.
func (c *checker) setting(name string) string { return valueOf(c.policy, name) }

// anew answers for an administrator who registers the driver anew.
func (c *checker) anew(e *entry, file fact.Answer) fact.Answer {
	switch {
	case file.Blocked() != fact.No, c.policy.Loading == fact.LoadingAny:
		return file
	case c.policy.Loading == "":
		return fact.Unsure(ReasonPolicy, "what code integrity enforces is not known"+c.unreadPolicy())
	case e.unreadSignature():
		return fact.UnsureOf(unreadSignatureReason(e))
	}
	return fact.Unsure(ReasonPolicy, "code integrity enforces, and what its policies allow is not judged here")
}

// unreadPolicy says why it is unknown what code integrity enforces.
func (c *checker) unreadPolicy() string {
	for _, f := range c.policy.Facts {
		switch {
		case f.Name == PolicyCodeIntegrity && f.Code != "":
			return fmt.Sprintf(": %s: %s", f.Source, f.Code)
		case f.Name == PolicyDebugger && f.Value == "" && debuggerMayBe(c.policy):
			return fmt.Sprintf(": whether a kernel debugger is attached could not be read (%s)", f.Code)
		}
	}
	return ": debug mode"
}

// A way is one way into the kernel with the answer to whether it is open.
type way struct {
	name   string
	answer fact.Answer
}

// prospect judges the ways together, and returns the reason of the first way that decides, too. That an administrator
// can register any driver anew makes nothing loadable, as insmod does not on Linux.
func prospect(ways ...way) (*fact.Prospect, fact.Reason) {
	p := &fact.Prospect{Outcome: fact.VerdictBlocked}
	decides := ways[0].answer
	for _, w := range ways {
		if !w.answer.Applies() { // it was not asked
			continue
		}
		p.Ways = append(p.Ways, w.answer.Way(w.name))
		switch blocked := w.answer.Blocked(); {
		case w.name == WayNewService:
		case blocked == fact.No && p.Outcome != fact.VerdictLoadable:
			p.Outcome, decides = fact.VerdictLoadable, w.answer
		case blocked == "" && p.Outcome == fact.VerdictBlocked:
			p.Outcome, decides = fact.VerdictUnknown, w.answer
		}
	}
	if p.Outcome == fact.VerdictUnknown {
		p.Because = decides.Because()
	}
	return p, decides.Because()
}

// loadedReason returns the fact that a driver is in the kernel.
func loadedReason(e *entry) fact.Reason {
	if e.Driver.Image != nil {
		return fact.Reason{Code: ReasonLoaded, Text: "the kernel lists it as " + e.Driver.Image.NTPath}
	}
	for i := range e.Driver.Services {
		switch s := &e.Driver.Services[i]; s.State {
		case "", "stopped":
		default:
			return s.stateReason()
		}
	}
	return fact.Reason{Code: ReasonLoaded, Text: "a list of loaded drivers names it"}
}

// stateReason returns what the service manager calls the service, such as running or paused.
func (s *Service) stateReason() fact.Reason {
	return fact.Reason{Code: ReasonRunning, Text: "the service manager calls service " + s.Name + " " + s.State}
}

func loadedReasons(e *entry) []fact.Reason {
	if e.Driver.Image == nil {
		return nil
	}
	return []fact.Reason{loadedReason(e)}
}

// fileReasons returns what is wrong with the signature, and what makes the file's answer other than open.
func fileReasons(e *entry, file fact.Answer) []fact.Reason {
	var list []fact.Reason
	if bad, ok := badSignature(e.Driver); ok {
		list = append(list, bad)
	}
	switch {
	case file.Blocked() != fact.No, file.Because().Code == ReasonBlockList,
		file.Because().Code == ReasonSignature && e.unreadSignature():
		list = append(list, file.Because())
	}
	return list
}

func (c *checker) serviceReasons(e *entry, file fact.Answer) []fact.Reason {
	if e.Driver.Services == nil {
		return nil
	}
	var list []fact.Reason
	switch answer := c.unregistered(e, file); {
	case answer.Blocked() != fact.Yes:
		list = append(list, answer.Because())
	case len(e.Driver.Services) == 0:
		list = append(list, fact.Reason{Code: ReasonNoService, Text: "no service names it"})
	}
	for i := range e.Driver.Services {
		s := &e.Driver.Services[i]
		if r := s.startReason(); r != (fact.Reason{}) {
			list = append(list, r)
		}
		if s.State == stateRunning {
			list = append(list, s.stateReason())
		}
	}
	return list
}

// readReasons says whether the file was read.
func readReasons(e *entry) []fact.Reason {
	switch {
	case e.Driver.PE != nil:
		return []fact.Reason{{Code: ReasonOnDisk, Text: "its file is on disk", File: e.Path}}
	case e.Path != "" && !e.fileAbsent():
		return []fact.Reason{{Code: ReasonUnread, Text: "its file could not be read", File: e.Path}}
	}
	return nil
}

// disabling returns what stops the services that start the driver. A file system that a recognizer loads all the same
// is not stopped so.
func (c *checker) disabling(e *entry) []fact.Remedy {
	var list []fact.Remedy
	for _, s := range e.Driver.Services {
		if r, _ := c.recognizerOf(&s); r != nil {
			continue
		}
		switch s.Start {
		case "demand", "boot", "system", "auto":
			list = append(list, fact.Remedy{
				Text: "sc config " + s.Name + " start= disabled", NotAgainst: []string{WayNewService}})
		}
	}
	return list
}
