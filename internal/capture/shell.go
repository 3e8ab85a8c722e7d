// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
)

// runners are programs that run the tool, or that print what it printed: their errors begin with their names.
var runners = [...]string{"bash", "sh", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "rbash", "sudo",
	"sudo-rs", "doas", "su", "pkexec", "ssh", "env", "timeout", "nohup", "nice", "xargs", "watch", "busybox", "toybox",
	"cat", "zcat", "adb", "docker", "kubectl", "chroot", "nsenter"}

// warnings are words of messages after which a shell or sudo goes on and runs the command, folded.
var warnings = [...]string{"setlocale", "unable to resolve host", "cannot set terminal process group",
	"no job control in this shell", "no version information available", "ignoring input"}

// missingPattern matches what the shells print of a command that they did not find, whatever their names: those of
// Unix, Ubuntu's helper, cmd and PowerShell.
var missingPattern = lazy.Regexp{Pattern: `(?i)^(?:\S+: )*command not found(?:\.|: \S+)?$|` +
	`^(?:\S+: )(?:line )?\d+: .*: not found$|^(?:\S+: )+(?:not found|no such file or directory)$|` +
	`^command ['"‘][^'"’]*['"’] not found\b|^'[^']*' is not recognized as an |^(?:\S+ : )?the term '[^']*' is not `}

// shellMessage returns the message of a shell, sudo or another program that runs the tool; ok is false for any other
// line.
func shellMessage(line string) (message string, ok bool) {
	name, message, ok := strings.Cut(line, ": ")
	if !ok || strings.ContainsAny(name, " \t") {
		return "", false
	}
	name = strings.TrimPrefix(strings.ToLower(name[strings.LastIndexByte(name, '/')+1:]), "-")
	return strings.ToLower(strings.TrimSpace(message)), slices.Contains(runners[:], name)
}

// ShellWarning reports whether a line is a message after which a shell or sudo runs the command nevertheless.
func ShellWarning(line string) bool {
	message, ok := shellMessage(line)
	return ok && warning(message)
}

func warning(message string) bool {
	return message == "" || strings.HasPrefix(message, "warning") ||
		slices.ContainsFunc(warnings[:], func(w string) bool { return strings.Contains(message, w) })
}

// shellFailed reports whether a line says that a shell, or a program that runs the tool, did not run it to its end.
func shellFailed(line string) bool {
	message, ok := shellMessage(line)
	return ok && !warning(message) || missingPattern.MatchString(line)
}
