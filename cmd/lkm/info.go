// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) info() *cobra.Command {
	c := &cobra.Command{
		Use:   "info NAME|FILE...",
		Short: "Show everything known of a module, or of a module's file (modinfo, kldstat -v)",
		Long: `Show everything known of each module. A NAME is a module's id, such as linux_module:nvme, or its
name; on Linux "-" and "_" are the same letter. When several modules match, all are shown. What has
a path separator in it is a FILE: a .ko, a .sys, a kext bundle, a .nlm, of any system on any other.`,
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
	var found []lkm.Module
	var known *catalog
	missing := false
	for _, name := range names {
		if isFile(name) {
			modules, err := a.readFile(ctx, name)
			if err != nil {
				return err
			}
			found = append(found, modules...)
			continue
		}
		if known == nil {
			var err error
			if known, err = a.catalog(ctx, lkm.DetailFiles|lkm.DetailSignatures); err != nil {
				return err
			}
		}
		matches := known.matching(name)
		if len(matches) == 0 {
			missing = true
			a.noMatch(name, known)
		}
		found = append(found, matches...)
	}
	if err := a.writeInfo(found); err != nil {
		return err
	}
	if missing {
		return exit(exitFatal)
	}
	return a.strictly(problemsOf(found))
}

// isFile reports whether an argument is a file and not a name.
func isFile(arg string) bool {
	return strings.ContainsRune(arg, '/') || (runtime.GOOS == "windows" && strings.ContainsRune(arg, '\\'))
}

// readFile reads a module's file of this machine, wherever it stands.
func (a *app) readFile(ctx context.Context, name string) ([]lkm.Module, error) {
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.Detail |= lkm.DetailFiles | lkm.DetailSignatures
	dir, file := filepath.Split(filepath.Clean(name))
	if dir == "" {
		dir = "."
	}
	modules, err := lkm.ReadFile(ctx, os.DirFS(dir), file, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return modules, nil
}

func (a *app) writeInfo(modules []lkm.Module) error {
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
				a.writeCard(&modules[i])
			}
			return nil
		}
	}
	return a.writeModules(modules, []column{nameColumn, stateColumn, versionColumn, sizeColumn, originColumn, signedColumn})
}

// writeCard prints one module for a person: a headline, then a line a fact.
func (a *app) writeCard(m *lkm.Module) {
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
