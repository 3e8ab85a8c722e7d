// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

var (
	serviceColumn = column{"SERVICE", false, func(m *lkm.Module) string {
		return serviceCell(m,
			func(s *windows.Service) string { return s.Name })
	}}
	startColumn = column{"START", false, func(m *lkm.Module) string {
		return serviceCell(m, func(s *windows.Service) string { return orUnknown(s.Start) })
	}}
)

// windowsColumns are those of a list of drivers, which have services instead of references.
func windowsColumns(scope lkm.Scope) []column {
	columns := []column{nameColumn, stateColumn, serviceColumn, startColumn, versionColumn, sizeColumn, originColumn,
		signedColumn}
	if scope == lkm.ScopeInstalled {
		columns = append(slices.Delete(columns, 1, 2), pathColumn)
	}
	return columns
}

// serviceCell shows a word of each service of a driver, the same one once.
func serviceCell(m *lkm.Module, word func(*windows.Service) string) string {
	if m.Windows == nil || m.Windows.Services == nil {
		return unknown
	}
	words := []string{}
	for i := range m.Windows.Services {
		if w := word(&m.Windows.Services[i]); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return namesCell(words)
}

// serviceNames are the names of the services of a driver.
func serviceNames(m *lkm.Module) []string {
	if m.Windows == nil {
		return nil
	}
	names := make([]string, len(m.Windows.Services))
	for i, s := range m.Windows.Services {
		names[i] = s.Name
	}
	return names
}

// namesDriver reports whether a driver, its file without .sys, or a service of it has the name,
// whatever the case.
func namesDriver(m *lkm.Module, name string) bool {
	if m.Windows == nil {
		return false
	}
	if strings.EqualFold(m.Name, name) || strings.EqualFold(m.Name, name+".sys") || strings.EqualFold(m.ID, name) {
		return true
	}
	return slices.ContainsFunc(serviceNames(m), func(s string) bool { return strings.EqualFold(s, name) })
}

// windowsFacts are the lines of a card that only Windows has.
func windowsFacts(d *windows.Driver) []fact {
	var facts []fact
	line := func(label, format string, args ...any) {
		facts = append(facts, fact{label, strings.TrimSpace(fmt.Sprintf(format, args...))})
	}
	if im := d.Image; im != nil {
		line("loaded as", "%s (number %d)", im.NTPath, im.LoadOrder)
		if im.AliasOf != "" {
			line("copy of", "%s, for crash dumps", im.AliasOf)
		}
	}
	if d.Services != nil && len(d.Services) == 0 {
		line("service", "none")
	}
	for i := range d.Services {
		serviceLines(&d.Services[i], line)
	}
	if f := d.Filter; f != nil {
		line("filter", "%s", filterText(f))
	}
	for i, dev := range d.Devices {
		if i == 4 {
			line("", "and %d more devices: --format json", len(d.Devices)-i)
			break
		}
		line("device", "%s", deviceText(&dev))
	}
	for _, p := range d.Packages {
		line("package", "%s", joined(" · ", p.INF, p.OriginalINF, p.Provider, joined(" ", p.Version, p.Date),
			prefixed("signed by ", p.Signer), prefixed("for ", someOf(p.HardwareIDs, 4))))
	}
	if len(d.Signatures) > 1 || len(d.Signatures) == 1 && d.Signatures[0].Class != "" {
		for i := range d.Signatures {
			line("signed", "%s", signedText(&d.Signatures[i]))
		}
	}
	if h := d.Hashes; h != nil {
		line("sha256", "%s", h.SHA256)
		line("authentihash", "%s", h.AuthentihashSHA256)
	}
	for _, b := range d.Blocked {
		line("BLOCKLIST", "%s", hitText(b))
	}
	for _, w := range d.WMI {
		line("wmi", "%s", joined(" · ", w.Name, w.State, w.StartMode, w.PathName))
	}
	line("seen by", "%s", seenByText(d))
	return facts
}

func serviceLines(s *windows.Service, line func(label, format string, args ...any)) {
	text := joined(", ", strings.ReplaceAll(s.Type, "_", " "), prefixed("start ", s.Start), s.State)
	if s.Ephemeral {
		text += ", a name made up for one run"
	}
	line("service", "%s: %s", s.Name, text)
	if s.DisplayName != "" && s.DisplayName != s.Name {
		line("", "%q", s.DisplayName)
	}
	if s.ImagePath != "" {
		line("", "image path %s (%s)", s.ImagePath, joined(", ", s.ImagePathRule, strings.Join(s.ImagePathMarks, ", ")))
	}
	if len(s.DependsOn) > 0 {
		line("", "after %s", someOf(s.DependsOn, 8))
	}
	if s.Group != "" {
		line("", "group %s", s.Group)
	}
	for _, in := range s.Instances {
		line("", "filter instance %s at altitude %s, as configured", in.Name, in.Altitude)
	}
}

func filterText(f *windows.Filter) string {
	if f.Legacy {
		return "attached, no minifilter"
	}
	return fmt.Sprintf("altitude %s, attached %s times", f.Altitude, f.Instances)
}

func deviceText(d *windows.Device) string {
	text := joined(" · ", d.Instance, d.Description, joined(" ", d.INF, d.DriverVersion, d.DriverDate), d.Provider)
	if n, ok := d.ProblemCode.Get(); ok && n != 0 {
		text += fmt.Sprintf(" · problem code %d", n)
	}
	if d.WMI != nil {
		text += fmt.Sprintf(" · by WMI signed: %s %s", d.Signed, d.Signer)
	}
	return text
}

func signedText(s *authenticode.Signature) string {
	source := s.Source
	if s.Nested {
		source = "nested"
	}
	if s.Catalog != "" {
		source += " " + s.Catalog
		if len(s.Catalog) > 1 && s.Catalog[1] == ':' {
			source = strings.ReplaceAll(source, "/", `\`)
		}
	}
	text := joined(" · ", source, string(s.Status), classText(s), s.Reason)
	if len(s.Certificates) > 0 {
		text += " · " + s.Certificates[0].CommonName
	}
	if !s.SignedAt.IsZero() {
		text += fmt.Sprintf(" · %s (%s)", s.SignedAt.Format("2006-01-02"), s.TimeFrom)
	}
	if s.TrustedPublisher == lkm.Yes {
		text += " · a trusted publisher on this machine"
	}
	return text
}

// classText explains the program that a signature was made under.
func classText(s *authenticode.Signature) string {
	switch {
	case s.Class == facts.ClassWHCP && s.Attested == lkm.Yes:
		return "whcp (attested: on its maker's word, without tests)"
	case s.Class == facts.ClassWHCP && s.Attested == lkm.No:
		return "whcp (its tests were passed)"
	case s.Class == facts.ClassCrossSigned:
		return "cross_signed (by a cross certificate, which newer Windows takes from a list alone)"
	}
	return string(s.Class)
}

// seenByText names the sources that show the driver, and those of its registration that do not: that
// neither a device nor a package has it is common.
func seenByText(d *windows.Driver) string {
	var seen, missing []string
	for _, name := range []string{windows.SourceModules, windows.SourceServices, windows.SourceRegistry,
		windows.SourceWMI, windows.SourceDevices, windows.SourceStore, windows.SourceFilters} {
		switch {
		case d.Views[name] == lkm.ViewSeen:
			seen = append(seen, name)
		case d.Views[name] == lkm.ViewMissing && name != windows.SourceDevices && name != windows.SourceStore:
			missing = append(missing, name)
		}
	}
	text := strings.Join(seen, ", ")
	if text != "" && len(missing) > 0 {
		text += "; not by " + strings.Join(missing, ", ")
	}
	return text
}

// joined joins what is not empty.
func joined(sep string, words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), sep)
}

// prefixed puts a word before text, if there is any.
func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}
