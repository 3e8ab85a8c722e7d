// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

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
	ReasonLoaded          = "loaded"           // the kernel lists it
	ReasonCollection      = "in_collection"    // linked into a kernel collection in use
	ReasonStale           = "stale_collection" // linked into a collection of another boot collection
	ReasonInstalled       = "installed"        // a bundle is on disk
	ReasonApproved        = "approved"         // a user or a management server allows it
	ReasonNotApproved     = "not_approved"     // nobody allows it
	ReasonApprovalUnknown = "approval_unknown" // who allows it could not be read
	ReasonNoSignature     = "no_signature"     // no signature of a developer
	ReasonBootSecurity    = "boot_security"    // the boot security of an Apple silicon Mac
	ReasonPending         = "pending_reboot"   // it needs a restart
	ReasonCSR             = "csr"              // System Integrity Protection
	ReasonUserSpace       = "user_space"       // it runs outside the kernel
	ReasonCodeless        = "codeless"         // the bundle has no code
	ReasonSignature       = "signature"        // the signature is not one that the system takes
	ReasonAccess          = "file_access"      // others than root may write the bundle
	ReasonNoFile          = "no_file"          // nothing has that name
	ReasonRelease         = "release"          // which macOS this is
	ReasonMachine         = "machine"          // it is for another processor
	ReasonUnread          = "unread"           // a source that could change the answer
)

// Check judges every extension that the query means: a bundle id, an id, a device, or a file.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	release, releaseErr := k.release(ctx)
	if release == "" {
		release = k.options.Kernel
	}
	c := check{kernel: k, query: query, release: release, report: r}
	if !k.options.Image {
		c.list(ctx)
	}
	reader := k.reader(ctx)
	reader.Code, reader.Signatures, reader.Verify, reader.Personalities = true, true, false, true
	c.disk, _ = reader.readWithin(ctx, r) // the error is reported as the source's
	c.reader = reader.bundleReader
	c.reader.Verify = true
	c.problems = append(c.problems, r.Problems...)
	from := len(r.Problems)
	c.disk.reportUnread(r)
	c.unread = r.Problems[from:]
	c.rules = k.rules(ctx, release, releaseErr)
	c.arch = c.architecture(ctx)
	c.rules.silicon = c.silicon()
	c.rules.addLosses(r)

	var verdicts []fact.Verdict
	first := map[string]int{} // where the verdict on a name is, and of which copy it is
	var places []int
	for _, m := range c.candidates() {
		v, place := c.verdict(&m), c.disk.place(&m)
		i, copied := first[m.Name]
		switch {
		case !copied || m.Name == "":
			first[m.Name] = len(verdicts)
			verdicts, places = append(verdicts, v), append(places, place)
		case opener(&v, &verdicts[i]), !opener(&verdicts[i], &v) && place < places[i]: // any copy may load
			verdicts[i], places[i] = v, place
		}
	}
	if len(verdicts) == 0 {
		verdicts = append(verdicts, c.absent())
	}
	return verdicts, nil
}

// opener reports whether the worst outcome of a is worse than that of b.
func opener(a, b *fact.Verdict) bool {
	ranks := []fact.VerdictOutcome{fact.VerdictLoaded, fact.VerdictLoadable, fact.VerdictUnknown, fact.VerdictBlocked,
		fact.VerdictAbsent}
	return slices.Index(ranks, a.Worst()) < slices.Index(ranks, b.Worst())
}

// A check answers one query.
type check struct {
	kernel         *Kernel
	query, release string
	report         *fact.Report
	loaded         []Record    // the kernel's list
	unlisted       fact.Answer // why there is no such list
	disk           *disk
	rules          *rules
	problems       []fact.Problem
	unread         []fact.Problem // of bundles that could not be read: what they are is not known
	reader         bundleReader
	arch           string // the kernel's architecture; empty if it is unknown
}

// list reads the kernel's list.
func (c *check) list(ctx context.Context) {
	loaded, source, err := c.kernel.list(ctx, c.report)
	if err != nil {
		c.report.Problem(SourceKextManager, c.query, "", err)
		text := "the kernel's list could not be read, so it may be loaded already: " + err.Error()
		c.unlisted = fact.Unsure(ReasonUnread, text)
		return
	}
	finish(loaded, source)
	c.loaded = loaded
}

// architecture returns the kernel's architecture, and of an image that of the collections which are made on the Mac
// itself; empty if neither is known.
func (c *check) architecture(ctx context.Context) string {
	arch := c.kernel.architecture(ctx)
	for _, k := range c.disk.collections {
		if k.Kind == KindAuxiliary || k.Kind == KindCache {
			arch = cmp.Or(arch, k.Architecture)
		}
	}
	return arch
}

