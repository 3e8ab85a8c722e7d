// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/linux/ko"
)

// Codes of lines that do nothing.
const (
	IdleIgnored        = "ignored"         // kmod does not understand the line
	IdleMasked         = "masked"          // a file of the same name in a more important directory is read instead
	IdleNotRead        = "not_read"        // kmod does not read a file of this name
	IdleNeverReached   = "never_reached"   // an earlier line answers for the same names
	IdleRepeated       = "repeated"        // an earlier line says the same
	IdleExtraNames     = "extra_names"     // a blacklist line takes one name; those after it are ignored
	IdleCarriageReturn = "carriage_return" // the line ends as on Windows, and the name or value includes that
	IdlePattern        = "pattern"         // kmod compares the whole name here; a pattern matches nothing
	IdleSpelling       = "spelling"        // the name is compared letter by letter, and is spelled otherwise
	IdleNoModule       = "no_module"       // no kernel here has a module of the name
	IdleBuiltin        = "builtin"         // the module is compiled in, so that modprobe does nothing for it
	IdleSoftdep        = "softdep"         // the module has softdeps, and then modprobe runs no command for it
)

// Verbs are the directives in the order in which "modprobe -c" prints them.
var Verbs = []string{"blacklist", "install", "remove", "alias", "options", "softdep", "weakdep"}

// Lines returns the lines of one directive that count, in kmod's order.
func (c *Config) Lines(verb string) []Directive {
	if list, _ := c.list(verb); list != nil {
		return *list
	}
	return nil
}

