// SPDX-License-Identifier: Apache-2.0

package rcconf

import "strings"

// Mentions reports whether a text has one of the commands as a word.
func Mentions(text string, commands []string) bool {
	_, ok := after(text, commands)
	return ok
}

// after returns what is after the first of the commands in a text; ok is false if the text has none of them.
func after(line string, commands []string) (rest string, ok bool) {
	for line != "" {
		first, word := len(line), ""
		for _, w := range commands {
			if i := strings.Index(line, w); i >= 0 && i < first {
				first, word = i, w
			}
		}
		if word == "" {
			return "", false
		}
		line = line[first+len(word):]
		if line == "" || isByte(line[0], " \t\r\n\"'\\;|&)}`$<>") {
			return line, true
		}
	}
	return "", false
}

// Loads returns the modules that the commands load, kldload(8) and its like, in a line of a script; an empty name is
// any module.
func Loads(line string, commands []string) []string {
	var targets []string
	for rest, ok := after(line, commands); ok; rest, ok = after(rest, commands) {
		named := false
		for _, w := range strings.Fields(loadArgs(rest)) {
			target := strings.Trim(w, "\"'")
			switch {
			case strings.HasPrefix(target, "-"), target == "":
				continue
			case strings.ContainsAny(target, "$\\*?"):
				target = ""
			}
			targets, named = append(targets, target), true
		}
		if !named {
			targets = append(targets, "") // another program gives the name, or another line
		}
	}
	return targets
}

// loadArgs returns the arguments of such a command, without the options of load_kld that have a value. It returns none
// if an expansion ends in them: what is loaded may be behind it.
func loadArgs(rest string) string {
	args := strings.TrimLeft(rest, "\"' \t")
	for strings.HasPrefix(args, "-e ") || strings.HasPrefix(args, "-m ") {
		value := strings.TrimLeft(args[3:], " \t")
		end, from := " ", 0
		if value != "" && isByte(value[0], "\"'") {
			end, from = value[:1], 1
		}
		_, args, _ = strings.Cut(value[from:], end)
		args = strings.TrimLeft(args, " \t")
	}
	if i := strings.IndexAny(args, ";|&)>#`}\n"); i >= 0 {
		if args[i] == '}' {
			return ""
		}
		args = strings.TrimSuffix(args[:i], " 2") // of 2>
	}
	return args
}
