// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// A fact is one line of a card.
type fact struct{ label, text string }

// writeCard prints one module for a person: a headline, then a line a fact. Facts that are not
// known have no line.
func (a *app) writeCard(m *lkm.Module) {
	head := strings.TrimSpace(m.Name + " " + m.Version)
	state := orUnknown(string(m.State))
	if isBareFile(m) {
		state = "file"
	}
	fmt.Fprintf(a.stdout, "%s  %s\n", escape.Text(head), escape.Text(state+diskText(m)))
	facts := []fact{
		{"what", m.Description},
		{"file", fileText(m)},
		{"memory", memoryText(m)},
		{"origin", originText(m)},
		{"package", packageText(m.Package)},
		{"signature", signatureText(m)},
		{"content id", m.ContentID},
		{"requires", requiresText(m)},
		{"used by", usersText(m)},
	}
	if m.Linux != nil {
		facts = append(facts, linuxFacts(m.Linux)...)
	}
	facts = append(facts, unixFacts(m)...)
	if m.Windows != nil {
		facts = append(facts, windowsFacts(m.Windows)...)
	}
	if m.Darwin != nil {
		facts = append(facts, darwinFacts(m.Darwin)...)
	}
	if m.Address != 0 {
		facts = append(facts, fact{"address", m.Address.String()})
	}
	for i, p := range m.Problems {
		label := "unknown"
		if i > 0 {
			label = ""
		}
		facts = append(facts, fact{label, strings.TrimSpace(p.Field + " " + p.Text)})
	}
	for _, f := range facts {
		if f.text != "" {
			a.cardLine(f.label, f.text)
		}
	}
}

// packageText is the package that a module's file belongs to: "linux-image-6.1 6.1.1-1 amd64 (dpkg)".
func packageText(p *lkm.Package) string {
	switch {
	case p == nil:
		return ""
	case p.Name == "":
		return "none"
	}
	return joined(" ", p.Name, p.Version, p.Arch, p.Vendor, "("+p.Manager+")")
}

// isBareFile reports whether a module is a file by itself, which is in no state.
func isBareFile(m *lkm.Module) bool { return m.State == "" && m.Path != "" && m.Address == 0 }

// sizeIsFile reports whether a module's size is that of its file, and not what it takes in memory.
func sizeIsFile(m *lkm.Module) bool {
	return m.State == lkm.StateInstalled || m.State == lkm.StateStaged || isBareFile(m)
}

func diskText(m *lkm.Module) string {
	if m.OnDisk.Match == "" {
		return ""
	}
	text := ", " + string(m.OnDisk.Match) + " code as on disk"
	switch m.OnDisk.Match {
	case lkm.MatchDifferent:
		text = ", other code than on disk"
	case lkm.MatchAbsent:
		return ", no such file on disk"
	}
	if m.OnDisk.By != "" {
		text += fmt.Sprintf(" (%s %.16s…)", strings.ReplaceAll(m.OnDisk.By, "_", "-"), m.OnDisk.ContentID)
	}
	return text
}

// fileText is the file with its length, where that is the module's size.
func fileText(m *lkm.Module) string {
	n, ok := m.Size.Get()
	if m.Path == "" || !sizeIsFile(m) || !ok {
		return m.Path
	}
	return fmt.Sprintf("%s (%d bytes)", m.Path, n)
}

// memoryText is what the module takes in the kernel.
func memoryText(m *lkm.Module) string {
	n, ok := m.Size.Get()
	if sizeIsFile(m) && m.Windows != nil && m.Windows.PE != nil {
		return fmt.Sprintf("%d bytes when loaded", m.Windows.PE.SizeOfImage)
	}
	if !ok || sizeIsFile(m) {
		return ""
	}
	return fmt.Sprintf("%d bytes", n)
}

func originText(m *lkm.Module) string {
	if m.Origin.Class == "" && len(m.Origin.Evidence) == 0 {
		return ""
	}
	facts := make([]string, len(m.Origin.Evidence))
	for i, e := range m.Origin.Evidence {
		facts[i] = strings.TrimSpace(e.Fact + " " + e.Value)
	}
	return originCell(m) + ": " + strings.Join(facts, ", ")
}

func signatureText(m *lkm.Module) string {
	s := m.Signature
	if s.IsZero() {
		return ""
	}
	text := signedCell(m)
	switch {
	case s.Status == "" && s.Evidence == facts.EvidenceTaintE:
		text = "not valid for this kernel when it was loaded (taint E)"
	case s.Status == lkm.SignatureUnchecked && s.Evidence == "adhoc":
		text = "ad hoc: by nobody"
	case s.Status == lkm.SignatureUnchecked:
		text = "present, not verified (no key here fits it; --keys FILE adds keys)"
	case s.Status == lkm.SignatureValid:
		text = "valid by " + s.KeySet
	}
	if s.Signer != "" {
		text += fmt.Sprintf(": %q", s.Signer)
	}
	if s.Hash != "" {
		text += ", " + s.Hash
	}
	return text
}

func namesText(names []string, empty string) string {
	switch {
	case names == nil:
		return ""
	case len(names) == 0:
		return empty
	}
	return strings.Join(names, " ")
}

func usersText(m *lkm.Module) string {
	text := namesText(m.UsedBy, "nobody")
	if n, ok := m.Refs.Get(); ok && text != "" {
		text += fmt.Sprintf("; %d references", n)
		if n == 1 {
			text = strings.TrimSuffix(text, "s")
		}
	}
	if m.Linux != nil && m.Linux.Permanent {
		text += "; cannot be unloaded"
	}
	return text
}

// requiresText names the first few, and where the rest is.
func requiresText(m *lkm.Module) string {
	const few = 8
	if len(m.Requires) <= few {
		return namesText(m.Requires, "nothing")
	}
	return fmt.Sprintf("%s (and %d more: lkm tree %s)", strings.Join(m.Requires[:few], " "), len(m.Requires)-few,
		m.Name)
}

// someText shows a list's first words and counts the rest.
func someText(words []string, few int) string {
	if len(words) <= few {
		return strings.Join(words, " · ")
	}
	return fmt.Sprintf("%s (and %d more: --format json)", strings.Join(words[:few], " · "), len(words)-few)
}
