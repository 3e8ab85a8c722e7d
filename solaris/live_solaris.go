// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysModctl and modInfo are the number of modctl(2) and of its command MODINFO.
const (
	sysModctl = 152
	modInfo   = 2
)

// Call answers the ops of this package on the running system, illumos or Solaris. It needs no
// privilege of its own.
func Call(_ context.Context, op string, args ...string) ([]byte, error) {
	switch {
	case op == OpClock && len(args) == 0:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case op == OpIdentity && len(args) == 0:
		return fmt.Appendf(nil, "euid %d\n", os.Geteuid()), nil
	case op == OpUname && len(args) == 0:
		return uname()
	case op == OpModinfo && len(args) == 2:
		return modinfo(args[0], args[1])
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

// modinfo asks for the module after an id.
func modinfo(idArg, flagsArg string) ([]byte, error) {
	id, err1 := strconv.ParseInt(idArg, 10, 32)
	flags, err2 := strconv.ParseUint(flagsArg, 10, 16)
	if err1 != nil || err2 != nil || flags == 0 {
		return nil, fmt.Errorf("call %s %s %s: %w", OpModinfo, idArg, flagsArg, errors.ErrUnsupported)
	}
	buf := make([]byte, size64)
	o := binary.NativeEndian
	o.PutUint32(buf, uint32(flags))
	o.PutUint32(buf[8:], uint32(int32(id)))
	o.PutUint32(buf[12:], uint32(int32(id)))
	_, _, errno := syscall.Syscall(sysModctl, modInfo, uintptr(id), uintptr(unsafe.Pointer(&buf[0])))
	if errno == syscall.EINVAL {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, errno)
	}
	if errno != 0 {
		return nil, errno
	}
	o.PutUint32(buf, uint32(flags))
	return buf, nil
}
