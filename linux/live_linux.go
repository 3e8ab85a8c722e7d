// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Call answers OpUname, OpClock and OpIdentity on the running system; any other op is
// errors.ErrUnsupported. It needs no privilege.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("call %s with arguments: %w", op, errors.ErrUnsupported)
	}
	switch op {
	case OpUname:
		return uname()
	case OpClock:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case OpIdentity:
		return identity()
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

func uname() ([]byte, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	return fmt.Appendf(nil, "release %s\nversion %s\nmachine %s\n", unix.ByteSliceToString(u.Release[:]),
		unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:])), nil
}

func identity() ([]byte, error) {
	text := fmt.Appendf(nil, "euid %d\n", unix.Geteuid())
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return text, nil // the uid alone still says something
	}
	return fmt.Appendf(text, "capeff %016x\n", uint64(data[1].Effective)<<32|uint64(data[0].Effective)), nil
}
