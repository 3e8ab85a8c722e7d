// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
	// By names the source with the entry, one of the Match constants.
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
// for, in the order in which modprobe would load them; the same module only once. Indexes that could
// not be read are problems of SourceTree: the answer is what the others say. Without a module the
// error is nil if everything was read and nothing has the name; else it says what was not read. An invalid query
// returns an error, too.
func (t *Tree) Resolve(query string, r *fact.Report) ([]Match, error) {
	alias, ok := NormalizeAlias(query)
	if !ok {
		return nil, errUnbalanced
	}
	l := lookup{tree: t}
	matches := l.resolve(alias)
	r.Append(&l.lost)
	if len(matches) == 0 {
		return nil, l.err()
	}
	return matches, nil
}

var errUnbalanced error = &fact.ParseError{Field: "alias", Reason: "unbalanced brackets"}

// A lookup is one search of a tree, with what it could not read.
type lookup struct {
	tree *Tree
	lost fact.Report
}

// add notes something that could not be read or found.
func (l *lookup) add(err error) { l.lost.Problem(SourceTree, "", "", err) }

// err returns all that could not be read or found as one error; nil if there is nothing.
func (l *lookup) err() error {
	var errs []error
	for _, p := range l.lost.Problems {
		p.Source = "" // whoever reports the error names it
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// lose notes why a file could not be read, unless it does not exist.
func (l *lookup) lose(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.add(err)
	}
}

// resolve asks one source after another, as modprobe does.
func (l *lookup) resolve(alias string) []Match {
	config := l.tree.Config()
	if matches := config.matches(alias); matches != nil {
		return l.found(matches)
	}
	line, err := l.tree.DepLine(alias)
	l.lose(err)
	if line != nil {
		return l.found([]Match{{Name: alias, By: MatchName}})
	}
	if strings.HasPrefix(alias, "symbol:") {
		if m := l.index(indexSymbols, alias, MatchSymbol); m != nil {
			return l.found(m)
		}
	}
	if d, _ := config.FindCommand(alias); d != nil {
		return l.found([]Match{{Name: alias, By: MatchCommand}})
	}
	if m := l.index(IndexAlias, alias, MatchAliasIndex); m != nil {
		return l.found(m)
	}
	if m := l.index(IndexBuiltin, alias, MatchBuiltin); m != nil {
		return l.tree.Distinct(m)
	}
	if m := l.index(IndexBuiltinAlias, alias, MatchBuiltinAlias); m != nil {
		return l.tree.Distinct(m)
	}
	l.missing(alias)
	return nil
}

// matches returns the modules that the configuration makes of an alias.
func (c *Config) matches(alias string) (matches []Match) {
	for i := range c.Aliases {
		if d := &c.Aliases[i]; MatchAlias(d.Name, alias) {
			matches = append(matches, Match{Name: d.Value, Alias: d.Name, By: MatchConfig})
		}
	}
	return matches
}

// found says which modules are compiled in, and that this is not known if their list cannot be read.
func (l *lookup) found(matches []Match) []Match {
	_, err := l.tree.Index(IndexBuiltin)
	l.lose(err)
	return l.tree.Distinct(matches)
}

// index looks an alias up in one index.
func (l *lookup) index(index, alias, by string) []Match {
	m, err := l.tree.MatchIndex(index, alias, by)
	l.lose(err)
	return m
}

// missing notes the indexes that a name could have been in and that do not exist, and directories
// that nobody looks into: without them "nothing" is not known.
func (l *lookup) missing(alias string) {
	index := IndexAlias
	if strings.HasPrefix(alias, "symbol:") {
		index = indexSymbols
	}
	_, indexErr := l.tree.Index(index)
	for _, err := range []error{l.tree.IndexErr(), indexErr} {
		if errors.Is(err, fs.ErrNotExist) {
			l.add(fmt.Errorf("%w: run depmod", err))
		}
	}
	l.tree.reportUnseen(&l.lost)
}

// IndexErr returns why neither modules.dep.bin nor modules.dep can be read; nil if one can. It matches fs.ErrNotExist
// if both are missing, as on OpenWrt or for a package just unpacked.
func (t *Tree) IndexErr() error {
	if _, err := t.depIndex(); err == nil {
		return nil
	}
	return t.deps().err
}

// walked returns the module's file on a tree without modules.dep, found by walking it. For a module
// without a file the error says which part of the tree could not be read.
func (t *Tree) walked(name string) (*DepLine, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.files == nil {
		var lost fact.Report
		conf := readDepmodConfig(t.fsys, t.Release, &lost)
		files, err := t.walk(t.Dir, "", conf, &lost)
		if err != nil {
			return nil, err
		}
		inv := new(Inventory)
		inv.choose(t, files, conf, new(depTable))
		if i := slices.IndexFunc(lost.Problems, isNoLine); i >= 0 {
			t.filesErr = lost.Problems[i]
		} else if len(files) == 0 && t.unfilled() {
			t.filesErr = t.errUnfilled()
		}
		t.files = make(map[string]string, len(inv.Modules))
		for i := range inv.Modules {
			t.files[inv.Modules[i].Name] = inv.Modules[i].Path
		}
	}
	if file := t.files[name]; file != "" {
		return &DepLine{Path: file}, nil
	}
	return nil, t.filesErr
}

// isNoLine reports whether a problem is another than that one line of a file is invalid.
func isNoLine(p fact.Problem) bool { return p.Line == 0 }

// MatchIndex looks an alias up in one index; a module may be there more than once.
func (t *Tree) MatchIndex(index, alias, by string) ([]Match, error) {
	x, err := t.Index(index)
	if err != nil {
		return nil, err
	}
	if by == MatchBuiltin {
		values, err := x.lookup(nil, alias)
		if len(values) == 0 {
			return nil, err
		}
		return []Match{{Name: alias, By: by, Builtin: true}}, err
	}
	values, err := x.match(nil, alias)
	var matches []Match
	for _, v := range values {
		matches = append(matches, Match{Name: v.Value, Alias: alias, By: by, Builtin: by == MatchBuiltinAlias})
	}
	return matches, err
}

// Distinct drops repeated modules and says which are compiled in.
func (t *Tree) Distinct(matches []Match) []Match {
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
	values, _ := x.lookup(nil, name)
	return len(values) > 0
}

// DepLine returns the module's line of modules.dep.bin, which is what kmod reads; else that of the
// text, with the error of a binary index that is invalid; else, on a tree without either, a
// line with nothing but the file. It is nil when the module has none.
func (t *Tree) DepLine(name string) (*DepLine, error) {
	x, binErr := t.depIndex()
	if errors.Is(binErr, fs.ErrNotExist) {
		binErr = nil // the text is the only index
	} else if binErr == nil {
		values, err := x.lookup(nil, name)
		if err != nil || len(values) == 0 {
			return nil, err
		}
		if d, ok := parseDepLine(values[0].Value); ok {
			return &d, nil
		}
		return nil, &fact.ParseError{Source: x.source, Reason: "line of " + name + " is invalid"}
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

// LookupErr looks a name up in every index that could know it, and returns the first error that such a look-up ends in
// with the index it is of. An index that does not exist is not an error.
func (t *Tree) LookupErr(name string) (index string, err error) {
	if _, err := t.DepLine(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return indexDep, err
	}
	for _, by := range []struct{ index, match string }{
		{IndexAlias, MatchAliasIndex}, {IndexBuiltin, MatchBuiltin}, {IndexBuiltinAlias, MatchBuiltinAlias},
		{indexSymbols, MatchSymbol},
	} {
		if by.match == MatchSymbol && !strings.HasPrefix(name, "symbol:") {
			continue
		}
		if _, err := t.MatchIndex(by.index, name, by.match); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return by.index, err
		}
	}
	return "", nil
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