// Lint returns the lines of the configuration that do nothing for any of the trees, by file and line. It fails closed:
// a name that could not be looked up in one of the trees counts as known there. Without trees only the text is judged.
// Problems of the look-up go to r.
func (c *Config) Lint(trees []*Tree, r *fact.Report) []fact.IdleLine {
	l := &linter{config: c, trees: trees, report: r, item: r.Budget.Item(int64(c.size())),
		known: make(map[string]presence), idle: slices.Clone(c.ignored)}
	for _, verb := range Verbs {
		if err := l.list(verb); err != nil {
			r.Problem(SourceConfig, "", "idle", err)
			break
		}
	}
	l.item.Done()
	slices.SortStableFunc(l.idle, func(a, b fact.IdleLine) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return l.idle
}

// size is about how many bytes the configuration's texts have.
func (c *Config) size() (n int) {
	for _, verb := range Verbs {
		for _, d := range c.Lines(verb) {
			n += directiveSize + len(d.Name) + len(d.Value)
		}
	}
	return n
}

// A presence says which kind of module a name is.
type presence int

const (
	presenceUnknown presence = iota
	presenceFile             // a tree has a file of it
	presenceBuiltin          // each tree that has it has it compiled in
	presenceNone             // no tree has it
)

// A linter looks for the lines that do nothing.
type linter struct {
	config  *Config
	trees   []*Tree
	report  *fact.Report
	item    *fact.Item
	known   map[string]presence
	aliases map[string]bool // the texts of alias lines; nil until needed
	names   []string        // of all modules of the trees; nil until needed
	whole   bool            // names has them all
	idle    []fact.IdleLine
}

// list judges the lines of one directive.
func (l *linter) list(verb string) error {
	lines := l.config.Lines(verb)
	exact := make(map[string]*Directive, len(lines)) // the first line of each name
	var patterns []*Directive
	for i := range lines {
		d := &lines[i]
		if isRelease(d) { // depmod wrote it, for the modules of this release
			if exact[d.Name] == nil {
				exact[d.Name] = d
			}
			continue
		}
		if err := l.item.Work(int64(len(d.Name) + len(d.Value) + len(patterns)*len(d.Name))); err != nil {
			return err
		}
		key := d.Name
		if verb == "alias" { // an alias may stand for several modules
			key += " " + d.Value
		}
		earlier := exact[key]
		if earlier == nil && answersFirst(verb) {
			earlier = covering(patterns, d)
		}
		l.line(verb, d, earlier)
		if isPattern(d.Name) && answersFirst(verb) && len(patterns) < maxPatterns {
			patterns = append(patterns, d)
		}
		if exact[key] == nil || verb == "options" { // options are joined, in order
			exact[key] = d
		}
	}
	return nil
}

// maxPatterns is how many patterns of a directive later lines are compared with. A line after more of them is not said
// to do nothing.
const maxPatterns = 100

// isRelease reports whether a line is of the release's own modules.softdep or modules.weakdep.
func isRelease(d *Directive) bool {
	base := path.Base(d.File)
	return base == "modules.softdep" || base == "modules.weakdep"
}

// takesPatterns reports whether kmod compares the names of a directive by fnmatch(3).
func takesPatterns(verb string) bool { return verb != "blacklist" && verb != "options" }

// answersFirst reports whether kmod takes the first line of a directive that matches a module, and no other.
func answersFirst(verb string) bool { return takesPatterns(verb) && verb != "alias" }

// isPattern reports whether a name has characters that fnmatch(3) takes for others.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// covering returns the first of the patterns that matches all that a line's name does, as far as that is plain.
func covering(patterns []*Directive, d *Directive) *Directive {
	for _, p := range patterns {
		if p.Name == "*" || !isPattern(d.Name) && MatchAlias(p.Name, d.Name) {
			return p
		}
	}
	return nil
}

// line judges one line. earlier is the first line before it that answers for the same names; nil for none.
func (l *linter) line(verb string, d, earlier *Directive) {
	text := strings.TrimSpace(verb + " " + d.Name + " " + d.Value)
	add := func(code, why string, by *Directive) { l.add(text, d, code, why, by) }
	if code, why := l.oddText(verb, d); code != "" {
		add(code, why, nil)
		if code != IdleExtraNames {
			return
		}
	}
	switch {
	case d.File == CmdlineFile && verb == "blacklist" && strings.Contains(d.Name, "-"):
		add(IdleSpelling, "modprobe compares names of the command line letter by letter, and modules' "+
			"names have underscores: modprobe.blacklist="+strings.ReplaceAll(d.Name, "-", "_"), nil)
	case earlier != nil && d.File != CmdlineFile && l.says(verb, d, earlier): // a word counts in an initramfs, too
	case verb == "options" && l.hasAlias(d.Name): // kmod_module_get_options compares with the alias's own text
	case verb != "alias":
		l.module(verb, d, add)
	}
}

// says adds what an earlier line makes of a line, and reports whether that is nothing.
func (l *linter) says(verb string, d, earlier *Directive) bool {
	text := strings.TrimSpace(verb + " " + d.Name + " " + d.Value)
	switch {
	case isRelease(earlier) && len(l.trees) != 1:
		return true // another release has lines of its own
	case earlier.Name != d.Name && !isPattern(d.Name) && l.presence(d.Name) != presenceFile:
		return false // kmod_lookup_alias_from_commands compares the whole name, before any pattern
	case answersFirst(verb):
		why := "only the first " + verb + " line of a module counts: " + verb + " " + earlier.Name
		l.add(text, d, IdleNeverReached, why, earlier)
	case verb == "options" && d.Value != earlier.Value:
		return false
	default:
		l.add(text, d, IdleRepeated, "an earlier line says the same", earlier)
	}
	return true
}

// oddText returns what is wrong with the text of a line, whatever the modules are; an empty code for nothing. A
// carriage return behind a parameter or a softdep is white space: to the kernel's next_arg and to kmod's isspace.
func (l *linter) oddText(verb string, d *Directive) (code, why string) {
	names := verb == "install" || verb == "remove" || verb == "alias"
	switch {
	case strings.HasSuffix(d.Name, "\r") || strings.HasSuffix(d.Value, "\r") && names:
		return IdleCarriageReturn, "the line ends in a carriage return, which is part of what it says"
	case !takesPatterns(verb) && isPattern(d.Name) && !(verb == "options" && l.hasAlias(d.Name)):
		return IdlePattern, "kmod compares the whole name here: a pattern matches no module"
	case verb == "blacklist" && strings.TrimSpace(d.Value) != "" && !strings.HasPrefix(d.Value, "#"):
		return IdleExtraNames, "a line takes one name, the rest is ignored: " + quoted(strings.TrimSpace(d.Value))
	}
	return "", ""
}

// hasAlias reports whether an alias line is of this very text.
func (l *linter) hasAlias(name string) bool {
	if l.aliases == nil {
		l.aliases = make(map[string]bool)
		for _, d := range l.config.Lines("alias") {
			l.aliases[d.Name] = true
		}
	}
	return l.aliases[name]
}

// kernelAsks are the beginnings of names by which a kernel asks for what it lacks, whether or not a module has the
// name: request_module of sockets, devices, file systems, formats of programs, ciphers and links.
var kernelAsks = []string{"net_pf_", "char_major_", "block_major_", "fs_", "binfmt_", "crypto_", "netdev_",
	"rtnl_link_", "tty_ldisc_"}

// isAsked reports whether a kernel may ask for a name that no module has.
func isAsked(name string) bool {
	name = strings.ReplaceAll(name, "-", "_")
	return slices.ContainsFunc(kernelAsks, func(start string) bool { return strings.HasPrefix(name, start) })
}

// module judges a line by the module that it is about.
func (l *linter) module(verb string, d *Directive, add func(code, why string, by *Directive)) {
	if isPattern(d.Name) {
		if l.matchesNothing(d.Name) {
			add(IdleNoModule, "a pattern is compared with names of modules, and no module here matches; "+
				"names that somebody asks for are compared exactly", nil)
		}
		return
	}
	switch l.presence(d.Name) {
	case presenceNone:
		commands := verb == "install" || verb == "remove"
		if (commands || verb == "options") && l.isAlias(d.Name) || commands && isAsked(d.Name) {
			return
		}
		add(IdleNoModule, "no kernel here has a module "+quoted(d.Name)+onlyAsked(verb)+l.meant(d.Name), nil)
	case presenceBuiltin:
		if verb == "remove" { // modprobe's rmmod_do_module asks whether it is compiled in only without a command
			return
		}
		add(IdleBuiltin, builtinText(verb, d.Name), nil)
	case presenceFile:
		if by := l.softdepOf(verb, d.Name); by != nil {
			add(IdleSoftdep, "modprobe runs no command for a module with softdeps", by)
		}
	}
}

// onlyAsked says when a command of a name that no module has is run.
func onlyAsked(verb string) string {
	if verb == "install" || verb == "remove" {
		return ", and the command is run only for somebody who asks for exactly this name"
	}
	return ""
}

// builtinText says what becomes of a line about a module that is compiled in.
func builtinText(verb, name string) string {
	text := "the module is compiled into the kernel"
	switch verb {
	case "options":
		return text + ": its parameters are set on the kernel's command line, as " + name + ".PARAMETER=VALUE"
	case "blacklist", "install":
		return text + ": modprobe takes it for loaded, and cannot keep it out"
	}
	return text + ": modprobe takes it for loaded"
}

// presence says whether the trees have a module.
func (l *linter) presence(name string) presence {
	if p, ok := l.known[name]; ok {
		return p
	}
	p := presenceNone
	if len(l.trees) == 0 {
		p = presenceUnknown
	}
	for _, t := range l.trees {
		p = joined(p, l.presenceIn(t, name))
	}
	l.known[name] = p
	return p
}

// joined is what two trees say together.
func joined(a, b presence) presence {
	switch {
	case a == presenceFile || b == presenceFile:
		return presenceFile
	case a == presenceUnknown || b == presenceUnknown:
		return presenceUnknown
	case a == presenceBuiltin || b == presenceBuiltin:
		return presenceBuiltin
	}
	return presenceNone
}

func (l *linter) presenceIn(t *Tree, name string) presence {
	if _, err := t.Index(IndexBuiltin); err != nil {
		return l.lose(err)
	}
	if t.IsBuiltin(name) {
		return presenceBuiltin
	}
	line, err := t.DepLine(name)
	switch {
	case line != nil:
		return presenceFile
	case err != nil:
		return l.lose(err)
	case t.HasUnseen():
		return presenceUnknown
	}
	return presenceNone
}

// lose notes what could not be looked up.
func (l *linter) lose(err error) presence {
	p := fact.ProblemOf(SourceTree, "", "idle", err)
	if !slices.Contains(l.report.Problems, p) {
		l.report.Add(p)
	}
	return presenceUnknown
}

// isAlias reports whether a name may stand for a module by an alias, in which case modprobe asks for the line by it.
func (l *linter) isAlias(name string) bool {
	if l.config.unread || l.config.matches(name) != nil {
		return true
	}
	for _, t := range l.trees {
		for _, index := range []string{IndexAlias, IndexBuiltinAlias, indexSymbols} {
			matches, err := t.MatchIndex(index, name, MatchAliasIndex)
			if len(matches) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
				return true
			}
		}
	}
	return false
}

