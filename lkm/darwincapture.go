// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/darwin"
)

// The kinds of macOS captures.
const (
	CaptureKextstat            CaptureKind = "kextstat"            // kextstat, or kmutil showloaded
	CaptureMacOSPanic          CaptureKind = "macos_panic"         // the loaded kexts of a panic report
	CaptureSystemProfiler      CaptureKind = "system_profiler"     // system_profiler SPExtensionsDataType, text, XML or JSON
	CaptureSystemExtensionsCtl CaptureKind = "systemextensionsctl" // systemextensionsctl list
	CaptureKextutil            CaptureKind = "kextutil"            // "Loaded kext info" of kextutil -v 6
	CaptureKextPolicy          CaptureKind = "kextpolicy"          // rows that sqlite3 printed of KextPolicy's kext_policy
	CaptureBundleIDs           CaptureKind = "bundle_ids"          // bundle ids, one a line
)

// darwinCapture makes a Snapshot of rows that name loaded kexts.
func darwinCapture(c *darwin.Capture, source string) captured {
	s := &Snapshot{OS: Darwin, Modules: darwinModules(c.Kexts, source)}
	for i := range c.Kexts {
		s.Modules[i].Address = c.Kexts[i].Address
	}
	finishDarwin(s.Modules, source)
	var r report
	outcome := OutcomeOK
	if c.Stray > 0 {
		outcome = OutcomePartial
		strayProblem(&r, source, c.Bad, c.Stray)
	}
	if c.Truncated {
		outcome = OutcomePartial
		r.problem(source, "", "modules", &ParseError{Source: source, Reason: "the text ends early: its last row may be cut, and more may be missing"})
	}
	if c.Filtered {
		outcome = OutcomePartial
		r.add(Problem{Source: source, Field: "modules", Code: CodeOther, Text: "the text shows some kexts only: its command, or its form, leaves others out"})
	}
	r.source(source, outcome, CountOf(int64(len(c.Kexts))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Kexts), stray: c.Stray, sure: c.Sure}
}

func strayProblem(r *report, source string, bad []*ParseError, stray int) {
	if len(bad) == 0 {
		return
	}
	p := problemOf(source, "", "", bad[0])
	if stray > 1 {
		p.Text = fmt.Sprintf("%d lines are no rows; the first: %s", stray, p.Text)
		p.Count = stray
	}
	r.add(p)
}

func readKextstat(text string) captured {
	return darwinCapture(darwin.ParseKextstat(text), darwin.SourceKextstat)
}

func readMacOSPanic(text string) captured {
	return darwinCapture(darwin.ParsePanic(text), darwin.SourcePanic)
}

func readKextutil(text string) captured {
	return darwinCapture(darwin.ParseKextutilInfo(text), darwin.SourceKextutil)
}

func readBundleIDs(text string) captured {
	list := darwin.ParseIDList(text)
	apple := func(k darwin.Loaded) bool { return strings.HasPrefix(k.BundleID, "com.apple.") }
	if !slices.ContainsFunc(list.Kexts, apple) {
		return captured{} // names with dots, which are many things
	}
	c := darwinCapture(list, darwin.SourceIDList)
	for i := range c.snapshot.Modules {
		c.snapshot.Modules[i].State = "" // the text does not say what it lists
	}
	return c
}

func readSystemProfiler(text string) captured {
	p := darwin.ParseProfiler(text)
	s := &Snapshot{OS: Darwin, Modules: make([]Module, 0, len(p.Items))}
	for i := range p.Items {
		s.Modules = append(s.Modules, profilerModule(&p.Items[i]))
	}
	finishDarwin(s.Modules, darwin.SourceProfiler)
	for i := range s.Modules {
		profilerOrigin(&s.Modules[i])
	}
	var r report
	outcome := OutcomeOK
	for _, problem := range p.Problems {
		outcome = OutcomePartial
		r.add(problem)
	}
	r.source(darwin.SourceProfiler, outcome, CountOf(int64(len(p.Items))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(p.Items), stray: p.Stray, sure: p.Sure}
}

// profilerOrigin takes system_profiler's word for whose code it is: it validates signatures.
func profilerOrigin(m *Module) {
	from := m.Darwin.Profiler.ObtainedFrom
	if from == "" {
		return
	}
	e := Evidence{Fact: "obtainedFrom", Value: from, Source: darwin.SourceProfiler}
	m.Origin.Evidence = append([]Evidence{e}, m.Origin.Evidence...)
	switch from {
	case "apple":
		m.Origin.Class = OriginOS
	case "identified_developer", "unknown", "not_signed", "unsigned":
		m.Origin.Class = OriginThirdParty
	}
}

func readSystemExtensionsCtl(text string) captured {
	c := darwin.ParseSystemExtensionsCtl(text)
	s := &Snapshot{OS: Darwin, Modules: make([]Module, 0, len(c.Extensions))}
	for i := range c.Extensions {
		s.Modules = append(s.Modules, extensionModule(&c.Extensions[i]))
	}
	finishDarwin(s.Modules, darwin.SourceSystemExtensionsCtl)
	var r report
	outcome := OutcomeOK
	if c.Stray > 0 {
		outcome = OutcomePartial
		strayProblem(&r, darwin.SourceSystemExtensionsCtl, c.Bad, c.Stray)
	}
	if n, ok := c.Count.Get(); ok && n != int64(len(c.Extensions)) {
		outcome = OutcomePartial
		r.problem(darwin.SourceSystemExtensionsCtl, "", "modules", &ParseError{Source: darwin.SourceSystemExtensionsCtl,
			Reason: fmt.Sprintf("%d of %d extensions are in the text", len(c.Extensions), n)})
	}
	r.source(darwin.SourceSystemExtensionsCtl, outcome, CountOf(int64(len(c.Extensions))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Extensions), stray: c.Stray, sure: c.Sure}
}

func readKextPolicyText(text string) captured {
	c := darwin.ParseKextPolicyText(text)
	s := &Snapshot{OS: Darwin, Modules: make([]Module, 0, len(c.Approvals))}
	for i := range c.Approvals {
		a := &c.Approvals[i]
		s.Modules = append(s.Modules, Module{Kind: KindMacOSKext, Name: a.BundleID, Darwin: &darwin.Kext{BundleID: a.BundleID, Approval: a}})
	}
	finishDarwin(s.Modules, darwin.SourceKextPolicy)
	var r report
	outcome := OutcomeOK
	if c.Stray > 0 {
		outcome = OutcomePartial
		strayProblem(&r, darwin.SourceKextPolicy, c.Bad, c.Stray)
	}
	r.source(darwin.SourceKextPolicy, outcome, CountOf(int64(len(c.Approvals))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Approvals), stray: c.Stray, sure: c.Sure}
}
