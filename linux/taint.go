// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
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
		return 0, &fact.ParseError{Source: "/" + TaintedFile, Field: "taint", Reason: "is " + strconv.Quote(s) + ", not a decimal mask"}
	}
	return mask, nil
}

// TaintFlags returns the bits set in mask, lowest first; unknown bits have no letter.
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
