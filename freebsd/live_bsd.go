// SPDX-License-Identifier: Apache-2.0

//go:build freebsd || dragonfly

package freebsd

import (
	"context"
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call answers the ops of this package on the running system. It needs no privilege of its own.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	running := system{number: number, fill: fill, sysctl: sysctl, gone: syscall.ENOENT, refused: syscall.EINVAL}
	return running.call(op, args)
}

// callNumber returns the number of an op's system call, which package unix has for each of the two systems.
func callNumber(op string) uintptr {
	switch op {
	case OpKldNext:
		return unix.SYS_KLDNEXT
	case OpKldStat:
		return unix.SYS_KLDSTAT
	case OpKldFirstMod:
		return unix.SYS_KLDFIRSTMOD
	case OpModFNext:
		return unix.SYS_MODFNEXT
	}
	return unix.SYS_MODSTAT
}

func number(op string, id int) (int, error) {
	r, _, errno := syscall.Syscall(callNumber(op), uintptr(id), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(int32(r)), nil
}

func fill(op string, id int, buf []byte) error {
	_, _, errno := syscall.Syscall(callNumber(op), uintptr(id), uintptr(unsafe.Pointer(&buf[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// sysctl asks again if the value grew between the question for its size and the one for it.
func sysctl(name string) (b []byte, err error) {
	for range 3 {
		if b, err = unix.SysctlRaw(name); !errors.Is(err, unix.ENOMEM) {
			return b, err
		}
	}
	return nil, err
}
