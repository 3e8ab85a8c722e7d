// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package windows

import (
	"context"
	"errors"
	"fmt"
)

// Call answers no op here: the running system is not Windows.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is not Windows: %w", op, errors.ErrUnsupported)
}
