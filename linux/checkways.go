// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A judgement is the answer for one module in one world.
type judgement struct {
	prospect fact.Prospect
	reasons  []fact.Reason
	word     string
}

// why adds a reason, once.
func (j *judgement) why(r fact.Reason) {
	if !slices.Contains(j.reasons, r) {
		j.reasons = append(j.reasons, r)
	}
}

// way adds a way, and why it is blocked.
func (j *judgement) way(way string, blocked fact.Tri, because ...fact.Reason) {
	j.prospect.Ways = append(j.prospect.Ways, fact.Way{Way: way, Blocked: blocked})
	for _, r := range because {
		j.why(r)
	}
}

func (j *judgement) blocked(way string) (fact.Tri, bool) {
	for _, w := range j.prospect.Ways {
		if w.Way == way {
			return w.Blocked, true
		}
	}
	return "", false
}

// verdict judges one module in every world.
func (c *Checker) verdict(query string, t target) fact.Verdict {
	v := fact.Verdict{Query: query, Release: c.m.Release, Module: t.name}
	v.Reasons = c.whereabouts(t)
	add := func(list []fact.Reason) {
		for _, r := range list {
			if !slices.Contains(v.Reasons, r) {
				v.Reasons = append(v.Reasons, r)
			}
		}
	}
	if c.now != nil {
		j := c.judge(c.now, t)
		if c.loaded == nil && j.prospect.Outcome != fact.VerdictBuiltin && j.prospect.Outcome != fact.VerdictLoadable {
			j.prospect.Outcome = fact.VerdictUnknown // it may be loaded
		}
		v.Now, v.Word = &j.prospect, j.word
		add(j.reasons)
	}
	merged := c.mergeNext(t)
	v.NextBoot = &merged.prospect
	if v.Word == "" || worse(v.NextBoot.Outcome, outcomeOfNow(v.Now)) {
		v.Word = merged.word
	}
	add(merged.reasons)
	v.Triggers = c.triggers(t)
	v.Bypasses, v.Problems = c.bypasses(t, v.NextBoot)
	v.Remedies = c.remedies(t, &v)
	v.Problems = append(v.Problems, c.problems...)
	return v
}

func outcomeOfNow(p *fact.Prospect) fact.VerdictOutcome {
	if p == nil {
		return ""
	}
	return p.Outcome
}

// outcomeOrder ranks outcomes, the worst first.
var outcomeOrder = []fact.VerdictOutcome{fact.VerdictLoaded, fact.VerdictBuiltin, fact.VerdictLoadable, fact.VerdictUnknown, fact.VerdictBlocked, fact.VerdictAbsent}

func worse(a, b fact.VerdictOutcome) bool {
	rank := func(o fact.VerdictOutcome) int {
		if i := slices.Index(outcomeOrder, o); i >= 0 {
			return i
		}
		return len(outcomeOrder)
	}
	return rank(a) < rank(b)
}

// mergeNext judges the module for every boot entry: a way is blocked only when it is in each.
func (c *Checker) mergeNext(t target) judgement {
	merged := c.judge(c.next[0], t)
	for _, w := range c.next[1:] {
		j := c.judge(w, t)
		if w.guess && worse(j.prospect.Outcome, merged.prospect.Outcome) {
			j.prospect.Outcome, j.word = fact.VerdictUnknown, string(fact.VerdictUnknown)
		}
		if worse(j.prospect.Outcome, merged.prospect.Outcome) {
			merged.prospect.Outcome, merged.word = j.prospect.Outcome, j.word
		}
		for i := range merged.prospect.Ways {
			way := &merged.prospect.Ways[i]
			if other, ok := j.blocked(way.Way); ok && way.Blocked != other && way.Blocked != fact.No {
				way.Blocked = other
				if other == fact.Yes || w.guess {
					way.Blocked = ""
				}
			}
		}
		for _, r := range j.reasons {
			merged.why(r)
		}
	}
	for i := range c.runConfig {
		if d := &c.runConfig[i]; modprobe.MatchAlias(d.Name, t.name) {
			text := "blacklist " + d.Name
			if d.Value != "" {
				text = "install " + d.Name + " " + d.Value
			}
			merged.why(reasonOf(ReasonVolatile, text+": /run is empty after a boot", d))
		}
	}
	return merged
}

