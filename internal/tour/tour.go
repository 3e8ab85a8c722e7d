// SPDX-License-Identifier: Apache-2.0

// Package tour looks at a machine in every way that the library has, so that a recorder in front of
// the machine hears every question.
package tour

import (
	"context"
	"errors"

	"github.com/kernelext/kernelext/lkm"
)

// Take makes every call of sys that reads, and returns the Snapshot; it is nil when there is no
// list. What fails is not an error: that is an answer too. The error is that ctx ended.
func Take(ctx context.Context, sys *lkm.System) (*lkm.Snapshot, error) {
	snap, err := sys.Snapshot(ctx)
	if err != nil {
		snap = nil
	}
	for range sys.Builtin(ctx) {
		continue
	}
	if _, err := sys.Changed(ctx, new(lkm.Token)); errors.Is(err, context.Canceled) {
		return nil, err
	}
	return snap, ctx.Err()
}
