// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// remedies says what would stop what is open.
func (c *checker) remedies(t target, v *fact.Verdict) []fact.Remedy {
	switch worst := v.Worst(); {
	case worst == fact.VerdictBlocked || worst == fact.VerdictAbsent:
		return nil
	case t.builtin:
		return []fact.Remedy{{Text: "initcall_blacklist=" + c.initcallsText(t.name)}}
	}
	install := "install " + t.name + " /bin/false"
	if d := c.next[0].modprobe.effectiveSoftdep(t.name, c.other); d != nil {
		install = "softdep " + t.name + " pre: and " + install + ", in a file whose name sorts before " + path.Base(d.File)
	}
	return []fact.Remedy{
		{Text: install, NotAgainst: []string{WayInsmod, ReasonInitramfs}},
		{Text: "module_blacklist=" + t.name + " on the kernel's command line"},
	}
}

// initcallsText names the functions that start a built-in module, as far as the kernel's symbols tell.
func (c *checker) initcallsText(module string) string {
	functions, _ := readInitcalls(c.machine.FS, c.machine.Release, module, c.machine.Running) // not known: said in words
	if len(functions) == 0 {
		return "FUNCTION on the kernel's command line, with the function that starts it (often " + module + "_init)"
	}
	return escape.Text(strings.Join(functions, ",")) + " on the kernel's command line"
}
