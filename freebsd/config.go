// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// A config is the configuration that decides what is loaded at boot and what is never loaded.
type config struct {
	// Loader is what the boot loader reads; RC what rc(8) reads for every service; Sysctl is what
	// sysctl.conf sets of what bears on klds.
	Loader, RC, Sysctl rcconf.Conf
	// Files are the files that were read, with a leading "/".
	Files  []string
	unread fact.Report // the files that exist and could not be read
	older  fact.Report // what a recording is too old to have
	syntax fact.Report // the lines that are invalid; only Check reports them

	fsys     fs.ReadDirFS
	commands []rcconf.Setting // the loader's exec lines, each a command of the loader
	dloader  bool             // the boot loader is DragonFly's dloader(8)
	// whether the boot loader is the one written in Forth; empty if the root does not say
	forth    fact.Tri
	own      map[string]*rcconf.Conf // what rc.conf.d/SERVICE sets for a service
	services []service               // nil if they were not read
	scripts  bool                    // the root has scripts of rc(8)
	mounts   []mount
	level    int64       // what sysctl.conf raises the securelevel to
	hooks    []request   // what the boot loads beside services
	programs []request   // what the programs of the boot loader may load
	foreign  fact.Answer // set if what init(8) runs is not FreeBSD's rc(8)
}

const (
	loaderDefaults = "boot/defaults/loader.conf"
	rcDefaults     = "etc/defaults/rc.conf"
	maxConfFiles   = 256
	maxConfFile    = 4 << 20
)

// An addFunc adds the text of a file to a conf.
type addFunc func(file, text string, r *fact.Report)

// readConfig reads the configuration of a machine, whose boot loader is DragonFly's if dloader is set. Files that do
// not exist cost nothing.
func readConfig(ctx context.Context, fsys fs.ReadDirFS, dloader bool) *config {
	c := &config{fsys: fsys, dloader: dloader, own: map[string]*rcconf.Conf{}}
	c.syntax.Budget = fact.NewBudget(0) // its own: a configuration is kept beyond the call
	c.Loader.Source, c.RC.Source, c.Sysctl.Source = SourceLoaderConf, SourceRCConf, SourceRCConf
	if err := ctx.Err(); err != nil {
		c.lose(SourceLoaderConf, err)
		c.lose(SourceRCConf, err)
		c.lose(SourceServices, err)
		return c
	}
	c.readLoader()
	c.readLoaderScripts()
	c.readRC()
	c.readFile("etc/sysctl.conf", SourceRCConf, c.readSysctl)
	c.readFile("etc/sysctl.conf.local", SourceRCConf, c.readSysctl) // rc.d/sysctl reads it, too
	c.readFile("etc/fstab", SourceServices, c.readFstab)
	c.readServices(ctx)
	c.readHooks()
	return c
}

// lose reports a file of a source that could not be read.
func (c *config) lose(source string, err error) {
	if errors.Is(err, fact.ErrOlder) {
		c.older.Problem(source, "", "", err)
		return
	}
	c.unread.Problem(source, "", "", err)
}

// lost returns why something of the source is not known; ok is false if all of it was read.
func (c *config) lost(source string) (p fact.Problem, ok bool) {
	if p, ok = c.unread.First(source); !ok {
		p, ok = c.older.First(source)
	}
	return p, ok
}

// readFile adds a file if there is one.
func (c *config) readFile(name, source string, add addFunc) {
	name = slashPath(name)
	b, item, err := limit.ReadItem(c.fsys, name, maxConfFile, c.syntax.Budget)
	defer item.Done()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.lose(source, err)
		}
		return
	}
	file := "/" + name
	c.Files = append(c.Files, file)
	add(file, string(b), &c.syntax)
}

// readDir adds the files of a directory, by name.
func (c *config) readDir(dir, suffix, source string, add addFunc) {
	for _, name := range c.names(dir, source) {
		if strings.HasSuffix(name, suffix) {
			c.readFile(dir+"/"+name, source, add)
		}
	}
}

