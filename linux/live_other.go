// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"github.com/kernelext/kernelext/fact"
)

// Call answers no op here: the running system is not Linux.
func Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: the running system is not Linux: %w", op, errors.ErrUnsupported)
}

// ListenUevents fails here: the running system is not Linux.
func ListenUevents(int) (fact.EventSource, error) {
	return nil, fmt.Errorf("listen for kernel events: the running system is not Linux: %w", errors.ErrUnsupported)
}
