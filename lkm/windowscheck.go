// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/windows"
)

// check answers for each image that a name, a service, an id or a path means.
func (b *windowsBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	var r report
	inv, err := b.inventory(ctx, &r, !b.image)
	if err != nil {
		return nil, err
	}
	policy, err := b.policy(ctx, &report{})
	if err != nil {
		return nil, err
	}
	c := &windowsCheck{backend: b, query: query, policy: policy, release: b.release(ctx)}
	entries := b.addFiles(inv.Join(), inv, &r)
	var found []windows.Entry
	for _, e := range entries {
		if windowsNamed(&e, inv.Paths, query) {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		e, err := b.anyFile(inv, query, entries)
		switch {
		case err == nil:
			found = append(found, e)
		case !errors.Is(err, fs.ErrNotExist):
			r.problem(windows.SourceFile, query, "file", err)
		}
	}
	c.problems = r.Problems
	c.inventory, c.registry = inv, r.whole(windows.SourceRegistry)
	if policy.Loading == "" && !b.image {
		c.problems = append(c.problems, incompletePolicy(policy)...)
	}
	if len(found) == 0 {
		c.problems = append([]Problem{nearest(query, entries)}, c.problems...)
		return []Verdict{c.nothing(r.wholeList(b.image))}, nil
	}
	now, _ := b.clock(ctx)
	if b.image {
		now = time.Now()
	}
	verifier := b.checkVerifier(ctx, now)
	verdicts := make([]Verdict, 0, len(found))
	for i := range found {
		b.readDriver(&found[i], inv.Paths, windows.FileOptions{Verifier: verifier})
		verdicts = append(verdicts, c.verdict(&found[i]))
	}
	return verdicts, nil
}

// nearest is the Problem of a query that nothing is known of, with the names that are like it.
func nearest(query string, entries []windows.Entry) Problem {
	names := make([]string, 0, 2*len(entries))
	for _, e := range entries {
		names = append(names, strings.ToLower(e.Name))
		for _, s := range e.Driver.Services {
			names = append(names, strings.ToLower(s.Name))
		}
	}
	text := "no such driver or service"
	if like := near.Names(strings.ToLower(query), names); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, ", ") + "?"
	}
	return Problem{Source: windows.SourceRegistry, Subject: escape.UTF8(query), Field: "module", Code: CodeAbsent, Text: text}
}

// wholeList reports whether all that a name could mean was seen: a name that is not there is absent
// only then.
func (r *report) wholeList(image bool) bool {
	needed := []string{windows.SourceRegistry, sourceFolders}
	if !image {
		needed = append(needed, windows.SourceModules, windows.SourceServices)
	}
	for _, name := range needed {
		if !r.whole(name) {
			return false
		}
	}
	return true
}

// whole reports whether a source was read to its end.
func (r *report) whole(source string) bool {
	return slices.ContainsFunc(r.Sources, func(s Source) bool { return s.Name == source && s.Outcome == OutcomeOK })
}

// anyFile makes an entry of a file that stands where no driver is looked for, when the query is the
// path of one. The error is fs.ErrNotExist for a query that is none, or names no file.
func (b *windowsBackend) anyFile(inv *windows.Inventory, query string, others []windows.Entry) (windows.Entry, error) {
	if !strings.ContainsAny(query, `\/`) || strings.HasPrefix(query, string(KindWindowsDriver)+":") {
		return windows.Entry{}, fs.ErrNotExist
	}
	dos := windowsPath(query)
	name, err := inv.Paths.File(dos)
	if err != nil {
		return windows.Entry{}, err
	}
	info, err := b.guard.Stat(name)
	if err != nil {
		return windows.Entry{}, err
	}
	if info.IsDir() {
		return windows.Entry{}, fs.ErrNotExist
	}
	key := inv.Paths.Key(dos)
	if slices.ContainsFunc(others, func(e windows.Entry) bool { return e.Key == key }) {
		key = inv.Paths.FullKey(dos)
	}
	return windows.Entry{Key: key, Name: dos[strings.LastIndexByte(dos, '\\')+1:], Path: dos, Driver: unnamed(inv)}, nil
}

