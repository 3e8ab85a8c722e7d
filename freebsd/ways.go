// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

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
	f.refused(c.unmet(sub.disk))
	load := either(c.lock, c.running(c.byKernel(sub.disk)))
	var ways []way
	if c.hasDevmatch(sub.disk) {
		ways = append(ways, way{WayDevmatch, either(load, c.devmatch(f.name))})
	}
	if len(c.users(sub.disk)) > 0 {
		ways = append(ways, way{WayDependency, load})
	}
	otherwise := c.maybeInside()
	if c.lock.Blocked() != fact.Yes { // else no other file is loaded either
		otherwise = sooner(otherwise, c.maybeOther())
	}
	return c.closed(append(ways, way{WayKldload, load}), otherwise)
}

// closed is prospect, but unknown instead of blocked if otherwise applies: what was not read may let the file in.
func (c *checker) closed(ways []way, otherwise fact.Answer) (*fact.Prospect, fact.Reason) {
	p, because := prospect(ways)
	if p.Outcome == fact.VerdictBlocked && otherwise.Applies() {
		p.Outcome, p.Because, because = fact.VerdictUnknown, otherwise.Because(), otherwise.Because()
	}
	return p, because
}

// maybeInside answers why the kernel may have what a file holds; it does not apply if what the kernel has was read.
func (c *checker) maybeInside() fact.Answer {
	const text = "it may be in the kernel: "
	for _, p := range c.unread.Problems {
		if c.live && (p.Source == SourceModstat || p.Source == SourceKldstat) {
			return fact.Unsure(ReasonUnread, text+p.Error())
		}
	}
	if k := c.library.Kernel; !c.live && k != nil && k.unread != nil && !errors.Is(k.unread, fs.ErrNotExist) {
		p := fact.ProblemOf(SourceModulePath, k.Path, "", k.unread)
		return fact.UnsureOf(fact.Reason{Code: ReasonUnread, Text: text + p.Text, File: k.Path})
	}
	return fact.Answer{}
}

