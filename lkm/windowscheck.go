// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	known := inv.Registered != nil && (b.image || inv.Statuses != nil)
	c.problems = r.problems
	var found []windows.Entry
	for _, e := range entries {
		if windowsNamed(&e, inv.Paths, query) {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return []Verdict{c.nothing(known)}, nil
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
// .sys, path, or a service of it. Case does not count.
func windowsNamed(e *windows.Entry, p windows.Paths, query string) bool {
	q := strings.ToLower(strings.TrimPrefix(query, string(KindWindowsDriver)+":"))
	dos := strings.ReplaceAll(q, "/", `\`)
	if q == e.Key || q == strings.ToLower(e.Name) || q+".sys" == strings.ToLower(e.Name) || dos == strings.ToLower(e.Path) || p.Key(dos) == e.Key {
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
	backend  *windowsBackend
	query    string
	release  string
	policy   *Policy
	problems []Problem
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

// Codes of reasons.
const (
	reasonLoaded     = "loaded"
	reasonRunning    = "service_running"
	reasonRegistered = "registered"
	reasonDisabled   = "service_disabled"
	reasonNoService  = "no_service"
	reasonOnDisk     = "on_disk"
	reasonNoFile     = "no_file"
	reasonSignature  = "signature"
	reasonPolicy     = "code_integrity"
)

func (c *windowsCheck) verdict(e *windows.Entry) Verdict {
	v := Verdict{
		Query: c.query, Release: c.release, Module: string(KindWindowsDriver) + ":" + e.Key,
		Problems: append(append([]Problem(nil), c.problems...), e.Problems...),
	}
	say := func(code, format string, args ...any) {
		v.Reasons = append(v.Reasons, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	if e.Driver.Image != nil {
		say(reasonLoaded, "the kernel lists it as %s", e.Driver.Image.NTPath)
	}
	refused := c.refused(e, say)
	boot, service := c.services(e, &v, say, refused)
	switch {
	case e.Driver.PE != nil:
		v.Reasons = append(v.Reasons, Reason{Code: reasonOnDisk, Text: "its file is on disk", File: e.Path})
	case e.Path != "":
		v.Reasons = append(v.Reasons, Reason{Code: reasonNoFile, Text: "its file could not be read", File: e.Path})
	}
	anew := Way{Way: windows.WayNewService, Blocked: refused}
	if refused == "" && c.policy.Loading == LoadingAny {
		anew.Blocked = No
	}
	v.NextBoot = prospect(boot, service, anew)
	if c.backend.image {
		return v
	}
	v.Now = prospect(service, anew)
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

// refused says whether code integrity is known to refuse the file: it enforces, and the file has
// no signature, or one that does not fit.
func (c *windowsCheck) refused(e *windows.Entry, say func(string, string, ...any)) Tri {
	if e.Driver.PE == nil || e.Driver.Signatures == nil {
		return ""
	}
	best, ok := windows.BestSignature(e.Driver.Signatures)
	switch {
	case !ok:
		say(reasonSignature, "it has no signature, and no catalog lists it")
	case best.Status == SignatureInvalid:
		say(reasonSignature, "its signature does not fit: %s", best.Reason)
	default:
		return ""
	}
	if c.policy.Loading != LoadingSigned {
		return ""
	}
	say(reasonPolicy, "code integrity refuses drivers without a signature that fits")
	return Yes
}

// services says which of the services' ways are open: at boot, and on demand.
func (c *windowsCheck) services(e *windows.Entry, v *Verdict, say func(string, string, ...any), refused Tri) (boot, service Way) {
	boot, service = Way{Way: windows.WayBoot, Blocked: Yes}, Way{Way: windows.WayService, Blocked: Yes}
	if e.Driver.Services == nil {
		boot.Blocked, service.Blocked = "", ""
		return boot, service
	}
	if len(e.Driver.Services) == 0 {
		say(reasonNoService, "no service names it")
	}
	open := No
	if refused == Yes {
		open = Yes
	}
	for _, s := range e.Driver.Services {
		switch s.Start {
		case "boot", "system", "auto":
			boot.Blocked, service.Blocked = open, open
			say(reasonRegistered, "service %s starts at %s", s.Name, s.Start)
		case "demand":
			service.Blocked = open
			say(reasonRegistered, "service %s starts on demand", s.Name)
		case "disabled":
			say(reasonDisabled, "service %s is disabled", s.Name)
			v.Word = "disabled"
		default:
			if service.Blocked == Yes && refused != Yes {
				boot.Blocked, service.Blocked = "", ""
			}
		}
		if s.State == "running" {
			say(reasonRunning, "the service manager calls service %s running", s.Name)
		}
	}
	if open == No {
		for _, s := range e.Driver.Services {
			if s.Start == "demand" || s.Start == "boot" || s.Start == "system" || s.Start == "auto" {
				v.Remedies = append(v.Remedies, Remedy{Text: "sc config " + s.Name + " start= disabled", NotAgainst: []string{windows.WayNewService}})
			}
		}
	}
	return boot, service
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
