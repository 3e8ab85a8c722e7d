// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A world is one kernel at one moment: what it enforces, and modprobe's configuration then.
type world struct {
	tree       *modprobe.Tree
	config     *modprobe.Config
	loaded     map[string]bool
	words      []boot.Word
	at         fact.Reason // where the command line stands
	noLoading  *fact.Reason
	checks     fact.Tri     // signatures are checked at all
	refuses    fact.Tri     // modules without a signature are refused
	refusesWhy *fact.Reason // why
	gate       *fact.Reason // something else that may refuse a module, whose answer is not known
	helper     string       // what the kernel runs for a module
	helperAt   string
	helperWhy  *fact.Reason // why that is not known
	notSure    bool         // a part of what modprobe goes by is not known
	wordsOpen  bool         // the boot loader may put more words on the command line
	initcalls  bool         // the kernel heeds initcall_blacklist=
	guess      bool         // some boot entry could not be read: this is one that says nothing
}

const defaultHelper = "/sbin/modprobe"

// runningWorld is the kernel as it runs.
func (c *Checker) runningWorld(p *policyReader) *world {
	w := &world{tree: modprobe.OpenTree(c.m.FS, c.m.Dir, true), loaded: c.loaded, words: p.Cmdline,
		at: fact.Reason{File: slash(modprobe.CmdlineFile)}, helper: p.helper, helperAt: slash(ModprobeFile)}
	w.config = w.tree.Config()
	w.settle(c)
	if p.CmdlineErr != nil {
		c.problem(SourceCmdline, "", p.CmdlineErr)
	}
	if p.helperErr != nil {
		w.helperWhy = &fact.Reason{Code: ReasonHelper, Text: "what the kernel runs for a module is not known", File: w.helperAt}
	}
	c.staticHelper(p, w)
	w.initcalls = !p.isOff("CONFIG_KALLSYMS")
	switch {
	case p.noModules == fact.Yes:
		w.noLoading = &fact.Reason{Code: ReasonNoModules, Text: "the kernel was built without loadable modules"}
	case p.disabled == fact.Yes:
		w.noLoading = &fact.Reason{Code: ReasonModulesDisabled, Text: "modules_disabled=1: nothing is loaded until the next boot", File: slash(DisabledFile)}
	}
	w.checks = fact.TriOf(!p.noSignatures)
	w.refuses, w.refusesWhy = refusesNow(p)
	switch {
	case p.appraised == fact.Yes:
		w.gate = &fact.Reason{Code: ReasonGate, Text: "IMA appraises module files: only the kernel knows which pass", File: slash(IMAPolicyFile), Line: p.appraisedLine}
	case p.pinned != "":
		w.gate = &fact.Reason{Code: ReasonGate, Text: "LoadPin takes modules from one file system only", File: slash(p.pinned)}
	}
	return w
}

// staticHelper looks whether the kernel runs one fixed program in place of every helper.
func (c *Checker) staticHelper(p *policyReader, w *world) {
	if !p.is("CONFIG_STATIC_USERMODEHELPER", "y") {
		return
	}
	program, line := p.config.Get("CONFIG_STATIC_USERMODEHELPER_PATH")
	at := slash(p.config.File)
	if program == "" {
		w.helper, w.helperAt, w.helperWhy = "", at, nil
		return
	}
	w.helperWhy = &fact.Reason{Code: ReasonHelper, Text: "the kernel runs " + quote(program) + " in place of every helper", File: at, Line: line}
}

// refusesNow says whether the running kernel refuses modules without a signature.
func refusesNow(p *policyReader) (fact.Tri, *fact.Reason) {
	switch {
	case p.enforced == fact.Yes:
		return fact.Yes, &fact.Reason{Code: ReasonUnsigned, Text: "sig_enforce=Y: the kernel takes only signed modules", File: slash(SigEnforceFile)}
	case p.locked == fact.Yes:
		return fact.Yes, &fact.Reason{Code: ReasonUnsigned, Text: "lockdown: the kernel takes only signed modules", File: slash(LockdownFile)}
	case p.enforced == fact.No && p.locked == fact.No:
		return fact.No, nil
	}
	return "", &fact.Reason{Code: ReasonUnsigned, Text: "whether the kernel takes unsigned modules is not known"}
}