// names returns the names of the files in a directory, sorted.
func (c *config) names(dir, source string) []string {
	var names []string
	for _, e := range c.entries(dir, source) {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// entries returns what is in a directory, sorted by name; none if there is no such directory.
func (c *config) entries(dir, source string) []fs.DirEntry {
	entries, err := c.fsys.ReadDir(slashPath(dir))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.lose(source, err)
		}
		return nil
	}
	if len(entries) > 4*maxConfFiles {
		c.lose(source, limit.TooLarge(dir, 4*maxConfFiles))
		entries = entries[:4*maxConfFiles]
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries
}

// readLoader reads what the boot loader reads, in its order: stand/lua/config.lua and, before it, support.4th. Each
// file is read once. A file that changes the list of files makes the loader walk the new list.
func (c *config) readLoader() {
	if c.dloader {
		c.readDloader()
		return
	}
	c.forth = c.forthLoader()
	add := func(file, text string, r *fact.Report) {
		if strings.HasSuffix(file, ".lua") { // config.processFile runs it
			c.hook(file, 1, "the boot loader runs "+file+", which may set anything")
			return
		}
		c.Loader.ReadLoader(file, text, r)
		c.takeCommand()
	}
	c.readFile(loaderDefaults, SourceLoaderConf, add)
	if _, ok := c.Loader.Lookup("loader_conf_files"); !ok { // a root without the defaults, or with a part of them
		for _, s := range []rcconf.Setting{{Name: "loader_conf_files", Value: "/boot/device.hints /boot/loader.conf"},
			{Name: "loader_conf_dirs", Value: "/boot/loader.conf.d"},
			{Name: "local_loader_conf_files", Value: "/boot/loader.conf.local"},
			{Name: "nextboot_conf", Value: "/boot/nextboot.conf"}} {
			c.Loader.Set(s, &c.syntax)
		}
	}
	seen := map[string]bool{}
	c.readList("loader_conf_files", seen, add)
	dirs, _ := c.Loader.Words("loader_conf_dirs")
	dirs, err := limit.Most(dirs, maxConfFiles, "loader_conf_dirs")
	if err != nil {
		c.lose(SourceLoaderConf, err)
	}
	for _, dir := range dirs {
		c.readDir(dir, ".conf", SourceLoaderConf, add)
		c.readDir(dir, ".lua", SourceLoaderConf, add) // newer loaders run them, too
	}
	c.readProducts(add)
	c.readList("local_loader_conf_files", seen, add)
	c.readNextboot(add)
}

// readSysctl takes what a file of sysctl.conf(5) sets of what bears on klds. The securelevel only rises: the kernel
// refuses a lower one.
func (c *config) readSysctl(file, text string, r *fact.Report) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		name, value := sysctlLine(line)
		s := rcconf.Setting{Name: name, Value: escape.UTF8(value), File: file, Line: n}
		level, err := strconv.ParseInt(value, 0, 32)
		switch {
		case name == sysctlSecureLevel && err == nil && level > c.level:
			c.level = level
			c.Sysctl.Set(s, r)
		case name == sysctlModulePath && value != "":
			c.Sysctl.Set(s, r)
		}
	}
}

// sysctlLine returns the name and the value of a line of sysctl.conf(5): NAME=VALUE or NAME: VALUE, the value in quotes
// or not (sysctl(8): parse).
func sysctlLine(line string) (name, value string) {
	line, _, _ = strings.Cut(line, "#")
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", ""
	}
	name, value = strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+1:])
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return name, value
}

// readList reads the files that a setting lists, again as long as they change it.
func (c *config) readList(name string, seen map[string]bool, add addFunc) {
	for range maxConfFiles + 1 {
		words, s := c.Loader.Words(name)
		i := slices.IndexFunc(words, func(w string) bool { return !seen[w] })
		if i >= 0 && len(seen) == maxConfFiles {
			c.lose(SourceLoaderConf, fmt.Errorf("%s: %w: more than %d files", name, fact.ErrTooLarge, maxConfFiles))
			return
		}
		if i < 0 {
			if s.Code != "" {
				c.lose(SourceLoaderConf, &fact.ParseError{Source: s.File, Line: s.Line, Field: name,
					Reason: "is computed"})
			}
			return
		}
		seen[words[i]] = true
		c.readFile(words[i], SourceLoaderConf, add)
	}
}

// readNextboot reads the settings for the next boot only: the loader written in Lua obeys them unless the file begins
// with nextboot_enable="NO", the one in Forth only after YES.
func (c *config) readNextboot(add addFunc) {
	s, ok := c.Loader.Lookup("nextboot_conf")
	if !ok || s.Value == "" {
		s.Value = "/boot/nextboot.conf"
	}
	c.readFile(s.Value, SourceLoaderConf, func(file, text string, r *fact.Report) {
		off := strings.HasPrefix(text, `nextboot_enable="NO"`)
		if c.forth == fact.Yes {
			off = !strings.Contains(strings.ToUpper(text), `NEXTBOOT_ENABLE="YES"`)
		}
		if !off {
			add(file, text, r)
		}
	})
}