// whereabouts says where the code is.
func (c *Checker) whereabouts(t target) []fact.Reason {
	var reasons []fact.Reason
	if c.loaded[t.name] {
		reasons = append(reasons, fact.Reason{Code: ReasonLoaded, Text: "in the kernel as a module", File: slash(ModulesFile)})
	}
	if t.builtin {
		reasons = append(reasons, fact.Reason{Code: ReasonBuiltin, Text: "compiled into the kernel", File: slash(t.builtinAt)})
	}
	switch {
	case t.gone:
		reasons = append(reasons, fact.Reason{Code: ReasonFileMissing, Text: "modules.dep names this file, and it is not there", File: "/" + c.plain.Path(t.file)})
	case t.onDisk:
		reasons = append(reasons, fact.Reason{Code: ReasonOnDisk, Text: "module file", File: "/" + c.plain.Path(t.file)})
	case t.file != "":
		reasons = append(reasons, fact.Reason{Code: ReasonNotIndexed, Text: c.unindexedText(), File: "/" + c.plain.Path(t.file)})
	}
	return reasons
}

// unindexedBlocked says whether modprobe misses a file that no index names: kmod's does where there is an
// index, OpenWrt's needs none, and without one it is anybody's guess what the machine uses.
func (c *Checker) unindexedBlocked() fact.Tri {
	switch _, program := modprobe.Program(c.m.FS); {
	case program == modprobe.Kmodloader:
		return fact.No
	case program == "" && c.plain.IndexErr() == nil:
		return fact.Yes
	}
	return ""
}

func (c *Checker) unindexedText() string {
	switch c.unindexedBlocked() {
	case fact.Yes:
		return "modules.dep does not name the file: modprobe does not find it"
	case fact.No:
		return "this machine's modprobe finds the file without an index"
	}
	return "no modules.dep names the file: kmod's modprobe would not find it, others may"
}

// judge answers for one world.
func (c *Checker) judge(w *world, t target) judgement {
	var j judgement
	if t.builtin {
		return c.judgeBuiltin(w, t)
	}
	because := c.judgeWays(w, t, &j)
	j.prospect.Outcome, j.word = outcomeOf(j.prospect.Ways), "not loadable"
	switch {
	case w.loaded[t.name]:
		j.prospect.Outcome, j.word = fact.VerdictLoaded, "loaded"
	case t.file == "" && w == c.now:
		j.prospect.Outcome, j.word = fact.VerdictUnknown, "unknown"
	case t.file == "":
		j.prospect.Outcome, j.word = c.withoutFile(t.name), "no file on disk"
	case j.prospect.Outcome == fact.VerdictLoadable:
		j.word = "loadable"
	case because != nil:
		j.word = because.Code
	case j.prospect.Outcome == fact.VerdictBlocked && t.gone:
		j.word = "file is missing"
	case j.prospect.Outcome == fact.VerdictBlocked && !t.onDisk:
		j.word = "not in modules.dep"
	case j.prospect.Outcome == fact.VerdictBlocked:
		j.word = "install override"
	}
	return j
}

// judgeWays judges each way in, and returns what keeps the kernel from taking the file at all; nil for
// nothing.
func (c *Checker) judgeWays(w *world, t target, j *judgement) *fact.Reason {
	if t.gone {
		c.judgeGone(w, t, j)
		return nil
	}
	kernel, because := c.kernelBlocks(w, t)
	if because != nil {
		j.why(*because)
	}
	if t.onDisk {
		c.judgeConfigured(w, t, kernel, j)
	} else if t.file != "" {
		blocked := both(c.unindexedBlocked(), kernel)
		for _, way := range []string{WayAutoloadName, WayModprobe} {
			j.way(way, blocked)
		}
	}
	if t.file != "" {
		j.way(WayInsmod, both(kernel, c.kernelBlocksNeeds(w, t, j)))
	}
	if kernel != fact.Yes {
		return nil
	}
	return because
}

