// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxEntries is how many boot entries a verdict lists.
const maxEntries = 32

// bootEntries returns the answer for each boot entry. results are those of c.next, in the same order. It is nil if the
// boot loaders' files hold no entry.
func (c *checker) bootEntries(results []result) (entries []fact.BootEntry) {
	for _, e := range c.setup.For(c.machine.Release) {
		b := fact.BootEntry{ID: escape.UTF8(e.ID()), Default: c.setup.IsDefault(e)}
		for i, s := range c.next {
			if sameEntry(s.entry, e) && (b.Outcome == "" || results[i].prospect.Outcome.Worse(b.Outcome)) {
				b.Outcome = results[i].prospect.Outcome
			}
		}
		if b.Outcome == "" {
			b.Outcome = fact.VerdictUnknown // one of too many that differ
		}
		if entries = append(entries, b); len(entries) == maxEntries {
			break
		}
	}
	return entries
}

// lacking returns the reasons that name the boot entries without the module_blacklist= that others have.
func (c *checker) lacking(t target) (reasons []fact.Reason) {
	name, has := c.kernelName(t), false
	for _, s := range c.next {
		has = has || s.kernel.listed(name).Applies()
	}
	if !has {
		return nil
	}
	for _, e := range c.setup.For(c.machine.Release) {
		i := slices.IndexFunc(c.next, func(s *bootState) bool { return sameEntry(s.entry, e) })
		if i < 0 || c.next[i].kernel.listed(name).Applies() || len(reasons) == maxTriggers {
			continue
		}
		reasons = append(reasons, textReason(ReasonBootEntry, fmt.Sprintf("boot entry %q has no module_blacklist=%s",
			e.ID(), name), slash(e.File), e.Line))
	}
	return reasons
}

// nearMisses returns lines that name the module and do not count, each with the reason: those that people ask about
// most. kmod's FindBlacklist compares whole names, of which a line has one; the kernel's blacklisted() compares letter
// by letter, and so does kmod with names of the command line.
func (c *checker) nearMisses(s *bootState, t target) (reasons []fact.Reason) {
	for i := range s.modprobe.config.Blacklist {
		d := &s.modprobe.config.Blacklist[i]
		if text := nearMiss(d, t.name, s.kernel.cmdline.file == slash(d.File)); text != "" &&
			len(reasons) < maxTriggers {
			reasons = append(reasons, lineReason(ReasonIgnored, text, d))
		}
	}
	name := c.kernelName(t)
	for _, word := range boot.ListValues(s.kernel.cmdline.words, FactModuleBlacklist, false) {
		if word != name && (modprobe.SameModule(word, name) || modprobe.SameModule(word, t.name)) {
			reasons = append(reasons, s.kernel.cmdline.reason(ReasonIgnored, escape.Text("module_blacklist="+word+
				": does nothing, because the kernel compares letter by letter with "+quote(name))))
		}
	}
	return reasons
}

// nearMiss says why a blacklist line that seems to be for the module is not; empty for another line.
func nearMiss(d *modprobe.Directive, module string, cmdline bool) string {
	line := "blacklist " + strings.TrimSpace(d.Name+" "+d.Value)
	if cmdline {
		line = "modprobe.blacklist=" + d.Name
	}
	line += ": does nothing, because "
	switch {
	case d.Name == module:
		return ""
	case cmdline && modprobe.SameModule(d.Name, module):
		return line + "modprobe compares names of the command line letter by letter with " + quote(module)
	case strings.TrimRight(d.Name, "\r") == module:
		return strings.TrimSuffix(line, "\r") + "the name ends in a carriage return"
	case strings.ContainsAny(d.Name, "*?[") && modprobe.MatchAlias(d.Name, module):
		return line + "a blacklist line takes a name, no pattern"
	}
	for word := range strings.FieldsSeq(d.Value) {
		if !cmdline && modprobe.SameModule(word, module) {
			return line + "only the first name of a line counts"
		}
	}
	return ""
}
