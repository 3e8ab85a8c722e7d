// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// OpModuleLog is what the kernel's log says of modules that taint it: its lines, with their level
// and time, and no other line of the log. It is read once, without waiting, and takes nothing away
// from other readers.
const OpModuleLog = "module_log"

// A logTaint is a line of the kernel's log that says that a module taints the kernel.
type logTaint struct {
	// Module is the module's name.
	Module string
	// Letter is that of the taint, as in /proc/modules.
	Letter string
	// Text is the kernel's sentence.
	Text string
}

// taintSentences are what the kernel says when a module taints it, by what stands behind the module's
// name, and the letters of the taints.
var taintSentences = []struct{ begin, hold, letter string }{
	{"loading out-of-tree module taints kernel", "", "O"},
	{"module verification failed: ", "tainting kernel", "E"},
	{"module license '", "' taints kernel", "P"},
	{"module is from the staging directory", "", "C"},
	{"tainting kernel with TAINT_LIVEPATCH", "", "K"},
	{"loading test module taints kernel", "", "N"},
	{"", ": kernel tainted.", "F"},
}

// maxLogTaints caps what is read of one log: the kernel says most of these once.
const maxLogTaints = 4096

// parseModuleLog finds the lines of a kernel log in which the kernel itself says that a module taints
// it. What a program wrote to the log is left out.
func parseModuleLog(log string) []logTaint {
	var found []logTaint
	for line := range strings.Lines(log) {
		if t, ok := parseLogTaint(line); ok && len(found) < maxLogTaints {
			found = append(found, t)
		}
	}
	return found
}

// moduleLogLines returns the lines of a kernel log that parseModuleLog reads.
func moduleLogLines(log []byte) []byte {
	kept := []byte{}
	for line := range strings.Lines(string(log)) {
		if _, ok := parseLogTaint(line); ok {
			kept = append(kept, line...)
		}
	}
	return kept
}

// parseLogTaint reads "<4>[   12.345678] NAME: loading out-of-tree module taints kernel.".
func parseLogTaint(line string) (logTaint, bool) {
	text, ok := kernelSays(strings.TrimRight(line, "\r\n"))
	if !ok {
		return logTaint{}, false
	}
	name, sentence, ok := strings.Cut(text, ": ")
	if !ok || !validName(name) || strings.ContainsAny(name, " \t") {
		return logTaint{}, false
	}
	for _, s := range taintSentences {
		if strings.HasPrefix(sentence, s.begin) && strings.Contains(sentence, s.hold) {
			return logTaint{Module: escape.UTF8(name), Letter: s.letter, Text: escape.UTF8(sentence)}, true
		}
	}
	return logTaint{}, false
}

// kernelSays cuts the level and the time off a line of the log. It is false for a line of a program:
// those have a level of 8 and more.
func kernelSays(line string) (string, bool) {
	rest, ok := strings.CutPrefix(line, "<")
	if !ok || len(rest) < 2 || rest[0] < '0' || rest[0] > '7' || rest[1] != '>' {
		return "", false
	}
	rest = rest[2:]
	for range 2 { // the time, and who wrote it
		bare := strings.TrimLeft(rest, " ")
		if !strings.HasPrefix(bare, "[") {
			break
		}
		_, after, ok := strings.Cut(bare, "] ")
		if !ok {
			return "", false
		}
		rest = after
	}
	return rest, true
}
