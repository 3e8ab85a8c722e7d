// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"

	"github.com/kernelext/kernelext/fact"
)

// bypasses returns what could put the code in despite what blocks it.
func (c *checker) bypasses(t target, next *fact.Prospect) (bypasses []fact.Reason) {
	if t.builtin || t.file == "" {
		return nil
	}
	refused := slices.Contains(next.Ways, fact.Way{Way: WayInsmod, Blocked: fact.Yes}) // by the kernel itself
	if next.Outcome == fact.VerdictBlocked && t.onDisk && !refused {
		text := "insmod: root can load the file directly, past modprobe's configuration"
		if c.next[0].modprobe.of(t.name).install != nil {
			text = "modprobe -i, insmod: root's own ways past an install line"
		}
		bypasses = append(bypasses, fact.Reason{Code: ReasonIgnoreInstall, Text: text})
	}
	switch c.refusesFormat(c.next[0].kernel, t).Because().Code {
	case ReasonVermagic, ReasonSymbolVersion:
		if r, ok := c.forceBypass(c.next[0].kernel); ok {
			bypasses = append(bypasses, r)
		}
	}
	for _, key := range []string{FactModulesDisabled, FactModprobe} {
		if s := c.sysctl(key); s != nil {
			text := "kernel." + key + "=" + s.Value + " is set only when boot has come that far"
			bypasses = append(bypasses, textReason(ReasonSetLater, text, slash(s.File), s.Line))
		}
	}
	return bypasses
}
