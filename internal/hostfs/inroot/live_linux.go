// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

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

func newOpening(name string, flags uint64) *opening {
	return &opening{fd: -1, name: name, how: unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolveFlags}}
}

// do calls the kernel while the directory's descriptor is held, so that its number cannot mean another file.
func (r *Root) do(o *opening, call func(dir uintptr)) error {
	if r.conn.Control(call) != nil {
		return os.ErrClosed
	}
	if o.err == unix.ENOSYS {
		o.err = errors.ErrUnsupported
	}
	return o.err
}

func (r *Root) openat2(name string, flags uint64) (fd int, err error) {
	o := newOpening(name, flags)
	err = r.do(o, o.below)
	return o.fd, err
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
	o := newOpening(name, unix.O_PATH)
	if err := r.do(o, o.belowIfRegular); err != nil || o.fd < 0 {
		return -1, err
	}
	return stillRegular(o.fd)
}

// belowIfRegular opens the file for reading if it is a regular one, else the descriptor is -1.
func (o *opening) belowIfRegular(dir uintptr) {
	if o.below(dir); o.err != nil {
		return
	}
	var st unix.Stat_t
	o.err = fstat(o.fd, &st)
	unix.Close(o.fd)
	if o.err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		o.fd = -1
		return
	}
	o.how.Flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC
	o.below(dir)
}

func (r *Root) openFile(name string) (fs.File, error) {
	fd, err := r.openRegular(name)
	if err != nil || fd < 0 {
		return nil, err
	}
	return &file{name: name, fd: fd}, nil
}

// stillRegular returns the descriptor of a file that was opened, unless something else has taken its place since it was
// looked at: then it is closed, and -1.
func stillRegular(fd int) (int, error) {
	var st unix.Stat_t
	err := fstat(fd, &st)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func fstat(fd int, st *unix.Stat_t) error {
	_, err := again(func() (int, error) { return 0, unix.Fstat(fd, st) })
	return err
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

func closeFD(fd int) error { return unix.Close(fd) }

func readFD(fd int, p []byte) (int, error) {
	return again(func() (int, error) { return unix.Read(fd, p) })
}

func readFDAt(fd int, p []byte, offset int64) (int, error) {
	return again(func() (int, error) { return unix.Pread(fd, p, offset) })
}

// again calls until no signal interrupts.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func seekFD(fd int, offset int64, whence int) (int64, error) { return unix.Seek(fd, offset, whence) }

func statFD(fd int, name string) (fs.FileInfo, error) {
	info := &fileInfo{name: path.Base(name)}
	_, err := again(func() (int, error) { return 0, syscall.Fstat(fd, &info.stat) })
	if err != nil {
		return nil, err
	}
	return info, nil
}

// A fileInfo describes a regular file.
type fileInfo struct {
	name string
	stat syscall.Stat_t
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) Size() int64        { return i.stat.Size }
func (i *fileInfo) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }
func (i *fileInfo) IsDir() bool        { return false }
func (i *fileInfo) Sys() any           { return &i.stat }

func (i *fileInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.stat.Mode & 0o777)
	if i.stat.Mode&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if i.stat.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if i.stat.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
