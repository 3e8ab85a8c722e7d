// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// ConfigDirs are the directories of modprobe's configuration, the most important first.
var ConfigDirs = []string{"etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d",
	"usr/lib/modprobe.d", "lib/modprobe.d"}

// CmdlineFile is the running kernel's command line, which modprobe reads too.
const CmdlineFile = "proc/cmdline"

// A Directive is one line of modprobe's configuration that counts, or one part of the kernel's
// command line that modprobe takes as such a line.
type Directive struct {
	// Name is the alias, the module or the pattern that it is about, normalized: '-' is '_'.
	Name string
	// Value is the rest: an alias's module, the text of options, a command, the softdep. Of blacklist it is what
	// follows the name, which kmod ignores.
	Value string
	// File is the file with the line, as a path below the root.
	File string
	// Line is the line's number, from 1. A continued line counts as its last, as in kmod's errors.
	Line int
}

// The names under which this package reports problems.
const (
	SourceTree    = "modules_dir" // module files and indexes on disk, and depmod's configuration
	SourceConfig  = "modprobe_d"  // modprobe's configuration, and the lists of modules to load during boot
	SourceBuiltin = "builtin"     // what is compiled in
	SourceSysctls = "sysctl_d"    // the settings that are made during boot
)

// A Config is modprobe's configuration as kmod reads it: all lists are in the order in which kmod
// looks at them.
type Config struct {
	Aliases   []Directive // NAME is an alias (maybe a pattern) for the module VALUE
	Blacklist []Directive // aliases do not load NAME
	Options   []Directive // parameters VALUE for NAME
	Install   []Directive // the command VALUE instead of loading NAME (maybe a pattern)
	Remove    []Directive // the command VALUE instead of unloading NAME (maybe a pattern)
	Softdeps  []Directive // VALUE is "pre: … post: …" of NAME (maybe a pattern)
	Weakdeps  []Directive // VALUE are modules that NAME may ask for
	// Files are the files that were read, in order.
	Files []string

	unsupported *Directive // the last line that says whether SUSE's modprobe loads what SUSE does not support

	problems []fact.Problem  // lines that are invalid and are ignored, and files that could not be read
	ignored  []fact.IdleLine // the lines and links among problems
	unread   bool            // a file could not be read
	cause    fact.Problem    // the first that could not
	item     *fact.Item      // of the file that is being read
}

// directiveSize is the memory that a Directive takes beside its texts, in bytes.
const directiveSize = 64

// Whole reports whether every file of the configuration was read. If not, it may say anything.
// Lines that are invalid are ignored, as modprobe does.
func (c *Config) Whole() bool { return !c.unread }

// Unread returns the first file that could not be read, as an error; nil if every file was.
func (c *Config) Unread() error {
	if !c.unread {
		return nil
	}
	return c.cause
}

// miss notes that a file could not be read.
func (c *Config) miss(p fact.Problem) {
	if !c.unread {
		c.unread, c.cause = true, p
	}
}

// Report reports to r which files could not be read, and which lines are ignored.
func (c *Config) Report(r *fact.Report) {
	for _, p := range c.problems {
		r.Add(p)
	}
}

// Caps of a configuration.
const (
	maxConfigFiles = 4096
	maxConfigLost  = 100
	maxConfigFile  = 4 << 20
)

// ReadConfig reads modprobe's configuration of the machine whose root is fsys: the directories of
// dirs (ConfigDirs are all of them), and modules.softdep and modules.weakdep of the release directory dir (empty for
// none), in one order by base name. With cmdline the running kernel's command line is read too.
// It never fails: [Config.Report] reports what could not be read.
func ReadConfig(fsys fs.FS, dirs []string, dir string, cmdline bool) *Config {
	c := new(Config)
	item := fact.NewBudget(0).Item(0) // its own budget: a configuration is kept beyond the call
	seen := make(map[string]bool)
	for _, file := range c.files(fsys, dirs, dir) {
		c.read(fsys, file, item, seen)
	}
	if !cmdline {
		return c
	}
	b, err := limit.ReadFile(fsys, CmdlineFile, limit.Attr)
	if err != nil {
		c.lose(err)
		return c
	}
	c.Files = append(c.Files, CmdlineFile)
	c.ParseCmdline(string(b), CmdlineFile)
	return c
}

