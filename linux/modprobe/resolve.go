// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"errors"
	"fmt"
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
	// found says which are compiled in, and that it is not known when their list cannot be read.
	found := func(matches []Match) ([]Match, []error, error) {
		_, err := t.Index(IndexBuiltin)
		lose(err)
		return t.Settle(matches), lost, nil
	}
	c := t.Config()
	for i := range c.Aliases {
		if d := &c.Aliases[i]; MatchAlias(d.Name, alias) {
			matches = append(matches, Match{Name: d.Value, Alias: d.Name, By: MatchConfig})
		}
	}
	if matches != nil {
		return found(matches)
	}
	line, err := t.DepLine(alias)
	lose(err)
	if line != nil {
		return found([]Match{{Name: alias, By: MatchName}})
	}
	if strings.HasPrefix(alias, "symbol:") {
		m, err := t.MatchIndex(indexSymbols, alias, MatchSymbol)
		lose(err)
		if m != nil {
			return found(m)
		}
	}
	if c.command(alias) != nil {
		return found([]Match{{Name: alias, By: MatchCommand}})
	}
	m, err := t.MatchIndex(IndexAlias, alias, MatchAliasIndex)
	lose(err)
	if m != nil {
		return found(m)
	}
	for _, stage := range []struct{ index, by string }{{IndexBuiltin, MatchBuiltin}, {IndexBuiltinAlias, MatchBuiltinAlias}} {
		m, err := t.MatchIndex(stage.index, alias, stage.by)
		lose(err)
		if m != nil {
			return t.Settle(m), lost, nil
		}
	}
	return nil, append(lost, t.missing(alias)...), nil
}

// missing returns the indexes that a name could have been in and that do not exist, and directories
// that nobody looks into: without them "nothing" is not known.
func (t *Tree) missing(alias string) (lost []error) {
	names := []string{indexDep, IndexAlias}
	if strings.HasPrefix(alias, "symbol:") {
		names = []string{indexDep, indexSymbols}
	}
	for _, name := range names {
		var err error
		if name == indexDep {
			err = t.HasIndex()
		} else {
			_, err = t.Index(name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			lost = append(lost, fmt.Errorf("%w: run depmod", err))
		}
	}
	return append(lost, t.Unseen()...)
}

// HasIndex returns why neither modules.dep.bin nor modules.dep can be read; nil when one can. It is
// fs.ErrNotExist when there is neither, as on OpenWrt or for a package just unpacked.
func (t *Tree) HasIndex() error {
	if _, err := t.depIndex(); err == nil {
		return nil
	}
	return t.deps().err
}

// walked returns the module's file on a tree without modules.dep, found by walking it.
func (t *Tree) walked(name string) (*DepLine, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.files == nil {
		conf := readDepmodConfig(t.fsys, t.Release)
		inv := new(Inventory)
		files, err := t.walk(t.Dir, "", conf, inv)
		if err != nil {
			return nil, err
		}
		inv.choose(t, files, conf, new(depTable))
		t.files = make(map[string]string, len(inv.Modules))
		for i := range inv.Modules {
			t.files[inv.Modules[i].Name] = inv.Modules[i].Path
		}
	}
	if file := t.files[name]; file != "" {
		return &DepLine{Path: file}, nil
	}
	return nil, nil
}

// command returns the install or remove command of exactly that name; nil for none.
func (c *Config) command(name string) *Directive {
	exact := func(d *Directive) bool { return d.Name == name }
	if d := first(c.Install, exact); d != nil {
		return d
	}
	return first(c.Remove, exact)
}

// MatchIndex looks an alias up in one index; a module may be there more than once.
func (t *Tree) MatchIndex(index, alias, by string) ([]Match, error) {
	x, err := t.Index(index)
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
	return matches, err
}

// Settle drops repeated modules and says which are compiled in.
func (t *Tree) Settle(matches []Match) []Match {
	seen := make(map[string]bool, len(matches))
	kept := matches[:0]
	for _, m := range matches {
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		if !m.Builtin {
			m.Builtin = t.IsBuiltin(m.Name)
		}
		kept = append(kept, m)
	}
	return kept
}

// IsBuiltin reports whether the module is in the list of what is compiled in. For kmod it is then
// loaded, and a file of that name is never looked at.
func (t *Tree) IsBuiltin(name string) bool {
	x, err := t.Index(IndexBuiltin)
	if err != nil {
		return false
	}
	values, _ := x.Lookup(nil, name)
	return len(values) > 0
}

// DepLine returns the module's line of modules.dep.bin, which is what kmod reads; else that of the
// text, with the error of a binary index that makes no sense; else, on a tree without either, a
// line with nothing but the file. It is nil when the module has none.
func (t *Tree) DepLine(name string) (*DepLine, error) {
	x, binErr := t.depIndex()
	if errors.Is(binErr, fs.ErrNotExist) {
		binErr = nil // the text is the only index
	} else if binErr == nil {
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
	if errors.Is(d.err, fs.ErrNotExist) {
		return t.walked(name)
	}
	if i, ok := d.byName[name]; ok {
		return &d.lines[i], binErr
	}
	return nil, cmp.Or(d.err, binErr)
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
	line, err := t.DepLine(name)
	if line == nil {
		return "", err
	}
	return line.Path, nil
}
