// SPDX-License-Identifier: Apache-2.0

package inroot

import (
	"errors"
	"io"
	"io/fs"
	"sync"
)

// A file is a regular file that is open for reading. An os.File costs a regular file several calls of the kernel more,
// for the runtime's poller, which has no use for it. The methods do the same. It must be closed.
type file struct {
	name string

	mu     sync.Mutex // guards what follows
	fd     int
	calls  int // that are running
	closed bool
}

// hold returns the descriptor, which remains open until it is released.
func (f *file) hold(op string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return -1, f.failed(op, fs.ErrClosed)
	}
	f.calls++
	return f.fd, nil
}

func (f *file) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls--; f.closed && f.calls == 0 {
		closeFD(f.fd)
	}
}

// Close closes the file. The descriptor of one that is being read remains open until then.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.failed("close", fs.ErrClosed)
	}
	if f.closed = true; f.calls > 0 {
		return nil
	}
	return f.failed("close", closeFD(f.fd))
}

// failed returns err with what failed; nil for nil.
func (f *file) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// maxRead is how much the kernel reads in one call, at most.
const maxRead = 1 << 30

func (f *file) Read(p []byte) (int, error) {
	fd, err := f.hold("read")
	if err != nil {
		return 0, err
	}
	defer f.release()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := readFD(fd, p[:min(len(p), maxRead)])
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, f.failed("read", err)
}

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, f.failed("readat", errors.New("negative offset"))
	}
	fd, err := f.hold("read")
	if err != nil {
		return 0, err
	}
	defer f.release()
	for done := 0; ; {
		if done == len(p) {
			return done, nil
		}
		n, err := readFDAt(fd, p[done:min(len(p), done+maxRead)], offset+int64(done))
		if err != nil {
			return done, f.failed("read", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	fd, err := f.hold("seek")
	if err != nil {
		return 0, err
	}
	defer f.release()
	at, err := seekFD(fd, offset, whence)
	if err != nil {
		return 0, f.failed("seek", err)
	}
	return at, nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	fd, err := f.hold("stat")
	if err != nil {
		return nil, err
	}
	defer f.release()
	info, err := statFD(fd, f.name)
	if err != nil {
		return nil, f.failed("stat", err)
	}
	return info, nil
}
