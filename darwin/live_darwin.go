// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernelext/kernelext/internal/applefw"
)

// frameworks are the paths of the libraries. The files are in the system's shared cache and need not exist on disk: the
// loader knows them by these names.
var frameworks = applefw.Paths{IOKit: applefw.IOKit, CoreFoundation: applefw.CoreFoundation, System: applefw.System}

// Call answers OpUname, OpClock, OpIdentity, OpSysctl, OpLoadedKextInfo and OpCSRConfig on the
// running system; any other op returns an error that matches errors.ErrUnsupported. It needs no privilege and starts no
// program.
//
// Experimental: the calls of Apple's frameworks were written from headers and sources, and are tested against a
// substitute library; they have not run on a Mac yet.
func Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if op == OpSysctl && len(args) == 1 {
		v, err := unix.Sysctl(args[0])
		if err != nil {
			return nil, fmt.Errorf("sysctl %s: %w", args[0], err)
		}
		return []byte(v), nil
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("call %s with arguments: %w", op, errors.ErrUnsupported)
	}
	switch op {
	case OpUname:
		return uname()
	case OpClock:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case OpIdentity:
		return fmt.Appendf(nil, "euid %d\n", unix.Geteuid()), nil
	case OpLoadedKextInfo:
		return applefw.LoadedKextInfo(frameworks, LoadedInfoKeys)
	case OpCSRConfig:
		mask, err := applefw.CSRConfig(frameworks)
		return fmt.Appendf(nil, "0x%08x\n", mask), err
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
