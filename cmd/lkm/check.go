// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check NAME|ALIAS|FILE...",
		Short: "Can this module's code get into this kernel, and what stops it",
		Long: `Say of each module whether its code can get into the kernel, now and after the next boot, with the file
and line of every reason. It fails closed. Exit codes: 1 when any is loaded, built in and active, or
loadable by anything but root's own insmod; else 3 when any is unknown; else 0. A name that nothing
knows is absent, which counts as unknown under --strict.`,
		Example: `  lkm check algif_aead --root /mnt/image     what an image would let in
  lkm check usb-storage --kernel all         for every kernel on disk
  lkm check net-pf-38                        by the alias that the kernel asks for`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.onSystem(a.runCheck),
	}
	a.commonFlags(c)
	return c
}

func (a *app) runCheck(ctx context.Context, sys *lkm.System, queries []string) error {
	var verdicts []lkm.Verdict
	for _, q := range queries {
		found, err := sys.Check(ctx, q)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, found...)
	}
	if err := a.writeVerdicts(verdicts); err != nil {
		return err
	}
	return a.verdictExit(verdicts)
}

// worst is the worse of the two answers of a verdict.
func worst(v *lkm.Verdict) lkm.VerdictOutcome {
	order := []lkm.VerdictOutcome{lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable, lkm.VerdictUnknown, lkm.VerdictBlocked, lkm.VerdictAbsent}
	found := len(order)
	for _, p := range []*lkm.Prospect{v.Now, v.NextBoot} {
		if p == nil {
			continue
		}
		i := slices.Index(order, p.Outcome)
		if i < 0 {
			i = slices.Index(order, lkm.VerdictUnknown) // a word of a later version
		}
		found = min(found, i)
	}
	if found == len(order) {
		return lkm.VerdictUnknown
	}
	return order[found]
}

// verdictExit is 1 when code can get in, else 3 when that is not known of some, else 0.
func (a *app) verdictExit(verdicts []lkm.Verdict) error {
	in, unknown := false, false
	for i := range verdicts {
		v := &verdicts[i]
		switch worst(v) {
		case lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable:
			in = true
		case lkm.VerdictUnknown:
			unknown = true
		case lkm.VerdictAbsent:
			unknown = unknown || a.flags.strict
		}
		if v.Module == "" {
			for _, p := range v.Problems {
				if p.Code == lkm.CodeAbsent && p.Subject != "" {
					fmt.Fprintln(a.stderr, "lkm: "+escape.Text(v.Query)+": "+escape.Text(p.Text))
					break
				}
			}
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
	if a.flags.format == "table" {
		for i := range verdicts {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			a.writeVerdict(&verdicts[i])
		}
		a.countVerdicts(verdicts)
		return nil
	}
	t := &table{head: []string{"QUERY", "MODULE", "RELEASE", "NOW", "NEXT BOOT", "WORD", "WHY"}}
	for i := range verdicts {
		v := &verdicts[i]
		why := ""
		if len(v.Reasons) > 0 {
			r := v.Reasons[len(v.Reasons)-1]
			why = strings.TrimSpace(placeOf(r) + " " + r.Text)
		}
		t.rows = append(t.rows, []string{v.Query, orNone(v.Module), orUnknown(v.Release), prospectWord(v.Now), prospectWord(v.NextBoot), v.Word, why})
	}
	return writeRows(a, t, verdicts)
}

func prospectWord(p *lkm.Prospect) string {
	if p == nil {
		return none
	}
	return string(p.Outcome)
}

// reasonLabels are the labels of reasons on a card.
var reasonLabels = map[string]string{
	linux.ReasonOnDisk: "on disk", linux.ReasonLoaded: "loaded", linux.ReasonBuiltin: "built in", linux.ReasonNotIndexed: "on disk",
	linux.ReasonBlacklistIgnored: "ignored", linux.ReasonSigned: "signed",
}

// writeVerdict prints one verdict for a person.
func (a *app) writeVerdict(v *lkm.Verdict) {
	name := v.Query
	if _, module, ok := strings.Cut(v.Module, ":"); ok && module != v.Query {
		name += " = " + module
	}
	fmt.Fprintf(a.stdout, "%s  %s  (%s)\n", escape.Text(name), strings.ToUpper(string(worst(v))), escape.Text(a.momentText(v)))
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.stdout, "  %-10s %s\n", label, escape.Text(text))
		}
	}
	for _, r := range v.Reasons {
		label, ok := reasonLabels[r.Code]
		if !ok {
			label = "because"
		}
		line(label, reasonText(r))
	}
	line("reached by", waysText(v))
	for _, r := range v.Triggers {
		line("trigger", reasonText(r))
	}
	for _, r := range v.Bypasses {
		line("bypass", reasonText(r))
	}
	for _, p := range v.Problems {
		if v.Module == "" && p.Code == lkm.CodeAbsent && p.Subject != "" {
			continue // said on stderr
		}
		line("unknown", strings.TrimSpace(p.Source+": "+p.Text))
	}
	for i, r := range v.Remedies {
		label := "would stop"
		if i > 0 {
			label = ""
		}
		text := r.Text
		if len(r.NotAgainst) > 0 {
			text += "   (not against " + strings.Join(r.NotAgainst, ", ") + ")"
		}
		if label == "" {
			fmt.Fprintf(a.stdout, "  %-10s %s\n", "", escape.Text(text))
			continue
		}
		line(label, text)
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

// waysText names the ways that are open, at the moment that is worse.
func waysText(v *lkm.Verdict) string {
	p := v.Now
	if p == nil || len(p.Ways) == 0 {
		p = v.NextBoot
	}
	if p == nil || len(p.Ways) == 0 {
		return ""
	}
	var open, unknown, shut []string
	for _, w := range p.Ways {
		switch w.Blocked {
		case lkm.No:
			open = append(open, w.Way)
		case lkm.Yes:
			shut = append(shut, w.Way)
		default:
			unknown = append(unknown, w.Way)
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
		counts[worst(&verdicts[i])]++
	}
	text := fmt.Sprintf("%d asked:", len(verdicts))
	var parts []string
	for _, o := range []lkm.VerdictOutcome{lkm.VerdictLoaded, lkm.VerdictBuiltin, lkm.VerdictLoadable, lkm.VerdictBlocked, lkm.VerdictAbsent, lkm.VerdictUnknown} {
		if counts[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[o], o))
		}
	}
	fmt.Fprintln(a.stdout, text+" "+strings.Join(parts, ", "))
}
