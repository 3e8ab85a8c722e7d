// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A target is what a query means.
type target struct {
	name    string
	alias   string // what was asked for, when that is not the name
	file    string // the file that root's insmod would load; "" for none
	onDisk  bool   // modules.dep names it
	gone    bool   // and there is no such file
	builtin bool
	initial bool // only an initial file system holds it
	// builtinAt is where it says that the code is compiled in, below the root.
	builtinAt string
}

// targets finds the modules that a query means: the module of that name, whatever the configuration turns the name
// into, else those that it is an alias of, also where the configuration turns the alias into something else. command
// is an install line that such a name runs; nil for none.
func (c *checker) targets(query string) (targets []target, command *modprobe.Directive, err error) {
	name, ok := modprobe.NormalizeAlias(query)
	if !ok || query == "" {
		return nil, nil, &fact.ParseError{Field: "alias", Reason: "empty, or with unbalanced brackets"}
	}
	named := c.byName(name)
	if named != nil && !named.isOnlyLoaded() {
		return []target{*named}, nil, nil
	}
	if files := c.innerNames()[name]; len(files) > 0 {
		for _, file := range files {
			if t := c.byName(ko.NameOfFile(file)); t != nil {
				targets = append(targets, *t)
			}
		}
		return targets, nil, nil
	}
	if named != nil {
		return []target{*named}, nil, nil
	}
	state := c.states()[0].modprobe
	tree := state.tree
	var lost fact.Report
	matches, _ := tree.Resolve(query, &lost) // the query is sound, and lost says what could not be read
	c.take(&lost)
	for _, m := range matches {
		if d := state.config.FindInstall(m.Name); state.mayLoadElse(d, m.Name) {
			command = d
		}
	}
	if targets = c.targetsOf(matches, name); targets != nil {
		return targets, command, nil
	}
	if matches != nil { // the configuration makes something else of the name
		if targets = c.targetsOf(c.indexed(name), name); targets != nil {
			return targets, command, nil
		}
	}
	if t := c.unindexedFile(name); t != nil {
		return []target{*t}, command, nil
	}
	return c.initialTargets(query, name), command, nil
}

// isOnlyLoaded reports whether a target is loaded, and no file has its name.
func (t *target) isOnlyLoaded() bool { return t.file == "" && !t.builtin }

// maxInnerNames is how many files are opened for the names in them.
const maxInnerNames = 1024

// innerNames returns the files whose module the kernel knows by another name, by that name. The kernel's own build
// gives both the same name, so only files outside of its folder are opened.
func (c *checker) innerNames() map[string][]string {
	if c.kept.inner != nil {
		return c.kept.inner
	}
	c.kept.inner = make(map[string][]string)
	lines := c.tree.DepLines()
	opened := 0
	for i := range lines {
		file := lines[i].Path
		if strings.HasPrefix(file, "kernel/") {
			continue
		}
		if opened++; opened > maxInnerNames {
			c.problem(SourceTree, "", &fact.ParseError{Source: c.tree.Path(file), Err: fact.ErrTooLarge,
				Reason: fmt.Sprintf("more than %d files outside of the kernel's own", maxInnerNames)})
			break
		}
		if name := c.factsOf(file).name; name != "" && name != lines[i].Name() {
			c.kept.inner[name] = append(c.kept.inner[name], file)
		}
	}
	return c.kept.inner
}

// targetsOf returns the modules that an alias stands for. A match may be a configured name of nothing, or of a command
// without a module.
func (c *checker) targetsOf(matches []modprobe.Match, alias string) (targets []target) {
	for _, m := range matches {
		if t := c.byName(m.Name); t != nil {
			t.alias = alias
			targets = append(targets, *t)
		}
	}
	return targets
}

// indexed returns the modules that the index of aliases has for an alias.
func (c *checker) indexed(alias string) []modprobe.Match {
	matches, err := c.tree.MatchIndex(modprobe.IndexAlias, alias, modprobe.MatchAliasIndex)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(SourceTree, "", err)
	}
	return c.tree.Distinct(matches)
}

// byName returns the module of that name: on disk, compiled in, or loaded; nil for none.
func (c *checker) byName(name string) *target {
	file, err := c.tree.FileOf(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(SourceTree, name, err)
	}
	if c.tree.IsBuiltin(name) {
		file = "" // for kmod it is loaded already, and a file of that name never is
	}
	t := &target{name: name, file: file, onDisk: file != "" && c.tree.IndexErr() == nil}
	if t.onDisk {
		_, err := fs.Stat(c.machine.FS, c.tree.Path(file))
		t.gone = errors.Is(err, fs.ErrNotExist)
	}
	if t.file == "" {
		t.builtinAt = c.builtinAt(name)
		t.builtin = t.builtinAt != ""
	}
	if t.file == "" && !t.builtin && !c.loaded[name] {
		return nil
	}
	return t
}

// builtinAt returns the source that says that a module without a file is compiled in: modules.builtin,
// modules.builtin.modinfo if it only has metadata, or the running kernel. It is empty if no source does.
func (c *checker) builtinAt(name string) string {
	if c.tree.IsBuiltin(name) {
		return c.machine.Dir.Dir + "/" + modprobe.IndexBuiltin
	}
	if modules, err := c.tree.Builtin(c.other); err == nil {
		byName := func(m modprobe.BuiltinModule, name string) int { return strings.Compare(m.Name, name) }
		if _, found := slices.BinarySearchFunc(modules, name, byName); found {
			return c.machine.Dir.Dir + "/" + modprobe.BuiltinInfoFile
		}
	}
	dir, err := c.shownBuiltin(name)
	if err != nil {
		c.problem(SourceSysModule, name, err)
	}
	return dir
}