// judgeGone judges a module whose file is not there: modprobe fails, unless an install line of the
// module's own, or another's, may load its code from elsewhere.
func (c *Checker) judgeGone(w *world, t target, j *judgement) {
	blocked := w.certain(fact.Yes)
	if d := w.config.FindInstall(t.name); d != nil && mayLoad(modprobe.EffectOf(d.Value, t.name)) {
		blocked = ""
		j.why(reasonOf(ReasonInstall, "install "+d.Name+" "+d.Value, d))
	}
	if d, _ := c.loadedByCommand(w, t); d != nil {
		blocked = ""
		j.why(reasonOf(ReasonInstall, "install "+d.Name+" "+d.Value, d))
	}
	for _, way := range []string{WayAutoloadName, WayModprobe} {
		j.way(way, blocked)
	}
}

// withoutFile is the next boot's outcome of a loaded module that has no file.
func (c *Checker) withoutFile(name string) fact.VerdictOutcome {
	if c.allRead(name) {
		return fact.VerdictAbsent
	}
	return fact.VerdictUnknown
}

// outcomeOf is loadable when some way other than insmod is open, blocked when none is.
func outcomeOf(ways []fact.Way) fact.VerdictOutcome {
	outcome := fact.VerdictBlocked
	for _, w := range ways {
		switch {
		case w.Way == WayInsmod || w.Way == WayUnprivileged: // the second is one of the autoloads
		case w.Blocked == fact.No:
			return fact.VerdictLoadable
		case w.Blocked == "":
			outcome = fact.VerdictUnknown
		}
	}
	return outcome
}

// judgeBuiltin answers for code that is compiled in: only initcall_blacklist= keeps it from
// starting.
func (c *Checker) judgeBuiltin(w *world, t target) judgement {
	j := judgement{prospect: fact.Prospect{Outcome: fact.VerdictBuiltin}, word: "built in"}
	list := boot.ListValues(w.words, FactInitcalls, true)
	if len(list) == 0 || !w.initcalls {
		return j
	}
	functions, err := readInitcalls(c.m.FS, c.m.Release, t.name, c.m.Running)
	blocked, by := initcallsBlocked(list, functions, t.name)
	switch blocked {
	case fact.Yes:
		j.prospect.Outcome, j.word = fact.VerdictBlocked, "built in, not started"
		j.why(fact.Reason{Code: ReasonInitcall, Text: "initcall_blacklist=" + by + " keeps it from starting", File: w.at.File, Line: w.at.Line})
	case "":
		j.prospect.Outcome, j.word = fact.VerdictUnknown, "unknown"
		j.why(fact.Reason{Code: ReasonInitcall, Text: "initcall_blacklist=" + by + " may name its start function: no list of the kernel's symbols does", File: w.at.File, Line: w.at.Line})
		if err != nil {
			c.problem(SourceBuiltin, t.name, err)
		}
	}
	return j
}

