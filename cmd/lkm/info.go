// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) info() *cobra.Command {
	c := &cobra.Command{
		Use:   "info NAME...",
		Short: "Show everything known of a module (modinfo, kldstat -v)",
		Long: `Show everything known of each module. A NAME is a module's id, such as linux_module:nvme, or its
name; on Linux "-" and "_" are the same letter. When several modules match, all are shown.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.runInfo(c.Context(), args) },
	}
	a.commonFlags(c)
	return c
}

func (a *app) runInfo(ctx context.Context, names []string) error {
	if err := a.checkFormat(); err != nil {
		return err
	}
	sys, err := a.open(lkm.DetailFiles | lkm.DetailSignatures)
	if err != nil {
		return err
	}
	defer sys.Close()
	known, release, err := knownModules(ctx, sys)
	if err != nil {
		return err
	}
	var found []lkm.Module
	missing := false
	for _, name := range names {
		matches := matching(known, name)
		if len(matches) == 0 {
			missing = true
			a.noMatch(name, known)
		}
		found = append(found, matches...)
	}
	if err := a.writeInfo(found, release); err != nil {
		return err
	}
	if missing {
		return exit(exitFatal)
	}
	var errs []error
	for i := range found {
		for _, p := range found[i].Problems {
			if p.Code != lkm.CodeUnsupported {
				errs = append(errs, p)
			}
		}
	}
	return a.strictly(errors.Join(errs...))
}

// knownModules returns every module that the machine shows: the loaded ones, then others that do
// not have the id of one before.
func knownModules(ctx context.Context, sys *lkm.System) ([]lkm.Module, string, error) {
	var known []lkm.Module
	release := ""
	snap, err := sys.Snapshot(ctx)
	switch {
	case err == nil:
		known, release = snap.Modules, snap.Release
	case !errors.Is(err, errors.ErrUnsupported):
		return nil, "", err
	}
	seen := make(map[string]bool, len(known))
	for i := range known {
		seen[known[i].ID] = true
	}
	for _, more := range []iter.Seq2[lkm.Module, error]{sys.Builtin(ctx)} {
		for m, err := range more {
			if errors.Is(err, errors.ErrUnsupported) {
				break
			}
			if err != nil {
				return nil, "", err
			}
			if !seen[m.ID] {
				seen[m.ID] = true
				known = append(known, m)
			}
		}
	}
	return known, release, nil
}

// matching returns the module with that id, else all with that name.
func matching(known []lkm.Module, name string) []lkm.Module {
	var byName []lkm.Module
	for i := range known {
		m := &known[i]
		if m.ID == name {
			return []lkm.Module{*m}
		}
		if sameName(m, name) {
			byName = append(byName, *m)
		}
	}
	return byName
}

func sameName(m *lkm.Module, name string) bool {
	if m.Kind == lkm.KindLinuxModule {
		return m.Name == strings.ReplaceAll(name, "-", "_")
	}
	return m.Name == name
}

// noMatch says on stderr that nothing has the name, with names like it.
func (a *app) noMatch(name string, known []lkm.Module) {
	names := make([]string, len(known))
	for i := range known {
		names[i] = known[i].Name
	}
	text := fmt.Sprintf("lkm: %s: no such module", escape.Text(name))
	if near := nearest(name, names); len(near) > 0 {
		text += "; did you mean " + escape.Text(strings.Join(near, ", ")) + "?"
	}
	fmt.Fprintln(a.stderr, text)
}

func (a *app) writeInfo(modules []lkm.Module, release string) error {
	switch a.flags.format {
	case "json":
		if modules == nil {
			modules = []lkm.Module{}
		}
		return writeJSON(a.stdout, modules, "  ")
	case "table":
		if len(a.flags.fields) == 0 {
			for i := range modules {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				a.writeCard(&modules[i], release)
			}
			return nil
		}
	}
	return a.writeModules(modules, []column{nameColumn, stateColumn, versionColumn, sizeColumn, originColumn, signedColumn})
}

// writeCard prints one module for a person: a headline, then a line a fact.
func (a *app) writeCard(m *lkm.Module, release string) {
	head := strings.TrimSpace(m.Name + " " + m.Version)
	fmt.Fprintf(a.stdout, "%s  %s\n", escape.Text(head), escape.Text(orUnknown(string(m.State))+diskText(m)))
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.stdout, "  %-11s%s\n", label, escape.Text(text))
		}
	}
	line("what", m.Description)
	line("file", m.Path)
	line("memory", memoryText(m))
	line("origin", originText(m))
	line("signature", signatureText(m))
	if m.ContentID != "" {
		line("build-id", m.ContentID)
	}
	line("requires", namesText(m.Requires, "nothing"))
	line("used by", usersText(m))
	if l := m.Linux; l != nil {
		line("srcversion", l.Srcversion)
		line("taint", taintText(l))
		line("parameters", parametersText(l.Parameters))
		if len(l.Sections) > 0 {
			line("sections", fmt.Sprintf("%d: --format json", len(l.Sections)))
		}
	}
	if m.Address != 0 {
		line("address", m.Address.String())
	}
	for i, p := range m.Problems {
		label := "unknown"
		if i > 0 {
			label = ""
		}
		line(label, strings.TrimSpace(p.Field+" "+p.Text))
	}
	if len(m.Problems) == 0 {
		line("unknown", "none")
	}
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

func memoryText(m *lkm.Module) string {
	n, ok := m.Size.Get()
	if !ok {
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
	case s.Status == "" && s.Evidence == lkm.EvidenceTaintE:
		text = "not valid for this kernel when it was loaded (taint E)"
	case s.Status == lkm.SignatureUnchecked:
		text = "present, not verified"
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

func taintText(l *linux.Module) string {
	words := make([]string, len(l.Taints))
	for i, t := range l.Taints {
		words[i] = t
		if meaning := linux.TaintMeaning(t[0]); meaning != "" {
			words[i] += " " + meaning
		}
	}
	return strings.Join(words, ", ")
}

func parametersText(params []linux.Parameter) string {
	words := make([]string, len(params))
	for i, p := range params {
		words[i] = p.Name
		if p.Readable == lkm.Yes {
			words[i] += "=" + p.Value
		}
	}
	return strings.Join(words, " ")
}
