// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxTriggers is how many triggers of one kind a verdict names.
const maxTriggers = 8

// triggers says what would ask for the module.
func (c *Checker) triggers(t target) []fact.Reason {
	var triggers []fact.Reason
	if t.builtin {
		return nil
	}
	if by := triggerOf(t.name, true); by != nil {
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess, Text: "unprivileged " + by.Text + ": the kernel asks for it by name"})
	}
	aliases := c.aliases(t.name)
	for _, a := range aliases {
		if by := triggerOf(a, false); by != nil && len(triggers) < maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess, Text: escape.Text("unprivileged " + by.Text + ": alias " + a)})
		}
	}
	for _, a := range aliases {
		if triggerOf(a, false) == nil && !isDeviceAlias(a) && len(triggers) < 2*maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerAlias, Text: escape.Text("alias " + a)})
		}
	}
	triggers = append(triggers, c.presentDevices(aliases)...)
	for _, s := range c.loadLists {
		if normal, ok := NormalizeAlias(s.Name); ok && (normal == t.name || normal == t.alias) {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerList, Text: "loaded at boot; a blacklist line stops it", File: slash(s.File), Line: s.Line})
		}
	}
	names := c.dependents(c.worlds()[0], t)
	for i, name := range names {
		if i == maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: fmt.Sprintf("and %d more", len(names)-i)})
			break
		}
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: escape.Text("comes with " + name)})
	}
	return triggers
}

// maxDevices is how many devices are looked at.
const maxDevices = 20000

// presentDevices names devices that are there and that the aliases fit.
func (c *Checker) presentDevices(aliases []string) []fact.Reason {
	var patterns []string
	for _, a := range aliases {
		if isDeviceAlias(a) {
			patterns = append(patterns, a)
		}
	}
	if !c.m.Live || len(patterns) == 0 {
		return nil
	}
	buses, err := fs.ReadDir(c.m.FS, "sys/bus")
	if err != nil {
		return nil // what triggers a load is advice; the ways are judged without it
	}
	var found []fact.Reason
	looked := 0
	for _, bus := range buses {
		prefix := bus.Name() + ":"
		if !hasPrefix(patterns, prefix) {
			continue
		}
		dir := "sys/bus/" + bus.Name() + "/devices"
		devices, err := fs.ReadDir(c.m.FS, dir)
		if err != nil {
			continue
		}
		for _, d := range devices {
			if looked++; looked > maxDevices || len(found) == maxTriggers {
				return found
			}
			b, err := limit.AppendAttr(c.m.FS, nil, dir+"/"+d.Name()+"/modalias", limit.Attr)
			if err != nil {
				continue
			}
			modalias := strings.TrimSpace(string(b))
			normal, ok := NormalizeAlias(modalias)
			if !ok {
				continue
			}
			for _, p := range patterns {
				if MatchAlias(p, normal) {
					found = append(found, fact.Reason{Code: ReasonTriggerDevice, Text: escape.Text(d.Name() + " via " + p), File: "/" + dir + "/" + d.Name()})
					break
				}
			}
		}
	}
	return found
}

func hasPrefix(patterns []string, prefix string) bool {
	for _, p := range patterns {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// bypasses says what could put the code in all the same, and what of that could not be read.
func (c *Checker) bypasses(t target, next fact.VerdictOutcome) (bypasses []fact.Reason, problems []fact.Problem) {
	if t.builtin || t.file == "" {
		return nil, nil
	}
	if next == fact.VerdictBlocked && t.onDisk {
		bypasses = append(bypasses, fact.Reason{Code: ReasonIgnoreInstall, Text: "modprobe -i, insmod: root's own ways past an install line"})
	}
	for _, key := range []string{FactModulesDisabled, FactModprobe} {
		if s := c.sysctl(key); s != nil {
			bypasses = append(bypasses, fact.Reason{Code: ReasonSetLater, Text: escape.Text("kernel." + key + "=" + s.Value + " is set only when boot has come that far"), File: slash(s.File), Line: s.Line})
		}
	}
	if next == fact.VerdictLoadable {
		return bypasses, nil // it gets in without
	}
	initramfs, err := c.initramfs()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		bypasses = append(bypasses, fact.Reason{Code: ReasonInitramfs, Text: "unknown: the initramfs was not read; a copy in it is loaded by its own rules"})
		problems = append(problems, fact.ProblemOf(SourceInitramfs, t.name, "bypasses", err))
	default:
		bypasses = append(bypasses, initramfs.Copy(t.name)...)
	}
	return bypasses, problems
}

// initramfs reads the initial file system, once.
func (c *Checker) initramfs() (*Initramfs, error) {
	if c.early == nil && c.earlyErr == nil {
		c.early, c.earlyErr = ReadInitramfs(c.m.FS, c.m.Release)
	}
	return c.early, c.earlyErr
}

// sysctl returns the last setting of a kernel key during boot; nil for none.
func (c *Checker) sysctl(key string) *Setting {
	settings, _ := ReadSysctls(c.m.FS) // what could not be read only costs a remark
	var last *Setting
	for i := range settings {
		if settings[i].Name == "kernel."+key {
			last = &settings[i]
		}
	}
	return last
}

// remedies says what would stop what is open.
func remedies(t target, v *fact.Verdict) []fact.Remedy {
	worst := v.NextBoot.Outcome
	if v.Now != nil && worse(v.Now.Outcome, worst) {
		worst = v.Now.Outcome
	}
	switch {
	case worst == fact.VerdictBlocked || worst == fact.VerdictAbsent:
		return nil
	case t.builtin:
		return []fact.Remedy{{Text: "initcall_blacklist=FUNCTION on the kernel's command line, with the function that starts it (often " + t.name + "_init)"}}
	}
	return []fact.Remedy{
		{Text: "install " + t.name + " /bin/false", NotAgainst: []string{WayInsmod, ReasonInitramfs}},
		{Text: "module_blacklist=" + t.name + " on the kernel's command line"},
	}
}
