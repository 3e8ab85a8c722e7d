// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// blocklistKeys are the words of a command line that keep a module out: the kernel's, which compares its own name, and
// modprobe's.
var blocklistKeys = []string{FactModuleBlacklist, "modprobe.blacklist"}

// regenerated returns what the next run of a tool that makes boot entries would change for the module. It decides
// nothing: the next boot uses the entries.
func (c *checker) regenerated(t target) (reasons []fact.Reason) {
	entries := c.setup.For(c.machine.Release)
	if len(entries) == 0 || c.setup.Fallback || c.machine.Deployment != "" {
		return nil // entries are made from that file, or not by these tools
	}
	if c.kept.generators == nil { // what could not be read only costs a remark
		c.kept.generators = append([]boot.Generator{}, boot.ReadGenerators(c.machine.FS, c.other)...)
	}
	for _, g := range c.kept.generators {
		made := slices.DeleteFunc(slices.Clone(entries), func(e boot.Entry) bool {
			return (path.Ext(e.File) == ".cfg") != (g.File == boot.GrubDefaults)
		})
		for _, key := range blocklistKeys {
			name := t.name
			if key == FactModuleBlacklist {
				name = c.kernelName(t)
			}
			if r := regeneratedWord(g, made, key, name); r.Code != "" {
				reasons = append(reasons, r)
			}
		}
	}
	return reasons
}

// regeneratedWord says what a generator would change about one name after a key; the zero Reason if nothing.
func regeneratedWord(g boot.Generator, entries []boot.Entry, key, name string) fact.Reason {
	lists := func(words []boot.Word) bool { return slices.Contains(boot.ListValues(words, key, true), name) }
	always, usual := lists(g.Words), lists(g.Usual)
	with, without := 0, 0
	for _, e := range entries {
		switch {
		case lists(e.Words):
			with++
		case always || usual && !isRecovery(e):
			without++
		}
	}
	r := fact.Reason{Code: ReasonRegenerated, File: slash(g.File)}
	word := key + "=" + name
	switch {
	case (always || usual) && without > 0:
		r.Text = fmt.Sprintf("%s is here and not in each boot entry: the next run of %s adds it", word, g.Tool)
	case !always && !usual && !g.Open && with > 0:
		r.Text = fmt.Sprintf("%s is in boot entries and not here: the next run of %s leaves it out", word, g.Tool)
	default:
		return fact.Reason{}
	}
	return textReason(r.Code, r.Text, r.File, 0)
}

// isRecovery reports whether grub-mkconfig would leave GRUB_CMDLINE_LINUX_DEFAULT out of an entry: one that ends in a
// single user's shell.
func isRecovery(e boot.Entry) bool {
	return slices.ContainsFunc(e.Words, func(w boot.Word) bool { return w.Key == "single" || w.Key == "recovery" }) ||
		strings.Contains(e.Title, "recovery")
}
