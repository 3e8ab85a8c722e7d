// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxDependents is how many modules that need another are judged.
const maxDependents = 64

// dependents returns the modules that bring the target along, those that need it first.
func (c *checker) dependents(m *modprobeState, t target) []string {
	var names []string
	seen := make(map[string]bool) // names of softdep lines, and what needs the file
	lines := c.tree.DepLines()
	for i := range lines {
		needs := func(file string) bool { return ko.NameOfFile(file) == t.name }
		if slices.ContainsFunc(lines[i].Needs, needs) {
			names = append(names, lines[i].Name())
			seen[lines[i].Name()] = true
		}
	}
	for i := range m.config.Softdeps {
		line := &m.config.Softdeps[i]
		if seen[line.Name] || len(names) > maxDependents {
			continue
		}
		dep := ko.ParseSoftdep(line.Value)
		isTarget := func(name string) bool { return modprobe.SameModule(name, t.name) }
		if !slices.ContainsFunc(append(slices.Clone(dep.Pre), dep.Post...), isTarget) {
			continue
		}
		seen[line.Name] = true
		if c.fileOf(line.Name) != "" && slices.Contains(softdepNames(m.config.FindSoftdep(line.Name)), t.name) {
			names = append(names, line.Name)
		}
	}
	return names
}

// fileOf returns the file that modules.dep names for the module; empty for none.
func (c *checker) fileOf(name string) string {
	file, _ := c.tree.FileOf(name)
	return file
}

// softdepNames returns the modules that a softdep line names; none of none.
func softdepNames(d *modprobe.Directive) []string {
	if d == nil {
		return nil
	}
	dep := ko.ParseSoftdep(d.Value)
	names := append(slices.Clone(dep.Pre), dep.Post...)
	for i := range names {
		names[i], _ = modprobe.NormalizeAlias(names[i])
	}
	return names
}

// blockedDependents says whether every module that brings the target along is kept from doing so. It does not apply if
// there is none.
func (c *checker) blockedDependents(r *result, s *bootState, t target) fact.Answer {
	names := c.dependents(s.modprobe, t)
	var found fact.Answer
	if line, sure := s.modprobe.loadedBy(t.name); line != nil {
		because := lineReason(ReasonTriggerDependent, installText(line)+": loads it past its own install line", line)
		r.addReason(because)
		if sure {
			return fact.Passes(because)
		}
		because.Unread = "the command's effect"
		found = fact.UnsureOf(because)
	}
	for _, name := range names[:min(len(names), maxDependents)] {
		a := c.blockedByPlan(s, t, modprobe.Match{Name: name})
		if a.Blocked() == fact.No {
			return a
		}
		found = inSum(found, a)
	}
	if len(names) > maxDependents && found.Blocked() == fact.Yes {
		text := fmt.Sprintf("more than %d modules bring it along: only so many are judged", maxDependents)
		return fact.Unsure(ReasonTriggerDependent, text)
	}
	return found
}

// inSum returns the answer of several ways of which none is open: it stops only if each does.
func inSum(a, b fact.Answer) fact.Answer {
	if !a.Applies() || a.Blocked() == fact.Yes && b.Blocked() == "" {
		return b
	}
	return a
}