// silicon says whether this is an Apple silicon Mac; empty if that is unknown.
func (c *check) silicon() fact.Tri {
	if c.arch == "" {
		return ""
	}
	return fact.TriOf(strings.HasPrefix(c.arch, "arm64"))
}

// listed reports whether the kernel's list was read.
func (c *check) listed() bool { return !c.kernel.options.Image && !c.unlisted.Applies() }

// verdict judges one extension. Of an image there is no answer for now. Without the kernel's list, an extension that
// has no open way may be loaded already.
func (c *check) verdict(m *Record) fact.Verdict {
	unverified := c.verify(m)
	j := judge{kext: m.Own, apple: m.Origin.Class == fact.OriginOS, rules: c.rules, arch: c.arch,
		live: !c.kernel.options.Image}
	if c.listed() {
		j.loaded = fact.TriOf(m.State == fact.StateLoaded)
	}
	v := j.verdict()
	c.mayLoadOtherwise(&j, &v, m)
	v.Query, v.Release, v.Module = c.query, c.release, m.ID
	v.Problems = slices.Concat(c.problems, c.concerning(m), unverified)
	switch {
	case c.kernel.options.Image:
		v.Now = nil
	case !c.listed() && v.Now.Outcome == fact.VerdictBlocked:
		v.Now.Outcome, v.Now.Because = fact.VerdictUnknown, c.unlisted.Because()
	}
	v.LeadBy(j.now, j.next)
	return v
}

// mayLoadOtherwise makes unknown what is blocked for all that was read: a kernel collection that was not read may hold
// the extension, and another copy of the bundle may be one that the system loads. Since macOS 11 a copy must be linked
// first.
func (c *check) mayLoadOtherwise(j *judge, v *fact.Verdict, m *Record) {
	if b := m.Own.Bundle; m.Own.PackageType == "DEXT" || m.Own.SystemExtension != nil ||
		b != nil && b.Codeless == fact.Yes {
		return // it has no code for the kernel
	}
	linked, copied := c.maybeLinked(), c.maybeCopied(m)
	now := linked
	if !now.Applies() && c.rules.needsCollection() != fact.Yes {
		now = copied
	}
	next := linked
	if !next.Applies() {
		next = copied
	}
	if now.Applies() && v.Now.Outcome == fact.VerdictBlocked {
		v.Now.Outcome, v.Now.Because, j.now = fact.VerdictUnknown, now.Because(), now.Because()
	}
	if next.Applies() && v.NextBoot.Outcome == fact.VerdictBlocked {
		v.NextBoot.Outcome, v.NextBoot.Because, j.next = fact.VerdictUnknown, next.Because(), next.Because()
	}
}

// maybeLinked answers why a kernel collection may hold an extension; it does not apply if every one was read.
func (c *check) maybeLinked() fact.Answer {
	s, _ := c.report.Find(SourceCollections)
	if c.report.Whole(SourceCollections) || c.hasNone(&s) {
		return fact.Answer{}
	}
	return fact.Unsure(ReasonUnread, "a kernel collection may hold it: "+c.lostOf(SourceCollections, &s))
}

// hasNone reports whether no kernel collection exists, as before macOS 11. A later one boots from one: if a root has
// none, the volume is not mounted.
func (c *check) hasNone(s *fact.Source) bool {
	return s.Outcome == fact.OutcomeAbsent && c.rules.needsCollection() != fact.Yes
}

// maybeCopied answers why there may be another copy of the bundle; it does not apply if every place was read where one
// may be.
func (c *check) maybeCopied(m *Record) fact.Answer {
	const text = "another copy of the bundle may load: "
	for _, p := range slices.Concat(c.problems, c.concerning(m)) {
		if p.Source == SourceBundles {
			return fact.Unsure(ReasonUnread, text+p.Error())
		}
	}
	return fact.Answer{}
}

// lostOf says why a source was not read whole.
func (c *check) lostOf(source string, s *fact.Source) string {
	text := fmt.Sprintf("source %s is %s (%s)", source, s.Outcome, s.Code)
	if p, ok := c.report.First(source); ok {
		text += ": " + p.Text
	}
	return text
}

// verify compares the bundle of an extension with its signature, of which the disk's reading knows only what it says.
// It returns what could not be read for that.
func (c *check) verify(m *Record) []fact.Problem {
	b := m.Own.Bundle
	if b == nil || b.signature == nil || b.signature.Present != fact.Yes || b.signature.CodeFits != "" {
		return nil
	}
	own := c.report.Part() // its problems are the verdict's
	read, err := c.reader.read(strings.TrimPrefix(b.Path, "/"), own)
	if err != nil {
		own.Problem(SourceBundles, b.Path, "codeSignature", err)
		return own.Problems
	}
	m.Own.Bundle, m.Own.CodeSignature = &read, read.signature
	m.Signature = signatureOf(read.signature)
	source := SourceKextManager
	if m.State != fact.StateLoaded {
		source = ""
	}
	m.Origin = originOf(m.Own, m.Path, source)
	return slices.DeleteFunc(own.Problems, func(p fact.Problem) bool { return slices.Contains(m.Problems, p) })
}

