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
		facts = append(facts, codeSignatureFacts(s, k.PackageType)...)
	}
	facts = append(facts, fact{"built for", strings.Join(k.Architectures, " ")})
	if b := k.Bundle; b != nil {
		facts = append(facts, fact{"devices", someText(devicesOf(b), 6)})
	}
	if e := k.SystemExtension; e != nil {
		facts = append(facts, fact{"state", strings.ReplaceAll(e.State, "_", " ")},
			fact{"build", e.Version}, fact{"kind", strings.Join(e.Categories, " ")})
	}
	if a := k.Approval; a != nil {
		facts = append(facts, fact{"approved", approvalText(a)})
	}
	return append(facts, fact{"copies", someText(k.Copies, 3)})
}

// approvalText says who decided what: "yes, by a management server, for all of the team".
func approvalText(a *darwin.Approval) string {
	text := orUnknown(string(a.Allowed))
	switch {
	case a.Managed && a.BundleID == "":
		return text + ", by a management server, for all of the team"
	case a.Managed:
		return text + ", by a management server"
	}
	return text + ", by the user"
}

// codeSignatureFacts say who signed the code, as what, and why that does not count.
func codeSignatureFacts(s *darwin.CodeSignature, kind string) []fact {
	signed := []string{}
	add := func(label, text string) {
		if text != "" {
			signed = append(signed, label+" "+text)
		}
	}
	add("as", s.Identifier)
	add("team", s.TeamID)
	add("program", s.Program)
	if s.ForKexts != "" && kind != "DEXT" {
		add("for kexts", string(s.ForKexts))
	}
	facts := []fact{{"because", strings.Join(s.Reasons, "; ")}, {"signed", strings.Join(signed, ", ")},
		{"cdhash", s.CDHash}}
	if s.Notarized != "" {
		facts = append(facts, fact{"notarized", "a ticket is stapled to it; it is not verified"})
	}
	if s.Seal != nil {
		facts = append(facts, fact{"unsealed", someText(s.Seal.Unsealed, 5)},
			fact{"attributes", someText(s.Seal.Attributes, 5)})
	}
	return facts
}

// devicesOf says what devices a bundle's personalities are for: the nub's class and the values that it must have. A
// personality may make the system load another kext, which is named.
func devicesOf(b *darwin.Bundle) []string {
	var devices []string
	for i := range b.Personalities {
		p := &b.Personalities[i]
		words := []string{p.ProviderClass}
		for _, m := range p.Match {
			words = append(words, m.Key+"="+strings.Join(hexadecimal(m), "|"))
		}
		if p.BundleID != b.Identifier && p.BundleID != "" {
			words = append(words, "(for "+p.BundleID+")")
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
