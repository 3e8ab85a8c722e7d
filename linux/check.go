// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The ways for a module to get into a Linux kernel.
const (
	WayAutoloadAlias = "autoload_alias" // the kernel or udev asks for one of its aliases
	WayAutoloadName  = "autoload_name"  // the kernel asks for it by its own name, as request_module("algif-%s")
	WayUnprivileged  = "unprivileged"   // a process without privilege can trigger one of the two: blocked when every request that is known is
	WayModprobe      = "modprobe"       // root runs modprobe NAME
	WayDependency    = "dependency"     // it comes with a module that needs it, or has it as a softdep
	WayInsmod        = "insmod"         // root loads its file directly
)

// The codes of a verdict's reasons, bypasses and triggers.
const (
	ReasonLoaded           = "loaded"            // it is in /proc/modules
	ReasonBuiltin          = "builtin"           // it is compiled in
	ReasonOnDisk           = "on_disk"           // its file
	ReasonNotIndexed       = "not_indexed"       // there is a file that modules.dep does not name
	ReasonFileMissing      = "file_missing"      // modules.dep names a file that is not there
	ReasonBlacklist        = "blacklist"         // a blacklist line that counts
	ReasonBlacklistIgnored = "blacklist_ignored" // a blacklist line that does not stop everything
	ReasonInstall          = "install"           // an install command
	ReasonInstallIgnored   = "install_ignored"   // an install command that does not count
	ReasonAliasOverride    = "alias_override"    // the configuration turns an alias into something else
	ReasonDependency       = "dependency"        // a module that it needs cannot be loaded
	ReasonModuleBlacklist  = "module_blacklist"  // the kernel refuses the name
	ReasonModulesDisabled  = "modules_disabled"  // loading is switched off
	ReasonSetLater         = "set_during_boot"   // a setting that only holds once boot has come so far
	ReasonNoModules        = "no_modules"        // the kernel has no loadable modules
	ReasonUnsigned         = "unsigned"          // unsigned, and the kernel refuses that
	ReasonSigned           = "signed"            // signed, which was verified or not
	ReasonBadSignature     = "bad_signature"     // signed, and the signature does not fit
	ReasonGate             = "other_gate"        // IMA or LoadPin, which may refuse it
	ReasonVolatile         = "gone_after_boot"   // a line below /run
	ReasonInitcall         = "initcall_blacklist"
	ReasonHelper           = "modprobe_helper"      // what the kernel runs instead of modprobe
	ReasonNoSuch           = "no_such_module"       // no source knows the name
	ReasonInitramfs        = "initramfs"            // a copy in the initial file system
	ReasonIgnoreInstall    = "modprobe_options"     // modprobe -i passes by install lines
	ReasonTriggerProcess   = "unprivileged_process" // what any process may do
	ReasonTriggerAlias     = "alias"                // an alias that somebody may ask for
	ReasonTriggerDevice    = "device"               // a device that is there
	ReasonTriggerList      = "load_list"            // a list of modules to load at boot
	ReasonTriggerDependent = "needed_by"            // a module that brings it along
)

// A CheckMachine is what a Checker looks at.
type CheckMachine struct {
	// FS is the machine's root.
	FS fs.FS
	// Release is the kernel release in question, and Dir its directory of modules; DirErr is why
	// there is none.
	Release string
	Dir     modprobe.ReleaseDir
	DirErr  error
	// Running is set when that kernel runs: then there is an answer for now. Live is set when some
	// kernel of this machine runs, so that the firmware's state is known.
	Running, Live bool
	// Keys verify the signature of a file; nil for none.
	Keys *ko.Keys
}

// A Checker judges whether a module's code can get into one kernel. It reads what it needs once and
// is not for concurrent use.
type Checker struct {
	dirErrSaid bool // why there is no directory of modules stands in problems
	m          CheckMachine
	now        *world   // nil when the kernel does not run
	next       []*world // one for each way in which a boot loader would start the kernel
	boot       *boot.Setup
	bootWhole  bool           // every file of a boot loader was read
	plain      *modprobe.Tree // the tree without any command line
	loaded     map[string]bool
	signatures map[string]signedFile
	// runConfig are the lines of modprobe's configuration that stand below /run, which is empty
	// after a boot.
	runConfig []modprobe.Directive

	aliasesOf map[string][]string
	early     *earlyFiles

	loadLists []modprobe.Setting
	problems  []fact.Problem
	// untold is what steps could not read whose losses no verdict tells: telling them would change verdicts.
	untold fact.Report
}