// takeCommand keeps the loader's command that an exec line gives, of which there may be many.
func (c *config) takeCommand() {
	s, _ := c.Loader.Lookup("exec")
	if s.Value == "" && s.Code == "" {
		return
	}
	n := len(c.commands)
	switch {
	case n > 0 && c.commands[n-1] == s:
	case n == maxConfFiles:
		c.lose(SourceLoaderConf, fmt.Errorf("%w: more than %d exec lines", fact.ErrTooLarge, maxConfFiles))
	default:
		c.commands = append(c.commands, s)
	}
}

// forthLoader reports which interpreter the boot loader has: /boot/loader is a link to one, or only the files of one
// are there.
func (c *config) forthLoader() fact.Tri {
	if l, ok := c.fsys.(fs.ReadLinkFS); ok {
		if to, err := l.ReadLink("boot/loader"); err == nil {
			switch {
			case strings.HasSuffix(to, "_4th"):
				return fact.Yes
			case strings.HasSuffix(to, "_lua"):
				return fact.No
			}
		}
	}
	_, lua := fs.Stat(c.fsys, "boot/lua")
	_, forth := fs.Stat(c.fsys, "boot/support.4th")
	switch {
	case lua == nil && errors.Is(forth, fs.ErrNotExist):
		return fact.No
	case forth == nil && errors.Is(lua, fs.ErrNotExist):
		return fact.Yes
	}
	return ""
}

// readRC reads what rc.subr reads for every service: the defaults and the files that rc_conf_files lists.
func (c *config) readRC() {
	c.readRCFile(rcDefaults)
	c.readFile("etc/defaults/vendor.conf", SourceRCConf, c.script(&c.RC))
	seen := map[string]bool{}
	c.readRCFiles(seen)
	c.readRCFiles(seen) // those that a file added to the list (source_rc_confs); what they add is not read
	c.readOwn()
}

// readRCFiles reads the files that rc_conf_files lists and that were not seen.
func (c *config) readRCFiles(seen map[string]bool) {
	files, s := c.RC.List("rc_conf_files")
	if s.Code != "" && s.Line > 0 {
		c.lose(SourceRCConf, &fact.ParseError{Source: s.File, Line: s.Line, Field: s.Name, Reason: "is computed"})
	}
	if len(files) == 0 {
		files = []string{"/etc/rc.conf", "/etc/rc.conf.local"}
	}
	files, err := limit.Most(files, maxConfFiles, "rc_conf_files")
	if err != nil {
		c.lose(SourceRCConf, err)
	}
	for _, name := range files {
		if !seen[name] {
			seen[name] = true
			c.readRCFile(name)
		}
	}
}

// script adds files of rc.conf(5) to conf, with the klds that their commands load: any, if what they run is not known.
func (c *config) script(conf *rcconf.Conf) addFunc {
	return func(file, text string, r *fact.Report) {
		_, before := conf.Opaque()
		conf.ReadScript(file, text, r)
		c.confLoads(file, text, r)
		if s, opaque := conf.Opaque(); opaque && !before {
			c.hooks = append(c.hooks, request{WayService, "", fact.UnsureOf(s.Reason(ReasonService,
				"what rc(8) runs here is not known: it may load any kld"))})
		}
	}
}

// readOwn reads the files of rc.conf.d/SERVICE, each a file or a directory, that only the service sees.
func (c *config) readOwn() {
	for _, dir := range []string{"etc/rc.conf.d", "usr/local/etc/rc.conf.d"} {
		for _, e := range c.entries(dir, SourceRCConf) {
			own := c.own[e.Name()]
			if own == nil {
				own = &rcconf.Conf{Source: SourceRCConf, Parent: &c.RC}
				c.own[e.Name()] = own
			}
			name := dir + "/" + e.Name()
			if st, err := fs.Stat(c.fsys, name); err == nil && st.IsDir() {
				c.readDir(name, "", SourceRCConf, c.script(own))
			} else {
				c.readFile(name, SourceRCConf, c.script(own))
			}
		}
	}
}

// readRCFile reads one file for every service. One that cannot be read may set anything.
func (c *config) readRCFile(name string) {
	lost := c.unread.Count(SourceRCConf)
	c.readFile(name, SourceRCConf, c.script(&c.RC))
	if c.unread.Count(SourceRCConf) > lost {
		p, _ := c.lost(SourceRCConf)
		c.RC.Hide("/"+slashPath(name), 0, p.Code)
	}
}

