// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// bypasses returns what could put the code in despite what blocks it, and what of that could not be read.
func (c *checker) bypasses(t target, next *fact.Prospect) (bypasses []fact.Reason, problems []fact.Problem) {
	if t.builtin || t.file == "" {
		return nil, nil
	}
	refused := slices.Contains(next.Ways, fact.Way{Way: WayInsmod, Blocked: fact.Yes}) // by the kernel itself
	if next.Outcome == fact.VerdictBlocked && t.onDisk && !refused {
		text := "insmod: root's own way past what modprobe is told"
		if c.next[0].modprobe.of(t.name).install != nil {
			text = "modprobe -i, insmod: root's own ways past an install line"
		}
		bypasses = append(bypasses, fact.Reason{Code: ReasonIgnoreInstall, Text: text})
	}
	for _, key := range []string{FactModulesDisabled, FactModprobe} {
		if s := c.sysctl(key); s != nil {
			text := "kernel." + key + "=" + s.Value + " is set only when boot has come that far"
			bypasses = append(bypasses, textReason(ReasonSetLater, text, slash(s.File), s.Line))
		}
	}
	if next.Outcome == fact.VerdictLoadable || refused {
		return bypasses, nil // it gets in without, or not even so
	}
	files := c.initramfs()
	for _, i := range files.read {
		bypasses = append(bypasses, initramfsCopy(i, t.name)...)
	}
	for _, p := range files.report.Problems {
		problems = append(problems, fact.ProblemOf(SourceInitramfs, t.name, "bypasses", p))
	}
	if len(problems) > 0 {
		bypasses = append(bypasses, fact.Reason{Code: ReasonInitramfs, Unread: problems[0].Text,
			Text: "unknown: not all of the initramfs was read; a copy in it is loaded by its own rules"})
	}
	return bypasses, problems
}

// initialFiles are the initial file systems of the release.
type initialFiles struct {
	read   []*boot.Initramfs
	report fact.Report
}

// initramfs reads them, once.
func (c *checker) initramfs() *initialFiles {
	if c.kept.initramfs != nil {
		return c.kept.initramfs
	}
	f := &initialFiles{report: *c.report.Part()}
	c.kept.initramfs = f
	sets := boot.InitramfsSets(c.machine.FS, c.setup, c.machine.Release, &f.report)
	if len(sets) > maxBootStates {
		err := fmt.Errorf("%d initial file systems: %w", len(sets), fact.ErrTooLarge)
		f.report.Problem(SourceInitramfs, "", "", err)
		sets = sets[:maxBootStates]
	}
	for _, names := range sets {
		i, err := boot.ReadInitramfs(c.machine.FS, names, &f.report)
		if err != nil {
			f.report.Problem(SourceInitramfs, "", "modules", err)
			continue
		}
		f.read = append(f.read, i)
	}
	return f
}

// initramfsCopy says what the initial file system does with a module. It is empty if there is no copy, or the install
// line in it keeps the copy out.
func initramfsCopy(i *boot.Initramfs, module string) []fact.Reason {
	at := slices.IndexFunc(i.Modules, func(file string) bool { return ko.NameOfFile(file) == module })
	if at < 0 {
		return nil
	}
	d := i.Config.FindInstall(module)
	if d != nil && i.Config.FindSoftdep(module) == nil && !i.NoInstall && !mayLoad(d, module) {
		return nil
	}
	text := "a copy in /" + strings.Join(i.Files, ", /") + " (" + i.Modules[at] +
		"), whose own modprobe.d does not stop it"
	for _, s := range i.Lists {
		if modprobe.SameModule(s.Name, module) {
			text += "; " + s.File + " there loads it at boot"
			break
		}
	}
	return []fact.Reason{textReason(ReasonInitramfs, text, "/"+i.Files[len(i.Files)-1], 0)}
}