// allNames returns the names of all modules of the trees, and whether that is known to be all.
func (l *linter) allNames() ([]string, bool) {
	if l.names != nil {
		return l.names, l.whole
	}
	l.names, l.whole = []string{}, len(l.trees) > 0
	for _, t := range l.trees {
		if t.DepErr() != nil || t.HasUnseen() {
			l.whole = false
		}
		l.names = append(l.names, t.deps().names...)
		x, err := t.Index(IndexBuiltin)
		if err == nil {
			err = x.Each(func(name string, _ []IndexValue) bool { l.names = append(l.names, name); return true })
		}
		l.whole = l.whole && err == nil
	}
	slices.Sort(l.names)
	l.names = slices.Compact(l.names)
	return l.names, l.whole
}

// matchesNothing reports whether a pattern is known to match the name of no module.
func (l *linter) matchesNothing(pattern string) bool {
	names, whole := l.allNames()
	if !whole || l.item.Work(int64(len(names)*len(pattern))) != nil {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool { return MatchAlias(pattern, name) })
}

// meant names the modules that a name may have been meant for.
func (l *linter) meant(name string) string {
	names, _ := l.allNames()
	if len(name) > maxMeant || l.item.Work(int64(len(names)*len(name))) != nil {
		return ""
	}
	if likely := near.Names(name, names); len(likely) > 0 {
		return ": did you mean " + strings.Join(likely, " or ") + "?"
	}
	return ""
}

