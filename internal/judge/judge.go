// SPDX-License-Identifier: Apache-2.0

// Package judge makes the verdicts of systems that have one way in: root loads a module by its name.
package judge

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// Way is the one way (modload, modprobe, loadext).
const Way = "modload"

// Codes of reasons that every such system has.
const (
	ReasonLoaded    = "loaded"    // the kernel lists the module
	ReasonBuiltin   = "builtin"   // it is compiled into the kernel
	ReasonNoFile    = "no_file"   // nothing has that name
	ReasonInstalled = "installed" // the module's file is on disk
	ReasonUnread    = "unread"    // a list that could name the module was not read whole
)

// A Case is what a verdict is made of. Own is the kernel's own object.
type Case[Own any] struct {
	// Query is what was asked, as the caller wrote it.
	Query string
	// Load says whether root may load a module that is not in the kernel.
	Load fact.Answer
	// Meant are the modules that the query means, if the name alone does not decide that.
	Meant []fact.Record[Own]
	// Image is set if no kernel runs: there is nothing to say of now.
	Image bool
	// Boot answers, for an image, by which ways a module that is on disk gets into the kernel, what asks for it, and
	// what could put it in although the ways are shut. The first way that is open decides.
	Boot func(m *fact.Record[Own]) (ways []Entrance, triggers, bypasses []fact.Reason)

	modules  []fact.Record[Own]
	unread   []fact.Problem
	listed   bool           // a list was added: the first is the kernel's own, of a running machine
	unlisted []fact.Problem // why that one is not whole
}

// An Entrance is one way into the kernel with the answer to whether it is open.
type Entrance struct {
	// Name is the way's name.
	Name string
	// Answer says whether it is open.
	Answer fact.Answer
}

// Add adds a list of modules, those in the kernel first, and what it lacks: err if there is no list, else what the
// report has of its source, which is empty for a list without one.
func (c *Case[Own]) Add(source string, modules []fact.Record[Own], err error, r *fact.Report) {
	c.modules = append(c.modules, modules...)
	switch {
	case err != nil:
		c.Lose(source, err)
	case source != "" && !r.Whole(source):
		p, ok := r.First(source)
		if !ok {
			p = fact.Problem{Source: source, Code: fact.CodeOther, Text: "not read whole"}
		}
		c.unread = append(c.unread, p)
	}
	if !c.listed {
		c.listed, c.unlisted = true, c.unread
	}
}

// Lose adds why a source was not read; nothing for nil. The source is empty for what has none.
func (c *Case[Own]) Lose(source string, err error) {
	if err != nil {
		c.unread = append(c.unread, fact.ProblemOf(source, "", "", err))
	}
}

// Lost returns why not everything is known that could name a module, or be one; ok is false if every list is whole.
func (c *Case[Own]) Lost() (p fact.Problem, ok bool) {
	if len(c.unread) == 0 {
		return p, false
	}
	return c.unread[0], true
}

// Verdicts answers for each module that the query names, and once if it names none.
func (c *Case[Own]) Verdicts() []fact.Verdict {
	var out []fact.Verdict
	seen := map[string]bool{}
	meant := c.Meant
	if meant == nil {
		meant = Named(c.modules, c.Query)
	}
	for _, m := range meant {
		switch {
		case !seen[m.ID]:
			seen[m.ID] = true
			out = append(out, c.verdict(&m))
		case c.Image && m.State != fact.StateBuiltin: // a second file of the name
			if v := c.verdict(&m); !slices.ContainsFunc(out, func(o fact.Verdict) bool { return sameBoot(&o, &v) }) {
				out = append(out, v)
			}
		}
	}
	if out == nil {
		out = append(out, c.nothing())
	}
	for i := range out {
		out[i].Problems = append(out[i].Problems, c.unread...)
	}
	return out
}

// sameBoot reports whether a verdict on another file of the name says the same as the first, or whether the kernel has
// the module compiled in, so that it loads no file.
func sameBoot(first, v *fact.Verdict) bool {
	if first.Module != v.Module {
		return false
	}
	a, b := first.NextBoot, v.NextBoot
	return a.Outcome == fact.VerdictBuiltin || a.Outcome == b.Outcome && slices.EqualFunc(a.Ways, b.Ways,
		func(a, b fact.Way) bool { return a.Way == b.Way && a.Blocked == b.Blocked })
}

// unreadReason returns the reason of an answer that needs every list.
func (c *Case[Own]) unreadReason() fact.Reason {
	return fact.Reason{Code: ReasonUnread, Text: c.unread[0].Error()}
}

// nothing is the verdict on a name that no list has: absent if every list was read whole, else unknown.
func (c *Case[Own]) nothing() fact.Verdict {
	p := fact.Prospect{Outcome: fact.VerdictAbsent}
	because := fact.Reason{Code: ReasonNoFile, Text: "no module has that name"}
	if len(c.unread) > 0 {
		because = c.unreadReason()
		p = fact.Prospect{Outcome: fact.VerdictUnknown, Because: because}
	}
	now, next := p, p
	v := fact.Verdict{Query: c.Query, Now: &now, NextBoot: &next}
	if c.Image {
		v.Now = nil
	}
	v.Lead(because)
	return v
}

