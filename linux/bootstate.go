// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A bootState is one kernel at one boot: the one that runs, or one that a boot entry would start.
type bootState struct {
	kernel   *enforcement
	modprobe *modprobeState
	entry    boot.Entry    // of the running kernel, the zero Entry
	initial  *initialState // of the running kernel, empty: that time is over
	doubt    fact.Answer   // why the kernel may never be started so; does not apply if that is certain

	// elsewhere judges the root that the entry starts in place of the one that is looked at; nil for none. unread is
	// set for an entry that starts such a root which cannot be read.
	elsewhere *checker
	unread    fact.Answer
}

// maxBootStates is how many different boot entries of one release are judged.
const maxBootStates = 16

// runningState is the kernel as it runs.
func (c *checker) runningState(p *policyReader) *bootState {
	tree := modprobe.OpenTree(c.machine.FS, c.machine.Dir, true)
	s := &bootState{modprobe: c.newModprobeState(tree, tree.Config()), initial: new(initialState)}
	if c.container.Applies() {
		s.modprobe.doubt = c.container
	}
	s.kernel = c.runningEnforcement(p)
	return s
}

// nextStates makes a state of each boot entry that differs in what it says of modules. The first is certain.
func (c *checker) nextStates(p *policyReader) {
	b := &bootStates{checker: c, policy: p, configs: c.nextConfigs()}
	entries := differing(c.setup.For(c.machine.Release))
	if len(entries) == 0 && c.bootErr == nil {
		c.problem(SourceCmdline, "", boot.ErrNoEntry)
	}
	if c.setup.Fallback {
		c.problem(SourceCmdline, entries[0].File, errFallback)
	}
	if len(entries) == 0 {
		entries = []boot.Entry{{}}
	}
	var left fact.Answer // entries that are not judged
	if c.bootErr != nil {
		left = fact.UnsureOf(unread(ReasonBootEntry, "a boot entry", c.bootErr))
	}
	for i, e := range entries {
		if i == maxBootStates {
			err := fmt.Errorf("more than %d boot entries that differ: %w", maxBootStates, fact.ErrTooLarge)
			c.problem(SourceCmdline, e.File, err)
			left = fact.UnsureOf(unread(ReasonBootEntry, "further boot entries", err))
			break
		}
		b.add(e, fact.Answer{})
		if len(e.Unresolved) > 0 && !c.setup.Fallback {
			c.problem(SourceCmdline, e.File, fmt.Errorf("command line holds %s, which only the boot loader knows: %w",
				strings.Join(e.Unresolved, " "), errors.ErrUnsupported))
		}
	}
	perhaps := differing(c.setup.Perhaps(c.machine.Release))
	for _, e := range perhaps[:min(len(perhaps), maxBootStates)] {
		b.add(e, fact.UnsureOf(fact.Reason{Code: ReasonBootEntry, File: slash(e.File), Line: e.Line,
			Text:   "a boot entry that names no release with modules: it may start this kernel",
			Unread: "the release of the entry's kernel"}))
	}
	if len(perhaps) > maxBootStates && !left.Applies() {
		left = fact.Unsure(ReasonBootEntry, fmt.Sprintf("more than %d boot entries may start this kernel",
			maxBootStates))
	}
	if left.Applies() {
		b.add(boot.Entry{}, left)
	}
	c.next = b.states
}

// bootStates collects the states of a kernel's boot entries.
type bootStates struct {
	checker *checker
	policy  *policyReader
	configs []*modprobe.Config // that a boot may find
	states  []*bootState
}

// add adds the states that a boot entry may come to.
func (b *bootStates) add(e boot.Entry, doubt fact.Answer) {
	other, unread := b.checker.elsewhere(e)
	if other != nil {
		b.addElsewhere(other, e, doubt)
		return
	}
	known := e.File != "" && !b.checker.setup.Fallback
	for i, line := range nextCmdlines(b.policy, e, known) {
		line = b.withBootconfig(e, line)
		if i > 0 && !doubt.Applies() {
			doubt = fact.UnsureOf(fact.Reason{Code: ReasonBootEntry, File: slash(e.File), Line: e.Line,
				Text: "how the boot loader's words and those that the kernel was built with come together is not " +
					"known",
				Unread: "the boot loader's words"})
		}
		for _, config := range b.configs {
			s := b.checker.nextState(b.policy, line, config)
			s.entry, s.initial, s.doubt, s.unread = e, new(initialState), doubt, unread
			if e.File != "" || !doubt.Applies() {
				s.initial = b.checker.initialOf(e, line, s.kernel)
			}
			b.states = append(b.states, s)
		}
	}
}

