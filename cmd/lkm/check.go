// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check NAME|ALIAS|FILE...",
		Short: "Report whether a module's code can enter the kernel, and what stops it",
		Long: `Report whether each module's code can enter the kernel, now and after the next boot, with the file
and line of every reason. It fails closed. Exit codes: 1 when any is loaded, built in and active, or
loadable by anything but root's own insmod; else 3 when any is unknown; else 0. A name that nothing
knows is absent, which counts as unknown under --strict. On Linux, a copy in the initial file system of a
boot entry counts as loadable unless its own configuration, or the kernel, stops it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.onSystem(a.runCheck),
	}
	c.Flags().BoolVar(&a.flags.explain, "explain", false,
		"one line for each verdict: the fact that decided it, or what was not read")
	a.commonFlags(c)
	return c
}

func (a *app) runCheck(ctx context.Context, sys *lkm.System, queries []string) error {
	var verdicts []lkm.Verdict
	for _, q := range queries {
		found, err := a.checkOne(ctx, sys, q)
		if err != nil {
			return err
		}
		a.sayTwo(q, judged(found))
		verdicts = append(verdicts, found...)
	}
	if err := a.writeVerdicts(verdicts); err != nil {
		return err
	}
	return a.verdictExit(verdicts)
}

// checkOne judges what a query means on the system. A bundle of macOS on another system is judged by itself: where it
// would be loaded is not known.
func (a *app) checkOne(ctx context.Context, sys *lkm.System, query string) ([]lkm.Verdict, error) {
	if !isFile(query) || a.flags.root != "" || a.flags.tape != "" {
		return sys.Check(ctx, query)
	}
	if sys.OS() == lkm.Darwin { // its files are named from its root
		return checkFile(ctx, sys, query)
	}
	modules, err := a.readFile(ctx, query, lkm.DetailFiles)
	if err != nil || len(modules) == 0 || modules[0].Darwin == nil {
		return checkFile(ctx, sys, query)
	}
	dir, file := filepath.Split(filepath.Clean(query))
	fsys, err := lkm.Dir(cmp.Or(dir, "."))
	if err != nil {
		return nil, err
	}
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.OS, o.HostRoot = lkm.Darwin, ""
	image, err := lkm.OpenImage(fsys, o)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	verdicts, err := image.Check(ctx, "/"+file)
	for i := range verdicts {
		verdicts[i].Query = query
	}
	return verdicts, err
}

// checkFile judges a file of this machine. A machine's files are named from its root, and not from the folder in which
// the command runs.
func checkFile(ctx context.Context, sys *lkm.System, query string) ([]lkm.Verdict, error) {
	file := query
	_, err := os.Stat(query)
	if (err == nil || query[0] == '.') && !filepath.IsAbs(query) && !os.IsPathSeparator(query[0]) { // else an alias
		if file, err = filepath.Abs(query); err != nil {
			return nil, err
		}
		file = filepath.ToSlash(file)
	}
	verdicts, err := sys.Check(ctx, file)
	for i := range verdicts {
		verdicts[i].Query = query
	}
	return verdicts, err
}

// outcomeStyle marks code that can get in, and what is not known.
func outcomeStyle(o lkm.VerdictOutcome) style {
	switch o {
	case lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable:
		return alarmStyle
	case lkm.VerdictBlocked, lkm.VerdictAbsent:
		return goodStyle
	}
	return warnStyle
}

// verdictExit is 1 when code can get in, else 3 when that is not known of some, else 0.
func (a *app) verdictExit(verdicts []lkm.Verdict) error {
	in, unknown := false, false
	for i := range verdicts {
		v := &verdicts[i]
		switch v.Worst() {
		case lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable:
			in = true
		case lkm.VerdictUnknown:
			unknown = true
		case lkm.VerdictAbsent:
			unknown = unknown || a.flags.strict
		}
	}
	switch {
	case in:
		return exit(exitFindings)
	case unknown:
		return exit(exitIncomplete)
	}
	var incomplete []error
	for i := range verdicts {
		for _, p := range verdicts[i].Problems {
			if p.Code != lkm.CodeUnsupported {
				incomplete = append(incomplete, p)
			}
		}
	}
	return a.strictly(errors.Join(incomplete...))
}

func (a *app) writeVerdicts(verdicts []lkm.Verdict) error {
	if a.flags.explain {
		a.writeExplanations(verdicts)
		return nil
	}
	if a.flags.format == "table" {
		shared := sharedProblems(verdicts)
		for i := range verdicts {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			a.writeVerdict(&verdicts[i], shared)
		}
		if len(shared) > 0 {
			fmt.Fprintln(a.stdout, "\nunknown for all of them")
			a.writeUnknown(shared)
		}
		a.countVerdicts(verdicts)
		return nil
	}
	t := &table{head: []string{"QUERY", "MODULE", "RELEASE", "NOW", "NEXT BOOT", "WORD", "WHY"}}
	for i := range verdicts {
		v := &verdicts[i]
		decided := ""
		if len(v.Reasons) > 0 {
			r := v.Reasons[0]
			decided = strings.TrimSpace(placeOf(r) + " " + r.Text)
		}
		t.rows = append(t.rows, []string{v.Query, orNone(v.Module), orUnknown(v.Release), prospectWord(v.Now),
			prospectWord(v.NextBoot), v.Word, decided})
	}
	return writeRows(a, t, verdicts)
}

// sharedProblems are the problems that every one of several verdicts has: they are said once.
func sharedProblems(verdicts []lkm.Verdict) []lkm.Problem {
	if len(verdicts) < 2 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(verdicts[0].Problems), func(p lkm.Problem) bool {
		return isNoSuchName(&verdicts[0], p) || slices.ContainsFunc(verdicts[1:],
			func(v lkm.Verdict) bool { return !slices.Contains(v.Problems, p) })
	})
}

// isNoSuchName reports whether the problem only says that nothing has the name that was asked for,
// which has a line of its own.
func isNoSuchName(v *lkm.Verdict, p lkm.Problem) bool {
	return v.Module == "" && p.Code == lkm.CodeAbsent && p.Subject == v.Query
}

// writeUnknown prints one line for each source and kind of trouble: the first, and how many more.
func (a *app) writeUnknown(problems []lkm.Problem) {
	type kind struct {
		source string
		code   lkm.Code
	}
	var order []kind
	texts := make(map[kind][]string)
	for _, p := range problems {
		k := kind{cmp.Or(p.Source, p.Field), p.Code}
		if texts[k] == nil {
			order = append(order, k)
		}
		texts[k] = append(texts[k], p.Text)
	}
	for _, k := range order {
		text := strings.TrimPrefix(k.source+": "+texts[k][0], ": ")
		if n := len(texts[k]) - 1; n > 0 {
			text += fmt.Sprintf(" (and %d more: --format json)", n)
		}
		a.cardLine("unknown", text)
	}
}

// cardLine prints one line of a card.
func (a *app) cardLine(label, text string) {
	if text != "" {
		label = fmt.Sprintf("  %-10s ", escape.Text(label))
		a.writeText(a.paint(labelStyle(strings.TrimSpace(label)), label), utf8.RuneCountInString(label),
			escape.Text(text))
	}
}

func prospectWord(p *lkm.Prospect) string {
	if p == nil {
		return none
	}
	return string(p.Outcome)
}

// reasonLabel returns the label of a reason on a card.
func reasonLabel(code string) string {
	switch code {
	case linux.ReasonOnDisk, linux.ReasonNotIndexed, linux.ReasonFileMissing:
		return "on disk"
	case linux.ReasonLoaded:
		return "loaded"
	case linux.ReasonBuiltin:
		return "built in"
	case linux.ReasonBlacklistIgnored, linux.ReasonInstallIgnored:
		return "ignored"
	case linux.ReasonVolatile:
		return "not kept"
	case linux.ReasonSigned:
		return "signed"
	}
	return "because"
}

// writeVerdict prints one verdict for a person, without the problems that are shared by all.
func (a *app) writeVerdict(v *lkm.Verdict, shared []lkm.Problem) {
	fmt.Fprintf(a.stdout, "%s  %s  (%s)\n", escape.Text(verdictName(v)),
		a.paint(outcomeStyle(v.Worst()), strings.ToUpper(string(v.Worst()))), escape.Text(a.momentText(v)))
	nobody := a.writeNoSuchName(v)
	for _, r := range v.Reasons {
		if nobody == "" || !strings.HasPrefix(nobody, r.Text) {
			a.cardLine(reasonLabel(r.Code), reasonText(r))
		}
	}
	a.writeWays(v)
	a.writeTriggers(v.Triggers)
	for _, r := range v.Bypasses {
		if r.Unread != "" {
			continue // the problem says why
		}
		a.cardLine("bypass", reasonText(r))
	}
	a.writeUnknown(slices.DeleteFunc(slices.Clone(v.Problems), func(p lkm.Problem) bool {
		return isNoSuchName(v, p) || slices.Contains(shared, p)
	}))
	label := "to block"
	for _, r := range v.Remedies {
		text := r.Text
		if len(r.NotAgainst) > 0 {
			text += "   (does not stop " + strings.Join(r.NotAgainst, ", ") + ")"
		}
		a.cardLine(label, text)
		label = ""
	}
}

// writeNoSuchName prints that nothing has the name, with names like it, and returns that; "" for a name that is known.
func (a *app) writeNoSuchName(v *lkm.Verdict) string {
	for _, p := range v.Problems {
		if !isNoSuchName(v, p) {
			continue
		}
		a.cardLine("because", p.Text)
		if a.flags.root == "" && a.flags.tape == "" {
			a.cardLine("", strings.TrimPrefix(fileHint(v.Query), "; "))
		}
		return p.Text
	}
	return ""
}

// verdictName returns the query, and the module that it means if that is called otherwise.
func verdictName(v *lkm.Verdict) string {
	if _, module, ok := strings.Cut(v.Module, ":"); ok && module != v.Query {
		return v.Query + " = " + module
	}
	return v.Query
}

// writeTriggers prints the triggers, those of one kind without a place on one line.
func (a *app) writeTriggers(triggers []lkm.Reason) {
	for i := 0; i < len(triggers); {
		text := reasonText(triggers[i])
		code, next := triggers[i].Code, i+1
		for ; next < len(triggers) && triggers[next].Code == code && triggers[next].File == ""; next++ {
			text += " · " + triggers[next].Text
		}
		a.cardLine("trigger", text)
		i = next
	}
}

// momentText says which kernel and which moment the headline is about.
func (a *app) momentText(v *lkm.Verdict) string {
	parts := []string{orUnknown(v.Release)}
	switch {
	case v.Now == nil && a.flags.root != "":
		parts = append(parts, "offline image, next boot")
	case v.Now == nil:
		parts = append(parts, "next boot")
	case v.NextBoot != nil && v.Now.Outcome != v.NextBoot.Outcome:
		parts = append(parts, "now "+string(v.Now.Outcome), "next boot "+string(v.NextBoot.Outcome))
	default:
		parts = append(parts, "now and next boot")
	}
	return strings.Join(parts, ", ")
}

func reasonText(r lkm.Reason) string { return strings.TrimSpace(placeOf(r) + "  " + r.Text) }

func placeOf(r lkm.Reason) string {
	if r.Line > 0 {
		return r.File + ":" + strconv.Itoa(r.Line)
	}
	return r.File
}

// wayName returns a way in words.
func wayName(way string) string {
	switch way {
	case linux.WayAutoloadAlias:
		return "autoload by alias"
	case linux.WayAutoloadName:
		return "autoload by name"
	case linux.WayUnprivileged:
		return "any process"
	case linux.WayModprobe:
		return "modprobe"
	case linux.WayDependency:
		return "as a dependency"
	case linux.WayInitramfs:
		return "initramfs (at boot)"
	case linux.WayInsmod:
		return "insmod (root)"
	}
	return way // another kernel's
}

// writeWays prints which ways are open: once, where now and the next boot do not differ.
func (a *app) writeWays(v *lkm.Verdict) {
	now, next := waysText(v.Now), waysText(v.NextBoot)
	switch {
	case now == next || next == "":
		a.cardLine("reached by", now)
	case now == "":
		a.cardLine("reached by", next)
	default:
		a.cardLine("now", "reached by "+now)
		a.cardLine("next boot", "reached by "+next)
	}
}

// waysText names the ways that are open, then those that are not known or blocked.
func waysText(p *lkm.Prospect) string {
	if p == nil || len(p.Ways) == 0 {
		return ""
	}
	var open, unknown, shut []string
	for _, w := range p.Ways {
		switch w.Blocked {
		case lkm.No:
			open = append(open, wayName(w.Way))
		case lkm.Yes:
			shut = append(shut, wayName(w.Way))
		default:
			unknown = append(unknown, wayName(w.Way))
		}
	}
	text := strings.Join(open, " · ")
	if text == "" {
		text = "nothing"
	}
	if len(unknown) > 0 {
		text += "; unknown: " + strings.Join(unknown, ", ")
	}
	if len(shut) > 0 {
		text += "; blocked: " + strings.Join(shut, ", ")
	}
	return text
}

func (a *app) countVerdicts(verdicts []lkm.Verdict) {
	counts := make(map[lkm.VerdictOutcome]int)
	for i := range verdicts {
		counts[verdicts[i].Worst()]++
	}
	text := fmt.Sprintf("%d asked:", len(verdicts))
	var parts []string
	for _, o := range []lkm.VerdictOutcome{lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable,
		lkm.VerdictBlocked, lkm.VerdictAbsent, lkm.VerdictUnknown} {
		if counts[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[o], o))
		}
	}
	a.writeText("", 2, text+" "+strings.Join(parts, ", "))
}