// NewChecker reads what is the same for all queries.
func NewChecker(m CheckMachine) *Checker {
	c := &Checker{m: m, signatures: make(map[string]signedFile), aliasesOf: make(map[string][]string), loaded: make(map[string]bool)}
	c.plain = modprobe.OpenTree(m.FS, m.Dir, false)
	var lost fact.Report
	c.boot = boot.Read(m.FS, &lost)
	c.tell(&lost)
	c.bootWhole = len(lost.Problems) == 0
	var keys fact.Report
	m.Keys.Report(&keys)
	for _, p := range keys.Problems {
		c.problem(SourceKeys, "", p)
	}
	policy := readPolicy(PolicyMachine{FS: m.FS, Release: m.Release, Live: m.Running, Firmware: m.Live, CmdlineErr: boot.ErrNoEntry})
	if m.Running {
		c.readLoaded()
		c.now = c.runningWorld(policy)
	}
	c.nextWorlds(policy)
	var lists fact.Report
	c.loadLists = modprobe.ReadLoadLists(m.FS, &lists)
	c.tell(&lists)
	if m.DirErr != nil {
		c.problem(SourceTree, "", m.DirErr)
	}
	return c
}

// SourceInitramfs is the initial file system of a boot.
const SourceInitramfs = boot.SourceInitramfs

// problem notes what could not be read. Of a directory of modules that is not there, every file is
// missing too: that is said once.
func (c *Checker) problem(source, subject string, err error) {
	if source == SourceTree && c.m.DirErr != nil {
		if c.dirErrSaid {
			return
		}
		c.dirErrSaid, subject, err = true, "", c.m.DirErr
	}
	if len(c.problems) < maxLost {
		c.problems = append(c.problems, fact.ProblemOf(source, escape.UTF8(subject), "", err))
	}
}

// tell notes the problems of a report that is about the machine as a whole.
func (c *Checker) tell(r *fact.Report) {
	for _, p := range r.Problems {
		c.problem(p.Source, "", p)
	}
}

func (c *Checker) readLoaded() {
	var list moduleList
	if err := newListReader(c.m.FS).Read(&list, new(fact.Report)); err != nil {
		if none, noErr := noModuleSupport(c.m.FS); noErr == nil && none {
			return
		}
		c.problem(SourceModules, "", err)
		c.loaded = nil
		return
	}
	for _, e := range list.Entries {
		c.loaded[e.Name] = true
	}
}

// A target is what a query means.
type target struct {
	name    string
	alias   string // what was asked for, when that is not the name
	file    string // the file that root's insmod would load; "" for none
	onDisk  bool   // modules.dep names it
	gone    bool   // and there is no such file
	builtin bool
	// builtinAt is where it says that the code is compiled in, below the root.
	builtinAt string
}

// Check answers for a name or an alias: one Verdict for each module that it may mean, whose Module
// is the module's name. The error is for a query that makes no sense.
func (c *Checker) Check(query string) ([]fact.Verdict, error) {
	targets, command, err := c.targets(query)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return []fact.Verdict{c.absent(query, command)}, nil
	}
	var verdicts []fact.Verdict
	for _, t := range targets {
		verdicts = append(verdicts, c.verdict(query, t))
	}
	return verdicts, nil
}

