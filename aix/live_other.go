// SPDX-License-Identifier: Apache-2.0

//go:build !aix

package aix

import (
	"context"
	"errors"
	"fmt"
)

// Call answers no op here: the running system is not AIX.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is not AIX: %w", op, errors.ErrUnsupported)
}
