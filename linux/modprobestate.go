// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A modprobeState is what modprobe reads at one boot: the tree of the release and a configuration. What the
// configuration says of a name is looked up once.
type modprobeState struct {
	tree    *modprobe.Tree
	config  *modprobe.Config
	doubt   fact.Answer // what modprobe reads and could not be read here; does not apply if all was read
	lines   map[string]nameLines
	aliases map[string]aliasLines
	effects map[[2]string]modprobe.Effect // of commands, for a module
}

// nameLines are the lines of the configuration that count for one module; each is nil if no such line exists.
type nameLines struct {
	install   *modprobe.Directive
	blacklist *modprobe.Directive
	softdep   *modprobe.Directive
}

// aliasLines are the lines that make one name stand for modules, in their order.
type aliasLines []*modprobe.Directive

// newModprobeState returns the state for a configuration, and reports what of it could not be read.
func (c *checker) newModprobeState(tree *modprobe.Tree, config *modprobe.Config) *modprobeState {
	s := &modprobeState{tree: tree, config: config,
		lines: make(map[string]nameLines), aliases: make(map[string]aliasLines),
		effects: make(map[[2]string]modprobe.Effect)}
	var lost fact.Report
	config.Report(&lost)
	for _, p := range lost.Problems {
		c.configProblem(p)
	}
	if file, program := modprobe.Program(c.machine.FS); program != "" {
		text := "/" + file + " is " + program + "'s, which knows no install lines"
		s.doubt = fact.UnsureOf(fact.Reason{Code: ReasonModprobeProgram, Text: text, File: "/" + file,
			Unread: "the configuration as " + program + " reads it"})
		c.configProblem(fmt.Errorf("%s: the configuration is judged as kmod reads it: %w", text, errors.ErrUnsupported))
	}
	if err := config.Unread(); err != nil {
		s.doubt = fact.UnsureOf(unread(ReasonConfigUnread, "a part of modprobe's configuration", err))
	}
	return s
}

// configProblem reports a problem of the configuration, which several boot states share, once.
func (c *checker) configProblem(err error) {
	added := fact.ProblemOf(SourceConfig, "", "", err)
	same := func(p fact.Problem) bool { return p.Source == added.Source && p.Text == added.Text }
	if !slices.ContainsFunc(c.report.Problems, same) {
		c.problem(SourceConfig, "", err)
	}
}

// certainly returns the answer of a step that depends on the configuration. A part that was not read may undo a line
// that stops.
func (s *modprobeState) certainly(a fact.Answer) fact.Answer {
	if a.Blocked() == fact.Yes && s.doubt.Applies() {
		return s.doubt
	}
	return a
}

// of returns the lines that count for a module.
func (s *modprobeState) of(module string) nameLines {
	lines, ok := s.lines[module]
	if !ok {
		lines = nameLines{s.config.FindInstall(module), s.config.FindBlacklist(module), s.config.FindSoftdep(module)}
		s.lines[module] = lines
	}
	return lines
}

// effectOf returns what the command of an install line does to the module.
func (s *modprobeState) effectOf(command, module string) modprobe.Effect {
	key := [2]string{command, module}
	effect, ok := s.effects[key]
	if !ok {
		effect = modprobe.EffectIn(s.tree.FS(), command, module)
		s.effects[key] = effect
	}
	return effect
}

// mayLoad reports whether the install line may load something.
func (s *modprobeState) mayLoad(d *modprobe.Directive, module string) bool {
	if d == nil {
		return false
	}
	switch s.effectOf(d.Value, module) {
	case modprobe.CommandFails, modprobe.CommandNothing:
		return false
	}
	return true
}

// mayLoadElse reports whether the install line of a module without a file may load something: all that may load do but
// one that only asks modprobe for the same name again.
func (s *modprobeState) mayLoadElse(d *modprobe.Directive, module string) bool {
	again := d != nil && d.Name == module && len(s.targetsOf(module)) == 0 && modprobe.OnlyLoadsItself(d.Value, module)
	return s.mayLoad(d, module) && !again
}