// hasScript reports whether the root has the script of a service of the system.
func (c *config) hasScript(name string) bool {
	_, err := fs.Stat(c.fsys, systemScripts+"/"+name)
	return !errors.Is(err, fs.ErrNotExist)
}

// of returns what a service sees: the settings of all, and those of rc.conf.d/SERVICE.
func (c *config) of(service string) *rcconf.Conf {
	if own := c.own[service]; own != nil {
		return own
	}
	return &c.RC
}

// kernelName returns the name of the kernel that boots: "kernel" unless loader.conf says another.
func (c *config) kernelName() string {
	if c.dloader {
		return c.dloaderKernel()
	}
	if s, ok := c.Loader.Lookup("kernel"); ok && s.Value != "" {
		return s.Value
	}
	return kernelName
}

// modulePath returns the directories that the named kernel will search: its own, those of the loader's module_path,
// then those that sysctl.conf gives it.
func (c *config) modulePath(kernel string) []string {
	dirs := []string{path.Join("/boot", kernel)}
	if strings.HasPrefix(kernel, "/") {
		dirs[0] = path.Clean(kernel)
	}
	more := splitModulePath("/boot/modules")
	if s, ok := c.Loader.Lookup("module_path"); c.dloader {
		more = c.dloaderPath()
	} else if ok {
		more = splitModulePath(s.Value)
	}
	if s, ok := c.Sysctl.Lookup(sysctlModulePath); ok {
		more = append(more, splitModulePath(s.Value)...)
	}
	for _, d := range more {
		if d = path.Clean("/" + d); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// devmatchEnabled returns rc.conf's devmatch_enable; devmatch runs when that is yes, and known is
// false when no file sets it.
func (c *config) devmatchEnabled() (s rcconf.Setting, yes, known bool) {
	s, known = c.of("devmatch").Lookup("devmatch_enable")
	return s, known && rcconf.Yes(s.Value), known && s.Code == ""
}

// devmatchBlocked returns rc.conf's devmatch_blocklist, if it names the file of that base name. ok is false too if the
// value is not known.
func (c *config) devmatchBlocked(base string) (rcconf.Setting, bool) {
	rc := c.of("devmatch")
	for _, name := range []string{"devmatch_blocklist", "devmatch_blacklist"} {
		if s, ok := rc.Lookup(name); ok && (s.Value != "" || s.Code != "") {
			words, s := rc.List(name)
			named := func(w string) bool { return strings.TrimSuffix(w, ".ko") == base }
			return s, slices.ContainsFunc(words, named)
		}
	}
	return rcconf.Setting{}, false
}

// secureLevel answers whether something raises the securelevel by the end of a boot: rc.d/securelevel or sysctl.conf.
// The setting is the one that does. It does not apply if nothing does.
func (c *config) secureLevel() (rcconf.Setting, fact.Answer) {
	if c.foreign.Applies() {
		return rcconf.Setting{}, c.foreign
	}
	if s, ok := c.of("sysctl").Ends(); ok {
		return s, fact.UnsureOf(s.Reason(ReasonLevel, "rc(8) may end here, before it raises the securelevel"))
	}
	if s, ok := c.Sysctl.Lookup(sysctlSecureLevel); ok {
		return s, fact.Stops(s.Reason(ReasonLevel, "sysctl.conf raises the securelevel during the boot"))
	}
	rc := c.of("securelevel")
	enable, ok := rc.Lookup("kern_securelevel_enable")
	level, _ := rc.Lookup("kern_securelevel")
	n, err := strconv.Atoi(level.Value)
	switch {
	case enable.Code != "" || rcconf.Yes(enable.Value) && (level.Code != "" || level.Value != "" && err != nil):
		s := level
		if enable.Code != "" {
			s = enable
		}
		return s, fact.UnsureOf(s.Unknown(ReasonLevel))
	case ok && rcconf.Yes(enable.Value) && n > 0:
		return level, fact.Stops(level.Reason(ReasonLevel, "rc(8) raises the securelevel at the end of the boot"))
	}
	if p, lost := c.lost(SourceRCConf); lost {
		return rcconf.Setting{Code: p.Code}, fact.Unsure(ReasonLevel,
			"whether rc(8) raises the securelevel is not known: "+p.Text)
	}
	return enable, fact.Answer{}
}
