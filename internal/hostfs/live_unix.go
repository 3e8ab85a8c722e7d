// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// nonblock keeps the open of a FIFO or a device from waiting for its other side.
const nonblock = syscall.O_NONBLOCK | syscall.O_CLOEXEC

// hostPath puts name below the root.
func hostPath(name string) string {
	if name == "." {
		return "/"
	}
	return "/" + name
}

func readLive(dst []byte, name string, max int64, once bool) ([]byte, error) {
	p, err := host("open", name)
	if err != nil {
		return dst, err
	}
	fd, err := open(p)
	if err != nil {
		return dst, pathError("open", name, err)
	}
	defer syscall.Close(fd)
	dst, err = appendFD(fd, dst, name, max, once)
	if err != nil {
		return dst, pathError("read", name, err)
	}
	return dst, nil
}

func open(p string) (int, error) {
	for {
		fd, err := syscall.Open(p, syscall.O_RDONLY|nonblock, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// readFile reads past the runtime's poller, in which a sysfs file that answers EAGAIN would wait
// for ever.
func readFile(f *os.File, dst []byte, name string, max int64, once bool) ([]byte, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return dst, err
	}
	var readErr error
	err = conn.Read(func(fd uintptr) bool {
		dst, readErr = appendFD(int(fd), dst, name, max, once)
		return true
	})
	if err != nil {
		return dst, err
	}
	return dst, readErr
}

// appendOpen reads what open opens, and closes it. ok is false for a descriptor of -1: then nothing was read.
func appendOpen(
	open func(string) (int, error), arg string, dst []byte, name string, max int64, once bool,
) (_ []byte, ok bool, err error) {
	fd, err := open(arg)
	if err != nil {
		return dst, true, pathError("open", name, err)
	}
	if fd < 0 {
		return dst, false, nil
	}
	defer syscall.Close(fd)
	dst, err = appendFD(fd, dst, name, max, once)
	if err != nil {
		return dst, true, pathError("read", name, err)
	}
	return dst, true, nil
}

// appendFD reads fd to its end, or just once, and at most max bytes.
func appendFD(fd int, dst []byte, name string, max int64, once bool) ([]byte, error) {
	if once {
		dst, buf := limit.Room(dst, int(min(max, limit.Attr)))
		n, err := read(fd, buf[:min(int64(len(buf)), max)])
		if n == 0 && err == nil {
			err = notPipe(fd)
		}
		return dst[:len(dst)+n], err
	}
	start := len(dst)
	dst, err := limit.AppendAll(fdReader(fd), dst, name, max)
	if err == nil && len(dst) == start {
		err = notPipe(fd)
	}
	return dst, err
}

// notPipe returns an error for a pipe: one that nobody writes to reads as an empty file.
func notPipe(fd int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFIFO {
		return fmt.Errorf("%w: a pipe, not a regular file", fact.ErrMalformed)
	}
	return nil
}

type fdReader int

func (fd fdReader) Read(p []byte) (int, error) { return read(int(fd), p) }

// Size returns how long a regular file is; 0 for anything else.
func (fd fdReader) Size() int64 {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(fd), &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return 0
	}
	return st.Size
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// meaning gives the errors of vanishing sysfs files, and of a path through something that is no
// directory, the sentinels that they stand for.
func meaning(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.ENODEV, syscall.ENXIO, syscall.ESTALE:
		return errnoMeaning{errno, fact.ErrGone}
	case syscall.ENOTDIR:
		return errnoMeaning{errno, fs.ErrNotExist}
	case syscall.ELOOP:
		return errnoMeaning{errno, fact.ErrMalformed}
	case syscall.EAGAIN:
		return errnoMeaning{errno, os.ErrDeadlineExceeded}
	}
	return err
}
