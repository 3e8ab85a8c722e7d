// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call answers the ops of this package on the running system. It needs no privilege of its own.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	return running.call(op, args)
}

var running = kernel{number: number, fill: fill, sysctl: sysctl, gone: syscall.ENOENT, refused: syscall.EINVAL}

// syscallOf returns the number of an op's system call.
func syscallOf(op string) uintptr {
	switch op {
	case OpKldNext:
		return unix.SYS_KLDNEXT
	case OpKldStat:
		return unix.SYS_KLDSTAT
	case OpKldFirstMod:
		return unix.SYS_KLDFIRSTMOD
	case OpModFNext:
		return unix.SYS_MODFNEXT
	case OpModStat:
		return unix.SYS_MODSTAT
	}
	return 0
}

func number(op string, id int) (int, error) {
	r, _, errno := syscall.Syscall(syscallOf(op), uintptr(id), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(int32(r)), nil
}

func fill(op string, id int, buf []byte) error {
	_, _, errno := syscall.Syscall(syscallOf(op), uintptr(id), uintptr(unsafe.Pointer(&buf[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// sysctl asks again when the value grew between the question for its size and the one for it.
func sysctl(name string) (b []byte, err error) {
	for range 3 {
		if b, err = unix.SysctlRaw(name); err != unix.ENOMEM {
			return b, err
		}
	}
	return nil, err
}