// targets finds the modules that a query means: the module of that name, whatever the configuration
// turns the name into, else those that it is an alias of, also where the configuration turns the
// alias into something else. command is an install line that such a name runs; nil for none.
func (c *Checker) targets(query string) (targets []target, command *modprobe.Directive, err error) {
	name, ok := modprobe.NormalizeAlias(query)
	if !ok || query == "" {
		return nil, nil, &fact.ParseError{Field: "alias", Reason: "empty, or with unbalanced brackets"}
	}
	if t := c.byName(name); t != nil {
		return []target{*t}, nil, nil
	}
	tree := c.plain
	if c.now != nil {
		tree = c.now.tree
	}
	var lost fact.Report
	matches, _ := tree.Resolve(query, &lost) // the query is sound, and lost says what could not be read
	c.tell(&lost)
	for _, m := range matches {
		if d := tree.Config().FindInstall(m.Name); d != nil && mayLoad(modprobe.EffectOf(d.Value, m.Name)) {
			command = d
		}
	}
	if targets = c.behind(matches, name); targets != nil {
		return targets, command, nil
	}
	if matches != nil {
		indexed, err := c.plain.MatchIndex(modprobe.IndexAlias, name, modprobe.MatchAliasIndex)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.problem(SourceTree, "", err)
		}
		return c.behind(c.plain.Settle(indexed), name), command, nil
	}
	if t := c.unindexed(name); t != nil {
		targets = []target{*t}
	}
	return targets, command, nil
}

// behind are the modules that an alias stands for; a match may be a configured name of nothing, or of a
// command without a module.
func (c *Checker) behind(matches []modprobe.Match, alias string) (targets []target) {
	for _, m := range matches {
		if t := c.byName(m.Name); t != nil {
			t.alias = alias
			targets = append(targets, *t)
		}
	}
	return targets
}

