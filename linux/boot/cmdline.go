// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"slices"
	"strings"
)

// A Word is one word of the kernel's command line, as the kernel reads it.
type Word struct {
	// Key is the text before the first "=", or the whole word. Compare it with [SameKey].
	Key string
	// Value is the text after the first "=", without the quotes around it.
	Value string
	// HasValue distinguishes KEY= from KEY.
	HasValue bool
	// Redacted is set when a recording's maker took the value out.
	Redacted bool
}

// maxCmdlineWords is how many words of a command line are kept; the kernel's own buffer is some
// thousand bytes long.
const maxCmdlineWords = 4096

// ParseCmdline divides a command line into words as the kernel does: at white space outside double
// quotes, a quote before the key or before the value being dropped with its fellow at the end.
// What follows the word "--" is for init and is left out.
func ParseCmdline(text string) []Word {
	var words []Word
	for text = strings.TrimLeft(text, " \t\n\v\f\r"); text != "" && len(words) < maxCmdlineWords; {
		word := text[:WordEnd([]byte(text), 0)]
		text = strings.TrimLeft(text[len(word):], " \t\n\v\f\r")
		if word == "--" {
			break
		}
		words = append(words, cmdlineWord(word))
	}
	return words
}

func cmdlineWord(word string) Word {
	quoted := strings.HasPrefix(word, `"`)
	if quoted {
		word = strings.TrimSuffix(word[1:], `"`)
	}
	key, value, hasValue := strings.Cut(word, "=")
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		value = strings.TrimSuffix(inner, `"`)
	}
	return Word{Key: key, Value: value, HasValue: hasValue, Redacted: value == RedactedValue || word == RedactedValue}
}

// SameKey reports whether two keys of the command line are the same to the kernel, for which "-"
// and "_" are one letter.
func SameKey(a, b string) bool {
	return len(a) == len(b) && strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}

// LastValue returns the value of the last word with that key, which is the one that counts for a
// setting, and whether there is one.
func LastValue(words []Word, key string) (Word, bool) {
	for i := len(words) - 1; i >= 0; i-- {
		if SameKey(words[i].Key, key) {
			return words[i], true
		}
	}
	return Word{}, false
}

// ListValues returns the elements, separated by commas, of the words with that key. Where the
// kernel keeps only the last such word (module_blacklist), all is false; where it adds them up
// (initcall_blacklist), all is true.
func ListValues(words []Word, key string, all bool) []string {
	var list []string
	for _, w := range words {
		if !SameKey(w.Key, key) || !w.HasValue {
			continue
		}
		if !all {
			list = nil
		}
		for elem := range strings.SplitSeq(w.Value, ",") {
			if elem != "" {
				list = append(list, elem)
			}
		}
	}
	return list
}

// SameForModules reports whether two command lines say the same of what may be loaded and of
// modules' parameters.
func SameForModules(a, b []Word) bool {
	return slices.Equal(moduleWords(a), moduleWords(b))
}

// moduleWords are the words that bear on modules: the keys that decoders read, and parameters.
func moduleWords(words []Word) []Word {
	var kept []Word
	for _, w := range words {
		if KeepsKey(w.Key) || strings.Contains(w.Key, ".") {
			kept = append(kept, w)
		}
	}
	return kept
}

// IsSet reads a boolean of the command line as the kernel's bool parameters do: a bare key is yes.
func (w Word) IsSet() bool {
	if !w.HasValue {
		return true
	}
	switch strings.ToLower(w.Value) {
	case "y", "1", "yes", "on", "true", "t":
		return true
	}
	return false
}

// keptKeys are the words of the kernel's command line that decoders read, the only ones that a
// tape keeps with their values. A name with a dot is a module's parameter as well: its file in
// /sys/module is kept too.
var keptKeys = []string{
	// what may be loaded: modprobe's own key, the kernel's, those of the initramfs makers
	"modprobe.blacklist", "module_blacklist", "blacklist", "rd.driver.blacklist", "rdblacklist",
	"dracut.omit_drivers",
	// which built-in part does not start
	"initcall_blacklist",
	// what is loaded early
	"modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post", "rdloaddriver",
	"rdinsmodpost", "earlymodules", "modules",
	// whether anything may be loaded, and who must have signed it
	"nomodule", "module.sig_enforce", "lockdown", "lsm", "security", "ima_appraise", "ima_appraise_tcb", "ima_policy",
	"loadpin.enforce", "loadpin.enabled", "loadpin.exclude", "sysctl.kernel.modules_disabled",
	"sysctl.kernel.modprobe",
	// where firmware is looked for
	"firmware_class.path",
	// which root starts
	"ostree", "composefs", "rootflags",
}

// KeepsKey reports whether a key of the command line is kept. As in the kernel, dashes and
// underscores are the same.
func KeepsKey(key string) bool {
	same := func(s string) string { return strings.ReplaceAll(s, "-", "_") }
	key = same(key)
	return slices.ContainsFunc(keptKeys, func(k string) bool { return same(k) == key })
}

// WordEnd returns where the word of a command line that begins at i ends: at white space outside double quotes.
func WordEnd(line []byte, i int) int {
	for quoted := false; i < len(line); i++ {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case isKernelSpace(line[i]) && !quoted:
			return i
		}
	}
	return i
}

// isKernelSpace reports whether the kernel takes the byte for white space.
func isKernelSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// RedactedValue replaces the removed parts of a redacted text. It has this meaning only in an answer that the tape
// marks as redacted; anywhere else it is ordinary text.
const RedactedValue = "[redacted]"
