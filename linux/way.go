// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"path"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// resultAt answers for one module in one boot state.
func (c *checker) resultAt(s *bootState, t target) result {
	var r result
	var refused fact.Answer
	switch {
	case s.elsewhere != nil:
		return s.elsewhere.resultElsewhere(s, t)
	case t.builtin:
		return c.resultOfBuiltin(s.kernel, t)
	case t.gone:
		c.addWaysWithoutFile(&r, s, t)
	default:
		refused = c.refuses(s.kernel, t)
		r.addReason(refused.Because())
		c.addWays(&r, s, t, refused)
	}
	c.setOutcome(&r, s, t, refused)
	c.mayBeOtherwise(&r, t)
	if s.unread.Applies() {
		r.mayBeAnything(s.unread)
	}
	return r
}

// setOutcome sets the outcome that the ways come to, and the word for it. refused is what the kernel itself says.
func (c *checker) setOutcome(r *result, s *bootState, t target, refused fact.Answer) {
	r.word = "not loadable"
	r.setFromWays()
	outcome, because := r.prospect.Outcome, r.because
	switch {
	case len(s.kernel.loaded) > 0 && s.kernel.loaded[c.loadedName(t)]:
		r.set(fact.VerdictLoaded, "loaded", loadedReason())
	case t.file == "" && !r.hasWay(WayInitramfs):
		if a := c.everythingRead(t.name); a.Blocked() == fact.No {
			r.set(fact.VerdictAbsent, "no file on disk", fact.Reason{Code: ReasonNoSuch, Text: "no file on disk"})
		} else {
			r.set(fact.VerdictUnknown, "no file on disk", a.Because())
		}
	case outcome == fact.VerdictLoadable:
		if because.Code == "" {
			because = c.fileReason(t) // nothing but the file is needed
		}
		r.set(outcome, "loadable", because)
	case refused.Blocked() == fact.Yes:
		if outcome == fact.VerdictBlocked {
			because = refused.Because()
		}
		r.set(outcome, refused.Because().Code, because)
	case outcome != fact.VerdictBlocked:
	case t.gone:
		r.set(outcome, "file is missing", c.fileReason(t))
	case t.file == "":
		r.set(outcome, "only in the initial file system", because)
	case !t.onDisk:
		r.set(outcome, "not in modules.dep", because)
	default:
		r.word = "install override"
	}
}

// addWays adds the ways of a module that has a file, or is only loaded.
func (c *checker) addWays(r *result, s *bootState, t target, refused fact.Answer) {
	switch {
	case t.onDisk:
		c.addConfiguredWays(r, s, t, refused)
	case t.file != "":
		a := inTurn(c.unindexed(t), refused)
		r.addWay(WayAutoloadName, a)
		r.addWay(WayModprobe, a)
	}
	c.addInitramfsWay(r, s, t)
	if t.file == "" {
		return
	}
	needs := c.refusesNeeds(s.kernel, t)
	if needs.Blocked() == fact.Yes {
		r.addReason(needs.Because())
	}
	r.addWay(WayInsmod, inTurn(refused, needs))
}

// addInitramfsWay adds the way of a copy in the initial file system, if there is one or may be.
func (c *checker) addInitramfsWay(r *result, s *bootState, t target) {
	if a := c.initramfsWay(r, s, t); a.Applies() {
		r.addWay(WayInitramfs, a)
	}
}

// addWaysWithoutFile adds the ways of a module whose file is not there: modprobe fails, unless an install line of the
// module's own, or another's, may load its code from elsewhere.
func (c *checker) addWaysWithoutFile(r *result, s *bootState, t target) {
	a := s.modprobe.certainly(fact.Stops(c.fileReason(t)))
	own := s.modprobe.of(t.name).install
	other, _ := s.modprobe.loadedBy(t.name)
	for _, d := range []*modprobe.Directive{own, other} {
		if d == nil || d == own && !s.modprobe.mayLoadElse(d, t.name) {
			continue
		}
		because := lineReason(ReasonInstall, installText(d), d)
		r.addReason(because)
		because.Unread = "the command's effect"
		a = fact.UnsureOf(because)
	}
	r.addWay(WayAutoloadName, a)
	r.addWay(WayModprobe, a)
	c.addInitramfsWay(r, s, t)
}