// maybeOther answers why another file may have the name, or need the file; it does not apply if every file was read.
func (c *checker) maybeOther() fact.Answer {
	const text = "another file may have the name, or need it: "
	if lost := c.library.report.Problems; len(lost) > 0 {
		return fact.Unsure(ReasonUnread, text+lost[0].Error())
	}
	for i := range c.library.Files {
		if f := &c.library.Files[i]; f.mayLoad() {
			p := fact.ProblemOf(SourceModulePath, f.Path, "", f.unread)
			return fact.UnsureOf(fact.Reason{Code: ReasonUnread, Text: text + p.Text, File: f.Path})
		}
	}
	return fact.Answer{}
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

// accepts answers whether the linker takes the file: the kernel's, or that of the boot loader, with the same rules.
func (c *checker) accepts(d *diskFile) fact.Answer {
	if d.metadata == nil {
		return fact.Passes(d.installed())
	}
	if k := c.library.Kernel; k != nil && k.metadata != nil && k.Machine != "" && k.Machine != d.Machine {
		return fact.Stops(fact.Reason{Code: ReasonMachine, File: d.Path,
			Text: "its file is for " + d.Machine + ", the kernel is for " + k.Machine})
	}
	unmet := c.unmet(d)
	if len(unmet) == 0 {
		return c.linked(d)
	}
	if unread := c.unread1(); unread != "" && unmet[0].Name != kernelName {
		return fact.Unsure(ReasonUnmet, errMissing(unmet[0]).Error()+"; not every file was read: "+unread)
	}
	return fact.Stops(fact.Reason{Code: ReasonUnmet, Text: errMissing(unmet[0]).Error()})
}

// unread1 returns why a file of the module path could not be read that may provide something; empty if all were read.
func (c *checker) unread1() string {
	for i := range c.library.Files {
		if f := &c.library.Files[i]; f.mayLoad() {
			return fact.ProblemOf(SourceModulePath, f.Path, "", f.unread).Text
		}
	}
	return ""
}

// byKernel answers whether the kernel takes the file, which it does not unpack.
func (c *checker) byKernel(d *diskFile) fact.Answer {
	if d.compressed() {
		return fact.Stops(fact.Reason{Code: ReasonCompressed, File: d.Path,
			Text: "its file is compressed: the boot loader unpacks it, kldload(2) does not"})
	}
	return c.accepts(d)
}

// devmatch says whether devmatch is kept from loading the file.
func (c *checker) devmatch(name string) fact.Answer {
	block, ok := c.config.devmatchBlocked(baseName(name))
	if ok {
		return fact.Stops(block.Reason(ReasonDevBlock, "devmatch(8) does not load it"))
	}
	s, yes, known := c.config.devmatchEnabled()
	switch {
	case known && yes && block.Code != "":
		return fact.UnsureOf(block.Unknown(ReasonDevBlock))
	case known && yes:
		return fact.Passes(s.Reason(ReasonDevmatch, "devmatch_enable is set: devmatch(8) loads it for its devices"))
	case known:
		return fact.Stops(s.Reason(ReasonDevmatch, "devmatch_enable is not set to yes"))
	case s.Name != "":
		return fact.UnsureOf(s.Unknown(ReasonDevmatch))
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
	if sub.disk == nil && c.bootless {
		return settled(fact.VerdictUnknown, noKernel)
	}
	if sub.disk == nil {
		if unseen := c.unseen(); unseen.Applies() {
			return settled(fact.VerdictUnknown, unseen.Because())
		}
		if lost := c.config.unread.Problems; len(lost) > 0 {
			return settled(fact.VerdictUnknown, fact.Reason{Code: ReasonUnread,
				Text: "no file that was read has that name, but what is loaded at boot was not read whole: " +
					lost[0].Error()})
		}
		for _, q := range slices.Concat(c.config.programs, c.anything) {
			if q.target == "" && q.answer.Applies() && q.answer.Blocked() != fact.Yes { // its file may lie anywhere
				return settled(fact.VerdictUnknown, q.answer.Because())
			}
		}
		return settled(fact.VerdictAbsent, c.noFile(sub))
	}
	if c.bootless {
		return settled(fact.VerdictUnknown, noKernel)
	}
	if !c.live {
		f.refused(c.unmet(sub.disk))
	}
	ways := c.bootWays(sub.disk)
	level, raised := c.config.secureLevel()
	load := either(c.byKernel(sub.disk), raised)
	if raised.Applies() {
		f.Reasons = append(f.Reasons, raised.Because())
		f.Bypasses = append(f.Bypasses, level.Reason(ReasonLevel,
			"until then, scripts of rc(8) can load it; and root can change loader.conf for the next boot"))
	}
	if len(c.users(sub.disk)) > 0 || sub.disk.firmware() {
		boot := sooner(c.brought(f, sub.disk), c.drivers(sub.disk))
		ways = append(ways, way{WayDependency, sooner(boot, load)})
	}
	ways = append(ways, way{WayKldload, load})
	f.Remedies = c.remedies(sub.disk, ways)
	return c.closed(ways, sooner(c.maybeInside(), c.maybeOther()))
}

// noKernel is why nothing is known of the next boot of a root without a kernel.
var noKernel = fact.Reason{Code: ReasonNoKernel,
	Text: "this root has no kernel of FreeBSD or DragonFly: it is a jail's, or does not boot by itself"}

// bootWays returns the ways of the boot itself, which come before rc(8) raises the securelevel.
func (c *checker) bootWays(d *diskFile) []way {
	var ways []way
	for _, name := range []string{WayLoader, WayKldList, WayService} {
		load := c.byKernel(d)
		if name == WayLoader {
			load = c.accepts(d)
		}
		if asked := c.askedBy(d, name); asked.Applies() {
			ways = append(ways, way{name, either(load, asked)})
		}
	}
	if c.hasDevmatch(d) {
		ways = append(ways, way{WayDevmatch, either(c.byKernel(d), c.devmatch(d.Name()))})
	}
	return ways
}

// hasDevmatch reports whether the file declares devices and the release has devmatch(8), which came with FreeBSD 12.
func (c *checker) hasDevmatch(d *diskFile) bool {
	if deviceRows(d) == 0 {
		return false
	}
	if c.config.scripts {
		return c.config.hasScript("devmatch")
	}
	return c.osRelDate == 0 || c.osRelDate >= 1200000
}

// brought answers whether the boot loads something that needs the file, directly or not: then it loads the file, too
// (file_load_dependencies of the loader, linker_load_dependencies of the kernel). It adds what asks for it.
func (c *checker) brought(f *result, d *diskFile) fact.Answer {
	var out fact.Answer
	seen := map[*diskFile]bool{d: true}
	for queue := []*diskFile{d}; len(queue) > 0; queue = queue[1:] {
		for _, user := range c.users(queue[0]) {
			if seen[user] {
				continue
			}
			seen[user] = true
			queue = append(queue, user)
			for _, w := range c.bootWays(user) {
				because := w.answer.Because()
				because.Code = ReasonDependency
				because.Text = user.Name() + " needs it: " + because.Text
				switch load := c.byKernel(d); {
				case w.name == WayLoader && c.accepts(d).Blocked() == fact.Yes,
					w.name != WayLoader && load.Blocked() == fact.Yes:
				case w.answer.Blocked() == fact.No:
					out = sooner(out, fact.Passes(because))
					f.Triggers = append(f.Triggers, because)
				case w.answer.Blocked() == "":
					out = sooner(out, fact.UnsureOf(because))
				}
			}
		}
	}
	return out
}

// firmware reports whether the file is an image for firmware_get(9), which loads a kld by the image's name: it needs
// the interface of firmware(9), and none of its modules is a driver on a bus.
func (f *diskFile) firmware() bool {
	return f.metadata != nil && slices.ContainsFunc(f.Depends, func(d Depend) bool { return d.Name == "firmware" }) &&
		!slices.ContainsFunc(f.Modules, func(m Module) bool { return strings.Contains(m.Name, "/") })
}

// drivers answers whether a driver loads the file by firmware_get(9), which it may until the securelevel is raised
// (sys/kern/subr_firmware.c). It does not apply to a file that is not a firmware.
func (c *checker) drivers(d *diskFile) fact.Answer {
	if !d.firmware() {
		return fact.Answer{}
	}
	return either(c.byKernel(d), fact.Unsure(ReasonDependency,
		"a driver may ask for this firmware during the boot, before rc(8) raises the securelevel"))
}

// remedies returns what would stop a way that is not stopped, as far as this release obeys it.
func (c *checker) remedies(d *diskFile, ways []way) []fact.Remedy {
	base := baseName(d.Name())
	var out []fact.Remedy
	add := func(text string, stops ...string) {
		r := fact.Remedy{Text: text}
		for _, w := range ways {
			if !slices.Contains(stops, w.name) && w.answer.Blocked() != fact.Yes {
				r.NotAgainst = append(r.NotAgainst, w.name)
			}
		}
		out = append(out, r)
	}
	for _, w := range ways {
		if w.answer.Blocked() == fact.Yes {
			continue
		}
		s := w.answer.Because()
		switch w.name {
		case WayLoader:
			if c.config.hasBlacklist(c.osRelDate) == fact.Yes && s.Code == ReasonLoaderConf {
				add(fmt.Sprintf("loader.conf: module_blacklist=\"%s\"", base), WayLoader)
			}
		case WayKldList:
			if s.File != "" {
				add(fmt.Sprintf("%s:%d: take %s out of kld_list", s.File, s.Line, base), WayKldList)
			}
		case WayService:
			if name, ok := c.turnsOff(d); ok {
				add(fmt.Sprintf("rc.conf: %s=\"NO\"", name), WayService)
			}
		case WayDevmatch:
			word := "devmatch_blocklist"
			if c.osRelDate != 0 && c.osRelDate < 1300000 {
				word = "devmatch_blacklist"
			}
			add(fmt.Sprintf("rc.conf: %s=\"%s\"", word, base), WayDevmatch)
		case WayKldload:
			add(`rc.conf: kern_securelevel_enable="YES" kern_securelevel="1"`, WayKldload)
		}
	}
	return out
}

// turnsOff returns the variable of the one service that loads the file; ok is false if there are more, or none that a
// variable turns off.
func (c *checker) turnsOff(d *diskFile) (name string, ok bool) {
	for i := range c.config.services {
		s := &c.config.services[i]
		for _, l := range s.loads {
			if s.runs(l).Blocked() == fact.Yes || l.target == "" || c.library.byKernel(l.target) != d {
				continue
			}
			if s.rcvar == "" || l.always || name != "" && name != s.rcvar {
				return "", false
			}
			name = s.rcvar
		}
	}
	n := 0
	for _, q := range c.asked[d] {
		if q.way == WayService && q.answer.Blocked() != fact.Yes {
			n++
		}
	}
	return name, name != "" && n == 1
}
