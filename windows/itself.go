// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// crashControlKey has the settings of crash dumps, with the filters that are loaded for them (DumpFilters, "Crash Dump
// Filter Drivers").
const crashControlKey = `SYSTEM\CurrentControlSet\Control\CrashControl`

// subSystemsKey names the kernel's part of the Windows subsystem, usually win32k.sys, which the session manager loads.
const subSystemsKey = sessionManagerKey + `\SubSystems`

// ownImages are files of System32\drivers that Windows loads without a service, and that no import names: those for
// crash dumps and graphics, and hosts of API sets that the kernel imports.
var ownImages = [...]string{
	"clipsp.sys", "cmimcext.sys", "crashdmp.sys", "diskdump.sys", "dumpata.sys", "dumpfve.sys", "dumpsd.sys",
	"dumpsdport.sys", "dumpstorport.sys", "dxgmms1.sys", "dxgmms2.sys", "hvcrash.sys", "hiberrsm.sys", "ntosext.sys",
	"tm.sys", "werkernel.sys",
}

// itself answers for an image that Windows may load without a service. It does not apply if none of the cases that are
// known fits.
func (c *checker) itself(e *entry) fact.Answer {
	p := c.inventory.Paths
	path := p.fullKey(e.Path)
	switch {
	case p.SystemRoot == "" || e.Path == "":
		return fact.Answer{}
	case folderOf(path) == fold(p.SystemRoot)+`\system32\`:
		return fact.Unsure(ReasonItself, "the boot loader, the kernel and the session manager load images of "+
			"System32 without a service: whether this is one is not known")
	case p.inDrivers(path) && slices.Contains(ownImages[:], baseName(path)):
		return fact.Unsure(ReasonItself, "Windows loads its own file of this name without a service")
	}
	if a := c.namedBy(subSystemsKey, "Kmode",
		"it is the kernel's part of the subsystem, which the session manager loads",
		func(name string) bool {
			_, dos, err := p.resolveCleaned("", name)
			return err == nil && p.fullKey(dos) == path
		}); a.Applies() || !p.inDrivers(path) {
		return a
	}
	return c.namedBy(crashControlKey, "DumpFilters",
		"it is a filter of crash dumps, which is loaded at boot if the machine makes them",
		func(name string) bool { return strings.EqualFold(baseName(name), e.Name) })
}

// namedBy answers for an image that a value of the registry makes Windows load. It does not apply if the value, a text
// or a list of texts, has no name that is the image's.
func (c *checker) namedBy(key, value, text string, is func(string) bool) fact.Answer {
	because := func(text string) fact.Answer {
		return fact.UnsureOf(fact.Reason{Code: ReasonItself, File: `HKLM\` + key, Text: text})
	}
	k, err := c.kernel.registry(c.ctx, key)
	switch {
	case errors.Is(err, errNotThere), fact.Lacks(err), hiveIsMissing(err): // the services say so of a hive
		return fact.Answer{}
	case err != nil:
		return because("whether " + value + " names it is not known: " + err.Error())
	}
	names, ok := k.Multi(value)
	if _, there := k.Value(value); there && !ok {
		return because(value + " is no list of names")
	}
	if slices.ContainsFunc(names, func(name string) bool { return name != "" && is(name) }) {
		return because(text)
	}
	return fact.Answer{}
}