// addConfiguredWays adds the ways that go through modprobe. Each is a list of steps, in the order in which the kernel
// and modprobe take them.
func (c *checker) addConfiguredWays(r *result, s *bootState, t target, refused fact.Answer) {
	plan := c.blockedByPlan(s, t, modprobe.Match{Name: t.name})
	r.addReason(plan.Because())
	r.addReason(s.modprobe.ignoredInstalls(t.name, c.other)...)
	r.addReason(c.nearMisses(s, t)...)
	load := inTurn(s.modprobe.certainly(plan), refused)

	turned := blockedName(s.modprobe, t)
	r.addReason(turned.Because())
	byName := inTurn(s.modprobe.certainly(turned), load)

	helper := s.kernel.helper
	alias := c.aliasWay(r, s, t, load)
	if alias.Applies() {
		r.addWay(WayAutoloadAlias, alias)
	}
	if line := s.modprobe.of(t.name).blacklist; line != nil {
		r.addReason(blacklistReason(line, t, alias.Applies(), load))
	}
	r.addReason(helper.Because())
	autoload := inTurn(helper, byName)
	r.addWay(WayAutoloadName, autoload)
	r.addWay(WayUnprivileged, c.unprivilegedWay(s.modprobe, t, alias, autoload))
	r.addWay(WayModprobe, byName)
	if dependents := c.blockedDependents(r, s, t); dependents.Applies() {
		r.addWay(WayDependency, inTurn(s.modprobe.certainly(dependents), refused))
	}
}

// blacklistReason says what a blacklist line for the module does. load is the answer of what follows a request.
func blacklistReason(line *modprobe.Directive, t target, hasAlias bool, load fact.Answer) fact.Reason {
	code, text := ReasonBlacklistIgnored, "blacklist "+t.name+": filters aliases only"
	switch {
	case !hasAlias:
		text += "; this module has none"
	case load.Blocked() == fact.Yes:
		code = ReasonBlacklist
	default:
		text += "; not a request by name, nor as a dependency"
	}
	return lineReason(code, text, line)
}

// blockedName says whether a request for the module's own name loads something else, or nothing: the configuration
// may turn the name into something else, and a blacklist line then counts. It does not apply to other names.
func blockedName(m *modprobeState, t target) fact.Answer {
	lines := m.targetsOf(t.name)
	blacklist := m.of(t.name).blacklist
	switch {
	case !lines.include(t.name):
		if other := lines.override(t.name); other != nil {
			return fact.Stops(lineReason(ReasonAliasOverride, "alias "+other.Name+" "+other.Value, other))
		}
	case blacklist != nil:
		text := "blacklist " + t.name + ": its own name is an alias in the configuration"
		return fact.Stops(lineReason(ReasonBlacklist, text, blacklist))
	}
	return fact.Answer{}
}

// aliasWay answers for requests by alias: every one of the module, or the one that was asked for. It does not apply to
// a module without. load is the answer of what follows a request.
func (c *checker) aliasWay(r *result, s *bootState, t target, load fact.Answer) fact.Answer {
	blocked, shown := c.blockedAliases(s.modprobe, t)
	if !blocked.Applies() {
		return fact.Answer{}
	}
	r.addReason(shown...)
	way := blocked // a command of another module may load the code itself
	if blocked.Blocked() != "" || blocked.Because().Code == ReasonUnread {
		way = inTurn(s.modprobe.certainly(blocked), load)
	}
	if aliases, _ := c.aliasesOf(t.name); slices.ContainsFunc(aliases, isDeviceAlias) {
		return way // udev asks for those, without the helper
	}
	return inTurn(s.kernel.helper, way)
}

// blockedAliases says whether the configuration keeps every alias of the module from leading to it. It does not apply
// to a module without alias. shown are the lines that a verdict shows.
func (c *checker) blockedAliases(m *modprobeState, t target) (a fact.Answer, shown []fact.Reason) {
	aliases, unread := c.aliasesOf(t.name)
	if t.alias != "" {
		aliases, unread = []string{t.alias}, fact.Answer{}
	}
	configured := m.hasAlias(t.name)
	if len(aliases) == 0 && !configured {
		return unread, nil
	}
	if line := m.of(t.name).blacklist; line != nil {
		because := lineReason(ReasonBlacklist, "blacklist "+t.name+": its aliases do not load it", line)
		return fact.Stops(because), []fact.Reason{because}
	}
	if configured && (t.alias == "" || m.targetsOf(t.alias).include(t.name)) {
		return passes(), nil
	}
	for _, alias := range aliases {
		line, d, ok := m.aliasStops(alias, t.name)
		if !ok {
			return passes(), nil
		}
		shown = append(shown, line)
		if d != nil {
			because := lineReason(ReasonInstall, installText(d), d)
			shown = append(shown, because)
			because.Unread = "the command's effect"
			return fact.UnsureOf(because), shown
		}
	}
	if unread.Applies() {
		return unread, shown[:min(len(shown), 3)]
	}
	return fact.Stops(shown[0]), shown[:min(len(shown), 3)]
}