// shownBuiltin returns the directory of /sys/module that the running kernel has for code that is compiled in; empty if
// the kernel shows no such code. The error is why that is unknown.
func (c *checker) shownBuiltin(name string) (string, error) {
	if c.now == nil || c.loadedErr != nil || c.loaded[name] || !fs.ValidPath(name) || strings.Contains(name, "/") {
		return "", nil
	}
	shown, err := c.shownNames()
	if err != nil || !shown[name] {
		return "", err
	}
	dir := SysModuleDir + "/" + name
	_, err = fs.Stat(c.machine.FS, dir+"/initstate")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err == nil:
		return "", fmt.Errorf("/%s/initstate is there, and the list of loaded modules does not name the module", dir)
	}
	return "", err
}

// shownNames returns the directories of /sys/module, which are read once.
func (c *checker) shownNames() (map[string]bool, error) {
	if c.kept.shown != nil {
		return c.kept.shown, nil
	}
	names, err := sysModuleNames(c.machine.FS)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c.kept.shown = make(map[string]bool, len(names))
	for _, name := range names {
		c.kept.shown[name] = true
	}
	return c.kept.shown, nil
}

// unindexedFile looks for a file of that name that modules.dep does not name.
func (c *checker) unindexedFile(name string) *target {
	if c.machine.DirErr != nil {
		return nil
	}
	inv, err := c.tree.Inventory(c.other)
	if err != nil {
		c.problem(SourceTree, "", err)
		return nil
	}
	for i := range inv.Modules {
		if inv.Modules[i].Name == name {
			return &target{name: name, file: inv.Modules[i].Path}
		}
	}
	return nil
}

// places says where the code is.
func (c *checker) places(t target) []fact.Reason {
	var places []fact.Reason
	name := c.kernelName(t)
	if inCode := c.loadedName(t); c.loaded[inCode] {
		places = append(places, loadedReason())
		if inCode != name {
			places = append(places, fact.Reason{Code: ReasonKernelName, File: "/" + c.tree.Path(t.file),
				Text: escape.Text(
					"the code in the file calls itself " + quote(inCode) +
						": the list of loaded modules uses that name")})
		}
	}
	if name != t.name {
		places = append(places, fact.Reason{Code: ReasonKernelName, File: "/" + c.tree.Path(t.file), Text: escape.Text(
			"the kernel knows this module as " + quote(name) +
				": module_blacklist= and the list of loaded modules use that name")})
	}
	if t.builtin {
		places = append(places, builtinReason(t))
	}
	if t.file != "" {
		places = append(places, c.fileReason(t))
	}
	for _, s := range c.blocklists {
		if modprobe.SameModule(s.Name, t.name) {
			places = append(places, fact.Reason{Code: ReasonBlacklistIgnored, File: slash(s.File), Line: s.Line,
				Text: "blocklist " + t.name + ": applied only when Android's modprobe runs with -b"})
		}
	}
	return places
}

func loadedReason() fact.Reason {
	return fact.Reason{Code: ReasonLoaded, Text: "in the kernel as a module", File: slash(ModulesFile)}
}

func builtinReason(t target) fact.Reason {
	return fact.Reason{Code: ReasonBuiltin, Text: "compiled into the kernel", File: slash(t.builtinAt)}
}

// fileReason says what is known of the module's file.
func (c *checker) fileReason(t target) fact.Reason {
	file := "/" + c.tree.Path(t.file)
	switch {
	case t.gone:
		return fact.Reason{Code: ReasonFileMissing, Text: "modules.dep names this file, and it is not there",
			File: file}
	case t.onDisk:
		return fact.Reason{Code: ReasonOnDisk, Text: "module file", File: file}
	}
	return c.unindexed(t).Because()
}

// isDeviceAlias distinguishes a device's modalias, which udev requests, from a name that the kernel requests.
func isDeviceAlias(alias string) bool {
	return strings.Contains(alias, ":") && !strings.HasPrefix(alias, "devname:") && !strings.HasPrefix(alias, "symbol:")
}

// maxAliases is how many aliases of a module are looked at.
const maxAliases = 5000

// aliasesOf returns the names in the indexes that stand for the module, at most maxAliases. unread says that there may
// be more; it does not apply if all were read.
func (c *checker) aliasesOf(module string) (aliases []string, unread fact.Answer) {
	if known, ok := c.kept.aliases[module]; ok {
		return known.names, known.unread
	}
	x, err := c.tree.Index(modprobe.IndexAlias)
	if err == nil {
		err = x.Each(func(key string, values []modprobe.IndexValue) bool {
			if slices.ContainsFunc(values, func(v modprobe.IndexValue) bool { return v.Value == module }) {
				aliases = append(aliases, key)
			}
			return len(aliases) < maxAliases
		})
		if err == nil && len(aliases) == maxAliases {
			err = fmt.Errorf("%w: more than %d aliases of one module", fact.ErrTooLarge, maxAliases)
		}
	}
	if lost(err) {
		c.problem(SourceTree, "", err)
		unread = c.indexUnread(modprobe.IndexAlias, err)
	}
	c.kept.aliases[module] = keptAliases{aliases, unread}
	return aliases, unread
}
