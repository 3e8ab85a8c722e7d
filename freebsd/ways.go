// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// now is about the running kernel.
func (c *checker) now(f *result, sub subject) *fact.Prospect {
	switch {
	case sub.loaded != nil:
		return &fact.Prospect{Outcome: fact.VerdictLoaded}
	case sub.inKernel != "":
		return &fact.Prospect{Outcome: fact.VerdictBuiltin}
	case !c.listed():
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	case sub.disk == nil && c.complete():
		return &fact.Prospect{Outcome: fact.VerdictAbsent}
	case sub.disk == nil:
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	}
	if c.lock.Blocked() != fact.No {
		f.Reasons = append(f.Reasons, c.lock.Because())
	}
	unmet := c.unmet(sub.disk)
	f.refused(unmet)
	load := either(c.lock, unmetAnswer(unmet))
	ways := []fact.Way{}
	if deviceRows(sub.disk) > 0 {
		ways = append(ways, either(load, c.devmatch(f.name)).Way(WayDevmatch))
	}
	if len(c.users(sub.disk)) > 0 {
		ways = append(ways, load.Way(WayDependency))
	}
	ways = append(ways, load.Way(WayKldload))
	return &fact.Prospect{Outcome: outcomeOf(ways), Ways: ways}
}

// refused adds the dependencies because of which the kernel would refuse the file.
func (f *result) refused(unmet []Depend) {
	for _, d := range unmet {
		f.reason(ReasonUnmet, "%v", errMissing(d))
	}
}

// unmetAnswer says whether the kernel refuses a file with these unmet dependencies.
func unmetAnswer(unmet []Depend) fact.Answer {
	if len(unmet) == 0 {
		return fact.Passes(fact.Reason{})
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
		return fact.Passes(s.reason(ReasonDevmatch, "devmatch_enable is set"))
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

// outcomeOf is loadable if some way is open, blocked if each is stopped, else unknown.
func outcomeOf(ways []fact.Way) fact.VerdictOutcome {
	outcome := fact.VerdictBlocked
	for _, w := range ways {
		switch w.Blocked {
		case fact.No:
			return fact.VerdictLoadable
		case "":
			outcome = fact.VerdictUnknown
		}
	}
	return outcome
}

// nextBoot is about the kernel after a boot with the configuration as it is on disk.
func (c *checker) nextBoot(f *result, sub subject) *fact.Prospect {
	switch {
	case sub.inKernel != "":
		return &fact.Prospect{Outcome: fact.VerdictBuiltin}
	case sub.disk == nil && c.diskComplete():
		return &fact.Prospect{Outcome: fact.VerdictAbsent}
	case sub.disk == nil:
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	}
	base := baseName(f.name)
	unmet := c.unmet(sub.disk)
	if !c.live {
		f.refused(unmet)
	}
	load := unmetAnswer(unmet)
	ways := []fact.Way{}
	if _, ok := c.config.loads(base); ok {
		ways = append(ways, either(load, c.loader(base)).Way(WayLoader))
	}
	if _, ok := c.config.rcListed(base); ok {
		ways = append(ways, load.Way(WayKldList))
	}
	if deviceRows(sub.disk) > 0 {
		ways = append(ways, either(load, c.devmatch(f.name)).Way(WayDevmatch))
	}
	level, raised := c.config.secureLevel()
	if raised {
		load = either(load, fact.Stops(level.reason(ReasonLevel, "rc(8) raises the securelevel at the end of the boot")))
	}
	if len(c.users(sub.disk)) > 0 {
		ways = append(ways, load.Way(WayDependency))
	}
	ways = append(ways, load.Way(WayKldload))
	if raised {
		f.Reasons = append(f.Reasons, level.reason(ReasonLevel, "rc(8) raises the securelevel at the end of the boot"))
		f.Bypasses = append(f.Bypasses, level.reason(ReasonLevel,
			"until then, scripts of rc(8) can load it; and root can change loader.conf for the next boot"))
	}
	f.Remedies = remedies(base)
	return &fact.Prospect{Outcome: outcomeOf(ways), Ways: ways}
}

// loader says whether the boot loader is kept from loading the file.
func (c *checker) loader(base string) fact.Answer {
	if s, black := c.config.blacklisted(base); black {
		return fact.Stops(s.reason(ReasonBlacklist, "the boot loader does not load it"))
	}
	return fact.Passes(fact.Reason{})
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