// judgeConfigured judges the ways that go through modprobe.
func (c *Checker) judgeConfigured(w *world, t target, kernel fact.Tri, j *judgement) {
	direct, because := c.reach(w, t, modprobe.Match{Name: t.name})
	direct = both(w.certain(direct), kernel)
	if because != nil {
		j.why(*because)
	}
	for _, r := range c.ignoredInstalls(w, t) {
		j.why(r)
	}
	own, turned := c.judgeName(w, t, direct)
	if turned != nil {
		j.why(*turned)
	}
	helper, helperWhy := w.helperBlocks()

	alias, hasAlias, aliasWhy := c.judgeAliases(w, t, direct)
	byKernel := both(alias, helper)
	if hasAlias {
		if slices.ContainsFunc(c.aliases(t.name), isDeviceAlias) {
			byKernel = alias // udev asks for those, without the helper
		}
		j.way(WayAutoloadAlias, byKernel, aliasWhy...)
	}
	if line := w.config.FindBlacklist(t.name); line != nil {
		code, text := ReasonBlacklistIgnored, "blacklist "+t.name+": filters aliases only"
		switch {
		case !hasAlias:
			text += "; this module has none"
		case direct == fact.Yes:
			code = ReasonBlacklist
		default:
			text += "; not a request by name, nor as a dependency"
		}
		j.why(reasonOf(code, text, line))
	}
	name := both(own, helper)
	if helperWhy != nil {
		j.why(*helperWhy)
	}
	j.way(WayAutoloadName, name)
	j.way(WayUnprivileged, c.judgeUnprivileged(w, t, byKernel, hasAlias, name))
	j.way(WayModprobe, own)
	if blocked, has := c.judgeDependents(w, t, j); has {
		j.way(WayDependency, both(w.certain(blocked), kernel))
	}
}

// ignoredInstalls are the install lines for the module that do not count, and why.
func (c *Checker) ignoredInstalls(w *world, t target) []fact.Reason {
	counts := w.config.FindInstall(t.name)
	if counts == nil {
		return nil
	}
	var ignored []fact.Reason
	say := func(d *modprobe.Directive, why string) {
		ignored = append(ignored, reasonOf(ReasonInstallIgnored, "install "+d.Name+" "+d.Value+": "+why, d))
	}
	if dep := c.softdepOf(w, t.name); dep != nil {
		say(counts, fmt.Sprintf("not run, because the module has softdeps (/%s:%d)", dep.File, dep.Line))
	}
	for i := range w.config.Install {
		d := &w.config.Install[i]
		if d != counts && modprobe.MatchAlias(d.Name, t.name) && len(ignored) < maxTriggers {
			say(d, fmt.Sprintf("the first such line counts (/%s:%d)", counts.File, counts.Line))
		}
	}
	return ignored
}

// softdepOf returns the module's softdep that makes modprobe pass by its install line, which is one
// with a name that something has; nil for none.
func (c *Checker) softdepOf(w *world, module string) *modprobe.Directive {
	d := w.config.FindSoftdep(module)
	if d == nil {
		return nil
	}
	dep := ko.ParseSoftdep(d.Value)
	if !w.tree.Knows(append(slices.Clone(dep.Pre), dep.Post...), &c.untold) {
		return nil
	}
	return d
}

// judgeName says whether a request for the module's own name is kept from loading it: the
// configuration may turn the name into something else, and a blacklist then counts.
func (c *Checker) judgeName(w *world, t target, direct fact.Tri) (fact.Tri, *fact.Reason) {
	if !c.leadsTo(w, t.name, t.name) {
		if other := w.aliasOverride(t.name, t.name); other != nil {
			r := reasonOf(ReasonAliasOverride, "alias "+other.Name+" "+other.Value, other)
			return both(w.certain(fact.Yes), direct), &r
		}
		return direct, nil
	}
	if line := w.config.FindBlacklist(t.name); line != nil {
		r := reasonOf(ReasonBlacklist, "blacklist "+t.name+": its own name is an alias in the configuration", line)
		return both(w.certain(fact.Yes), direct), &r
	}
	return direct, nil
}

// certain turns "blocked" into unknown when a part of the configuration could not be read.
func (w *world) certain(blocked fact.Tri) fact.Tri {
	if blocked == fact.Yes && w.notSure {
		return ""
	}
	return blocked
}

// both is blocked when either is, and open when both are.
func both(a, b fact.Tri) fact.Tri {
	switch {
	case a == fact.Yes || b == fact.Yes:
		return fact.Yes
	case a == fact.No && b == fact.No:
		return fact.No
	}
	return ""
}

