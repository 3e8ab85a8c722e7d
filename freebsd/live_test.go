// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strconv"
	"syscall"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// fakeSystem answers system calls as the kernel does: structures with the field version cleared.
func fakeSystem(t *testing.T) system {
	f := newFake()
	f.bits = strconv.IntSize
	errno := func(err error) error {
		switch {
		case errors.Is(err, fact.ErrGone):
			return syscall.ENOENT
		case errors.Is(err, errors.ErrUnsupported):
			return syscall.EINVAL
		}
		return err
	}
	return system{
		gone: syscall.ENOENT, refused: syscall.EINVAL,
		number: func(op string, id int) (int, error) {
			b, err := f.call(t.Context(), op, strconv.Itoa(id))
			if err != nil {
				return 0, errno(err)
			}
			return strconv.Atoi(string(b))
		},
		fill: func(op string, id int, buf []byte) error {
			version := 0
			for v := 1; v <= 3; v++ {
				if structSize(op, strconv.Itoa(v), strconv.IntSize) == int(binary.NativeEndian.Uint32(buf)) {
					version = v
				}
			}
			b, err := f.call(t.Context(), op, strconv.Itoa(id), strconv.Itoa(version))
			if err != nil {
				return errno(err)
			}
			copy(buf, b)
			binary.NativeEndian.PutUint32(buf, 0)
			return nil
		},
		sysctl: func(name string) ([]byte, error) {
			switch name {
			case sysctlModulePath:
				return []byte("/boot/kernel;/boot/modules\x00"), nil
			case sysctlSecureLevel:
				return binary.NativeEndian.AppendUint32(nil, ^uint32(0)), nil
			case sysctlPreloaded:
				return nil, syscall.EINVAL
			case "kern.version":
				return []byte("FreeBSD 14.2-RELEASE\n    GENERIC\n\x00"), nil
			case "hw.machine":
				return []byte("amd64\x00"), nil
			case sysctlBootID:
				return []byte{1, 2, 0xff}, nil
			}
			return nil, syscall.ENOENT
		},
	}
}

func TestCallsOfARunningKernel(t *testing.T) {
	k := fakeSystem(t)
	for _, c := range []struct {
		op   string
		args []string
		want string
		err  error
	}{
		{op: OpKldNext, args: []string{"0"}, want: "1"},
		{op: OpKldNext, args: []string{"99"}, err: fact.ErrGone},
		{op: OpKldNext, args: []string{"x"}, err: fact.ErrMalformed},
		{op: OpKldFirstMod, args: []string{"4"}, want: "0"},
		{op: OpModFNext, args: []string{"300"}, want: "301"},
		{op: OpKldStat, args: []string{"1", "9"}, err: errors.ErrUnsupported},
		{op: OpKldStat, args: []string{"1"}, err: errors.ErrUnsupported},
		{op: OpSysctl, args: []string{sysctlModulePath}, want: "/boot/kernel;/boot/modules"},
		{op: OpSysctl, args: []string{sysctlPreloaded}, err: fs.ErrNotExist},
		{op: OpSysctl, args: []string{"no.such"}, err: fs.ErrNotExist},
		{op: OpSysctlInt, args: []string{sysctlSecureLevel}, want: "-1"},
		{op: OpSysctlInt, args: []string{sysctlModulePath}, err: fact.ErrMalformed},
		{op: OpUname, want: "version FreeBSD 14.2-RELEASE GENERIC\nmachine amd64\n"},
		{op: OpBootID, want: "0102ff\n"},
		{op: OpUname, args: []string{"x"}, err: errors.ErrUnsupported},
		{op: "kldload", args: []string{"x"}, err: errors.ErrUnsupported},
	} {
		b, err := k.call(c.op, c.args)
		if string(b) != c.want || (c.err == nil) != (err == nil) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s %v: %q, %v; want %q, %v", c.op, c.args, b, err, c.want, c.err)
		}
	}
	b, err := k.call(OpKldStat, []string{"2", "2"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := decodeFileStat(b, layoutFreeBSD); err != nil || s.Name != "zfs.ko" || s.Bits != strconv.IntSize {
		t.Errorf("%+v, %v", s, err)
	}
	if who, err := k.call(OpIdentity, nil); err != nil || machine.User(who) == "" {
		t.Errorf("%q, %v", who, err)
	}
}