// maxMeant is how long a name may be for which others like it are looked for.
const maxMeant = 64

// softdepOf returns the softdep line that keeps modprobe from running a module's command in every tree that has the
// module; nil if no line does, or that is unknown.
func (l *linter) softdepOf(verb, name string) *Directive {
	d := l.config.FindSoftdep(name)
	if d == nil || verb != "install" || l.config.unread || isRelease(d) && len(l.trees) != 1 {
		return nil
	}
	dep := ko.ParseSoftdep(d.Value)
	for _, t := range l.trees {
		var lost fact.Report
		if l.presenceIn(t, name) != presenceFile {
			continue
		}
		if !t.Knows(slices.Concat(dep.Pre, dep.Post), &lost) || len(lost.Problems) > 0 {
			return nil
		}
	}
	return d
}

// add adds a line that does nothing.
func (l *linter) add(text string, d *Directive, code, why string, by *Directive) {
	r := fact.Reason{Code: code, Text: escape.Text(why)}
	if by != nil {
		r.File, r.Line = by.File, by.Line
	}
	l.idle = append(l.idle, fact.IdleLine{Text: text, File: d.File, Line: d.Line, Reason: r})
}

// quoted is a name for a text.
func quoted(s string) string { return fmt.Sprintf("%q", s) }

// IdleFiles returns the files of modprobe's directories that kmod does not read although they hold directives: one
// whose name does not end in ".conf", one that another of its name masks, and modprobe.conf. What could not be read is
// a problem of SourceConfig.
func IdleFiles(fsys fs.FS, dirs []string, r *fact.Report) []fact.IdleLine {
	var idle []fact.IdleLine
	dirs = DistinctDirs(fsys, dirs)
	first := make(map[string]string) // the file that counts, by base name
	for _, dir := range dirs {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "idle", err)
		}
		for _, e := range entries[:min(len(entries), maxConfigFiles)] {
			name, file := e.Name(), dir+"/"+e.Name()
			switch {
			case name[0] == '.' || isDir(fsys, dir, e):
			case len(name) < 6 || !strings.HasSuffix(name, ".conf"):
				if holdsDirectives(fsys, file, r) {
					idle = append(idle, fact.IdleLine{File: file, Reason: fact.Reason{Code: IdleNotRead,
						Text: "kmod reads files whose name ends in .conf only"}})
				}
			case first[name] == "":
				first[name] = file
			case holdsDirectives(fsys, file, r):
				idle = append(idle, fact.IdleLine{File: file, Reason: fact.Reason{Code: IdleMasked, File: first[name],
					Text: "the file of the same name in a more important directory is read instead"}})
			}
		}
	}
	const old = "etc/modprobe.conf"
	if holdsDirectives(fsys, old, r) {
		idle = append(idle, fact.IdleLine{File: old, Reason: fact.Reason{Code: IdleNotRead,
			Text: "kmod reads /etc/modprobe.d only"}})
	}
	return idle
}

// DistinctDirs leaves out a directory that is another one by a link, as lib is usr/lib on most systems: a file does not
// mask itself.
func DistinctDirs(fsys fs.FS, dirs []string) (distinct []string) {
	seen := make(map[string]bool)
	for _, dir := range dirs {
		if info, err := fs.Stat(fsys, dir); err == nil {
			id := hostfs.FileID(fsys, dir, info)
			if seen[id] {
				continue
			}
			seen[id] = true
		}
		distinct = append(distinct, dir)
	}
	return distinct
}

// holdsDirectives reports whether a file has a line that would count in a file that kmod reads.
func holdsDirectives(fsys fs.FS, file string, r *fact.Report) bool {
	b, err := limit.ReadFile(fsys, file, maxConfigFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "idle", err)
		}
		return false
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	item := r.Budget.Item(int64(len(b)))
	defer item.Done()
	c := Config{item: item}
	c.parse(b, file)
	return slices.ContainsFunc(Verbs, func(verb string) bool { return len(c.Lines(verb)) > 0 })
}
