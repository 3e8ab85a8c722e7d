// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"slices"
)

// Check answers whether the code that a name, an alias or a device means is in the kernel or can get there, now and
// after the next boot, with the facts that decide: one Verdict a module. A query that nothing is known of gives one
// Verdict whose outcomes are absent, or unknown when not every source could be read, and a Problem that names the
// nearest names. The query may also be a module's id, or the path of its file (one with a slash); on Windows also the
// name of a service. With Options.Kernel "all" there are verdicts for every release on disk. Of an image, and of a
// kernel that does not run, there is no answer for now. It loads nothing. Where a kernel asks for signatures, that of a
// Linux module is verified against Options.Keys, given as the keys that the kernel trusts; without them one that is
// there passes, and a reason says that it was not verified. The error matches errors.ErrUnsupported on a system for
// which this library makes no verdicts, or is that of ctx.
func (s *System) Check(ctx context.Context, query string) ([]Verdict, error) {
	op := "check " + query
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	verdicts, err := s.backend.check(ctx, query, r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	for i := range verdicts {
		addProblems(&verdicts[i], r.Problems)
	}
	return verdicts, nil
}

// addProblems adds to a verdict what could not be read for it, where it does not say so itself. What this machine does
// not have was not needed, and neither was what a tape is too old for unless the verdict is unknown.
func addProblems(v *Verdict, problems []Problem) {
	unknown := isUnknown(v.Now) || isUnknown(v.NextBoot)
	for _, p := range problems {
		needed := p.Code != CodeAbsent && p.Code != CodeUnsupported && (p.Code != CodeOlder || unknown)
		if needed && !slices.Contains(v.Problems, p) {
			v.Problems = append(v.Problems, p)
		}
	}
}

func isUnknown(p *Prospect) bool { return p != nil && p.Outcome == VerdictUnknown }