func (c *Case[Own]) verdict(m *fact.Record[Own]) fact.Verdict {
	v := fact.Verdict{Query: c.Query, Module: m.ID}
	if c.Image {
		c.imageVerdict(&v, m)
		return v
	}
	var now, next fact.Reason
	switch m.State {
	case fact.StateLoaded:
		v.Now, v.Word = &fact.Prospect{Outcome: fact.VerdictLoaded}, "loaded"
		now = fact.Reason{Code: ReasonLoaded, Text: "the kernel lists it"}
	case fact.StateBuiltin:
		v.Now, v.Word = &fact.Prospect{Outcome: fact.VerdictBuiltin}, "builtin"
		now = fact.Reason{Code: ReasonBuiltin, Text: "it is compiled into the kernel"}
	default:
		v.Now = &fact.Prospect{Outcome: outcomeOf(c.Load), Ways: []fact.Way{c.Load.Way(Way)}}
		v.Now.Because = v.Now.Ways[0].Because
		now = c.Load.Because()
		if v.Now.Outcome == fact.VerdictBlocked && len(c.unlisted) > 0 { // the kernel may have it already
			now = fact.Reason{Code: ReasonUnread, Text: "it may be in the kernel: " + c.unlisted[0].Error()}
			v.Now.Outcome, v.Now.Because = fact.VerdictUnknown, now
		}
	}
	if m.Path != "" && m.State != fact.StateBuiltin {
		v.Lead(installed(m.Path))
	}
	v.NextBoot, next = c.nextBoot(m, now)
	v.LeadBy(now, next)
	return v
}

// imageVerdict fills the verdict on a module of an image. Where not everything was read, no module is blocked: the
// kernel may have it compiled in, another file may have its name, or something else may load it.
func (c *Case[Own]) imageVerdict(v *fact.Verdict, m *fact.Record[Own]) {
	if m.State == fact.StateBuiltin {
		v.NextBoot, v.Word = &fact.Prospect{Outcome: fact.VerdictBuiltin}, "builtin"
		v.Lead(fact.Reason{Code: ReasonBuiltin, Text: "it is compiled into the kernel"})
		return
	}
	v.Lead(installed(m.Path))
	ways, triggers, bypasses := c.Boot(m)
	v.Triggers, v.Bypasses = triggers, bypasses
	v.NextBoot = &fact.Prospect{Outcome: fact.VerdictBlocked}
	decides := ways[0].Answer
	for _, w := range ways {
		v.NextBoot.Ways = append(v.NextBoot.Ways, w.Answer.Way(w.Name))
		switch blocked := w.Answer.Blocked(); {
		case blocked == fact.No && v.NextBoot.Outcome != fact.VerdictLoadable:
			v.NextBoot.Outcome, decides = fact.VerdictLoadable, w.Answer
		case blocked == "" && v.NextBoot.Outcome == fact.VerdictBlocked:
			v.NextBoot.Outcome, decides = fact.VerdictUnknown, w.Answer
		}
	}
	because := decides.Because()
	if v.NextBoot.Outcome == fact.VerdictBlocked && len(c.unread) > 0 {
		v.NextBoot.Outcome, because = fact.VerdictUnknown, c.unreadReason()
	}
	if v.NextBoot.Outcome == fact.VerdictUnknown {
		v.NextBoot.Because = because
	}
	v.LeadBy(fact.Reason{}, because)
}

// installed returns the fact that the module's file is on disk.
func installed(path string) fact.Reason {
	return fact.Reason{Code: ReasonInstalled, Text: "its file is on disk", File: path}
}

// nextBoot returns the answer for the next boot, and the reason that decides. now is that of the running kernel.
func (c *Case[Own]) nextBoot(m *fact.Record[Own], now fact.Reason) (*fact.Prospect, fact.Reason) {
	switch {
	case m.State == fact.StateBuiltin:
		return &fact.Prospect{Outcome: fact.VerdictBuiltin}, now
	case m.Path != "":
		return &fact.Prospect{Outcome: fact.VerdictLoadable}, installed(m.Path)
	}
	because := fact.Reason{Code: ReasonUnread, Text: "which file it comes from is unknown"}
	switch {
	case m.State != fact.StateLoaded && c.Load.Blocked() == "":
		because = c.Load.Because() // the file, which is not read, is what makes it unknown, too
	case len(c.unread) > 0:
		because = c.unreadReason()
	}
	return &fact.Prospect{Outcome: fact.VerdictUnknown, Because: because}, because
}

func outcomeOf(load fact.Answer) fact.VerdictOutcome {
	switch load.Blocked() {
	case fact.Yes:
		return fact.VerdictBlocked
	case fact.No:
		return fact.VerdictLoadable
	}
	return fact.VerdictUnknown
}

// Named returns the modules with that id, else those with that name or path. Several files may have one id.
func Named[Own any](modules []fact.Record[Own], query string) []fact.Record[Own] {
	var out, exact []fact.Record[Own]
	for _, m := range modules {
		if m.ID == query {
			exact = append(exact, m)
		}
		if m.Name == query || m.Path != "" && m.Path == query {
			out = append(out, m)
		}
	}
	if exact != nil {
		return exact
	}
	return out
}