// nextWorlds makes a world of each boot entry that differs in what it says of modules. The first is
// never a guess.
func (c *Checker) nextWorlds(p *policyReader) {
	configs := c.nextConfigs()
	entries := c.differing(c.boot.For(c.m.Release))
	add := func(e boot.Entry, guess bool) {
		for i, line := range nextCmdlines(p, e, e.File != "" && !c.boot.Fallback) {
			for _, config := range configs {
				w := c.nextWorld(p, line, config)
				w.guess = guess || i > 0
				c.next = append(c.next, w)
			}
		}
	}
	if len(entries) == 0 && c.bootWhole {
		c.problem(SourceCmdline, "", boot.ErrNoEntry)
	}
	if c.boot.Fallback {
		c.problem(SourceCmdline, entries[0].File, errFallback)
	}
	if len(entries) == 0 {
		entries = []boot.Entry{{}}
	}
	left := !c.bootWhole
	for i, e := range entries {
		if i == maxNextWorlds {
			c.problem(SourceCmdline, e.File, fmt.Errorf("more than %d boot entries that differ: %w", maxNextWorlds, fact.ErrTooLarge))
			left = true
			break
		}
		add(e, false)
		if len(e.Unresolved) > 0 && !c.boot.Fallback {
			c.problem(SourceCmdline, e.File, fmt.Errorf("command line holds %s, which only the boot loader knows: %w", strings.Join(e.Unresolved, " "), errors.ErrUnsupported))
		}
	}
	perhaps := c.differing(c.boot.Perhaps(c.m.Release))
	for _, e := range perhaps[:min(len(perhaps), maxNextWorlds)] {
		add(e, true)
	}
	if left || len(perhaps) > maxNextWorlds {
		add(boot.Entry{}, true)
	}
}

// errFallback is for a command line that no boot loader's file holds.
var errFallback error = &sentinel.Error{
	Before: "no boot loader's entry was found: boot entries are made from this file, and may say something else",
	Cause:  fs.ErrNotExist,
}

// differing returns the first of the entries that say the same of modules.
func (c *Checker) differing(entries []boot.Entry) (differ []boot.Entry) {
	for _, e := range entries {
		same := func(other boot.Entry) bool {
			return boot.SameForModules(other.Words, e.Words) && slices.Equal(other.Unresolved, e.Unresolved)
		}
		if !slices.ContainsFunc(differ, same) {
			differ = append(differ, e)
		}
	}
	return differ
}

// maxNextWorlds is how many different boot entries of one release are judged.
const maxNextWorlds = 16

// runConfigDir holds configuration that is gone after a boot, unless something makes it anew.
const runConfigDir = "run/modprobe.d"

// nextConfigs are the configurations that a boot may find: that on disk, and, when /run has some,
// that without it.
func (c *Checker) nextConfigs() []*modprobe.Config {
	all := c.plain.Config()
	if entries, err := fs.ReadDir(c.m.FS, runConfigDir); err != nil || len(entries) == 0 {
		return []*modprobe.Config{all}
	}
	for _, list := range [][]modprobe.Directive{all.Blacklist, all.Install} {
		for i := range list {
			if path.Dir(list[i].File) == runConfigDir {
				c.runConfig = append(c.runConfig, list[i])
			}
		}
	}
	lasting := slices.DeleteFunc(slices.Clone(modprobe.ConfigDirs), func(dir string) bool { return dir == runConfigDir })
	return []*modprobe.Config{all, modprobe.ReadConfig(c.m.FS, lasting, c.m.Dir.Dir, false)}
}

