// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// Policy reads what the system enforces on the loading of kernel code: some twenty small files.
// Every fact names its source, and one that is not known says why. On an image it is what is
// certain of the next boot; nothing of the running machine takes part. The error is
// errors.ErrUnsupported where this library reads no policy, or that of ctx.
func (s *System) Policy(ctx context.Context) (*Policy, error) {
	const op = "read policy"
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	p, err := s.backend.policy(ctx, r)
	s.told(op, r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return p, nil
}

// addPolicy gives the snapshot its policy when it was asked for.
func (s *System) addPolicy(ctx context.Context, snap *Snapshot, r *fact.Report) {
	if s.options.Detail&DetailPolicy == 0 {
		return
	}
	p, err := s.backend.policy(ctx, r)
	if err != nil {
		r.Problem("", "", "policy", err)
		return
	}
	snap.Policy = p
}
