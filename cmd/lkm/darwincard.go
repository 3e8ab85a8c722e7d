// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/darwin"
)

// darwinFacts are the lines of a card that only macOS has.
func darwinFacts(k *darwin.Kext) []fact {
	var facts []fact
	if s := k.CodeSignature; s != nil {
		facts = append(facts, codeSignatureFacts(s)...)
	}
	facts = append(facts, fact{"built for", strings.Join(k.Architectures, " ")})
	if b := k.Bundle; b != nil {
		facts = append(facts, fact{"devices", someText(devicesOf(b.Personalities), 6)})
	}
	if e := k.SystemExtension; e != nil {
		facts = append(facts, fact{"state", strings.ReplaceAll(e.State, "_", " ")},
			fact{"build", e.Version}, fact{"kind", strings.Join(e.Categories, " ")})
	}
	if a := k.Approval; a != nil {
		facts = append(facts, fact{"approved", string(a.Allowed)})
	}
	return append(facts, fact{"copies", someText(k.Copies, 3)})
}

// codeSignatureFacts say who signed the code, as what, and why that does not count.
func codeSignatureFacts(s *darwin.CodeSignature) []fact {
	signed := []string{}
	add := func(label, text string) {
		if text != "" {
			signed = append(signed, label+" "+text)
		}
	}
	add("as", s.Identifier)
	add("team", s.TeamID)
	add("program", s.Program)
	if s.ForKexts != "" {
		add("for kexts", string(s.ForKexts))
	}
	facts := []fact{{"because", strings.Join(s.Reasons, "; ")}, {"signed", strings.Join(signed, ", ")},
		{"cdhash", s.CDHash}}
	if s.Notarized != "" {
		facts = append(facts, fact{"notarized", "a ticket is stapled to it; it is not verified"})
	}
	if s.Seal != nil {
		facts = append(facts, fact{"attributes", someText(s.Seal.Attributes, 5)})
	}
	return facts
}

// devicesOf says what devices personalities are for: the nub's class and the values that it must have.
func devicesOf(all []darwin.Personality) []string {
	var devices []string
	for i := range all {
		p := &all[i]
		words := []string{p.ProviderClass}
		for _, m := range p.Match {
			words = append(words, m.Key+"="+strings.Join(hexadecimal(m), "|"))
		}
		if device := strings.Join(words, " "); !slices.Contains(devices, device) {
			devices = append(devices, device)
		}
	}
	return devices
}

// hexadecimal writes the ids of USB devices as people know them.
func hexadecimal(m darwin.Match) []string {
	if !strings.HasPrefix(m.Key, "id") && m.Key != "bcdDevice" {
		return m.Values
	}
	values := slices.Clone(m.Values)
	for i, v := range values {
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			values[i] = fmt.Sprintf("0x%04x", n)
		}
	}
	return values
}