// checkVerifier looks for signatures whatever the details: a verdict needs them.
func (b *windowsBackend) checkVerifier(ctx context.Context, now time.Time) *windows.Verifier {
	paths, _ := b.pathsOf(ctx)
	with := &windowsBackend{unsupported: b.unsupported, guard: b.guard, options: b.signing(), image: b.image, paths: &paths}
	return with.verifier(ctx, now, &report{})
}

func (b *windowsBackend) signing() Options {
	o := b.options
	o.Detail |= DetailSignatures
	return o
}

func (b *windowsBackend) release(ctx context.Context) string {
	var s Snapshot
	s.Live = TriOf(!b.image)
	b.header(ctx, &s, &report{})
	return s.Release
}

// windowsNamed reports whether a query means the image: its id, key, file name with or without
// .sys, path, or a service of it. Case does not count. A path means the file that stands there, and
// none of the same name elsewhere.
func windowsNamed(e *windows.Entry, p windows.Paths, query string) bool {
	q := strings.ToLower(strings.TrimPrefix(query, string(KindWindowsDriver)+":"))
	if q == e.Key {
		return true
	}
	if strings.ContainsAny(q, `\/`) {
		full := p.FullKey(windowsPath(q))
		return full == p.FullKey(e.Path) || full == p.FullKey(e.OwnPath())
	}
	if q == strings.ToLower(e.Name) || q+".sys" == strings.ToLower(e.Name) {
		return true
	}
	for _, s := range e.Driver.Services {
		if strings.ToLower(s.Name) == q {
			return true
		}
	}
	return false
}

// A windowsCheck makes the verdicts of one query.
type windowsCheck struct {
	backend   *windowsBackend
	query     string
	release   string
	policy    *Policy
	inventory *windows.Inventory
	registry  bool // it was read whole
	problems  []Problem
}

func (c *windowsCheck) nothing(known bool) Verdict {
	outcome := VerdictAbsent
	if !known {
		outcome = VerdictUnknown
	}
	v := Verdict{Query: c.query, Release: c.release, NextBoot: &Prospect{Outcome: outcome}, Problems: c.problems}
	if !c.backend.image {
		v.Now = &Prospect{Outcome: outcome}
	}
	return v
}