// read reads one file. Of another name of a file that was read, only the options count, because the last one wins:
// what else is said a second time changes nothing. seen says which files were read, and which have options.
func (c *Config) read(fsys fs.FS, file string, item *fact.Item, seen map[string]bool) {
	info, _ := fs.Stat(fsys, file)
	id := hostfs.FileID(fsys, file, info)
	options, again := seen[id]
	if again && !options {
		c.Files = append(c.Files, file)
		return
	}
	b, err := limit.ReadFile(fsys, file, maxConfigFile)
	if err != nil {
		c.lose(err)
		c.miss(fact.ProblemOf(SourceConfig, "", "", err)) // also what is not a regular file
		return
	}
	c.Files = append(c.Files, file)
	if !again {
		item.Grow(int64(len(b)))
	}
	part := Config{item: item}
	part.parse(b, file)
	seen[id] = len(part.Options) > 0
	if again {
		part = Config{Options: part.Options, problems: part.problems, ignored: part.ignored, unread: part.unread,
			cause: part.cause}
	}
	c.add(&part)
}

// add adds what another configuration says.
func (c *Config) add(o *Config) {
	for _, list := range []struct {
		to   *[]Directive
		from []Directive
	}{
		{&c.Aliases, o.Aliases}, {&c.Blacklist, o.Blacklist}, {&c.Options, o.Options}, {&c.Install, o.Install},
		{&c.Remove, o.Remove}, {&c.Softdeps, o.Softdeps}, {&c.Weakdeps, o.Weakdeps},
	} {
		*list.to = append(*list.to, list.from...)
	}
	if o.unread {
		c.miss(o.cause)
	}
	if o.unsupported != nil {
		c.unsupported = o.unsupported
	}
	c.problems = append(c.problems, o.problems[:min(len(o.problems), maxConfigLost-len(c.problems))]...)
	c.ignored = append(c.ignored, o.ignored[:min(len(o.ignored), maxConfigLost-len(c.ignored))]...)
}

func (c *Config) lose(err error) {
	p := fact.ProblemOf(SourceConfig, "", "", err)
	if p.Code != fact.CodeMalformed {
		c.miss(p)
	}
	if len(c.problems) < maxConfigLost {
		c.problems = append(slices.Clip(c.problems), p) // copies of a Config share the rest
	}
}

// ignore notes a line that is invalid.
func (c *Config) ignore(line, file string, number int, err error) {
	c.lose(&fact.ParseError{Source: file, Line: number, Reason: err.Error()})
	if len(c.ignored) < maxConfigLost {
		c.ignored = append(slices.Clip(c.ignored), fact.IdleLine{Text: escape.UTF8(line), File: file, Line: number,
			Reason: fact.Reason{Code: IdleIgnored, Text: strings.TrimPrefix(err.Error(), "ignored: ")}})
	}
}

// ConfigOf returns the configuration that files make, by their paths below the root: in modprobe's order by
// base name, of which that in the first directory counts. A file without text hides others of its name. The item pays
// for it.
func ConfigOf(texts map[string][]byte, item *fact.Item) *Config {
	var files []string
	seen := make(map[string]bool)
	for _, dir := range ConfigDirs {
		for name := range texts {
			if path.Dir(name) == dir && !seen[path.Base(name)] {
				files = append(files, name)
			}
		}
		for _, name := range files {
			seen[path.Base(name)] = true
		}
	}
	sortByBase(files)
	c := &Config{item: item}
	for _, name := range files {
		c.parse(texts[name], name)
	}
	c.item = nil
	return c
}

// parse reads one configuration file. A line that is invalid costs that line.
func (c *Config) parse(text []byte, file string) {
	if err := c.item.Work(int64(len(text))); err != nil {
		c.lose(&fact.ParseError{Source: file, Reason: err.Error(), Err: err})
		return
	}
	lines := wrappedLines{text: text}
	for lines.next() {
		err := c.line(lines.line, file, lines.number)
		if code := fact.CodeOf(err); code == fact.CodeTooLarge || code == fact.CodeBudget {
			c.lose(&fact.ParseError{Source: file, Line: lines.number, Reason: err.Error(), Err: err})
			return
		}
		if err != nil {
			c.ignore(lines.line, file, lines.number, err)
		}
	}
}