// nextWorld is the kernel as a boot entry would start it.
func (c *Checker) nextWorld(p *policyReader, e boot.Entry, base *modprobe.Config) *world {
	w := &world{tree: modprobe.OpenTree(c.m.FS, c.m.Dir, false), words: e.Words, at: fact.Reason{File: slash(e.File), Line: e.Line},
		helper: defaultHelper, wordsOpen: len(e.Unresolved) > 0}
	config := *base
	w.config = &config
	if e.Text != "" {
		config.Options, config.Blacklist = slices.Clone(config.Options), slices.Clone(config.Blacklist)
		config.ParseCmdline(e.Text, e.File)
		for _, list := range [][]modprobe.Directive{config.Options, config.Blacklist} {
			for i := range list {
				if list[i].File == e.File {
					list[i].Line = max(e.Line, 1)
				}
			}
		}
	}
	w.tree.SetConfig(w.config)
	w.settle(c)
	nomodule, set := boot.LastValue(w.words, "nomodule")
	off := set && nomodule.IsSet()
	if off && !w.wordsOpen {
		w.noLoading = &fact.Reason{Code: ReasonModulesDisabled, Text: "nomodule on the command line", File: w.at.File, Line: w.at.Line}
	}
	if p.noModules == fact.Yes {
		w.noLoading = &fact.Reason{Code: ReasonNoModules, Text: "the kernel was built without loadable modules"}
		if p.config != nil {
			_, w.noLoading.Line = p.config.Get("CONFIG_MODULES")
			w.noLoading.File = slash(p.config.File)
		}
	}
	if p.config != nil {
		if helper, _ := p.config.Get("CONFIG_MODPROBE_PATH"); helper != "n" && helper != "y" {
			w.helper, w.helperAt = helper, slash(p.config.File)
		}
		w.checks = fact.TriOf(!p.is("CONFIG_MODULE_SIG", "n"))
	}
	c.sysctlWords(p, w)
	c.staticHelper(p, w)
	w.initcalls = !p.isOff("CONFIG_KALLSYMS")
	w.refuses, w.refusesWhy = refusesNext(p, w)
	w.gate = gateNext(p, w)
	if off && w.gate == nil && w.wordsOpen {
		w.gate = &fact.Reason{Code: ReasonGate, Text: "nomodule on the command line; but the boot loader may put nomodule=0 behind it", File: w.at.File, Line: w.at.Line}
	}
	return w
}

// sysctlWords heeds the sysctls on the command line, which the kernel sets before it starts init, also
// that of the initial file system.
func (c *Checker) sysctlWords(p *policyReader, w *world) {
	if disablesModules(p, w.words) && w.noLoading == nil {
		w.noLoading = &fact.Reason{Code: ReasonModulesDisabled, Text: "sysctl.kernel.modules_disabled=1 on the command line", File: w.at.File, Line: w.at.Line}
	}
	helpers := sysctlValues(p, w.words, FactModprobe)
	if len(helpers) == 0 {
		return
	}
	w.helper, w.helperAt = helpers[len(helpers)-1], w.at.File
	later := c.sysctl(FactModprobe)
	switch {
	case later != nil && later.Value != w.helper:
		w.helperWhy = &fact.Reason{Code: ReasonHelper, Text: "kernel.modprobe is set on the command line, and to another program later in boot", File: slash(later.File), Line: later.Line}
	case w.wordsOpen:
		w.helperWhy = &fact.Reason{Code: ReasonHelper, Text: "the boot loader may put another sysctl.kernel.modprobe= behind the one on the command line", File: w.at.File, Line: w.at.Line}
	}
}

// disablesModules reports whether the command line switches loading off. The sysctl takes nothing but
// 1, and once set it stays.
func disablesModules(p *policyReader, words []boot.Word) bool {
	return slices.Contains(sysctlValues(p, words, FactModulesDisabled), "1")
}

// sysctlValues are the values that the command line gives to a sysctl of the kernel, which goes by such
// words since 5.8. One without a value is refused.
func sysctlValues(p *policyReader, words []boot.Word, key string) (values []string) {
	if p.isOff("CONFIG_PROC_SYSCTL") || p.isOff("CONFIG_SYSCTL") || !since(p.Release, 5, 8) {
		return nil
	}
	for _, w := range words {
		if strings.ReplaceAll(w.Key, "/", ".") == sysctlPrefix+key && w.Value != "" && !w.Redacted {
			values = append(values, w.Value)
		}
	}
	return values
}