func (c *windowsCheck) verdict(e *windows.Entry) Verdict {
	v := Verdict{
		Query: c.query, Release: c.release, Module: string(KindWindowsDriver) + ":" + e.Key,
		Problems: append(append([]Problem(nil), c.problems...), e.Problems...),
	}
	say := func(code, format string, args ...any) {
		v.Reasons = append(v.Reasons, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	if e.Driver.Image != nil {
		say(windows.ReasonLoaded, "the kernel lists it as %s", e.Driver.Image.NTPath)
	}
	open := c.open(e, say)
	boot, service := c.services(e, &v, say, open)
	switch {
	case e.Driver.PE != nil:
		v.Reasons = append(v.Reasons, Reason{Code: windows.ReasonOnDisk, Text: "its file is on disk", File: e.Path})
	case e.Path != "" && !e.FileAbsent():
		v.Reasons = append(v.Reasons, Reason{Code: windows.ReasonUnread, Text: "its file could not be read", File: e.Path})
	}
	anew := Way{Way: windows.WayNewService}
	if open == No && c.policy.Loading == LoadingAny || open == Yes {
		anew.Blocked = open
	}
	v.Now, v.NextBoot = prospect(service, anew), prospect(boot, service, anew)
	if e.FileAbsent() {
		v.Now.Outcome, v.NextBoot.Outcome = VerdictAbsent, VerdictAbsent
	}
	if c.backend.image {
		v.Now = nil
		return v
	}
	if e.Loaded {
		v.Now.Outcome, v.Word = VerdictLoaded, windowsWord(e)
	}
	return v
}

func windowsWord(e *windows.Entry) string {
	for _, s := range e.Driver.Services {
		if s.State != "" {
			return s.State
		}
	}
	return "loaded"
}

// open says whether a way to load the file is blocked for all that is known of the file itself: yes
// when there is none, or code integrity enforces and no signature fits; unknown when the kernel may
// refuse it by what is not known here; else no.
func (c *windowsCheck) open(e *windows.Entry, say func(string, string, ...any)) Tri {
	if e.FileAbsent() {
		say(windows.ReasonNoFile, "there is no file %s", e.Path)
		return Yes
	}
	if e.Driver.PE == nil || e.Driver.Signatures == nil {
		return No
	}
	enforced := c.policy.Loading == LoadingSigned
	best, ok := windows.BestSignature(e.Driver.Signatures)
	if !ok || best.Status == SignatureInvalid {
		if ok {
			say(windows.ReasonSignature, "its signature does not fit: %s", best.Reason)
		} else {
			say(windows.ReasonSignature, "it has no signature, and no catalog lists it")
		}
		switch {
		case enforced && slices.ContainsFunc(e.Driver.Signatures, func(s windows.Signature) bool { return s.OnlyForeign() }):
			say(windows.ReasonPolicy, "code integrity may let pass what lies beside a signature")
			return ""
		case enforced:
			say(windows.ReasonPolicy, "code integrity refuses drivers without a signature that fits")
			return Yes
		}
		return No
	}
	switch {
	case enforced && best.Class == ClassSelfSigned:
		say(windows.ReasonPolicy, "it is self-signed: code integrity refuses it unless a policy of this machine allows its signer")
		return ""
	case enforced && best.Class == ClassCrossSigned && c.fact(windows.PolicyWHQL) == "yes":
		say(windows.ReasonPolicy, "it is cross-signed: code integrity refuses it unless Windows or a policy of this machine lists it")
		return ""
	}
	return No
}

// fact returns the value of a policy fact; empty when it is not known.
func (c *windowsCheck) fact(name string) string {
	for _, f := range c.policy.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// services says which of the services' ways are open: at boot, and on demand.
func (c *windowsCheck) services(e *windows.Entry, v *Verdict, say func(string, string, ...any), open Tri) (boot, service Way) {
	closed := Yes
	if open != Yes && !c.allServices(e) {
		closed = ""
	}
	boot, service = Way{Way: windows.WayBoot, Blocked: closed}, Way{Way: windows.WayService, Blocked: closed}
	switch {
	case e.Driver.Services == nil:
		return boot, service
	case len(e.Driver.Services) == 0 && closed == Yes:
		say(windows.ReasonNoService, "no service names it")
	case closed != Yes:
		say(windows.ReasonNoService, "a service that could not be read, or whose path leads nowhere, may name it")
	}
	for _, s := range e.Driver.Services {
		switch s.Start {
		case "boot", "system", "auto":
			boot.Blocked, service.Blocked = open, open
			say(windows.ReasonRegistered, "service %s starts at %s", s.Name, s.Start)
		case "demand":
			service.Blocked = open
			say(windows.ReasonRegistered, "service %s starts on demand", s.Name)
		case "disabled":
			say(windows.ReasonDisabled, "service %s is disabled", s.Name)
			v.Word = "disabled"
		default:
			boot.Blocked, service.Blocked = doubted(boot.Blocked, open), doubted(service.Blocked, open)
		}
		if s.State == "running" {
			say(windows.ReasonRunning, "the service manager calls service %s running", s.Name)
		}
	}
	if open != Yes {
		for _, s := range e.Driver.Services {
			if s.Start == "demand" || s.Start == "boot" || s.Start == "system" || s.Start == "auto" {
				v.Remedies = append(v.Remedies, Remedy{Text: "sc config " + s.Name + " start= disabled", NotAgainst: []string{windows.WayNewService}})
			}
		}
	}
	return boot, service
}

// doubted is what a way is that a service of unknown start may open. One that is open stays so, and
// one to a file that cannot be loaded at all stays blocked.
func doubted(blocked, open Tri) Tri {
	if blocked == Yes && open != Yes {
		return ""
	}
	return blocked
}

// allServices reports whether the services that name the file are all of them.
func (c *windowsCheck) allServices(e *windows.Entry) bool {
	if e.Driver.Services == nil || !c.registry {
		return false
	}
	for i := range c.inventory.Registered {
		if c.inventory.Registered[i].MayName(c.inventory.Paths, e.Name) {
			return false
		}
	}
	return true
}

// prospect judges the ways together. That an administrator can register any driver anew makes
// nothing loadable, as insmod does not on Linux.
func prospect(ways ...Way) *Prospect {
	p := &Prospect{Outcome: VerdictBlocked, Ways: ways}
	for _, w := range ways {
		if w.Way == windows.WayNewService {
			continue
		}
		switch {
		case w.Blocked == No:
			p.Outcome = VerdictLoadable
			return p
		case w.Blocked == "":
			p.Outcome = VerdictUnknown
		}
	}
	return p
}
