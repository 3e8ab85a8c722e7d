// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/linux/ko"
)

// A Step is one thing that modprobe would do to load a module.
type Step struct {
	// Name is the module's name.
	Name string
	// Path is the file that would be loaded, relative to the release directory; empty for a command
	// and for code that is compiled in.
	Path string
	// Builtin is set when nothing need be done because it is compiled in.
	Builtin bool
	// Command is what the configuration runs instead; empty if it runs nothing.
	Command string
	// CommandAt is the line that gives Command; nil without a command.
	CommandAt *Directive
	// Params are the parameters that the configuration gives.
	Params string
	// Optional is set when loading goes on if this step fails: a softdep.
	Optional bool
	// Reason is why the step is taken: asked, depends, softdep_pre or softdep_post.
	Reason string
}

// Reasons of a Step.
const (
	ReasonAsked       = "asked"
	ReasonDepends     = "depends"
	ReasonSoftdepPre  = "softdep_pre"
	ReasonSoftdepPost = "softdep_post"
)

// A Plan is what modprobe would do for a query.
type Plan struct {
	// Steps are in order.
	Steps []Step
	// Blacklisted are modules that the query stands for as an alias and that a blacklist line keeps
	// from being loaded.
	Blacklisted []*Directive
	// Cut is set if there are more steps than a plan may have: Steps are the first of them.
	Cut bool
}

// maxSteps caps a plan; real ones have under 100 steps.
const maxSteps = 10000

// Plan returns what modprobe would do for a name or an alias if nothing were loaded yet, in
// its order: what the module depends on first, with softdeps around each. What could not be read or
// found on the way is a problem of SourceTree. The error says why there are no steps: nothing has that
// name, or what could not be read. A blacklist line that leaves no step is not an error.
func (t *Tree) Plan(query string, r *fact.Report) (*Plan, error) {
	alias, ok := NormalizeAlias(query)
	if !ok {
		return nil, errUnbalanced
	}
	p := &planner{lookup: lookup{tree: t}, config: t.Config(), plan: new(Plan)}
	matches := p.resolve(alias)
	if err := t.IndexErr(); errors.Is(err, fs.ErrNotExist) {
		p.add(fmt.Errorf("without modules.dep modprobe finds nothing, run depmod: %w", err))
	} else {
		p.modules(matches)
	}
	r.Append(&p.lost)
	switch {
	case len(p.plan.Steps) > 0 || len(p.plan.Blacklisted) > 0:
	case len(p.lost.Problems) > 0:
		return nil, p.err()
	case len(matches) == 0:
		return nil, fmt.Errorf("no module, alias or symbol of that name in release %s: %w", t.Release, fs.ErrNotExist)
	}
	return p.plan, nil
}

// PlanMatch returns what modprobe would do for one match of a query with a configuration that may be
// another than the tree's. What could not be read or found on the way is a problem of SourceTree.
func (t *Tree) PlanMatch(config *Config, m Match, r *fact.Report) *Plan {
	p := &planner{lookup: lookup{tree: t}, config: config, plan: new(Plan)}
	p.module(m)
	r.Append(&p.lost)
	return p.plan
}

// Needs returns the files that the module needs; none when that is not known.
func (t *Tree) Needs(module string) []string {
	line, _ := t.DepLine(module)
	if line == nil {
		return nil
	}
	return line.Needs
}

// Knows reports whether one of the names, which are those of a softdep, stands for a module. Indexes
// that could not be read are problems of SourceTree.
func (t *Tree) Knows(names []string, r *fact.Report) bool {
	l := lookup{tree: t}
	found := l.softdep(names)
	r.Append(&l.lost)
	return len(found) > 0
}

// A planner collects the steps of one query.
type planner struct {
	lookup
	config   *Config
	plan     *Plan
	visited  map[Match]bool
	required map[string]bool
}

// A planTask is work that is still to be done: a module with all it needs, or one step.
type planTask struct {
	match  Match
	reason string
	with   int // what comes with it, one of the with constants
}

const (
	withAll      = iota // its dependencies and its softdeps
	withSoftdeps        // its softdeps
	withNothing         // the step alone
)

// modules plans what a query stands for, but for modules that a blacklist line keeps its aliases from.
func (p *planner) modules(matches []Match) {
	for _, m := range matches {
		if m.Alias != "" {
			if d := p.config.FindBlacklist(m.Name); d != nil {
				p.plan.Blacklisted = append(p.plan.Blacklisted, d)
				continue
			}
		}
		p.module(m)
	}
}