// aliasStops returns the line that makes a request for an alias load something else than the module, or nothing, as
// kmod looks an alias up (kmod_module_new_from_lookup): the configured aliases, a module's file of that name, the
// commands of exactly that name, and only then the index. mayLoad is the install line that may load something then.
func (s *modprobeState) aliasStops(alias, module string) (because fact.Reason, mayLoad *modprobe.Directive, ok bool) {
	if len(s.targetsOf(alias)) > 0 {
		other := s.targetsOf(alias).override(module)
		if other == nil {
			return fact.Reason{}, nil, false
		}
		because = lineReason(ReasonAliasOverride, "alias "+other.Name+" "+other.Value, other)
		if d := s.of(other.Value).install; s.mayLoad(d, other.Value) {
			mayLoad = d
		}
		return because, mayLoad, true
	}
	if file, err := s.tree.FileOf(alias); err == nil && file != "" && alias != module {
		return textReason(ReasonAliasOverride, "a module of that name comes before the alias "+alias,
			"/"+s.tree.Path(file), 0), nil, true
	}
	d, install := s.config.FindCommand(alias)
	if d == nil || alias == module {
		return fact.Reason{}, nil, false
	}
	if !install {
		return lineReason(ReasonAliasOverride, "remove "+d.Name+" "+d.Value+": makes the alias a name of nothing", d),
			nil, true
	}
	if s.mayLoad(d, module) {
		mayLoad = d
	}
	return lineReason(ReasonInstall, installText(d), d), mayLoad, true
}

// targetsOf returns the lines that make a name or an alias stand for modules.
func (s *modprobeState) targetsOf(alias string) aliasLines {
	if len(s.config.Aliases) == 0 {
		return nil
	}
	lines, ok := s.aliases[alias]
	if !ok {
		for i := range s.config.Aliases {
			if d := &s.config.Aliases[i]; modprobe.MatchAlias(d.Name, alias) {
				lines = append(lines, d)
			}
		}
		s.aliases[alias] = lines
	}
	return lines
}

// include reports whether one of the lines is for the module.
func (lines aliasLines) include(module string) bool {
	return slices.ContainsFunc(lines, func(d *modprobe.Directive) bool { return d.Value == module })
}

// override returns the line that makes the alias stand for other modules only; nil for none.
func (lines aliasLines) override(module string) *modprobe.Directive {
	if len(lines) == 0 || lines.include(module) {
		return nil
	}
	return lines[0]
}

// hasAlias reports whether some line makes an alias stand for the module.
func (s *modprobeState) hasAlias(module string) bool {
	return slices.ContainsFunc(s.config.Aliases, func(d modprobe.Directive) bool { return d.Value == module })
}

// effectiveSoftdep returns the softdep that makes modprobe pass by the module's install line, which is one with a
// name that something has; nil for none.
func (s *modprobeState) effectiveSoftdep(module string, r *fact.Report) *modprobe.Directive {
	d := s.of(module).softdep
	if d == nil {
		return nil
	}
	dep := ko.ParseSoftdep(d.Value)
	if !s.tree.Knows(append(slices.Clone(dep.Pre), dep.Post...), r) {
		return nil
	}
	return d
}

// ignoredInstalls returns the install lines for the module that do not count, each with the reason.
func (s *modprobeState) ignoredInstalls(module string, r *fact.Report) []fact.Reason {
	counts := s.of(module).install
	if counts == nil {
		return nil
	}
	var ignored []fact.Reason
	add := func(d *modprobe.Directive, text string, by *modprobe.Directive) {
		text = fmt.Sprintf("%s: %s (/%s:%d)", installText(d), text, by.File, by.Line)
		ignored = append(ignored, lineReason(ReasonInstallIgnored, text, d))
	}
	if dep := s.effectiveSoftdep(module, r); dep != nil {
		add(counts, "not run, because the module has softdeps", dep)
	}
	for i := range s.config.Install {
		d := &s.config.Install[i]
		if d != counts && modprobe.MatchAlias(d.Name, module) && len(ignored) < maxTriggers {
			add(d, "the first such line counts", counts)
		}
	}
	return ignored
}

// loadedBy returns the first install line of another module whose command loads this one past its own install line,
// as modprobe -i or insmod do. sure is false if only a shell could decide it.
func (s *modprobeState) loadedBy(module string) (line *modprobe.Directive, sure bool) {
	for i := range s.config.Install {
		d := &s.config.Install[i]
		if modprobe.MatchAlias(d.Name, module) {
			continue
		}
		if plain, _ := modprobe.PlainCommand(d.Value); modprobe.LoadsItself(plain, module) {
			return d, true
		}
		unquoted := strings.NewReplacer(`'`, " ", `"`, " ").Replace(d.Value)
		if line == nil && modprobe.LoadsItself(unquoted, module) {
			line = d
		}
	}
	return line, false
}
