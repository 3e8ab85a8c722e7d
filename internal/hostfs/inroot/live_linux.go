// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// resolveFlags keep a path below the root, and out of /proc's links to open files.
const resolveFlags = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// maxTries is how often a path is resolved again that was renamed meanwhile.
const maxTries = 8

func openat2(dir *os.File, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolveFlags}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		if err == unix.EINTR || err == unix.EAGAIN && try < maxTries {
			continue
		}
		if err == unix.ENOSYS {
			err = errors.ErrUnsupported
		}
		return fd, err
	}
}

// Probe reports whether the kernel has the call and lets this process use it.
func Probe(dir *os.File) bool {
	fd, err := openat2(dir, ".", unix.O_PATH)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// Open opens a file for reading, without waiting for a FIFO's or a device's other side.
func Open(dir *os.File, name string) (*os.File, error) {
	fd, err := openat2(dir, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Stat describes a file; a link at the end of the path is followed only when follow is set.
func Stat(dir *os.File, name string, follow bool) (fs.FileInfo, error) {
	flags := uint64(unix.O_PATH)
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openat2(dir, name, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Stat()
}