// concerning returns the problems of bundles that could not be read and that may be of the extension: another copy of
// it has the same name. Of a device, any of them may be the driver.
func (c *check) concerning(m *Record) []fact.Problem {
	if isDevice(c.query) && !strings.HasPrefix(c.query, "macos_") {
		return c.unread
	}
	var all []fact.Problem
	for _, p := range c.unread {
		name := path.Base(m.Path)
		if b := m.Own.Bundle; b != nil {
			name = path.Base(b.Path)
		}
		for dir := p.Subject; dir != "/" && dir != "." && dir != ""; dir = path.Dir(dir) {
			if path.Base(dir) == name {
				all = append(all, p)
				break
			}
		}
	}
	return all
}

// absent is the verdict on what no source knows: absent only if everything was read, else unknown with the reason.
func (c *check) absent() fact.Verdict {
	answer := c.unseen()
	v := fact.Verdict{Query: c.query, Release: c.release, NextBoot: prospectOf(answer),
		Problems: slices.Concat(c.problems, c.unread)}
	if !c.kernel.options.Image {
		if c.unlisted.Applies() {
			answer = c.unlisted
		}
		v.Now = prospectOf(answer)
	}
	none := fact.Reason{Code: ReasonNoFile, Text: "no bundle and no extension in a kernel collection has that name"}
	if c.listed() {
		none.Text = "no loaded extension, no bundle and no extension in a kernel collection has that name"
	}
	v.LeadBy(none, none)
	return v
}

// unseen answers why something may be on disk that was not found; it does not apply if all of the disk was read. A
// system without kernel collections has none to read.
func (c *check) unseen() fact.Answer {
	for _, source := range []string{SourceBundles, SourceCollections} {
		s, _ := c.report.Find(source)
		if !c.report.Whole(source) && (source == SourceBundles || !c.hasNone(&s)) {
			return fact.Unsure(ReasonUnread, c.lostOf(source, &s))
		}
	}
	return fact.Answer{}
}

// prospectOf returns absent if the answer does not apply, else unknown.
func prospectOf(answer fact.Answer) *fact.Prospect {
	if answer.Applies() {
		return &fact.Prospect{Outcome: fact.VerdictUnknown, Because: answer.Because()}
	}
	return &fact.Prospect{Outcome: fact.VerdictAbsent}
}

// candidates returns the records that the query means, loaded ones with what the disk has of them. Of one that is not
// loaded it is every copy.
func (c *check) candidates() []Record {
	match := matcher(c.query)
	var found []Record
	seen := make(map[string]bool)
	for i := range c.loaded {
		m := &c.loaded[i]
		c.disk.attach(m.Own, m.Path, m.Version)
		if match(m) {
			m.Origin = originOf(m.Own, m.Path, SourceKextManager)
			found = append(found, *m)
			seen[m.Name] = true
		}
	}
	installed := c.disk.records()
	for i := range installed {
		if m := &installed[i]; !seen[m.Name] && match(m) {
			found = append(found, *m)
		}
	}
	if len(found) == 0 {
		found = c.file()
	}
	return found
}

// file returns the bundle that the query names, if that is in none of the folders that the system looks in.
func (c *check) file() []Record {
	name := strings.Trim(c.query, "/")
	if !strings.Contains(c.query, "/") || !fs.ValidPath(name) || !hasInfo(c.reader.FS, name) {
		return nil
	}
	m, err := c.reader.record(name, c.report.Budget)
	if err != nil {
		c.report.Problem(SourceBundles, "/"+name, "", err)
		c.unread = append(c.unread, fact.ProblemOf(SourceBundles, "/"+name, "", err))
		return nil
	}
	m.Path = fromRoot(m.Path)
	m.Own.Bundle.Path, m.Own.Bundle.ExecutablePath = m.Path, fromRoot(m.Own.Bundle.ExecutablePath)
	found := []Record{m}
	finish(found, "")
	return found
}

// matcher returns a function that reports whether a query matches a record. An invalid device query matches no record.
func matcher(query string) func(*Record) bool {
	if strings.Contains(query, "/") {
		file := "/" + strings.Trim(query, "/")
		return func(m *Record) bool { return m.Path == file || m.Own.Bundle != nil && m.Own.Bundle.Path == file }
	}
	if !isDevice(query) || strings.HasPrefix(query, "macos_") {
		return func(m *Record) bool { return m.Name == query || m.ID == query }
	}
	device, err := parseDevice(query)
	return func(m *Record) bool {
		return err == nil && device.answers(m.Own) != nil
	}
}
