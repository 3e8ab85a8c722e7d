// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

const defaultHelper = "/sbin/modprobe"

// An enforcement is what the kernel itself enforces at one boot, whoever loads a module.
type enforcement struct {
	cmdline  commandLine
	loaded   map[string]bool // nil before a boot
	loading  fact.Answer     // whether loading is switched off; does not apply if it is not
	unsigned fact.Answer     // whether a module without a signature is refused
	checks   fact.Tri        // whether signatures are checked at all
	gate     fact.Answer     // what else may refuse a module; does not apply if nothing does
	helper   fact.Answer     // whether the kernel's requests for modules reach modprobe
	skips    bool            // the kernel applies initcall_blacklist=

	revokes     revocation
	modversions fact.Tri // CONFIG_MODVERSIONS; empty if the configuration is not known
	forceLoad   fact.Tri // CONFIG_MODULE_FORCE_LOAD, likewise
}

// runningEnforcement is what the kernel enforces as it runs.
func (c *checker) runningEnforcement(p *policyReader) *enforcement {
	if err := p.unread(SourceCmdline); err != nil {
		c.problem(SourceCmdline, "", err)
	}
	k := &enforcement{loaded: c.loaded, skips: !p.isOff("CONFIG_KALLSYMS"), checks: fact.TriOf(!p.noSignatures),
		cmdline:  commandLine{words: p.Entry.Words, file: slash(p.Entry.File)},
		unsigned: unsignedNow(p), gate: gateNow(p), helper: staticHelper(p)}
	k.setOptions(p)
	switch {
	case p.noModules == fact.Yes:
		k.loading = fact.Stops(fact.Reason{Code: ReasonNoModules, Text: builtWithoutModules})
	case p.disabled == fact.Yes:
		k.loading = fact.Stops(fact.Reason{Code: ReasonModulesDisabled,
			Text: "modules_disabled=1: nothing is loaded until the next boot", File: slash(disabledFile)})
	}
	if !k.helper.Applies() {
		k.helper = p.helper
	}
	return k
}

// setOptions notes what the kernel was built with.
func (k *enforcement) setOptions(p *policyReader) {
	k.revokes = revocation{p.config, p.Release}
	if p.config != nil {
		k.modversions = fact.TriOf(p.is("CONFIG_MODVERSIONS", "y"))
		k.forceLoad = fact.TriOf(p.is("CONFIG_MODULE_FORCE_LOAD", "y"))
	}
}

const builtWithoutModules = "the kernel was built without loadable modules"

// staticHelper says what follows if the kernel runs one fixed program in place of every helper. It does not apply
// to other kernels.
func staticHelper(p *policyReader) fact.Answer {
	if !p.is("CONFIG_STATIC_USERMODEHELPER", "y") {
		return fact.Answer{}
	}
	program, line := p.config.Get("CONFIG_STATIC_USERMODEHELPER_PATH")
	if program == "" {
		return helperOf("", slash(p.config.File))
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonHelper, File: slash(p.config.File), Line: line,
		Text:   "the kernel runs " + quote(program) + " in place of every helper",
		Unread: "what " + escape.Text(program) + " does"})
}

// nextEnforcement is what the kernel will enforce if a boot entry starts it.
func (c *checker) nextEnforcement(p *policyReader, e boot.Entry) *enforcement {
	k := &enforcement{cmdline: commandLineOf(e), skips: !p.isOff("CONFIG_KALLSYMS")}
	k.setOptions(p)
	if p.config != nil {
		k.checks = fact.TriOf(!p.is("CONFIG_MODULE_SIG", "n"))
	}
	k.loading, k.helper = loadingNext(p, &k.cmdline), c.helperNext(p, &k.cmdline)
	k.unsigned, k.gate = unsignedNext(p, &k.cmdline), gateNext(p, &k.cmdline)
	if !k.gate.Applies() && len(k.cmdline.open) > 0 && k.cmdline.isSet("nomodule") {
		k.gate = k.cmdline.unsure(ReasonGate,
			"nomodule on the command line; but the boot loader may put nomodule=0 after it")
	}
	return k
}