// wrappedLines gives the lines of a configuration file as kmod reads them: a backslash before a
// newline joins two lines; any other backslash is dropped, and the byte after it kept. One that ends
// the file becomes the byte 0xff, as kmod takes the end of the file for a character then: a name or a
// command that ends so is another one.
type wrappedLines struct {
	text   []byte
	line   string
	number int // of the last line of line
}

func (w *wrappedLines) next() bool {
	var b []byte
	for i := 0; i < len(w.text); i++ {
		ch := w.text[i]
		if ch == '\n' {
			w.number++
			w.line, w.text = string(b), w.text[i+1:]
			return true
		}
		if ch == '\\' {
			if i++; i == len(w.text) {
				b = append(b, 0xff)
				break
			}
			if ch = w.text[i]; ch == '\n' {
				w.number++
				continue
			}
		}
		b = append(b, ch)
	}
	w.text = nil
	if len(b) == 0 {
		return false
	}
	w.number++
	w.line = string(b)
	return true
}

// cutWord splits off the next word; words are separated by blanks and tabs.
func cutWord(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func (c *Config) line(line, file string, number int) error {
	if i := strings.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	if line == "" || line[0] == '#' {
		return nil
	}
	verb, rest := cutWord(line)
	if verb == "" {
		return nil
	}
	list, kind := c.list(verb)
	if list == nil && verb == "allow_unsupported_modules" {
		value, _ := cutWord(rest)
		c.unsupported = &Directive{Name: escape.UTF8(verb), Value: escape.UTF8(value), File: file, Line: number}
		return nil
	}
	if list == nil {
		if verb == "include" || verb == "config" {
			return fmt.Errorf("%q is not supported any more, and ignored", verb)
		}
		return fmt.Errorf("ignored: %q is not a directive", escape.Text(verb))
	}
	name, rest := cutWord(rest)
	normal, ok := NormalizeAlias(name)
	if name == "" || !ok {
		return fmt.Errorf("ignored: %s of %q", verb, escape.Text(name))
	}
	d := Directive{Name: escape.UTF8(normal), File: file, Line: number}
	switch kind {
	case takesNothing:
		d.Value = escape.UTF8(strings.TrimSpace(rest))
	case takesModule:
		target, _ := cutWord(rest)
		if target, ok = NormalizeAlias(target); target == "" || !ok {
			return fmt.Errorf("ignored: alias %q without a module", escape.Text(name))
		}
		d.Value = escape.UTF8(target)
	case takesText:
		if rest == "" {
			return fmt.Errorf("ignored: %s of %q says nothing", verb, escape.Text(name))
		}
		if verb == "options" { // the kernel takes no tab between parameters
			rest = strings.ReplaceAll(rest, "\t", " ")
		}
		d.Value = escape.UTF8(rest)
	}
	if err := c.item.Keep(int64(directiveSize + len(d.Name) + len(d.Value))); err != nil {
		return err
	}
	*list = append(*list, d)
	return nil
}

// What a directive takes after its name.
const (
	takesNothing = iota
	takesModule
	takesText
)

func (c *Config) list(verb string) (list *[]Directive, takes int) {
	switch verb {
	case "alias":
		return &c.Aliases, takesModule
	case "blacklist":
		return &c.Blacklist, takesNothing
	case "options":
		return &c.Options, takesText
	case "install":
		return &c.Install, takesText
	case "remove":
		return &c.Remove, takesText
	case "softdep":
		return &c.Softdeps, takesText
	case "weakdep":
		return &c.Weakdeps, takesText
	}
	return nil, 0
}

// ParseCmdline reads what modprobe takes from a kernel command line: "module.parameter=value" as
// options, and modprobe.blacklist=a,b.
func (c *Config) ParseCmdline(line, file string) {
	for _, o := range cmdlineOptions(line) {
		if o.module == "modprobe" && strings.HasPrefix(o.text, "blacklist=") {
			for name := range strings.SplitSeq(o.text[len("blacklist="):], ",") {
				c.Blacklist = append(c.Blacklist, Directive{Name: escape.UTF8(name), File: file, Line: 1})
			}
			continue
		}
		name, ok := NormalizeAlias(o.module)
		if !ok {
			c.lose(&fact.ParseError{Source: file, Line: 1,
				Reason: fmt.Sprintf("ignored: module name %q", escape.Text(o.module))})
			continue
		}
		c.Options = append(c.Options,
			Directive{Name: escape.UTF8(name), Value: escape.UTF8(o.text), File: file, Line: 1})
	}
}

type cmdlineOption struct{ module, text string }

// cmdlineOptions splits a command line at blanks outside quotes, and takes the parts of the form
// module.parameter or module.parameter=value. Boot loaders move quotes: "m.p=a b" is m.p="a b".
func cmdlineOptions(line string) []cmdlineOption {
	var options []cmdlineOption
	for line != "" {
		end, quoted := 0, false
		for ; end < len(line) && (quoted || !strings.ContainsRune(" \t\n", rune(line[end]))); end++ {
			if line[end] == '"' {
				quoted = !quoted
			}
		}
		if o, ok := cmdlineOptionOf(line[:end]); ok && !quoted {
			options = append(options, o)
		}
		line = line[min(end+1, len(line)):]
	}
	return options
}

func cmdlineOptionOf(part string) (o cmdlineOption, ok bool) {
	requote := strings.HasPrefix(part, `"`)
	part = strings.TrimPrefix(part, `"`)
	name, value, hasValue := strings.Cut(part, "=")
	module, param, hasParam := strings.Cut(name, ".")
	if !hasParam || strings.ContainsAny(name, "\" ") || strings.Contains(param, ".") {
		return o, false
	}
	if !hasValue {
		return cmdlineOption{module, param}, !requote
	}
	if requote {
		value = `"` + value
	}
	return cmdlineOption{module, param + "=" + value}, true
}

// RefusesUnsupported returns the line by which SUSE's modprobe loads no module that SUSE does not support; nil for
// none. Other systems' modprobe ignores the line.
func (c *Config) RefusesUnsupported() *Directive {
	if d := c.unsupported; d != nil && d.Value != "1" && d.Value != "yes" {
		return d
	}
	return nil
}

// FindBlacklist returns the line that blacklists the module; nil for none.
func (c *Config) FindBlacklist(module string) *Directive {
	return first(c.Blacklist, func(d *Directive) bool { return d.Name == module })
}

// FindInstall returns the first install command for the module; nil for none.
func (c *Config) FindInstall(module string) *Directive {
	return first(c.Install, func(d *Directive) bool { return MatchAlias(d.Name, module) })
}

// FindCommand returns the install or remove command of exactly that name, which is what an alias of that name stands
// for (libkmod's kmod_lookup_alias_from_commands); nil if there is no such command. install says which of the two it
// is.
func (c *Config) FindCommand(name string) (d *Directive, install bool) {
	exact := func(d *Directive) bool { return d.Name == name }
	if d := first(c.Install, exact); d != nil {
		return d, true
	}
	return first(c.Remove, exact), false
}

// FindSoftdep returns the first softdep of the module; nil for none: kmod looks at no other.
func (c *Config) FindSoftdep(module string) *Directive {
	return first(c.Softdeps, func(d *Directive) bool { return MatchAlias(d.Name, module) })
}

// options joins the parameters of the module, also those given under the alias it was asked for by.
func (c *Config) options(module, alias string) string {
	var parts []string
	for i := range c.Options {
		if d := &c.Options[i]; d.Name == module || alias != "" && d.Name == alias {
			parts = append(parts, d.Value)
		}
	}
	return strings.Join(parts, " ")
}

func first(list []Directive, ok func(*Directive) bool) *Directive {
	for i := range list {
		if ok(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// trimComment returns a line of an index without its end, and whether it holds anything.
func trimComment(line []byte) ([]byte, bool) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	return line, len(line) > 0 && line[0] != '#'
}
