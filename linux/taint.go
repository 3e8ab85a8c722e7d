// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// taintFlags are the bits in order, as Documentation/admin-guide/tainted-kernels.rst has them.
var taintFlags = [...]struct {
	letter  byte
	meaning string
}{
	0:  {'P', "proprietary module was loaded"},
	1:  {'F', "module was force loaded"},
	2:  {'S', "kernel running on an out of specification system"},
	3:  {'R', "module was force unloaded"},
	4:  {'M', "processor reported a machine check exception"},
	5:  {'B', "bad page referenced or some unexpected page flags"},
	6:  {'U', "taint requested by userspace application"},
	7:  {'D', "kernel died recently, there was an oops or BUG"},
	8:  {'A', "ACPI table overridden by user"},
	9:  {'W', "kernel issued a warning"},
	10: {'C', "staging driver was loaded"},
	11: {'I', "workaround for bug in platform firmware applied"},
	12: {'O', "externally built (out-of-tree) module was loaded"},
	13: {'E', "unsigned module was loaded"},
	14: {'L', "soft lockup occurred"},
	15: {'K', "kernel has been live patched"},
	16: {'X', "auxiliary taint, defined for and used by distributions"},
	17: {'T', "kernel was built with the struct randomization plugin"},
	18: {'N', "an in-kernel test has been run"},
	19: {'J', "userspace used a mutating debug operation in fwctl"},
}

// parseTaint reads /proc/sys/kernel/tainted, a decimal mask.
func parseTaint(b []byte) (uint64, error) {
	s := strings.TrimSpace(string(b))
	mask, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, &fact.ParseError{Source: "/" + taintedFile, Field: "taint", Reason: "is " + strconv.Quote(s) +
			", not a decimal mask"}
	}
	return mask, nil
}

// ReadTainted returns what a copy of /proc/sys/kernel/tainted says of a kernel.
func ReadTainted(text []byte) (fact.Kernel, error) {
	mask, err := parseTaint(text)
	if err != nil {
		return fact.Kernel{}, err
	}
	return fact.Kernel{Taint: fact.CountOf(int64(mask)), TaintFlags: flagsOfMask(mask)}, nil
}

// flagsOfMask returns the bits set in mask, lowest first; unknown bits have no letter.
func flagsOfMask(mask uint64) []fact.TaintFlag {
	flags := make([]fact.TaintFlag, 0, bits.OnesCount64(mask))
	for mask != 0 {
		bit := bits.TrailingZeros64(mask)
		mask &^= 1 << bit
		f := fact.TaintFlag{Bit: bit}
		if bit < len(taintFlags) {
			f.Letter, f.Meaning = string(taintFlags[bit].letter), taintFlags[bit].meaning
		}
		flags = append(flags, f)
	}
	return flags
}

// TaintMeaning says what a taint letter of a module or of the kernel stands for, or "" for a
// letter that this version does not know.
func TaintMeaning(letter byte) string {
	for _, f := range taintFlags {
		if f.letter == letter {
			return f.meaning
		}
	}
	return ""
}

// flagsOfLetters returns the bits that the letters stand for, lowest first, as an old lsmod prints
// them: G is no flag but the absence of P, and a letter that this version does not know is left out.
func flagsOfLetters(letters string) []fact.TaintFlag {
	var mask uint64
	for bit, f := range taintFlags {
		if strings.IndexByte(letters, f.letter) >= 0 {
			mask |= 1 << bit
		}
	}
	return flagsOfMask(mask)
}

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

// taintSentences are what the kernel says when a module taints it, by the text after the module's name, and the letters
// of the taints.
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
