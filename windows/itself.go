// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// crashControlKey has the settings of crash dumps, with the filters that are loaded for them (DumpFilters, "Crash Dump
// Filter Drivers").
const crashControlKey = `SYSTEM\CurrentControlSet\Control\CrashControl`

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
		return fact.Unsure(ReasonItself, "the boot loader, the kernel and the session manager load images of System32 "+
			"without a service: whether this is one is not known")
	case !p.inDrivers(path):
		return fact.Answer{}
	case slices.Contains(ownImages[:], baseName(path)):
		return fact.Unsure(ReasonItself, "Windows loads its own file of this name without a service")
	}
	key, err := c.kernel.registry(c.ctx, crashControlKey)
	switch {
	case errors.Is(err, errNotThere):
		return fact.Answer{}
	case err != nil && (errors.Is(err, fs.ErrNotExist) || fact.Lacks(err)): // the registry is not there, and says so
		return fact.Answer{}
	case err != nil:
		return fact.UnsureOf(fact.Reason{Code: ReasonItself, File: `HKLM\` + crashControlKey,
			Text: "whether it is a filter of crash dumps is not known: " + err.Error()})
	}
	filters, ok := key.Multi("DumpFilters")
	if _, there := key.Value("DumpFilters"); there && !ok {
		return fact.UnsureOf(fact.Reason{Code: ReasonItself, File: `HKLM\` + crashControlKey,
			Text: "the filters of crash dumps are not a list"})
	}
	if slices.ContainsFunc(filters, func(f string) bool { return strings.EqualFold(baseName(f), e.Name) }) {
		return fact.UnsureOf(fact.Reason{Code: ReasonItself, File: `HKLM\` + crashControlKey,
			Text: "it is a filter of crash dumps, which is loaded at boot if the machine makes them"})
	}
	return fact.Answer{}
}
