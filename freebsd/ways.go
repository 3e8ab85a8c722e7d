// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// A way is one way into the kernel with the answer to whether it is open.
type way struct {
	name   string
	answer fact.Answer
}

// prospect judges the ways together: loadable if some way is open, blocked if each is stopped, else unknown. It returns
// the reason of the first way that decides, too.
func prospect(ways []way) (*fact.Prospect, fact.Reason) {
	p := &fact.Prospect{Outcome: fact.VerdictBlocked, Ways: make([]fact.Way, 0, len(ways))}
	decides := ways[0].answer
	for _, w := range ways {
		p.Ways = append(p.Ways, w.answer.Way(w.name))
		switch blocked := w.answer.Blocked(); {
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

// settled returns a prospect without ways, which follows from one fact.
func settled(outcome fact.VerdictOutcome, because fact.Reason) (*fact.Prospect, fact.Reason) {
	p := &fact.Prospect{Outcome: outcome}
	if outcome == fact.VerdictUnknown {
		p.Because = because
	}
	return p, because
}

// now is about the running kernel. It returns the reason that decides, too.
func (c *checker) now(f *result, sub subject) (*fact.Prospect, fact.Reason) {
	unlisted, unseen := c.unlisted(), c.unseen()
	switch {
	case sub.loaded != nil:
		return settled(fact.VerdictLoaded, sub.presence())
	case sub.inKernel != "":
		return settled(fact.VerdictBuiltin, sub.presence())
	case unlisted.Applies():
		return settled(fact.VerdictUnknown, unlisted.Because())
	case sub.disk == nil && unseen.Applies():
		return settled(fact.VerdictUnknown, unseen.Because())
	case sub.disk == nil:
		return settled(fact.VerdictAbsent, c.noFile(sub))
	}
	if c.lock.Blocked() != fact.No {
		f.Reasons = append(f.Reasons, c.lock.Because())
	}
	unmet := c.unmet(sub.disk)
	f.refused(unmet)
	load := either(c.lock, unmetAnswer(sub.disk, unmet))
	var ways []way
	if deviceRows(sub.disk) > 0 {
		ways = append(ways, way{WayDevmatch, either(load, c.devmatch(f.name))})
	}
	if len(c.users(sub.disk)) > 0 {
		ways = append(ways, way{WayDependency, load})
	}
	return prospect(append(ways, way{WayKldload, load}))
}

// noFile returns the fact that nothing has the name, or that no file has the name of what is or may be loaded.
func (c *checker) noFile(sub subject) fact.Reason {
	text := "no loaded file, no module in the kernel and no file in the module path has that name"
	if sub.loaded != nil || c.unlisted().Applies() {
		text = "no file in the module path has that name"
	}
	return fact.Reason{Code: ReasonNoFile, Text: text}
}

// refused adds the dependencies because of which the kernel would refuse the file.
func (f *result) refused(unmet []Depend) {
	for _, d := range unmet {
		f.reason(ReasonUnmet, "%v", errMissing(d))
	}
}

// unmetAnswer says whether the kernel refuses the file, which has these unmet dependencies.
func unmetAnswer(d *diskFile, unmet []Depend) fact.Answer {
	if len(unmet) == 0 {
		return fact.Passes(d.installed())
	}
	return fact.Stops(fact.Reason{Code: ReasonUnmet, Text: errMissing(unmet[0]).Error()})
}

// devmatch says whether devmatch is kept from loading the file.
func (c *checker) devmatch(name string) fact.Answer {
	if s, ok := c.config.devmatchBlocked(baseName(name)); ok {
		return fact.Stops(s.reason(ReasonDevBlock, "devmatch(8) does not load it"))
	}
	s, yes, known := c.config.devmatchEnabled()
	switch {
	case known && yes:
		return fact.Passes(s.reason(ReasonDevmatch, "devmatch_enable is set: devmatch(8) loads it for its devices"))
	case known:
		return fact.Stops(s.reason(ReasonDevmatch, "devmatch_enable is not set to yes"))
	case s.Name != "":
		return fact.UnsureOf(s.reason(ReasonDevmatch, "the value of devmatch_enable is computed, which only rc(8) does"))
	}
	text := "no rc.conf that was read sets devmatch_enable"
	if lost := c.config.unread.Problems; len(lost) > 0 {
		text += "; not read: " + lost[0].Text
	}
	return fact.Unsure(ReasonDevmatch, text)
}

// either is the answer of two steps of one way: either stops it, and an unsure one leaves it open.
func either(a, b fact.Answer) fact.Answer {
	switch {
	case a.Blocked() == fact.Yes:
		return a
	case b.Blocked() == fact.Yes:
		return b
	case a.Applies() && a.Blocked() == "":
		return a
	case b.Applies():
		return b
	}
	return a
}

// nextBoot is about the kernel after a boot with the configuration as it is on disk. It returns the reason that
// decides, too.
func (c *checker) nextBoot(f *result, sub subject) (*fact.Prospect, fact.Reason) {
	if sub.inKernel != "" {
		return settled(fact.VerdictBuiltin, sub.presence())
	}
	if sub.disk == nil {
		if unseen := c.unseen(); unseen.Applies() {
			return settled(fact.VerdictUnknown, unseen.Because())
		}
		return settled(fact.VerdictAbsent, c.noFile(sub))
	}
	base := baseName(f.name)
	unmet := c.unmet(sub.disk)
	if !c.live {
		f.refused(unmet)
	}
	f.Remedies = remedies(base)
	load := unmetAnswer(sub.disk, unmet)
	ways := c.bootWays(f, sub.disk, load)
	if level, raised := c.config.secureLevel(); raised {
		because := level.reason(ReasonLevel, "rc(8) raises the securelevel at the end of the boot")
		load = either(load, fact.Stops(because))
		f.Reasons = append(f.Reasons, because)
		f.Bypasses = append(f.Bypasses, level.reason(ReasonLevel,
			"until then, scripts of rc(8) can load it; and root can change loader.conf for the next boot"))
	}
	if len(c.users(sub.disk)) > 0 {
		ways = append(ways, way{WayDependency, load})
	}
	return prospect(append(ways, way{WayKldload, load}))
}

// bootWays returns the ways of the boot itself, which comes before rc(8) raises the securelevel.
func (c *checker) bootWays(f *result, d *diskFile, load fact.Answer) []way {
	base := baseName(f.name)
	var ways []way
	if set, ok := c.config.loads(base); ok {
		ways = append(ways, way{WayLoader, either(load, c.loader(base, set))})
	}
	if set, ok := c.config.rcListed(base); ok {
		listed := fact.Passes(set.reason(ReasonKldList, "rc(8) loads it at boot"))
		ways = append(ways, way{WayKldList, either(load, listed)})
	}
	if deviceRows(d) > 0 {
		ways = append(ways, way{WayDevmatch, either(load, c.devmatch(f.name))})
	}
	return ways
}

// loader says whether the boot loader, which set asks for the file, is kept from loading it.
func (c *checker) loader(base string, set setting) fact.Answer {
	if s, black := c.config.blacklisted(base); black {
		return fact.Stops(s.reason(ReasonBlacklist,
			"the boot loader does not load it; kldload(8), kld_list and devmatch(8) still do"))
	}
	return fact.Passes(set.reason(ReasonLoaderConf, "the boot loader loads it"))
}

func remedies(base string) []fact.Remedy {
	return []fact.Remedy{
		{Text: fmt.Sprintf("loader.conf: module_blacklist=\"%s\"", base),
			NotAgainst: []string{WayKldList, WayDevmatch, WayDependency, WayKldload}},
		{Text: fmt.Sprintf("rc.conf: devmatch_blocklist=\"%s\"", base),
			NotAgainst: []string{WayLoader, WayKldList, WayDependency, WayKldload}},
		{Text: `rc.conf: kern_securelevel_enable="YES" kern_securelevel="1"`,
			NotAgainst: []string{WayLoader, WayKldList, WayDevmatch}},
	}
}