// withBootconfig returns the command line with the words of the bootconfig after the entry's initial file system,
// which the kernel puts in front if "bootconfig" is on its command line (setup_boot_config, setup_command_line).
// initialOf reports a bootconfig that cannot be read.
func (b *bootStates) withBootconfig(e, line boot.Entry) boot.Entry {
	asks := slices.ContainsFunc(line.Words, func(w boot.Word) bool { return w.Key == "bootconfig" })
	if !b.policy.is("CONFIG_BOOT_CONFIG", "y") || !asks && !b.policy.is("CONFIG_BOOT_CONFIG_FORCE", "y") {
		return line
	}
	c := b.checker
	lost := c.report.Part()
	plan := c.setup.Initial(c.machine.FS, e, c.machine.Release, lost)
	if len(plan.Sets) != 1 {
		return line
	}
	i, err := c.machine.Initramfs.read(c.machine.FS, plan.Sets[0], lost)
	if err != nil || i.Bootconfig == "" {
		return line
	}
	if text, ok := boot.BootconfigWords(i.Bootconfig); ok {
		line.Text, line.Words = text+line.Text, slices.Concat(boot.ParseCmdline(text), line.Words)
	}
	return line
}

// addElsewhere adds the states of an entry that starts another root.
func (b *bootStates) addElsewhere(other *checker, e boot.Entry, doubt fact.Answer) {
	for _, s := range other.next {
		if !sameEntry(s.entry, e) {
			continue
		}
		here := *s
		here.elsewhere = other
		if doubt.Applies() {
			here.doubt = doubt
		}
		b.states = append(b.states, &here)
	}
}

// errFallback is for a command line that no boot loader's file holds.
var errFallback error = &sentinel.Error{
	Before: "no boot loader's entry was found: boot entries are made from this file, and may say something else",
	Cause:  fs.ErrNotExist,
}

// differing returns the first of the entries that say the same of modules.
func differing(entries []boot.Entry) (differ []boot.Entry) {
	for _, e := range entries {
		if !slices.ContainsFunc(differ, func(other boot.Entry) bool { return sameEntry(other, e) }) {
			differ = append(differ, e)
		}
	}
	return differ
}

// sameEntry reports whether two boot entries say the same of modules.
func sameEntry(a, b boot.Entry) bool {
	return boot.SameForModules(a.Words, b.Words) && slices.Equal(a.Unresolved, b.Unresolved) &&
		slices.Equal(a.Initrds, b.Initrds) && boot.RootNameOf(a.Words) == boot.RootNameOf(b.Words)
}

// runConfigDir holds configuration that is gone after a boot, unless something makes it anew.
const runConfigDir = "run/modprobe.d"

// nextConfigs returns the configurations that a boot may find: that on disk, and, if /run has some, that without it.
func (c *checker) nextConfigs() []*modprobe.Config {
	all := c.tree.Config()
	if entries, err := fs.ReadDir(c.machine.FS, runConfigDir); err != nil || len(entries) == 0 {
		return []*modprobe.Config{all}
	}
	for i := range all.Blacklist {
		c.addVolatile("blacklist "+all.Blacklist[i].Name, &all.Blacklist[i])
	}
	for i := range all.Install {
		c.addVolatile(installText(&all.Install[i]), &all.Install[i])
	}
	lasting := slices.DeleteFunc(slices.Clone(modprobe.ConfigDirs),
		func(dir string) bool { return dir == runConfigDir })
	return []*modprobe.Config{all, modprobe.ReadConfig(c.machine.FS, lasting, c.machine.Dir.Dir, false)}
}

// A volatileLine is a line of modprobe's configuration below /run, which is empty after a boot.
type volatileLine struct {
	line   *modprobe.Directive
	reason fact.Reason
}

func (c *checker) addVolatile(text string, d *modprobe.Directive) {
	if path.Dir(d.File) == runConfigDir {
		c.volatile = append(c.volatile,
			volatileLine{d, lineReason(ReasonVolatile, text+": /run is empty after a boot", d)})
	}
}

// nextState is the kernel as a boot entry would start it, with a configuration.
func (c *checker) nextState(p *policyReader, e boot.Entry, base *modprobe.Config) *bootState {
	config := configAt(base, e)
	tree := modprobe.OpenTree(c.machine.FS, c.machine.Dir, false)
	tree.SetConfig(config)
	s := &bootState{modprobe: c.newModprobeState(tree, config), kernel: c.nextEnforcement(p, e)}
	if !s.modprobe.doubt.Applies() {
		s.modprobe.doubt = c.extensions
	}
	if c.container.Applies() {
		s.modprobe.doubt = c.container
	}
	return s
}

// configAt returns the configuration with what the entry's command line adds.
func configAt(base *modprobe.Config, e boot.Entry) *modprobe.Config {
	config := *base
	if e.Text == "" {
		return &config
	}
	// Their lists are copied when one is added.
	config.Options, config.Blacklist = slices.Clip(config.Options), slices.Clip(config.Blacklist)
	config.ParseCmdline(e.Text, e.File)
	added := [][]modprobe.Directive{config.Options[len(base.Options):], config.Blacklist[len(base.Blacklist):]}
	for _, list := range added {
		for i := range list {
			list[i].Line = max(e.Line, 1)
		}
	}
	return &config
}

// sysctl returns the last setting of a kernel key during boot; nil for none.
func (c *checker) sysctl(key string) *modprobe.Setting {
	settings := modprobe.ReadSysctls(c.machine.FS, c.other) // what could not be read only costs a remark
	var last *modprobe.Setting
	for i := range settings {
		if settings[i].Name == "kernel."+key {
			last = &settings[i]
		}
	}
	return last
}
