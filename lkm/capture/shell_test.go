// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// shellErrors are what shells, and programs that run a tool, print of one that they did not run to its end; %s is the
// tool.
var shellErrors = []string{
	"bash: %s: command not found", "-bash: %s: command not found", "bash: line 1: %s: command not found",
	"sudo: %s: command not found", "sh: 1: %s: not found", "sh: %s: not found", "-sh: %s: not found",
	"/bin/sh: %s: not found", "zsh: command not found: %s", "fish: Unknown command: %s", "%s: Command not found.",
	"ksh: %s:  not found", "Command '%s' not found, but can be installed with:", "env: ‘%s’: No such file or directory",
	"bash: fork: retry: Resource temporarily unavailable", "bash: fork: Cannot allocate memory",
	"sudo: 3 incorrect password attempts", "ssh: connect to host h port 22: Connection refused",
	"xargs: %s: No such file or directory", "timeout: failed to run command ‘%s’: No such file or directory",
	"'%s' is not recognized as an internal or external command,",
	"%s : The term '%s' is not recognized as the name of a cmdlet, function, script file, or operable program.",
}

// shellWarnings are messages after which the command runs.
var shellWarnings = []string{
	"bash: warning: setlocale: LC_ALL: cannot change locale (en_US.UTF-8)",
	"sudo: unable to resolve host server: Name or service not known",
}

// TestShellErrors puts the error of a shell behind whole lists of every kind, behind the first line alone, and behind
// nothing: no text shows a whole list, and least of all an empty one.
func TestShellErrors(t *testing.T) {
	count := 0
	check := func(text string, kind Kind) {
		count++
		if s, err := Read(strings.NewReader(text), kind); err == nil && okSource(s) {
			t.Errorf("%s, %.200q: %d modules are a whole list", kind, text, len(s.Modules))
		}
	}
	for _, r := range readers() {
		if len(r.tools) == 0 {
			continue
		}
		for _, e := range shellErrors {
			line := strings.ReplaceAll(e, "%s", r.tools[0]) + "\n"
			for _, text := range []string{line, "$ " + r.tools[0] + "\n" + line, line + "$ \n",
				hostileTexts()[r.kind] + line, strings.SplitAfter(hostileTexts()[r.kind], "\n")[0] + line} {
				check(text, r.kind)
				check(text, "")
			}
		}
	}
	for name, text := range recordings(t) {
		kind := kindOf(t, text)
		r, _ := kind.reader()
		if len(r.tools) == 0 || strings.Contains(text, "\x00") {
			continue
		}
		for _, e := range shellErrors[:6] {
			got, err := Read(strings.NewReader(text+"\n"+strings.ReplaceAll(e, "%s", r.tools[0])+"\n"), kind)
			if err == nil && okSource(got) {
				t.Errorf("%s with %q is whole", name, e)
			}
		}
	}
	t.Logf("%d texts", count)
}

// TestShellWarnings: a warning of the shell does not make a list a part.
func TestShellWarnings(t *testing.T) {
	for _, line := range shellWarnings {
		s, err := Read(strings.NewReader(line+"\n"+hostileTexts()[Lsmod]), "")
		if err != nil || !okSource(s) || len(s.Modules) != 3 {
			t.Errorf("%q: %v, %+v", line, err, s)
		}
	}
}

// TestNothingPrinted: a command without what it printed is not an empty list of a tool that prints a header.
func TestNothingPrinted(t *testing.T) {
	for text, want := range map[string]string{
		"# lsmod\n": "error", "$ lsmod\n": "error", "lsmod\n": "error", "$ lsmod > f\n": "error",
		"$ lsmod\n$ \n": "error", "# /proc/modules\n": "error", "$ ls -l /proc/modules\n": "error",
		"$ cat /proc/modules > f\n": "error", "$ cat /proc/modules\n$ \n": "ok 0",
		"$ cat /proc/modules\ncat: /proc/modules: No such file or directory\n": "error",
		"$ lsmod\nModule                  Size  Used by\n":                     "ok 0",
	} {
		s, err := Read(strings.NewReader(text), "")
		got := "error"
		if err == nil {
			got = fmt.Sprint(s.Sources[0].Outcome, " ", len(s.Modules))
		}
		if got != want || err != nil && !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("%q: %s, want %s (%v)", text, got, want, err)
		}
	}
}