// helperBlocks says whether the kernel can ask for modules at all.
func (w *world) helperBlocks() (fact.Tri, *fact.Reason) {
	switch {
	case w.helperWhy != nil:
		return "", w.helperWhy
	case w.helper == "":
		return fact.Yes, &fact.Reason{Code: ReasonHelper, Text: "the kernel's helper is empty: it asks for no module", File: w.helperAt}
	case strings.HasSuffix(w.helper, "/true"), strings.HasSuffix(w.helper, "/false"):
		return fact.Yes, &fact.Reason{Code: ReasonHelper, Text: "the kernel runs " + quote(w.helper) + " for a module", File: w.helperAt}
	case strings.HasSuffix(w.helper, "/modprobe"):
		return fact.No, nil
	}
	return "", &fact.Reason{Code: ReasonHelper, Text: "the kernel runs " + quote(w.helper) + " for a module", File: w.helperAt}
}

// reach says whether modprobe, asked for the match, would be kept from loading the target.
func (c *Checker) reach(w *world, t target, m modprobe.Match) (fact.Tri, *fact.Reason) {
	plan := w.tree.PlanMatch(w.config, m, &c.untold)
	needs := make(map[string]bool)
	for _, file := range w.tree.Needs(t.name) {
		needs[ko.NameOfFile(file)] = true
	}
	var unknown *fact.Reason
	for i := range plan.Steps {
		s := &plan.Steps[i]
		if s.Name != t.name && (s.Builtin || w.loaded[s.Name]) {
			continue
		}
		stops, because := c.stepStops(w, t, s)
		switch {
		case s.Name == t.name && stops == fact.No && unknown != nil:
			return "", unknown
		case s.Name == t.name:
			return stops, because
		case s.Optional && !needs[s.Name], stops == fact.No:
		case stops == "":
			unknown = because
		case s.Command == "" || needs[s.Name] || modprobe.EffectOf(s.Command, s.Name) == modprobe.CommandFails:
			return fact.Yes, because // modprobe stops there, or the target misses its symbols
		}
	}
	return fact.Yes, nil // no step loads it
}

// stepStops says whether one step loads nothing.
func (c *Checker) stepStops(w *world, t target, s *modprobe.Step) (fact.Tri, *fact.Reason) {
	if s.Command != "" {
		text := "install " + s.CommandAt.Name + " " + s.Command
		if s.Name != t.name {
			text += " (" + s.Name + " must be loaded first)"
		}
		because := reasonOf(ReasonInstall, text, s.CommandAt)
		switch modprobe.EffectOf(s.Command, s.Name) {
		case modprobe.CommandFails, modprobe.CommandNothing:
			return fact.Yes, &because
		case modprobe.CommandLoads:
			return fact.No, &because
		}
		because.Text += ": only running it would tell what it does"
		return "", &because
	}
	if s.Name == t.name {
		return fact.No, nil
	}
	blocked, because := c.kernelBlocks(w, target{name: s.Name, file: s.Path})
	if blocked == fact.Yes {
		r := *because // it may be shared
		r.Code, r.Text = ReasonDependency, r.Text+" ("+s.Name+" must be loaded first)"
		because = &r
	}
	return blocked, because
}

// judgeUnprivileged says whether what any process may trigger is blocked.
func (c *Checker) judgeUnprivileged(w *world, t target, alias fact.Tri, hasAlias bool, name fact.Tri) fact.Tri {
	if name == fact.Yes && (!hasAlias || alias == fact.Yes) {
		return fact.Yes
	}
	known := false
	if triggerOf(t.name, true) != nil {
		known = true
		if name == fact.No {
			return fact.No
		}
	}
	unsure := alias == "" || name == ""
	for _, a := range c.aliases(t.name) {
		if triggerOf(a, false) == nil {
			continue
		}
		known = true
		if alias == fact.No && w.aliasOverride(a, t.name) == nil {
			return fact.No
		}
	}
	if known && !unsure {
		return fact.Yes // every request that is known is blocked
	}
	return ""
}
