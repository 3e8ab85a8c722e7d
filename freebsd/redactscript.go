// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"github.com/kernelext/kernelext/internal/rcconf"

	"slices"
	"strings"
)

// isScript reports whether the key is the path of a script that rc(8) runs.
func isScript(key string) bool {
	return strings.HasPrefix(key, systemScripts+"/") || strings.HasPrefix(key, "usr/local/etc/rc.d/") ||
		key == "etc/rc.local"
}

// isHook reports whether the key is the path of another file whose commands the boot may run.
func isHook(key string) bool {
	return key == rcScript || key == "etc/crontab" || key == "etc/rc.firewall" || key == "etc/jail.conf" ||
		strings.HasPrefix(key, "etc/jail.conf.d/") || key == "etc/devd.conf" ||
		strings.HasPrefix(key, "etc/start_if.") ||
		strings.HasPrefix(key, "etc/devd/") || strings.HasPrefix(key, "usr/local/etc/devd/") ||
		strings.HasPrefix(key, "etc/cron.d/") || strings.HasPrefix(key, "usr/local/etc/cron.d/") ||
		strings.HasPrefix(key, "var/cron/tabs/")
}

// mentionsLoad reports whether a line has a command that loads klds.
func mentionsLoad(line string) bool { return rcconf.Mentions(line, loadWords) }

// redactHook keeps the lines that load klds, and the command by which rc(8) is recognized.
func redactHook(data []byte) []byte {
	var out strings.Builder
	for line := range strings.SplitAfterSeq(string(data), "\n") {
		switch {
		case mentionsLoad(line):
			out.WriteString(line)
		case strings.Contains(line, "rcorder"):
			out.WriteString("rcorder\n")
		case line != "":
			out.WriteString("#\n")
		}
	}
	return []byte(out.String())
}

// structure are the words of a script that say when its commands run.
var structure = []string{"if", "elif", "else", "then", "fi", "for", "while", "until", "do", "done", "case", "esac", "{",
	"}", "return", "exit", "load_kld", "kldload", "/sbin/kldload", "checkyesno"}

// redactScript keeps of a script of rc(8) what says which klds it loads and when: its keywords, the variables that bear
// on that, conditions, functions and the commands that load. Of other commands and conditions only their place is left,
// and which functions of the script they call. A script whose grammar is not followed stays such a one.
func redactScript(data []byte) []byte {
	var out strings.Builder
	kept := callable(data)
	for line := range strings.SplitAfterSeq(string(data), "\n") {
		t := strings.TrimSpace(line)
		m := assignment.FindStringSubmatch(line)
		switch {
		case t == "", strings.HasPrefix(t, "# KEYWORD"), strings.HasPrefix(t, "# PROVIDE"),
			mentionsLoad(t), strings.HasSuffix(t, "()"),
			strings.HasSuffix(t, "() {"):
			out.WriteString(line)
		case strings.HasPrefix(t, "#"):
			out.WriteString("#\n")
		case m != nil && scriptReads(m[2]):
			out.WriteString(line)
		case m != nil:
			value := strings.Join(append([]string{redactedText}, keptCalls(t, strings.Fields(t), kept)...), " ")
			out.WriteString(m[1] + m[2] + `="` + value + `"` + m[4])
		case strings.HasPrefix(t, ": ${") && strings.Contains(t, "_enable"):
			out.WriteString(line)
		default:
			out.WriteString(redactCommand(t, kept) + "\n")
		}
	}
	if err := rcconf.ReadShell(string(data), nil, func(rcconf.Command) {}); err != nil {
		out.WriteString("\n)\n")
	}
	return []byte(out.String())
}

// callable returns the functions of a script, and with "$" before them the variables that may hold a command which
// loads klds.
func callable(data []byte) map[string]bool {
	kept := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		t := strings.TrimSpace(line)
		if name, ok := strings.CutSuffix(strings.TrimRight(t, "{ \t"), "()"); ok {
			kept[strings.TrimSpace(name)] = true
		}
		if !mentionsLoad(t) {
			continue
		}
		if m := assignment.FindStringSubmatch(line); m != nil {
			kept["$"+m[2]] = true
		}
		for _, w := range callsOf(t, nil) {
			kept[w] = true
		}
	}
	return kept
}

// keptCalls returns what a command calls of what is kept, as words that a command may have.
func keptCalls(body string, words []string, kept map[string]bool) []string {
	var out []string
	for len(words) > 0 && words[0] == "!" {
		words = words[1:]
	}
	for _, w := range callsOf(body, words) {
		switch {
		case !kept[w]:
		case strings.HasPrefix(w, "$"):
			out = append(out, w)
		case rcconf.ValidName(w, true):
			out = append(out, "$("+w+")")
		}
	}
	return out
}

// scriptReads reports whether the variable of a script bears on which klds it loads, and when.
func scriptReads(name string) bool {
	switch name {
	case "name", "rcvar", "start_cmd", "start_precmd", "start_postcmd":
		return true
	}
	return strings.HasSuffix(name, "_enable") || strings.Contains(name, "module") || strings.Contains(name, "kld")
}

// redactCommand leaves of a line of commands the words that say when they run.
func redactCommand(line string, kept map[string]bool) string {
	var out strings.Builder
	for _, p := range rcconf.Parts(line) {
		out.WriteString(p.Op + " ")
		words := strings.Fields(p.Body)
		n := 0
		for n < len(words) && slices.Contains(structure, words[n]) {
			n++
		}
		out.WriteString(strings.Join(words[:n], " "))
		calls := strings.Join(keptCalls(p.Body, words[n:], kept), " ")
		switch {
		case n > 0 && words[n-1] == "checkyesno" && n < len(words):
			out.WriteString(" " + words[n])
		case n > 0 && words[n-1] == "case":
			out.WriteString(" x" + strings.ReplaceAll(calls, " ", "") + " in")
		case n > 0 && words[n-1] == "for":
			out.WriteString(" x in x " + calls)
		case n < len(words) && strings.HasSuffix(p.Body, ")") && !strings.Contains(p.Body, "("):
			out.WriteString("x)")
		case calls != "":
			out.WriteString(" " + calls)
		case n < len(words):
			out.WriteString(" :")
		}
	}
	return strings.TrimSpace(out.String())
}
