// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Match is one module that a name or an alias stands for.
type Match struct {
	// Name is the module's name.
	Name string
	// Alias is what it was found by when that is not its name: the alias in the configuration, else
	// the alias that was asked for.
	Alias string
	// By says which source had it, one of the Match constants.
	By string
	// Builtin is set when it is compiled in.
	Builtin bool
}

// The sources that a name is looked up in, in modprobe's order: the first that has it ends the
// search.
const (
	MatchConfig       = "config_alias"
	MatchName         = "name"
	MatchSymbol       = "symbol"
	MatchCommand      = "command"
	MatchAliasIndex   = "alias"
	MatchBuiltin      = "builtin"
	MatchBuiltinAlias = "builtin_alias"
)

// Resolve returns the modules that a name, an alias, a device's modalias or "symbol:NAME" stands
// for, in the order in which modprobe would load them; the same module only once. None is no error.
// lost are indexes that could not be read: the answer is what the others say. The error is for a
// query that makes no sense.
func (t *Tree) Resolve(query string) (matches []Match, lost []error, err error) {
	alias, ok := NormalizeAlias(query)
	if !ok {
		return nil, nil, &fact.ParseError{Field: "alias", Reason: "unbalanced brackets"}
	}
	lose := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			lost = append(lost, err)
		}
	}
	c := t.Config()
	for i := range c.Aliases {
		if d := &c.Aliases[i]; MatchAlias(d.Name, alias) {
			matches = append(matches, Match{Name: d.Value, Alias: d.Name, By: MatchConfig})
		}
	}
	if matches != nil {
		return t.settle(matches), nil, nil
	}
	line, err := t.depLine(alias)
	lose(err)
	if line != nil {
		return []Match{{Name: alias, By: MatchName}}, lost, nil
	}
	if strings.HasPrefix(alias, "symbol:") {
		m, err := t.matchIndex(indexSymbols, alias, MatchSymbol)
		lose(err)
		if m != nil {
			return m, lost, nil
		}
	}
	if c.command(alias) != nil {
		return t.settle([]Match{{Name: alias, By: MatchCommand}}), lost, nil
	}
	for _, stage := range []struct{ index, by string }{{indexAlias, MatchAliasIndex}, {indexBuiltin, MatchBuiltin}, {indexBuiltinAlias, MatchBuiltinAlias}} {
		m, err := t.matchIndex(stage.index, alias, stage.by)
		lose(err)
		if m != nil {
			return m, lost, nil
		}
	}
	return nil, lost, nil
}

// command returns the install or remove command of exactly that name; nil for none.
func (c *Config) command(name string) *Directive {
	exact := func(d *Directive) bool { return d.Name == name }
	if d := first(c.Install, exact); d != nil {
		return d
	}
	return first(c.Remove, exact)
}

// matchIndex looks an alias up in one index.
func (t *Tree) matchIndex(index, alias, by string) ([]Match, error) {
	x, err := t.index(index)
	if err != nil {
		return nil, err
	}
	if by == MatchBuiltin {
		values, err := x.Lookup(nil, alias)
		if len(values) == 0 {
			return nil, err
		}
		return []Match{{Name: alias, By: by, Builtin: true}}, err
	}
	values, err := x.Match(nil, alias)
	var matches []Match
	for _, v := range values {
		matches = append(matches, Match{Name: v.Value, Alias: alias, By: by, Builtin: by == MatchBuiltinAlias})
	}
	return t.settle(matches), err
}

// settle drops repeated modules and says which are compiled in.
func (t *Tree) settle(matches []Match) []Match {
	seen := make(map[string]bool, len(matches))
	kept := matches[:0]
	for _, m := range matches {
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		if !m.Builtin {
			m.Builtin = t.builtin(m.Name)
		}
		kept = append(kept, m)
	}
	return kept
}

// builtin reports whether the module is in the list of what is compiled in, and not a file too.
func (t *Tree) builtin(name string) bool {
	if line, _ := t.depLine(name); line != nil {
		return false
	}
	x, err := t.index(indexBuiltin)
	if err != nil {
		return false
	}
	values, _ := x.Lookup(nil, name)
	return len(values) > 0
}

// depLine returns the module's line of modules.dep; nil when it has none.
func (t *Tree) depLine(name string) (*DepLine, error) {
	if x, err := t.depIndex(); err == nil {
		values, err := x.Lookup(nil, name)
		if err != nil || len(values) == 0 {
			return nil, err
		}
		if d, ok := parseDepLine(values[0].Value); ok {
			return &d, nil
		}
		return nil, &fact.ParseError{Source: x.source, Reason: "line of " + name + " makes no sense"}
	}
	d := t.deps()
	if i, ok := d.byName[name]; ok {
		return &d.lines[i], nil
	}
	return nil, d.err
}

// depIndex returns modules.dep.bin.
func (t *Tree) depIndex() (*Index, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.indexes[indexDep]; l != nil {
		return l.index, l.err
	}
	l := new(lazyIndex)
	t.indexes[indexDep] = l
	l.index, l.err = t.readDepIndex()
	return l.index, l.err
}

// FileOf returns the file that modprobe would load for the module, relative to the release
// directory; "" when modules.dep names none.
func (t *Tree) FileOf(name string) (string, error) {
	line, err := t.depLine(name)
	if line == nil {
		return "", err
	}
	return line.Path, nil
}
