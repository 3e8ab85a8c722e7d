// SPDX-License-Identifier: Apache-2.0

// Package fakeunix makes up machines of FreeBSD, DragonFly, NetBSD, illumos and AIX for tests: files
// in memory, and system calls answered with the bytes that those kernels give. Only tests import it.
package fakeunix

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// Clock is the time of every made-up machine.
var Clock = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// A Machine answers from memory. It has the methods of lkm.Machine.
type Machine struct {
	fstest.MapFS
	call func(op string, args []string) ([]byte, error)
}

// Call answers as the constants of the kernel's package document.
func (m *Machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	return m.call(op, args)
}

// Order is a byte order that can be written in.
type Order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// host answers what every Unix answers alike; ok is false for any other op.
func host(op, uname string, euid, bits int) (b []byte, ok bool) {
	switch op {
	case "uname":
		return []byte(uname), true
	case "clock":
		return []byte(Clock.Format(time.RFC3339Nano)), true
	case "identity":
		return fmt.Appendf(nil, "euid %d\npointer %d\n", euid, bits), true
	}
	return nil, false
}

func unknown(op string) error { return fmt.Errorf("call %s: %w", op, errors.ErrUnsupported) }

func gone(op string, id int) error { return fmt.Errorf("%s %d: %w", op, id, fact.ErrGone) }

func refused(op string) error { return fmt.Errorf("%s: %w", op, fs.ErrPermission) }