// blockedByPlan says whether modprobe, asked for the match, would be kept from loading the target.
func (c *checker) blockedByPlan(s *bootState, t target, m modprobe.Match) fact.Answer {
	plan := s.modprobe.tree.PlanMatch(s.modprobe.config, m, c.other)
	needs := make(map[string]bool)
	for _, file := range s.modprobe.tree.Needs(t.name) {
		needs[ko.NameOfFile(file)] = true
	}
	var unsure fact.Answer
	for i := range plan.Steps {
		step := &plan.Steps[i]
		if step.Name != t.name && (step.Builtin || s.kernel.loaded[step.Name]) {
			continue
		}
		a := c.blockedStep(s, t, step)
		switch {
		case step.Name == t.name && a.Blocked() == fact.No && unsure.Applies():
			return unsure
		case step.Name == t.name:
			return a
		case step.Optional && !needs[step.Name], a.Blocked() == fact.No:
		case a.Blocked() == "":
			unsure = a
		case needs[step.Name], s.modprobe.endsPlan(step):
			return a // the target misses its symbols, or modprobe stops there
		}
	}
	if plan.Cut {
		return fact.Unsure(ReasonUnread, "modprobe's plan for it is longer than is looked at")
	}
	return fact.Stops(fact.Reason{}) // no step loads it
}

// endsPlan reports whether modprobe goes no further after a step that loads nothing.
func (s *modprobeState) endsPlan(step *modprobe.Step) bool {
	return step.Command == "" || s.effectOf(step.Command, step.Name) == modprobe.CommandFails
}

// blockedStep says whether one step of a plan loads nothing.
func (c *checker) blockedStep(s *bootState, t target, step *modprobe.Step) fact.Answer {
	switch {
	case step.Command != "":
		return s.modprobe.blockedCommand(t, step)
	case step.Name == t.name:
		return c.unsupported(s, step.Path)
	}
	if u := c.unsupported(s, step.Path); u.Blocked() == "" {
		return u
	}
	a := c.refuses(s.kernel, target{name: step.Name, file: step.Path})
	if a.Blocked() == fact.Yes {
		return fact.Stops(neededFirst(a.Because(), step.Name))
	}
	return a
}

// unsupported says whether SUSE's modprobe may refuse a file because SUSE does not support the module, which a kernel
// that was built without that distinction does not show.
func (c *checker) unsupported(s *bootState, file string) fact.Answer {
	line := s.modprobe.config.RefusesUnsupported()
	if config := s.kernel.revokes.config; line == nil || config != nil && !config.has("CONFIG_SUSE_KERNEL_SUPPORTED") {
		return passes()
	}
	if facts := c.factsOf(file); facts.support == "yes" || facts.support == "external" {
		return passes()
	}
	text := line.Name + " " + line.Value + ": SUSE's modprobe refuses a module that is not marked as supported, as " +
		path.Base(file) + " is not"
	r := lineReason(ReasonUnsupported, text, line)
	r.Unread = "whether modprobe is SUSE's"
	return fact.UnsureOf(r)
}

// blockedCommand says whether the command of an install line loads nothing.
func (s *modprobeState) blockedCommand(t target, step *modprobe.Step) fact.Answer {
	text := "install " + step.CommandAt.Name + " " + step.Command
	if step.Name != t.name {
		text += " (" + step.Name + " must be loaded first)"
	}
	r := lineReason(ReasonInstall, text, step.CommandAt)
	switch s.effectOf(step.Command, step.Name) {
	case modprobe.CommandFails, modprobe.CommandNothing:
		return fact.Stops(r)
	case modprobe.CommandLoads:
		return fact.Passes(r)
	}
	r.Text += ": what it does is known only by running it"
	r.Unread = "the command's effect"
	return fact.UnsureOf(r)
}

// unindexed says whether modprobe misses a file that no index names: kmod's does where there is an index, OpenWrt's
// needs none, and without one it is not known what the machine uses.
func (c *checker) unindexed(t target) fact.Answer {
	r := fact.Reason{Code: ReasonNotIndexed, File: "/" + c.tree.Path(t.file)}
	switch _, program := modprobe.Program(c.machine.FS); {
	case program == modprobe.Kmodloader:
		r.Text = "this machine's modprobe finds the file without an index"
		return fact.Passes(r)
	case program == "" && c.tree.IndexErr() == nil:
		if _, err := c.tree.DepLine(t.name); err != nil {
			return c.indexUnread("modules.dep", err)
		}
		r.Text = "modules.dep does not name the file: modprobe does not find it"
		return fact.Stops(r)
	}
	r.Text = "no modules.dep names the file: kmod's modprobe would not find it, others may"
	r.Unread = "/" + c.tree.Path("modules.dep")
	return fact.UnsureOf(r)
}
