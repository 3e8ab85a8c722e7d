// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// A cmdlineKey is a key of the command line that bears on loading.
type cmdlineKey struct {
	name, effect string
	list, all    bool // its value is a list; all of its words count, not the last alone
}

// cmdlineKeys are the keys in the order of their facts.
var cmdlineKeys = [...]cmdlineKey{
	{FactModuleBlacklist, "these are refused by the kernel itself, also from insmod", true, false},
	{FactInitcalls, "these parts of the kernel are not started", true, true},
	{"modprobe.blacklist", "modprobe does not load these by alias", true, true},
	{"nomodule", "no module can be loaded or unloaded until the next boot", false, false},
	{"module.sig_enforce", "only modules signed by a key the kernel trusts are loaded", false, false},
	{sysctlPrefix + FactModulesDisabled, "no module can be loaded or unloaded until the next boot", false, false},
	{sysctlPrefix + FactModprobe, "the kernel runs it when it wants a module", false, false},
	{"lockdown=", "the lockdown level asked for at boot", false, false},
	{"ima_appraise=", "how IMA's appraisal was asked for at boot", false, false},
	{"ima_policy=", "IMA's built-in rules that were asked for at boot", false, false},
}

// commandLine adds what the command line says of modules. A key that is not set has an empty value; a sysctl that is
// not set is left out.
func (r *policyReader) commandLine() {
	for _, k := range cmdlineKeys {
		w, set := boot.LastValue(r.Entry.Words, strings.TrimSuffix(k.name, "="))
		optional := strings.HasPrefix(k.name, sysctlPrefix)
		switch {
		case r.noCmdline.Unknown && !optional:
			f := r.noCmdline
			f.Name = k.name
			r.add(f)
		case set, !optional:
			r.add(r.wordFact(k, w, set))
		}
	}
}

// wordFact returns the fact of a key of the command line, whose last word is w if it is set.
func (r *policyReader) wordFact(k cmdlineKey, w boot.Word, set bool) fact.PolicyFact {
	f := fact.PolicyFact{Name: k.name, Source: SourceCmdline, File: slash(r.Entry.File), Line: r.Entry.Line}
	switch {
	case w.Redacted:
		f.Code = fact.CodeRedacted
	case !set && r.guess:
		f.Effect, f.Code, f.Unknown = "not known: the boot loader's words may be others", fact.CodeUnsupported, true
	case !set && len(r.Entry.Unresolved) > 0:
		f.Effect = "not known: the boot loader may put it for " + strings.Join(r.Entry.Unresolved, " ")
		f.Code, f.Unknown = fact.CodeUnsupported, true
	case !set:
		f.Effect, f.Unset = "not on the command line", true
	default:
		f.Value, f.Effect = w.Value, k.effect
		if !w.HasValue {
			f.Value = w.Key
		}
		if off := offEffect(k.name, w); off != "" {
			f.Effect = off
		}
		if k.list {
			f.Value = strings.Join(boot.ListValues(r.Entry.Words, k.name, k.all), ",")
		}
		if r.guess {
			f.Effect = "unless the boot loader's words are others: " + f.Effect
		}
	}
	return f
}

// offEffect says what a word does whose value does not switch on what the key is for; empty if it does.
func offEffect(key string, w boot.Word) string {
	switch key {
	case "module.sig_enforce": // module_param(sig_enforce, bool_enable_only)
		if !w.IsSet() {
			return "does not switch enforcement on, and cannot switch it off"
		}
	case "nomodule":
		if !w.IsSet() {
			return "does not switch loading off"
		}
	case sysctlPrefix + FactModulesDisabled: // proc_dointvec_minmax, from 1 to 1
		if w.Value != "1" {
			return "does nothing: the kernel takes only 1"
		}
	case sysctlPrefix + FactModprobe:
		if w.Value == "" {
			return "does nothing: the kernel rejects a word without a value"
		}
	case "lockdown=":
		if w.Value != "integrity" && w.Value != "confidentiality" {
			return "switches no lockdown on: its levels are integrity and confidentiality"
		}
	}
	return ""
}

// sysctlPrefix begins the words of the command line that set a sysctl of the kernel.
const sysctlPrefix = "sysctl.kernel."
