// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// writeExplanations prints one line for each verdict: the outcome and the one fact that decided it. Of an unknown
// outcome that is the thing that was not read.
func (a *app) writeExplanations(verdicts []lkm.Verdict) {
	for i := range verdicts {
		v := &verdicts[i]
		fmt.Fprintln(a.stdout, escape.Text(verdictName(v)+"  "+string(v.Worst())+"  "+explained(v)))
	}
}

// explained returns why a verdict is what it is, in one line.
func explained(v *lkm.Verdict) string {
	now, next := unknownBecause(v.Now), unknownBecause(v.NextBoot)
	switch {
	case now == next && now != "":
		return now
	case now != "" && next != "":
		return "now: " + now + "; next boot: " + next
	case now != "":
		return "now: " + now
	case next != "":
		return "next boot: " + next
	case len(v.Reasons) > 0:
		return reasonLine(v.Reasons[0])
	}
	return "no source knows the name"
}

// unknownBecause returns why an outcome is unknown; empty if it is not.
func unknownBecause(p *lkm.Prospect) string {
	if p == nil || p.Outcome != lkm.VerdictUnknown {
		return ""
	}
	for _, w := range p.Ways {
		if w.Blocked == "" && w.Because.Text != "" {
			return wayName(w.Way) + ": " + reasonLine(w.Because)
		}
	}
	return reasonLine(p.Because)
}

func reasonLine(r lkm.Reason) string {
	return strings.TrimSpace(r.Text + placeSuffix(placeOf(r)))
}

func placeSuffix(place string) string {
	if place == "" {
		return ""
	}
	return " (" + place + ")"
}
