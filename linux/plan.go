// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

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
		case needs[step.Name], endsPlan(step):
			return a // the target misses its symbols, or modprobe stops there
		}
	}
	return fact.Stops(fact.Reason{}) // no step loads it
}

// endsPlan reports whether modprobe goes no further after a step that loads nothing.
func endsPlan(step *modprobe.Step) bool {
	return step.Command == "" || modprobe.EffectOf(step.Command, step.Name) == modprobe.CommandFails
}

// blockedStep says whether one step of a plan loads nothing.
func (c *checker) blockedStep(s *bootState, t target, step *modprobe.Step) fact.Answer {
	switch {
	case step.Command != "":
		return blockedCommand(t, step)
	case step.Name == t.name:
		return passes()
	}
	a := c.refuses(s.kernel, target{name: step.Name, file: step.Path})
	if a.Blocked() == fact.Yes {
		return fact.Stops(neededFirst(a.Because(), step.Name))
	}
	return a
}

// blockedCommand says whether the command of an install line loads nothing.
func blockedCommand(t target, step *modprobe.Step) fact.Answer {
	text := "install " + step.CommandAt.Name + " " + step.Command
	if step.Name != t.name {
		text += " (" + step.Name + " must be loaded first)"
	}
	r := lineReason(ReasonInstall, text, step.CommandAt)
	switch modprobe.EffectOf(step.Command, step.Name) {
	case modprobe.CommandFails, modprobe.CommandNothing:
		return fact.Stops(r)
	case modprobe.CommandLoads:
		return fact.Passes(r)
	}
	r.Text += ": only running it would tell what it does"
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
		r.Text = "modules.dep does not name the file: modprobe does not find it"
		return fact.Stops(r)
	}
	r.Text = "no modules.dep names the file: kmod's modprobe would not find it, others may"
	r.Unread = "/" + c.tree.Path("modules.dep")
	return fact.UnsureOf(r)
}