// since reports whether a kernel's release is that version or a later one; one that does not tell is not.
func since(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	a, err := strconv.Atoi(first)
	if err != nil || a != major {
		return err == nil && a > major
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	b, err := strconv.Atoi(digits)
	return err == nil && b >= minor
}

// builtinCmdline is the command line that the kernel was built with; without words when it has none.
func builtinCmdline(p *policyReader) boot.Entry {
	if p.config == nil {
		return boot.Entry{}
	}
	text, line := p.config.Get("CONFIG_CMDLINE")
	if text == "n" {
		return boot.Entry{}
	}
	text = strings.ReplaceAll(text, `\"`, `"`)
	return boot.Entry{Text: text, Words: boot.ParseCmdline(text), File: p.config.File, Line: line}
}

// nextCmdlines are the command lines that a boot entry may come to with the words that the kernel was
// built with. When there are several, only what holds for all is certain. Without known, the entry
// itself is a guess.
func nextCmdlines(p *policyReader, e boot.Entry, known bool) []boot.Entry {
	builtin := builtinCmdline(p)
	switch {
	case len(builtin.Words) == 0 && (known || len(e.Words) == 0):
		return []boot.Entry{e}
	case len(builtin.Words) > 0 && (p.is("CONFIG_CMDLINE_OVERRIDE", "y") || p.is("CONFIG_CMDLINE_FORCE", "y")):
		return []boot.Entry{builtin}
	case !known:
		guess := entryWith(e, builtin, e)
		guess.Unresolved = slices.Concat(e.Unresolved, []string{"the boot loader's words"})
		return []boot.Entry{guess, {}}
	case p.is("CONFIG_X86", "y"):
		return []boot.Entry{entryWith(e, builtin, e)}
	case p.is("CONFIG_CMDLINE_EXTEND", "y") && p.is("CONFIG_ARM", "y"): // without a device tree the boot loader's go behind
		return []boot.Entry{entryWith(e, e, builtin), entryWith(e, builtin, e)}
	case p.is("CONFIG_CMDLINE_EXTEND", "y"):
		return []boot.Entry{entryWith(e, e, builtin)}
	case len(e.Words) == 0 && len(e.Unresolved) == 0: // a word that the boot loader adds would replace them
		return []boot.Entry{builtin, e}
	}
	return []boot.Entry{e}
}

// entryWith returns the entry with one command line behind another in place of its own.
func entryWith(e, first, then boot.Entry) boot.Entry {
	if e.File == "" {
		e.File, e.Line = first.File, first.Line
	}
	if e.Text, e.Words = first.Text, first.Words; !slices.Contains(strings.Fields(first.Text), "--") { // else what follows is for init
		e.Text, e.Words = first.Text+" "+then.Text, slices.Concat(first.Words, then.Words)
	}
	return e
}

// refusesNext says whether a kernel will refuse modules without a signature after a boot.
func refusesNext(p *policyReader, w *world) (fact.Tri, *fact.Reason) {
	because := func(text, file string, line int) (fact.Tri, *fact.Reason) {
		return fact.Yes, &fact.Reason{Code: ReasonUnsigned, Text: text, File: file, Line: line}
	}
	unknown := func(text string) (fact.Tri, *fact.Reason) {
		return "", &fact.Reason{Code: ReasonUnsigned, Text: text, File: w.at.File, Line: w.at.Line}
	}
	asked := isSetSomewhere(w.words, "module.sig_enforce")
	level := lockdownLevel(w.words)
	if p.config == nil {
		if asked || level != "" {
			return unknown("the command line asks for signatures; whether this kernel checks them is not known")
		}
		return "", &fact.Reason{Code: ReasonUnsigned, Text: "the kernel's configuration is not known"}
	}
	if p.is("CONFIG_MODULE_SIG", "n") {
		return fact.No, nil // lockdown cannot refuse what the kernel does not look at
	}
	if p.is("CONFIG_MODULE_SIG_FORCE", "y") {
		_, line := p.config.Get("CONFIG_MODULE_SIG_FORCE")
		return because("CONFIG_MODULE_SIG_FORCE=y: the kernel takes only signed modules", slash(p.config.File), line)
	}
	if asked {
		return because("module.sig_enforce on the command line", w.at.File, w.at.Line)
	}
	if lockdownActive(p, w.words) {
		for _, o := range []string{"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY"} {
			if p.is(o, "y") {
				_, line := p.config.Get(o)
				return because(o+"=y: the kernel takes only signed modules", slash(p.config.File), line)
			}
		}
		if level != "" {
			return because("lockdown="+level+" on the command line", w.at.File, w.at.Line)
		}
	}
	bySecureBoot := p.is("CONFIG_IMA_ARCH_POLICY", "y") || p.is("CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT", "y") && lockdownActive(p, w.words)
	switch {
	case !bySecureBoot, p.secureBooted == fact.No:
		return fact.No, nil
	case p.secureBooted == fact.Yes:
		return because("Secure Boot makes the kernel take only signed modules", slash(SecureBootVar), 0)
	}
	return "", &fact.Reason{Code: ReasonUnsigned, Text: "with Secure Boot the kernel would take only signed modules; whether it is on is not known"}
}

// isSetSomewhere reports whether a boolean of the command line is ever set: what can only be
// switched on is not switched off by a later word.
func isSetSomewhere(words []boot.Word, key string) bool {
	return slices.ContainsFunc(words, func(w boot.Word) bool { return boot.SameKey(w.Key, key) && w.IsSet() })
}

// lockdownLevel is the level that a command line asks for; empty for none.
func lockdownLevel(words []boot.Word) string {
	for _, w := range words {
		if w.Key == "lockdown" && (w.Value == "integrity" || w.Value == "confidentiality") {
			return w.Value
		}
	}
	return ""
}

// lockdownActive reports whether the kernel starts the lockdown module: early, or because it is on
// the list of security modules, which the command line may replace.
func lockdownActive(p *policyReader, words []boot.Word) bool {
	if p.is("CONFIG_SECURITY_LOCKDOWN_LSM", "n") {
		return false
	}
	if p.is("CONFIG_SECURITY_LOCKDOWN_LSM_EARLY", "y") {
		return true
	}
	list := securityModules(p, words)
	return list == nil || slices.Contains(list, "lockdown") // before 5.1 there was no list
}

// securityModules are those that the kernel starts: what the command line says, else what it was built
// with; nil when neither says anything. The kernel's configuration must be known.
func securityModules(p *policyReader, words []boot.Word) []string {
	if word, ok := boot.LastValue(words, "lsm"); ok {
		return strings.Split(word.Value, ",")
	}
	if list, _ := p.config.Get("CONFIG_LSM"); list != "n" {
		return strings.Split(list, ",")
	}
	return nil
}

// gateNext says what else may refuse modules after a boot; nil for nothing.
func gateNext(p *policyReader, w *world) *fact.Reason {
	if p.is("CONFIG_IMA_APPRAISE", "y") {
		if p.is("CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS", "y") {
			_, line := p.config.Get("CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS")
			return &fact.Reason{Code: ReasonGate, Text: "IMA appraises module files: only the kernel knows which pass", File: slash(p.config.File), Line: line}
		}
		for _, word := range w.words {
			if word.Key == "ima_policy" && (strings.Contains(word.Value, "secure_boot") || strings.Contains(word.Value, "appraise_tcb")) || word.Key == "ima_appraise_tcb" {
				return &fact.Reason{Code: ReasonGate, Text: "IMA's policy on the command line appraises module files: only the kernel knows which pass", File: w.at.File, Line: w.at.Line}
			}
		}
	}
	enforced := p.is("CONFIG_SECURITY_LOADPIN_ENFORCE", "y")
	if word, ok := boot.LastValue(w.words, "loadpin.enforce"); ok {
		enforced = word.IsSet()
	}
	if enforced && p.is("CONFIG_SECURITY_LOADPIN", "y") && slices.Contains(securityModules(p, w.words), "loadpin") {
		return &fact.Reason{Code: ReasonGate, Text: "LoadPin takes modules from one file system only", File: slash(p.config.File)}
	}
	return nil
}

// settle notes what of the configuration is not known, and whether modprobe is another program than
// kmod's, which goes by it.
func (w *world) settle(c *Checker) {
	w.notSure = !w.config.Whole()
	once := func(err error) {
		known := fact.ProblemOf(SourceConfig, "", "", err)
		if !slices.ContainsFunc(c.problems, func(p fact.Problem) bool { return p.Source == known.Source && p.Text == known.Text }) {
			c.problem(SourceConfig, "", err)
		}
	}
	var lost fact.Report
	w.config.Report(&lost)
	for _, p := range lost.Problems {
		once(p)
	}
	if file, program := modprobe.Program(c.m.FS); program != "" {
		w.notSure = true
		once(fmt.Errorf("/%s is %s's, which knows no install lines: the configuration is judged as kmod reads it: %w", file, program, errors.ErrUnsupported))
	}
}
