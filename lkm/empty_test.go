// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
)

// emptyMachine has no files and answers no calls.
type emptyMachine struct{ fstest.MapFS }

func (emptyMachine) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}
