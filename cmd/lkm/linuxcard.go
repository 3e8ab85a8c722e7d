// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
)

// linuxFacts are the lines of a card that only Linux has.
func linuxFacts(l *linux.Module) []fact {
	facts := []fact{
		{"kernel name", l.KernelName},
		{"loaded as", structNameText(l)},
		{"srcversion", l.Srcversion},
		{"taint", taintText(l)},
		{"live patch", patchText(l.Patch)},
		{"built for", vermagicText(l)},
		{"devices", aliasText(l)},
		{"parameters", parametersText(l.Parameters)},
		{"depends", strings.Join(l.Depends, " ")},
		{"softdeps", strings.Join(l.Softdeps, " · ")},
		{"weakdeps", strings.Join(l.Weakdeps, " ")},
		{"namespaces", strings.Join(l.ImportNamespaces, " ")},
		{"firmware", firmwareText(l.Firmware)},
		{"license", strings.Join(modinfoValues(l, "license"), " · ")},
		{"sha256", l.SHA256},
		{"author", someText(modinfoValues(l, "author"), 3)},
		{"instead of", candidatesText(l.Candidates)},
	}
	if n := len(l.Sections); n > 0 {
		facts = append(facts, fact{"sections", fmt.Sprintf("%d: --format json", n)})
	}
	return facts
}

// structNameText is for a file with two names inside: "a (by its code: /proc/modules); module_blacklist= compares b".
func structNameText(l *linux.Module) string {
	if l.StructName == "" {
		return ""
	}
	return l.StructName + " (by its code: /proc/modules); module_blacklist= compares " +
		strings.Join(modinfoValues(l, "name"), " ")
}

// patchText is what a live patch replaces: "enabled, in transition: vmlinux meminfo_proc_show · kvm (not patched) f".
func patchText(p *linux.LivePatch) string {
	if p == nil {
		return ""
	}
	text := map[facts.Tri]string{facts.Yes: "enabled", facts.No: "disabled"}[p.Enabled]
	if text == "" {
		text = "unknown"
	}
	if p.Transition == facts.Yes {
		text += ", in transition"
	}
	if p.Replace == facts.Yes {
		text += ", instead of those before"
	}
	objects := make([]string, len(p.Objects))
	for i, o := range p.Objects {
		words := []string{o.Name}
		if o.Patched == facts.No {
			words = append(words, "(not patched)")
		}
		for _, f := range o.Functions {
			words = append(words, f.Name)
		}
		objects[i] = strings.Join(words, " ")
	}
	if len(objects) > 0 {
		text += ": " + someText(objects, 10)
	}
	return text
}

func modinfoValues(l *linux.Module, key string) []string {
	var values []string
	for _, e := range l.Modinfo {
		if e.Key == key {
			values = append(values, e.Value)
		}
	}
	return values
}

func taintText(l *linux.Module) string {
	words := make([]string, len(l.Taints))
	for i, t := range l.Taints {
		words[i] = t
		if meaning := linux.TaintMeaning(t[0]); meaning != "" {
			words[i] += " (" + meaning + ")"
		}
	}
	return strings.Join(words, ", ")
}

func vermagicText(l *linux.Module) string {
	if l.FitsRelease == lkm.No {
		return l.Vermagic + " (not " + l.Release + ")"
	}
	return strings.TrimSpace(l.Vermagic)
}

// aliasText shows the first of the names that devices ask for it by.
func aliasText(l *linux.Module) string {
	aliases := modinfoValues(l, "alias")
	switch len(aliases) {
	case 0:
		return ""
	case 1:
		return aliases[0]
	}
	return fmt.Sprintf("%s (%d aliases)", aliases[0], len(aliases))
}

func parametersText(params []linux.Parameter) string {
	values := false
	words := make([]string, len(params))
	for i, p := range params {
		words[i] = p.Name
		if p.Readable == lkm.Yes {
			words[i] += "=" + p.Value
			values = true
		}
	}
	text := strings.Join(words, " ")
	if len(params) > 0 && !values {
		text += "; values: --detail parameters"
	}
	return text
}

func firmwareText(firmware []linux.Firmware) string {
	words := make([]string, len(firmware))
	for i, f := range firmware {
		words[i] = f.Name
		if f.Present == lkm.No {
			words[i] += " (missing)"
		}
	}
	return someText(words, 4)
}

// candidatesText names the files that lost against the one that is used.
func candidatesText(candidates []modprobe.Candidate) string {
	if len(candidates) < 2 {
		return ""
	}
	words := make([]string, 0, len(candidates))
	for _, c := range candidates {
		if !c.Chosen {
			words = append(words, c.Path+" ("+c.Reason+")")
		}
	}
	return strings.Join(words, " · ")
}
