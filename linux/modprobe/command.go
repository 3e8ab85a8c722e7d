// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/linux/ko"
)

// A Effect says what an "install" command does to the module it stands for.
type Effect string

// The effects.
const (
	CommandFails   Effect = "fails"   // it loads nothing and fails, as /bin/false
	CommandNothing Effect = "nothing" // it loads nothing and succeeds, as /bin/true
	CommandLoads   Effect = "loads"   // it calls modprobe or insmod for the module itself
	CommandUnknown Effect = "unknown" // it runs something whose effect is unknown
)

// EffectOf judges the command of an "install" line for the module, which modprobe gives to a
// shell. Only plain lists of programs that do nothing, such as true, false, exit, echo and logger,
// are judged to load nothing, and only where a system keeps its programs: what /tmp/false does is
// unknown.
func EffectOf(command, module string) Effect {
	command, ok := PlainCommand(command)
	if LoadsItself(command, module) {
		return CommandLoads
	}
	if !ok || strings.ContainsAny(command, "`$()<>{}*?\\|\n") {
		return CommandUnknown
	}
	effect := CommandNothing
	for _, list := range strings.Split(command, ";") {
		for _, part := range strings.Split(list, "&&") {
			words := strings.Fields(part)
			if len(words) == 0 {
				continue
			}
			if words[0] == "exit" {
				return exitEffect(words, effect)
			}
			effect = programEffect(words)
			if effect == CommandUnknown {
				return effect
			}
			if effect == CommandFails {
				break // what follows && does not run
			}
		}
	}
	return effect
}

// exitEffect is what comes of a shell that exits: what its argument says, else the last command.
func exitEffect(words []string, last Effect) Effect {
	switch {
	case len(words) == 1:
		return last
	case words[1] == "0":
		return CommandNothing
	}
	return CommandFails
}

// programEffect judges one program with its arguments.
func programEffect(words []string) Effect {
	if strings.Contains(strings.Join(words, ""), "&") {
		return CommandUnknown
	}
	switch systemProgram(words[0]) {
	case "false":
		return CommandFails
	case "true", ":", "echo", "logger", "printf":
		return CommandNothing
	}
	return CommandUnknown
}

// PlainCommand leaves out a comment, and puts a "x" in the place of each quoted part: it is no program's
// name that we know, and one argument like another. It is false for quotes that do not end and for
// what a shell would still work out between them.
func PlainCommand(command string) (string, bool) {
	var plain strings.Builder
	for i := 0; i < len(command); i++ {
		switch c := command[i]; c {
		case '\'', '"':
			quoted, _, closed := strings.Cut(command[i+1:], string(c))
			if !closed || c == '"' && strings.ContainsAny(quoted, "`$\\") {
				return plain.String() + command[i:], false
			}
			plain.WriteByte('x')
			i += 1 + len(quoted)
		case '#':
			if i == 0 || strings.ContainsRune(" \t;&|", rune(command[i-1])) {
				return plain.String(), true
			}
			plain.WriteByte(c)
		default:
			plain.WriteByte(c)
		}
	}
	return plain.String(), true
}

// programDirs are where systems keep their programs: a shell's search path, NixOS's, Android's.
var programDirs = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin",
	"/run/current-system/sw/bin", "/system/bin"}

// systemProgram is the base name of a program of the system; "" for a file anywhere else.
func systemProgram(word string) string {
	dir, base := path.Split(word)
	if dir == "" || slices.Contains(programDirs, strings.TrimSuffix(dir, "/")) {
		return base
	}
	if store, ok := strings.CutPrefix(dir, "/nix/store/"); ok && strings.HasSuffix(store, "/bin/") &&
		strings.Count(store, "/") == 2 && !strings.HasPrefix(store, "..") {
		return base
	}
	return ""
}

// LoadsItself reports whether the command calls modprobe --ignore-install or insmod for the module,
// the usual way of loading something else beside it.
func LoadsItself(command, module string) bool {
	words := strings.Fields(strings.NewReplacer(";", " ; ", "&&", " && ", "||", " || ", "{", " { ",
		"}", " } ").Replace(command))
	for i, w := range words {
		base := path.Base(w)
		if base != "modprobe" && base != "insmod" {
			continue
		}
		ignores := base == "insmod"
		for _, arg := range words[i+1:] {
			if arg == ";" || arg == "&&" || arg == "||" {
				break
			}
			switch {
			case arg == "-i" || arg == "--ignore-install" || strings.HasPrefix(arg, "-") &&
				!strings.HasPrefix(arg, "--") && strings.Contains(arg, "i"):
				ignores = true
			case ignores && (SameModule(arg, module) || ko.NameOfFile(arg) == module):
				return true
			}
		}
	}
	return false
}

// OnlyLoadsItself reports whether the command is one call of modprobe --ignore-install for the module and nothing else.
// Where the module has no file, it loads nothing: kmod's modprobe finds the name among the commands, skips the command,
// and has no file left to load (kmod_module_insert_module).
func OnlyLoadsItself(command, module string) bool {
	words := strings.Fields(command)
	return len(words) == 3 && systemProgram(words[0]) == "modprobe" &&
		(words[1] == "-i" || words[1] == "--ignore-install") && SameModule(words[2], module)
}

// SameModule reports whether a name as somebody wrote it is the module's.
func SameModule(name, module string) bool {
	normal, ok := NormalizeAlias(name)
	return ok && normal == module
}
