// SPDX-License-Identifier: Apache-2.0

//go:build !solaris && !illumos

package solaris

import (
	"context"
	"errors"
	"fmt"
)

// Call answers no op here: the running system is neither illumos nor Solaris.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is neither illumos nor Solaris: %w", op, errors.ErrUnsupported)
}
