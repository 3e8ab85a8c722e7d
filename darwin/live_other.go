// SPDX-License-Identifier: Apache-2.0

//go:build !darwin

package darwin

import (
	"context"
	"errors"
	"fmt"
)

// Call answers no op here: the running system is not macOS.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is not macOS: %w", op, errors.ErrUnsupported)
}
