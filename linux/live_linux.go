// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"github.com/kernelext/kernelext/fact"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Call answers OpUname, OpClock, OpIdentity and OpModuleLog on the running system; for any other op the error matches
// errors.ErrUnsupported. OpModuleLog may need privilege, the others do not.
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
	case OpModuleLog:
		return moduleLog()
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

// moduleLog reads the kernel's log as it is now, without waiting or clearing it. Without CAP_SYSLOG the kernel refuses
// where kernel.dmesg_restrict is set.
func moduleLog() ([]byte, error) {
	const (
		readAll = 3  // SYSLOG_ACTION_READ_ALL
		size    = 10 // SYSLOG_ACTION_SIZE_BUFFER
		most    = 16 << 20
	)
	n, err := unix.Klogctl(size, nil)
	if err != nil {
		return nil, logError(err)
	}
	// With its times the text is longer than the buffer; what does not fit is the oldest.
	buf := make([]byte, min(max(2*n, 1<<16), most))
	if n, err = unix.Klogctl(readAll, buf); err != nil {
		return nil, logError(err)
	}
	return moduleLogLines(buf[:n]), nil
}

func logError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("syslog: %w: kernel.dmesg_restrict=1 and no CAP_SYSLOG", err)
	}
	return fmt.Errorf("syslog: %w", err)
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

// ListenUevents opens a netlink socket for the kernel's events. It needs no privilege. buffer is
// the size in bytes of what the kernel keeps until it is read, 0 for a MiB; the kernel gives at
// most net.core.rmem_max. In a network namespace that does not belong to the first user namespace
// the kernel sends nothing.
func ListenUevents(buffer int) (fact.EventSource, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
		unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listen for kernel events: socket: %w", err)
	}
	if buffer <= 0 {
		buffer = 1 << 20
	}
	// A smaller buffer than requested only loses events sooner, and the loss is reported.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	const kernelGroup = 1
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen for kernel events: bind: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("listen for kernel events: %w", err)
	}
	return &ueventSocket{file: f, conn: conn, buf: make([]byte, maxUevent)}, nil
}

type ueventSocket struct {
	file  *os.File
	conn  syscall.RawConn
	buf   []byte
	woken atomic.Bool
}

func (s *ueventSocket) Receive(deadline time.Time) ([]byte, error) {
	for {
		if err := s.file.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		if s.woken.Load() { // after the deadline was set: Wake's own must win
			return nil, os.ErrDeadlineExceeded
		}
		var n int
		var from unix.Sockaddr
		var received error
		err := s.conn.Read(func(fd uintptr) bool {
			n, from, received = unix.Recvfrom(int(fd), s.buf, 0)
			return !errors.Is(received, unix.EAGAIN) && !errors.Is(received, unix.EINTR)
		})
		switch {
		case err != nil:
			return nil, err
		case errors.Is(received, unix.ENOBUFS):
			return nil, fact.ErrHintsLost
		case received != nil:
			return nil, received
		}
		// Only the kernel has port 0: a process may have sent the rest.
		if sender, ok := from.(*unix.SockaddrNetlink); ok && sender.Pid == 0 {
			return s.buf[:n], nil
		}
	}
}

func (s *ueventSocket) Wake() {
	s.woken.Store(true)
	s.file.SetReadDeadline(time.Unix(1, 0))
}

func (s *ueventSocket) Close() error { return s.file.Close() }
