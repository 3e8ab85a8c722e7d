// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxTriggers is how many triggers of one kind a verdict names.
const maxTriggers = 8

// triggers returns what would ask for the module.
func (c *checker) triggers(t target) []fact.Reason {
	if t.builtin {
		return nil
	}
	triggers := c.aliasTriggers(t)
	triggers = append(triggers, c.presentDevices(c.aliasesOf(t.name))...)
	for _, s := range c.loadLists {
		if normal, ok := modprobe.NormalizeAlias(s.Name); ok && (normal == t.name || normal == t.alias) {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerList, File: slash(s.File), Line: s.Line,
				Text: "loaded at boot; a blacklist line stops it"})
		}
	}
	triggers = append(triggers, c.cmdlineLoads(t)...)
	names := c.dependents(c.states()[0].modprobe, t)
	for i, name := range names {
		if i == maxTriggers {
			text := fmt.Sprintf("and %d more", len(names)-i)
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: text})
			break
		}
		triggers = append(triggers, textReason(ReasonTriggerDependent, "comes with "+name, "", 0))
	}
	return triggers
}

// aliasTriggers returns the requests for the module's name and its aliases, those of any process first.
func (c *checker) aliasTriggers(t target) (triggers []fact.Reason) {
	if by := triggerOf(t.name, true); by != nil {
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess,
			Text: "unprivileged " + by.does + ": the kernel asks for it by name"})
	}
	aliases := c.aliasesOf(t.name)
	for _, a := range aliases {
		if by := triggerOf(a, false); by != nil && len(triggers) < maxTriggers {
			triggers = append(triggers, textReason(ReasonTriggerProcess, "unprivileged "+by.does+": alias "+a, "", 0))
		}
	}
	for _, a := range aliases {
		if triggerOf(a, false) == nil && !isDeviceAlias(a) && len(triggers) < 2*maxTriggers {
			triggers = append(triggers, textReason(ReasonTriggerAlias, "alias "+a, "", 0))
		}
	}
	return triggers
}

// loadKeys are the keys of the command line that name modules to load during boot, to systemd and to
// the scripts of initial file systems.
var loadKeys = []string{"modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post", "rdloaddriver",
	"rdinsmodpost", "earlymodules"}

// cmdlineLoads returns the words of a command line that ask for the module.
func (c *checker) cmdlineLoads(t target) (triggers []fact.Reason) {
	for _, s := range c.states() {
		l := &s.kernel.cmdline
		for _, key := range loadKeys {
			for _, name := range boot.ListValues(l.words, key, true) {
				if modprobe.SameModule(name, t.name) {
					text := key + "=" + name + " on the command line"
					triggers = appendReasons(triggers, textReason(ReasonTriggerList, text, l.file, l.line))
				}
			}
		}
	}
	return triggers
}

// maxDevices is how many devices are looked at.
const maxDevices = 20000

// presentDevices names devices that are there and that the aliases fit. What could not be read is left out: the ways
// are judged without it.
func (c *checker) presentDevices(aliases []string) (found []fact.Reason) {
	patterns := slices.DeleteFunc(slices.Clone(aliases), func(a string) bool { return !isDeviceAlias(a) })
	if !c.machine.Live || len(patterns) == 0 {
		return nil
	}
	buses, err := fs.ReadDir(c.machine.FS, "sys/bus")
	if err != nil {
		return nil
	}
	looked := 0
	for _, bus := range buses {
		if !hasPrefix(patterns, bus.Name()+":") {
			continue
		}
		dir := "sys/bus/" + bus.Name() + "/devices"
		devices, err := fs.ReadDir(c.machine.FS, dir)
		if err != nil {
			continue
		}
		for _, d := range devices {
			if looked++; looked > maxDevices || len(found) == maxTriggers {
				return found
			}
			if p := c.patternOf(dir+"/"+d.Name(), patterns); p != "" {
				found = append(found, textReason(ReasonTriggerDevice, d.Name()+" via "+p, "/"+dir+"/"+d.Name(), 0))
			}
		}
	}
	return found
}

// patternOf returns the first pattern that fits a device's modalias; empty for none.
func (c *checker) patternOf(device string, patterns []string) string {
	b, err := limit.AppendAttr(c.machine.FS, nil, device+"/modalias", limit.Attr)
	if err != nil {
		return ""
	}
	normal, ok := modprobe.NormalizeAlias(strings.TrimSpace(string(b)))
	if !ok {
		return ""
	}
	for _, p := range patterns {
		if modprobe.MatchAlias(p, normal) {
			return p
		}
	}
	return ""
}

func hasPrefix(patterns []string, prefix string) bool {
	for _, p := range patterns {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}
