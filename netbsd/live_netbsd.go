// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call answers the ops of this package on the running system. It needs no privilege of its own.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	switch {
	case op == OpClock && len(args) == 0:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case op == OpIdentity && len(args) == 0:
		return fmt.Appendf(nil, "euid %d\npointer %d\n", os.Geteuid(), strconv.IntSize), nil
	case op == OpUname && len(args) == 0:
		return uname()
	case op == OpSysctl && len(args) == 1:
		b, err := unix.SysctlRaw(args[0])
		return []byte(strings.TrimRight(string(b), "\x00")), err
	case op == OpSysctlInt && len(args) == 1:
		return sysctlInt(args[0])
	case op == OpModctlStat && len(args) == 2:
		return modctlStat(args[0], args[1])
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

func uname() ([]byte, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	version := strings.Join(strings.Fields(unix.ByteSliceToString(u.Version[:])), " ")
	return fmt.Appendf(nil, "ostype %s\nrelease %s\nversion %s\nmachine %s\n", unix.ByteSliceToString(u.Sysname[:]),
		unix.ByteSliceToString(u.Release[:]), version, unix.ByteSliceToString(u.Machine[:])), nil
}

func sysctlInt(name string) ([]byte, error) {
	b, err := unix.SysctlRaw(name)
	if err != nil {
		return nil, err
	}
	switch len(b) {
	case 1: // a bool
		return strconv.AppendInt(nil, int64(b[0]), 10), nil
	case 4:
		return strconv.AppendInt(nil, int64(int32(binary.NativeEndian.Uint32(b))), 10), nil
	case 8:
		return strconv.AppendInt(nil, int64(binary.NativeEndian.Uint64(b)), 10), nil
	}
	return nil, fmt.Errorf("sysctl %s: %d bytes are not a number: %w", name, len(b), errors.ErrUnsupported)
}

// modctlStat makes modctl(MODCTL_STAT) with a buffer of the size that is asked for.
func modctlStat(commandArg, sizeArg string) ([]byte, error) {
	command, err1 := strconv.Atoi(commandArg)
	size, err2 := strconv.Atoi(sizeArg)
	if err1 != nil || err2 != nil || (command != commandStat && command != commandOldStat) || size < 4 ||
		size > maxSize {
		return nil, fmt.Errorf("call %s %s %s: %w", OpModctlStat, commandArg, sizeArg, errors.ErrUnsupported)
	}
	buf := make([]byte, size)
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(size)
	_, _, errno := syscall.Syscall(unix.SYS_MODCTL, uintptr(command), uintptr(unsafe.Pointer(&iov)), 0)
	if errno == syscall.EINVAL {
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, errno)
	}
	if errno != 0 {
		return nil, errno
	}
	needed := int(iov.Len)
	order := "little"
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		order = "big"
	}
	return append(fmt.Appendf(nil, "%s %d\n", order, needed), buf[:min(size, needed)]...), nil
}
