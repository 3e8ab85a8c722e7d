// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Call answers the ops of this package on the running system, but OpGenkex, which [Exec] answers.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	switch {
	case op == OpClock && len(args) == 0:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case op == OpIdentity && len(args) == 0:
		return fmt.Appendf(nil, "euid %d\n", os.Geteuid()), nil
	case op == OpUname && len(args) == 0:
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, "ostype %s\nrelease %s.%s\nmachine %s\n", unix.ByteSliceToString(u.Sysname[:]),
			unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Release[:]),
			unix.ByteSliceToString(u.Machine[:])), nil
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}