// byName returns the module of that name: on disk, compiled in, or loaded; nil for none.
func (c *Checker) byName(name string) *target {
	file, err := c.plain.FileOf(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(SourceTree, name, err)
	}
	if c.plain.IsBuiltin(name) {
		file = "" // for kmod it is loaded already, and a file of that name never is
	}
	t := &target{name: name, file: file, onDisk: file != "" && c.plain.IndexErr() == nil}
	if t.onDisk {
		_, err := fs.Stat(c.m.FS, c.plain.Path(file))
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

// builtinAt says where it is told that a module which is no file is compiled in: in modules.builtin,
// in modules.builtin.modinfo for one that only has metadata, or by the running kernel. It is empty
// for one that is not.
func (c *Checker) builtinAt(name string) string {
	if c.plain.IsBuiltin(name) {
		return c.m.Dir.Dir + "/" + modprobe.IndexBuiltin
	}
	if modules, err := c.plain.Builtin(&c.untold); err == nil {
		_, found := slices.BinarySearchFunc(modules, name, func(m modprobe.BuiltinModule, name string) int { return strings.Compare(m.Name, name) })
		if found {
			return c.m.Dir.Dir + "/" + modprobe.BuiltinInfoFile
		}
	}
	if c.now == nil || c.loaded == nil || c.loaded[name] || !fs.ValidPath(name) || strings.Contains(name, "/") {
		return ""
	}
	dir := SysModuleDir + "/" + name
	if info, err := fs.Stat(c.m.FS, dir); err != nil || !info.IsDir() {
		return ""
	}
	if _, err := fs.Stat(c.m.FS, dir+"/initstate"); !errors.Is(err, fs.ErrNotExist) {
		return "" // being loaded, or taken off the list
	}
	return dir
}

func (c *Checker) fileOf(name string) string {
	file, _ := c.plain.FileOf(name)
	return file
}

// unindexed looks for a file of that name that modules.dep does not know.
func (c *Checker) unindexed(name string) *target {
	if c.m.DirErr != nil {
		return nil
	}
	inv, err := c.plain.Inventory(&c.untold)
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

// absent is the verdict for a name that nothing knows, or that runs a command which may load anything.
func (c *Checker) absent(query string, command *modprobe.Directive) fact.Verdict {
	v := fact.Verdict{Query: query, Release: c.m.Release}
	name, _ := modprobe.NormalizeAlias(query)
	outcome, text := fact.VerdictAbsent, "no module or alias of that name on disk, compiled in, or in the configuration"
	switch {
	case command != nil:
		outcome, text = fact.VerdictUnknown, "no module of that name, but a command that may load one"
	case !c.allRead(name):
		outcome, text = fact.VerdictUnknown, "nothing that could be read knows that name"
	}
	v.Reasons = append(v.Reasons, c.directives(name)...)
	if command != nil && !modprobe.MatchAlias(command.Name, name) {
		v.Reasons = append(v.Reasons, reasonOf(ReasonInstall, "install "+command.Name+" "+command.Value, command))
	}
	v.Reasons = append(v.Reasons, fact.Reason{Code: ReasonNoSuch, Text: text})
	if like := near.Names(name, c.names()); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, ", ") + "?"
	}
	v.Word = string(outcome)
	v.NextBoot = &fact.Prospect{Outcome: outcome}
	if c.now != nil {
		v.Now = &fact.Prospect{Outcome: outcome}
	}
	v.Problems = append([]fact.Problem{{Source: SourceTree, Subject: escape.UTF8(query), Code: fact.CodeAbsent, Text: escape.Text(text)}}, c.problems...)
	return v
}

// maxLost is how many things that could not be read are kept of a kind.
const maxLost = 100

// allRead reports whether every source that could know a name was read: the loaded list, the
// indexes of files, of what is compiled in and of aliases, and the configuration.
func (c *Checker) allRead(name string) bool {
	if c.m.Dir.HasUnseen() {
		return false
	}
	if _, err := c.plain.Index(modprobe.IndexBuiltinAlias); err != nil && (!errors.Is(err, fs.ErrNotExist) || isAliasForm(name)) {
		return false
	}
	if c.m.DirErr != nil || c.m.Running && c.loaded == nil {
		return false
	}
	if c.plain.DepErr() != nil {
		return false
	}
	for _, index := range []string{modprobe.IndexAlias, modprobe.IndexBuiltin} {
		if _, err := c.plain.Index(index); err != nil {
			return false
		}
	}
	for _, w := range c.worlds() {
		if !w.config.Whole() {
			return false
		}
	}
	return true
}

// isAliasForm reports whether a name has the form of those that the kernel or udev ask for. Before Linux
// 5.2 no file says which of them compiled-in code has.
func isAliasForm(name string) bool {
	return strings.Contains(name, ":") || slices.ContainsFunc(aliasPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

var aliasPrefixes = []string{"net_pf_", "can_proto_", "bt_proto_", "tty_ldisc_", "fs_", "crypto_", "char_major_", "block_major_", "rtnl_link_", "binfmt_", "devname_", "ip_set_", "ipt_", "nft_", "nfct_", "tcp_", "xfrm_"}

func (c *Checker) worlds() []*world {
	if c.now == nil {
		return c.next
	}
	return append([]*world{c.now}, c.next...)
}

// names are all names that a query might have meant.
func (c *Checker) names() []string {
	var names []string
	lines := c.plain.DepLines()
	for i := range lines {
		names = append(names, lines[i].Name())
	}
	if modules, err := c.plain.Builtin(&c.untold); err == nil {
		for i := range modules {
			names = append(names, modules[i].Name)
		}
	}
	return names
}

// directives are the lines of the configuration about a name, as reasons.
func (c *Checker) directives(name string) []fact.Reason {
	config := c.plain.Config()
	var reasons []fact.Reason
	for _, list := range []struct {
		verb string
		of   []modprobe.Directive
	}{{"alias", config.Aliases}, {"blacklist", config.Blacklist}, {"install", config.Install}} {
		for i := range list.of {
			if d := &list.of[i]; modprobe.MatchAlias(d.Name, name) && len(reasons) < 10 {
				reasons = append(reasons, reasonOf("configured", list.verb+" "+strings.TrimSpace(d.Name+" "+d.Value), d))
			}
		}
	}
	return reasons
}

// reasonOf makes a reason of a line of the configuration.
func reasonOf(code, text string, d *modprobe.Directive) fact.Reason {
	return fact.Reason{Code: code, Text: escape.Text(text), File: slash(d.File), Line: d.Line}
}

// quote is for names in reasons.
func quote(s string) string { return strconv.Quote(s) }