// module plans one module. Tasks are kept on a stack, because softdeps may be chained without end.
func (p *planner) module(m Match) {
	p.visited, p.required = make(map[Match]bool), map[string]bool{m.Name: true}
	for _, file := range p.needs(m.Name) {
		p.required[ko.NameOfFile(file)] = true
	}
	stack := []planTask{{m, ReasonAsked, withAll}}
	for len(stack) > 0 {
		if len(p.plan.Steps) >= maxSteps {
			p.plan.Cut = true
			p.add(&fact.ParseError{Source: p.tree.Dir, Field: "steps",
				Reason: fmt.Sprintf("more than %d steps", maxSteps), Err: fact.ErrTooLarge})
			return
		}
		task := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		switch task.with {
		case withAll:
			key := Match{Name: task.match.Name, Alias: task.match.Alias}
			if p.visited[key] {
				continue
			}
			p.visited[key] = true
			stack = append(stack, planTask{task.match, task.reason, withSoftdeps})
			// modules.dep lists what to load last first; the stack turns that around.
			for _, file := range p.needs(task.match.Name) {
				stack = append(stack, planTask{Match{Name: ko.NameOfFile(file)}, ReasonDepends, withSoftdeps})
			}
		case withSoftdeps:
			stack = p.softdeps(stack, task)
		default:
			p.step(task)
		}
	}
}

// softdeps puts a module's step on the stack with its softdeps around it.
func (p *planner) softdeps(stack []planTask, task planTask) []planTask {
	var dep ko.Softdep
	if d := p.config.FindSoftdep(task.match.Name); d != nil {
		dep = ko.ParseSoftdep(d.Value)
	}
	pre, post := p.softdep(dep.Pre), p.softdep(dep.Post)
	for i := len(post) - 1; i >= 0; i-- {
		stack = append(stack, planTask{post[i], ReasonSoftdepPost, withAll})
	}
	if len(pre)+len(post) > 0 {
		task.match.By = softdepBeatsCommand
	}
	stack = append(stack, planTask{task.match, task.reason, withNothing})
	for i := len(pre) - 1; i >= 0; i-- {
		stack = append(stack, planTask{pre[i], ReasonSoftdepPre, withAll})
	}
	return stack
}

// softdepBeatsCommand marks a module whose install command does not count, because it has softdeps.
const softdepBeatsCommand = "softdep"

// softdep resolves the names of a softdep; what does not exist is left out, as modprobe does.
func (l *lookup) softdep(names []string) []Match {
	var matches []Match
	for _, name := range names {
		alias, ok := NormalizeAlias(name)
		if !ok {
			l.add(fmt.Errorf("softdep %q: %w", name, errUnbalanced))
			continue
		}
		matches = append(matches, l.resolve(alias)...)
	}
	return matches
}

// needs returns the files that the module needs.
func (p *planner) needs(name string) []string {
	line, err := p.tree.DepLine(name)
	if err != nil {
		p.add(err)
	}
	if line == nil {
		return nil
	}
	return line.Needs
}

// step adds one step. A module that is neither a file nor compiled in, such as the target of a
// wrong alias, gives none.
func (p *planner) step(task planTask) {
	name := task.match.Name
	s := Step{Name: name, Reason: task.reason, Optional: !p.required[name],
		Params: p.config.options(name, task.match.Alias)}
	// What is compiled in counts as loaded, whatever is configured for it.
	builtin := task.match.Builtin || p.tree.IsBuiltin(name)
	if d := p.config.FindInstall(name); d != nil && !builtin && task.match.By != softdepBeatsCommand {
		s.Command, s.CommandAt = d.Value, d
		p.plan.Steps = append(p.plan.Steps, s)
		return
	}
	file, err := p.tree.FileOf(name)
	switch {
	case builtin:
		s.Builtin, s.Params = true, ""
	case file != "":
		s.Path = file
	default:
		if err == nil {
			err = fmt.Errorf("module %s: %w", name, errNoFile)
		}
		p.add(err)
		return
	}
	p.plan.Steps = append(p.plan.Steps, s)
}

var errNoFile error = &sentinel.Error{Before: "in no index of this release", Cause: fs.ErrNotExist}
