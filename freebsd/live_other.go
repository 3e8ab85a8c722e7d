// SPDX-License-Identifier: Apache-2.0

//go:build !freebsd && !dragonfly

package freebsd

import (
	"context"
	"errors"
	"fmt"
)

// Call answers no op here: the running system is neither FreeBSD nor DragonFly.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is neither FreeBSD nor DragonFly: %w", op,
		errors.ErrUnsupported)
}
