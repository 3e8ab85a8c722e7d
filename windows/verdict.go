// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/registry"
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

// sessionManagerKey has what the session manager does at boot, before services start.
const sessionManagerKey = `SYSTEM\CurrentControlSet\Control\Session Manager`

// replacedAtBoot answers for a file whose place another one may take at the next boot: what MoveFileEx puts off until
// then. It does not apply if none does.
func (c *checker) replacedAtBoot(e *entry) fact.Answer {
	because := func(text string) fact.Answer {
		return fact.UnsureOf(fact.Reason{Code: ReasonPending, File: `HKLM\` + sessionManagerKey, Text: text})
	}
	key, err := c.kernel.registry(c.ctx, sessionManagerKey)
	switch {
	case errors.Is(err, errNotThere), fact.Lacks(err):
		return fact.Answer{}
	case err != nil:
		return because("whether another file takes its place at the next boot is not known: " + err.Error())
	}
	path := c.inventory.Paths.fullKey(e.Path)
	for _, name := range []string{"PendingFileRenameOperations", "PendingFileRenameOperations2"} {
		v, ok := key.Value(name)
		if ok && v.Type != registry.TypeMulti {
			return because(name + " is no list")
		}
		list := strings.Split(utf16text.Decode(v.Data), "\x00")
		for i := 1; i < len(list); i += 2 { // after each file its new place, which is empty for one that is deleted
			dos, err := c.inventory.Paths.dos(strings.TrimLeft(list[i], "!*0123456789"))
			if err == nil && c.inventory.Paths.fullKey(dos) == path {
				return because("another file takes its place at the next boot: " + list[i-1])
			}
		}
	}
	return fact.Answer{}
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

// services answers for the ways of the services that name the file: at boot, and on demand.
func (c *checker) services(e *entry, file fact.Answer) (boot, demand fact.Answer) {
	boot = c.unregistered(e, file)
	demand = boot
	for _, s := range e.Driver.Services {
		switch s.Start {
		case "boot", "system", "auto":
			if s.registered() && s.oddType() {
				boot, demand = unknownStart(&s, boot, file), unknownStart(&s, demand, file)
				continue
			}
			boot, demand = s.starts(boot, file), s.starts(demand, file)
		case "demand":
			demand = s.starts(demand, file)
		case "disabled":
			boot = overridden(&s, boot, file)
			demand = c.recognized(&s, demand, file)
		default:
			boot, demand = unknownStart(&s, boot, file), unknownStart(&s, demand, file)
		}
	}
	if boot.Blocked() == fact.Yes && file.Blocked() != fact.Yes {
		if own := c.itself(e); own.Applies() {
			boot = own
		}
	}
	return boot, demand
}

// starts answers for a way that the service opens, if the file may be loaded; another service may have opened it.
func (s *Service) starts(way, file fact.Answer) fact.Answer {
	if file.Blocked() != fact.No {
		return file
	}
	if way.Blocked() == fact.No {
		return way
	}
	return fact.Passes(s.startReason())
}

// startReason returns the fact that the service starts its driver, or that it is disabled; the zero Reason if its start
// type is unknown.
func (s *Service) startReason() fact.Reason {
	switch s.Start {
	case "boot", "system", "auto":
		return fact.Reason{Code: ReasonRegistered, Text: "service " + s.Name + " starts at " + s.Start}
	case "demand":
		return fact.Reason{Code: ReasonRegistered, Text: "service " + s.Name + " starts on demand"}
	case "disabled":
		return fact.Reason{Code: ReasonDisabled, Text: "service " + s.Name + " is disabled"}
	}
	return fact.Reason{}
}

// unregistered answers for the ways of services as far as no service is seen to open them: they are closed if all
// services were seen, or nothing can load the file anyway.
func (c *checker) unregistered(e *entry, file fact.Answer) fact.Answer {
	if file.Blocked() == fact.Yes {
		return file
	}
	if unseen, ok := c.unseenService(e); ok {
		return fact.UnsureOf(unseen)
	}
	for i := range e.Driver.Services {
		if s := &e.Driver.Services[i]; s.Start == "disabled" {
			return fact.Stops(s.startReason())
		}
	}
	return fact.Stops(fact.Reason{Code: ReasonNoService, Text: "no service names it"})
}

// unseenService names what may hold a service that names the file and was not read; false if all services were seen.
func (c *checker) unseenService(e *entry) (fact.Reason, bool) {
	switch {
	case e.Driver.Services == nil:
		return fact.Reason{Code: ReasonNoService, File: servicesKey,
			Text: "the registry of services could not be read: which of them name the file is unknown"}, true
	case !c.registry:
		return fact.Reason{Code: ReasonNoService, File: servicesKey,
			Text: "the registry of services was not read whole: a service that was not read may name the file"}, true
	}
	for i := range c.inventory.Registered {
		s := &c.inventory.Registered[i]
		if s.mayName(c.inventory.Paths, e.Name) {
			return fact.Reason{Code: ReasonNoService, File: servicesKey + `\` + s.Name,
				Text: "service " + s.Name + ", whose image path leads nowhere or is not known, may name the file"}, true
		}
	}
	return fact.Reason{}, false
}

// unknownStart answers for a way that a service of unknown start type may open. A way that is open stays so, and one
// to a file that cannot be loaded at all stays closed.
func unknownStart(s *Service, way, file fact.Answer) fact.Answer {
	if way.Blocked() != fact.Yes || file.Blocked() == fact.Yes {
		return way
	}
	text := "the start type of service " + s.Name + " is not known"
	if s.Start == "boot" || s.Start == "system" {
		text = "service " + s.Name + " starts at " + s.Start + ", and its type is not a driver's"
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + s.Name, Text: text})
}

// overridden answers for the boot with a service that is disabled and has another start type below its key
// StartOverride, which the boot loader asks.
func overridden(s *Service, boot, file fact.Answer) fact.Answer {
	if s.override == "" || s.override == s.Start || boot.Blocked() != fact.Yes || file.Blocked() == fact.Yes {
		return boot
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + s.Name + `\StartOverride`,
		Text: "service " + s.Name + " is disabled, and StartOverride says " + s.override})
}

// recognizedServices are the services of file systems that Fs_Rec loads for a volume that has one. "File system
// drivers are the one exception to the Start value. They are loaded even if they have a start value of 4" ("Start
// Values", Windows NT 4.0 Workstation Resource Kit); cdfs and udfs are disabled in each Windows since.
var recognizedServices = [...]string{"cdfs", "exfat", "fastfat", "ntfs", "refs", "refsv1", "udfs"}

// recognizerOf returns the service of the recognizer that loads a service's file system whatever its start type is:
// Fs_Rec, or any other one for a file system that Fs_Rec does not know; nil without one. known is set if it is known
// to load this one.
func (c *checker) recognizerOf(s *Service) (recognizer *registeredService, known bool) {
	if s.Type != "file_system_driver" || len(s.Instances) > 0 || s.DefaultInstance != "" { // a filter is not one
		return nil, false
	}
	known = slices.Contains(recognizedServices[:], fold(s.Name))
	for i := range c.inventory.Registered {
		r := &c.inventory.Registered[i]
		if r.Type != "recognizer_driver" && !r.Refused || r.Start == "disabled" {
			continue
		}
		if isFsRec := strings.EqualFold(r.Name, "fs_rec"); isFsRec == known {
			return r, known && !r.Refused
		}
	}
	return nil, false
}

// recognized answers for the way of a disabled service whose file system a recognizer may load.
func (c *checker) recognized(s *Service, demand, file fact.Answer) fact.Answer {
	r, known := c.recognizerOf(s)
	if r == nil || demand.Blocked() == fact.No || file.Blocked() == fact.Yes {
		return demand
	}
	because := fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + r.Name, Text: "service " + s.Name +
		" is disabled, and " + r.Name + " loads file systems for volumes that have them, disabled ones, too"}
	switch {
	case !known && demand.Blocked() == "":
		return demand
	case !known:
		return fact.UnsureOf(because)
	case file.Blocked() != fact.No:
		return file
	}
	return fact.Passes(because)
}

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