// loadingNext says whether loading will be switched off. It does not apply if it will not.
func loadingNext(p *policyReader, l *commandLine) fact.Answer {
	switch {
	case p.noModules == fact.Yes:
		r := fact.Reason{Code: ReasonNoModules, Text: builtWithoutModules}
		if p.config != nil {
			_, r.Line = p.config.Get("CONFIG_MODULES")
			r.File = slash(p.config.File)
		}
		return fact.Stops(r)
	case l.isSet("nomodule") && len(l.open) == 0:
		return fact.Stops(l.reason(ReasonModulesDisabled, "nomodule on the command line"))
	case l.disablesModules(p):
		return fact.Stops(l.reason(ReasonModulesDisabled, "sysctl.kernel.modules_disabled=1 on the command line"))
	}
	return fact.Answer{}
}

// helperNext says whether the kernel's requests for modules will reach modprobe.
func (c *checker) helperNext(p *policyReader, l *commandLine) fact.Answer {
	if a := staticHelper(p); a.Applies() {
		return a
	}
	helper, file := defaultHelper, ""
	if p.config != nil {
		if path, _ := p.config.Get("CONFIG_MODPROBE_PATH"); path != "n" && path != "y" {
			helper, file = path, slash(p.config.File)
		}
	}
	words := l.sysctls(p, FactModprobe)
	if len(words) > 0 {
		helper, file = words[len(words)-1], l.file
	}
	if len(words) == 0 && helperOf(helper, file).Blocked() != fact.Yes {
		return helperOf(helper, file)
	}
	later := c.sysctl(FactModprobe)
	switch {
	case later != nil && later.Value != helper:
		return fact.UnsureOf(fact.Reason{Code: ReasonHelper, File: slash(later.File), Line: later.Line,
			Text:   "kernel.modprobe is set to another program later in boot",
			Unread: "which of the two holds"})
	case len(l.open) > 0:
		return l.unsure(ReasonHelper, "the boot loader may put another sysctl.kernel.modprobe= on the command line")
	}
	return helperOf(helper, file)
}

// listed says whether module_blacklist= names the module. It does not apply if it does not.
func (k *enforcement) listed(module string) fact.Answer {
	if !slices.Contains(boot.ListValues(k.cmdline.words, FactModuleBlacklist, false), module) {
		return fact.Answer{}
	}
	text := "module_blacklist=" + module + ": refused by the kernel itself, also from insmod"
	if len(k.cmdline.open) > 0 {
		return k.cmdline.unsure(ReasonModuleBlacklist,
			text+"; but the boot loader may put another module_blacklist= after it")
	}
	return fact.Stops(k.cmdline.reason(ReasonModuleBlacklist, text))
}

// refuses says whether the kernel itself refuses the module, however it is asked for.
func (c *checker) refuses(k *enforcement, t target) fact.Answer {
	if k.loading.Applies() {
		return k.loading
	}
	if a := k.listed(c.kernelName(t)); a.Applies() {
		return a
	}
	if t.file == "" {
		return passes()
	}
	if a := c.refusesFormat(k, t); a.Blocked() == fact.Yes {
		return a
	} else if a.Applies() && c.refusesSignature(k, t).Blocked() != fact.Yes {
		return a
	}
	a := c.refusesSignature(k, t)
	if a.Blocked() != fact.Yes && k.gate.Applies() {
		return k.gate
	}
	return a
}

// refusesNeeds says whether the kernel itself refuses a module that the target needs and that is not loaded. Then
// insmod of one after the other does not help.
func (c *checker) refusesNeeds(k *enforcement, t target) fact.Answer {
	found := passes()
	line, _ := c.tree.DepLine(t.name)
	if line == nil {
		return found
	}
	for _, file := range line.Needs {
		name := ko.NameOfFile(file)
		needed := target{name: name, file: file}
		if k.loaded[c.kernelName(needed)] {
			continue
		}
		a := c.refuses(k, needed)
		switch a.Blocked() {
		case fact.Yes:
			return fact.Stops(neededFirst(a.Because(), name))
		case "":
			found = a
		}
	}
	return found
}

// neededFirst returns the reason that keeps a needed module out as a reason against what needs it.
func neededFirst(r fact.Reason, name string) fact.Reason {
	r.Code, r.Text = ReasonDependency, r.Text+" ("+name+" must be loaded first)"
	return r
}
