// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxDependents is how many modules that need another are judged.
const maxDependents = 64

// dependents are the modules that bring the target along, those that need it first.
func (c *Checker) dependents(w *world, t target) []string {
	var names []string
	seen := make(map[string]bool) // names of softdep lines, and what needs the file
	lines := c.plain.DepLines()
	for i := range lines {
		if slices.ContainsFunc(lines[i].Needs, func(file string) bool { return ko.NameOfFile(file) == t.name }) {
			names = append(names, lines[i].Name())
			seen[lines[i].Name()] = true
		}
	}
	for i := range w.config.Softdeps {
		line := &w.config.Softdeps[i]
		if seen[line.Name] || len(names) > maxDependents {
			continue
		}
		dep := ko.ParseSoftdep(line.Value)
		if !slices.ContainsFunc(append(slices.Clone(dep.Pre), dep.Post...), func(name string) bool { return modprobe.SameModule(name, t.name) }) {
			continue
		}
		seen[line.Name] = true
		if c.fileOf(line.Name) != "" && slices.Contains(softdepNames(w.config.FindSoftdep(line.Name)), t.name) {
			names = append(names, line.Name)
		}
	}
	return names
}

// softdepNames are the modules that a softdep line names; none of none.
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

// loadedByCommand returns the first install line of something else whose command loads the target past
// its own install line, as modprobe -i or insmod do; sure is false when a shell would have to tell.
func (c *Checker) loadedByCommand(w *world, t target) (d *modprobe.Directive, sure bool) {
	for i := range w.config.Install {
		line := &w.config.Install[i]
		if modprobe.MatchAlias(line.Name, t.name) {
			continue
		}
		if plain, _ := modprobe.PlainCommand(line.Value); modprobe.LoadsItself(plain, t.name) {
			return line, true
		}
		if d == nil && modprobe.LoadsItself(strings.NewReplacer(`'`, " ", `"`, " ").Replace(line.Value), t.name) {
			d = line
		}
	}
	return d, false
}

// judgeDependents says whether every module that needs the target is kept from bringing it along.
func (c *Checker) judgeDependents(w *world, t target, j *judgement) (blocked fact.Tri, has bool) {
	names := c.dependents(w, t)
	blocked = fact.Yes
	line, sure := c.loadedByCommand(w, t)
	if line != nil {
		j.why(reasonOf(ReasonTriggerDependent, "install "+line.Name+" "+line.Value+": loads it past its own install line", line))
		if sure {
			return fact.No, true
		}
		blocked = ""
	}
	for _, name := range names[:min(len(names), maxDependents)] {
		stops, _ := c.reach(w, t, modprobe.Match{Name: name})
		switch stops {
		case fact.No:
			return fact.No, true
		case "":
			blocked = ""
		}
	}
	if len(names) > maxDependents && blocked == fact.Yes {
		blocked = ""
	}
	return blocked, line != nil || len(names) > 0
}
