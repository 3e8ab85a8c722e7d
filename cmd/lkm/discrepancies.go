// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) discrepancies() *cobra.Command {
	c := &cobra.Command{
		Use:   "discrepancies",
		Short: "Compare what the kernel's sources say with each other and with the disk",
		Long: `Compare what the kernel's sources say of its modules with each other and with the disk. Every finding
is evidence with a grade: transient, weak (has harmless explanations) or strong (three looks agree,
nothing moved meanwhile). An empty list does not prove that nothing is hidden. Of an image the files alone are
compared. With --detail hashes each module file is compared with the one that its package brought, as
rpm -V, dpkg -V and pkg check -s do. Exit code 1 when a finding is above transient.`,
		Args: cobra.NoArgs,
		RunE: a.onSystem(func(ctx context.Context, sys *lkm.System, _ []string) error {
			found, err := sys.Discrepancies(ctx)
			if err != nil {
				return err
			}
			if err := a.writeDiscrepancies(found); err != nil {
				return err
			}
			return a.discrepancyExit(found)
		}),
	}
	a.commonFlags(c)
	return c
}

// discrepancyExit is 1 for a finding above transient; under --strict 3 for a view that could not be compared, as a rule
// of kind discrepancy is unknown then. A view that the kernel was built without is unsupported, and does not count.
func (a *app) discrepancyExit(found []lkm.Discrepancy) error {
	var incomplete []error
	for i := range found {
		if found[i].Grade != lkm.GradeTransient {
			return exit(exitFindings)
		}
		if found[i].Kind != linux.KindUnchecked {
			continue
		}
		for _, e := range found[i].Evidence {
			if code := lkm.Code(e.Fact); code != lkm.CodeUnsupported {
				incomplete = append(incomplete, lkm.Problem{Source: e.Source, Code: code, Text: e.Value})
			}
		}
	}
	return a.strictly(errors.Join(incomplete...))
}

func (a *app) writeDiscrepancies(found []lkm.Discrepancy) error {
	if a.flags.format != "table" {
		t := &table{head: []string{"GRADE", "KIND", "NAME", "VIEWS", "EVIDENCE", "SAMPLES"}}
		for _, d := range found {
			t.rows = append(t.rows, []string{string(d.Grade), d.Kind, d.Name, viewsText(d.Views), factsText(d.Evidence),
				fmt.Sprint(d.Samples)})
		}
		return writeRows(a, t, found)
	}
	counts := make(map[lkm.Grade]int)
	findings := 0
	for _, d := range found {
		if d.Kind == linux.KindUnchecked {
			continue
		}
		findings++
		counts[d.Grade]++
		a.writeFinding(d)
	}
	if len(found) > 0 && found[0].Kind == linux.KindUnchecked {
		a.writeUnchecked(found[0])
	}
	a.writeText("", 2, fmt.Sprintf("%s: %d strong, %d weak, %d transient. An empty list does not prove that "+
		"nothing is hidden.", countText(findings, "finding", "findings"), counts[lkm.GradeStrong],
		counts[lkm.GradeWeak], counts[lkm.GradeTransient]))
	return nil
}

// explanation returns what a kind of finding may mean; "" for a kind that has none.
func explanation(kind string) string {
	switch kind {
	case linux.KindHiddenFromList:
		return "other views show a module that the list does not: a known way to hide, not proof"
	case linux.KindMissingDirectory:
		return "a listed module has a directory in /sys/module: a known way to hide, not proof"
	case linux.KindHiddenDirectory:
		return "a directory that can be opened is left out of the listing: a known way to hide, not proof"
	case linux.KindDirectoryCount:
		return "/sys/module says that it holds more directories than it lists: a known way to hide, not proof"
	case linux.KindTaintUnexplained:
		return "taint is sticky: the module may have been unloaded, may have failed to load, or hides"
	case linux.KindUnloadedTainted:
		return "a tainted module was here and is gone, by the kernel's own list"
	case linux.KindDiskMemory:
		return "another build than the file's is loaded: replaced since it was loaded, " +
			"or loaded from elsewhere (an initramfs, insmod)"
	case linux.KindNoFile:
		return "loaded from elsewhere, or its file was removed since"
	case linux.KindUnownedFile:
		return "no package and no DKMS build has this file: built or copied by hand, or put there"
	case linux.KindChangedFile:
		return "not the file that its package brought: built, stripped or packed anew, or changed"
	case linux.KindMissingFile:
		return "its package brought this file, and it was removed or moved since"
	case linux.KindInstallCommand:
		return "modprobe runs this command in place of loading the module"
	}
	return ""
}

