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

var numbers = map[string]uintptr{
	OpKldNext:     unix.SYS_KLDNEXT,
	OpKldStat:     unix.SYS_KLDSTAT,
	OpKldFirstMod: unix.SYS_KLDFIRSTMOD,
	OpModFNext:    unix.SYS_MODFNEXT,
	OpModStat:     unix.SYS_MODSTAT,
}

func number(op string, id int) (int, error) {
	r, _, errno := syscall.Syscall(numbers[op], uintptr(id), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(int32(r)), nil
}

func fill(op string, id int, buf []byte) error {
	_, _, errno := syscall.Syscall(numbers[op], uintptr(id), uintptr(unsafe.Pointer(&buf[0])), 0)
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
