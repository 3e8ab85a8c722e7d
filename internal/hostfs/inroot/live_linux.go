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

func rootOf(dir *os.File) *Root {
	conn, err := dir.SyscallConn()
	if err != nil {
		return nil
	}
	r := &Root{dir, conn}
	fd, err := r.openat2(".", unix.O_PATH)
	if err != nil {
		return nil
	}
	unix.Close(fd)
	return r
}

// An opening is one call of openat2, in one piece of memory.
type opening struct {
	name string
	how  unix.OpenHow
	fd   int
	err  error
}

// below opens the file below the folder with that descriptor.
func (o *opening) below(dir uintptr) {
	for try := 0; ; try++ {
		o.fd, o.err = unix.Openat2(int(dir), o.name, &o.how)
		if o.err == unix.EINTR || o.err == unix.EAGAIN && try < maxTries {
			continue
		}
		return
	}
}

// openat2 calls the kernel while the directory's descriptor is held, so that its number cannot mean another file.
func (r *Root) openat2(name string, flags uint64) (fd int, err error) {
	o := &opening{name: name, how: unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolveFlags}}
	if r.conn.Control(o.below) != nil {
		return -1, os.ErrClosed
	}
	if o.err == unix.ENOSYS {
		o.err = errors.ErrUnsupported
	}
	return o.fd, o.err
}

func (r *Root) open(name string) (*os.File, error) {
	fd, err := r.openat2(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r *Root) stat(name string, follow bool) (fs.FileInfo, error) {
	flags := uint64(unix.O_PATH)
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := r.openat2(name, flags)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Stat()
}

func (r *Root) readLink(name string) (string, error) {
	fd, err := r.openat2(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	defer unix.Close(fd)
	for size := 256; ; size *= 2 { // a link's target has less than a page
		buf := make([]byte, size)
		n, err := unix.Readlinkat(fd, "", buf)
		if err == unix.ENOENT { // of an open file: it is not a link
			err = unix.EINVAL
		}
		if err != nil {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

func (r *Root) openRegular(name string) (int, error) {
	fd, err := r.openat2(name, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	unix.Close(fd)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, err
	}
	if fd, err = r.openat2(name, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
		return -1, err
	}
	return stillRegular(fd)
}

// stillRegular returns the descriptor of a file that was opened, unless something else has taken its place since it was
// looked at: then it is closed, and -1.
func stillRegular(fd int) (int, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (r *Root) openFolder(name string) (*os.File, error) {
	fd, err := r.openat2(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r *Root) openDir(name string) (*Dir, error) {
	fd, err := r.openat2(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &Dir{fd}, nil
}

func (d *Dir) openRegular(entry string) (int, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, entry, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, err
	}
	for {
		fd, err := unix.Openat(d.fd, entry, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return stillRegular(fd)
		case unix.ELOOP: // it became a link
			return -1, nil
		case unix.EINTR:
		default:
			return -1, err
		}
	}
}

func (d *Dir) close() { unix.Close(d.fd) }