// writeFinding writes one finding: grade, subject and kind; the views; what it may mean; the facts.
func (a *app) writeFinding(d lkm.Discrepancy) {
	grade := strings.ToUpper(string(d.Grade))
	line := fmt.Sprintf("%s  %s", d.Name, d.Kind)
	if views := plainViews(d.Views); views != "" {
		line += ": " + views
	}
	if d.Samples > 1 {
		line += fmt.Sprintf("  (%d looks agree)", d.Samples)
	}
	more := []string{explanation(d.Kind)}
	for _, e := range d.Evidence {
		more = append(more, factText(e))
	}
	a.writeText(a.paint(cellStyle("GRADE", grade), fmt.Sprintf("%-9s  ", grade)), 11, escape.Text(line))
	for _, text := range more {
		if text != "" {
			a.writeText("           ", 11, escape.Text(text))
		}
	}
}

// writeUnchecked writes what was compared, and what was not and why: in short by reason, with
// --verbose each in full.
func (a *app) writeUnchecked(d lkm.Discrepancy) {
	var compared []string
	for _, view := range linux.Views {
		if d.Views[view] == "" {
			compared = append(compared, view)
		}
	}
	if onLinux := len(compared) < len(linux.Views); onLinux && d.Views[linux.SourceModules] == "" {
		a.writeText("compared   ", 11, strings.Join(compared, ", "))
	}
	if a.flags.verbose {
		for _, e := range d.Evidence {
			a.writeText(a.paint(warnStyle, "NOT CHECKED")+" ", 12, escape.Text(e.Source+": "+e.Value))
		}
		return
	}
	reasons := make(map[string][]string)
	for _, e := range d.Evidence {
		reasons[e.Fact] = append(reasons[e.Fact], e.Source)
	}
	parts := make([]string, 0, len(reasons))
	for _, code := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.Join(reasons[code], ", "), code))
	}
	a.writeText(a.paint(warnStyle, "NOT CHECKED")+" ", 12, escape.Text(strings.Join(parts, ", "))+"; why: --verbose")
}

// plainViews leaves out the views that show a module only when it has something of their kind, and
// do not.
func plainViews(views map[string]lkm.View) string {
	plain := maps.Clone(views)
	maps.DeleteFunc(plain, func(name string, v lkm.View) bool {
		return v == lkm.ViewMissing && slices.Contains(linux.Views, name) && !slices.Contains(wholeViews, name)
	})
	return viewsText(plain)
}

// wholeViews are those of linux.Views that have to show every module.
var wholeViews = []string{linux.SourceModules, linux.SourceSysModule, linux.ViewOpen}

// viewsText names the views that showed it and those that did not.
func viewsText(views map[string]lkm.View) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(views)) {
		switch views[name] {
		case lkm.ViewSeen:
			parts = append(parts, name+" yes")
		case lkm.ViewMissing:
			parts = append(parts, name+" no")
		}
	}
	return strings.Join(parts, " · ")
}

func factsText(evidence []lkm.Evidence) string {
	parts := make([]string, len(evidence))
	for i, e := range evidence {
		parts[i] = factText(e)
	}
	return strings.Join(parts, "; ")
}

func factText(e lkm.Evidence) string {
	if e.Source == "" || e.Source == e.Value {
		return e.Fact + ": " + e.Value
	}
	return e.Fact + ": " + e.Value + " (" + e.Source + ")"
}
