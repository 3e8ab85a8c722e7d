// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

// input opens a file that an argument names, or standard input for "-". A pipe is read too, as a shell makes one for
// <(COMMAND): reading it ends with the command's context, and one that nobody opens for writing is an error. A device
// is not opened, which alone may do something, nor is a socket.
func (a *app) input(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(&waiting{r: a.stdin, ctx: a.ctx}), nil
	}
	f, err := openArgument(a.ctx, name, a.wait)
	if err != nil {
		return nil, err
	}
	if f.pipe {
		return struct {
			io.Reader
			io.Closer
		}{&waiting{r: f.File, ctx: a.ctx}, f.File}, nil
	}
	return f.File, nil
}

// regular opens a file that no argument names: one that a folder holds. A pipe is an error there.
func regular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		err = notOpened(name, "a pipe, not a regular file")
	}
	if err != nil {
		return nil, err
	}
	f, err := openArgument(context.Background(), name, 0)
	if err != nil {
		return nil, err
	}
	return f.File, nil
}

// An argument is a file that is open.
type argument struct {
	*os.File
	pipe bool
}

// pipeWait is how long a pipe has no writer, or one to write to no reader, before that is an error.
const pipeWait = 5 * time.Second

func openArgument(ctx context.Context, name string, wait time.Duration) (argument, error) {
	info, err := os.Stat(name)
	if err != nil {
		return argument{}, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return argument{}, notOpened(name, "a folder, not a file")
	case mode&fs.ModeSocket != 0:
		return argument{}, notOpened(name, "a socket, not a file")
	case mode&(fs.ModeDevice|fs.ModeCharDevice) != 0:
		return argument{}, notOpened(name, `a device, not a file ("-" is standard input)`)
	case mode&fs.ModeNamedPipe != 0:
		f, err := openPipe(ctx, name, os.O_RDONLY, wait)
		return argument{f, true}, err
	}
	f, err := os.Open(name)
	return argument{f, false}, err
}

func notOpened(name, why string) error {
	return &fs.PathError{Op: "open", Path: name, Err: errors.New(why)}
}

// openPipe opens a pipe, which waits for its other end. The goroutine that waits in vain ends with the process.
func openPipe(ctx context.Context, name string, flag int, wait time.Duration) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done, over := make(chan opened), make(chan struct{})
	defer close(over)
	go func() {
		f, err := os.OpenFile(name, flag, 0)
		select {
		case done <- opened{f, err}:
		case <-over:
			_ = f.Close() // nobody wants it any more; of nil it is an error
		}
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		return nil, notOpened(name, ctx.Err().Error())
	case <-timer.C:
		if flag != os.O_RDONLY {
			return nil, notOpened(name, "a pipe from which nobody reads")
		}
		return nil, notOpened(name, "a pipe to which nobody writes")
	}
}

// A waiting reader ends with the context, whatever its reader waits for.
type waiting struct {
	r   io.Reader
	ctx context.Context

	buf  []byte // of the read that goes on
	rest []byte // what it gave that nobody took yet
	err  error
}

func (w *waiting) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		if w.buf == nil {
			w.buf = make([]byte, 64<<10)
		}
		type result struct {
			n   int
			err error
		}
		done := make(chan result, 1)
		buf := w.buf // a read that goes on keeps it
		go func() {
			n, err := w.r.Read(buf)
			done <- result{n, err}
		}()
		select {
		case r := <-done:
			w.rest, w.err = w.buf[:r.n], r.err
		case <-w.ctx.Done():
			w.buf, w.err = nil, w.ctx.Err()
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// readCapped reads a file that an argument names, at most max bytes. A file that is longer is not read.
func (a *app) readCapped(name string, max int64) ([]byte, error) {
	if err := notLonger(name, max); err != nil {
		return nil, err
	}
	r, err := a.input(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(b)) > max {
		err = tooLarge(name, max)
	}
	return b, err
}

func tooLarge(name string, max int64) error {
	return fmt.Errorf("%s: %w: more than %d bytes", name, lkm.ErrTooLarge, max)
}

// notLonger returns an error for a regular file of more than max bytes, which is not worth the reading.
func notLonger(name string, max int64) error {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Size() > max {
		return tooLarge(name, max)
	}
	return nil
}

// maxRecord is how long a snapshot or a tape is at most, in bytes: what the library reads of either.
const maxRecord = 256 << 20

// asItIs ends a regular file where it ends now: somebody may go on writing to it faster than it is read.
func asItIs(r io.ReadCloser) io.Reader {
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Size() > 0 {
			return io.LimitReader(f, info.Size())
		}
	}
	return r
}

// utf8Text returns the text of r in UTF-8, without the mark that a text may begin with: > of Windows PowerShell writes
// UTF-16.
func utf8Text(r io.Reader) io.Reader {
	in := bufio.NewReader(r)
	head, _ := in.Peek(3) // an error comes again
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		_, _ = in.Discard(2)
		return &utf16Reader{in: in, order: binary.LittleEndian}
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		_, _ = in.Discard(2)
		return &utf16Reader{in: in, order: binary.BigEndian}
	}
	return in
}

// A utf16Reader reads UTF-16 as UTF-8.
type utf16Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	rest  []byte // of a rune that did not fit
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	for n < len(p) && (n == 0 || u.in.Buffered() >= 4) {
		r, err := u.unit()
		if err != nil {
			return n, err
		}
		if utf16.IsSurrogate(r) {
			low, err := u.unit()
			if err != nil {
				return n, err
			}
			r = utf16.DecodeRune(r, low)
		}
		u.rest = utf8.AppendRune(u.rest[:0], r)
		fits := copy(p[n:], u.rest)
		n, u.rest = n+fits, u.rest[fits:]
	}
	return n, nil
}

func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	_, err := io.ReadFull(u.in, b[:])
	return rune(u.order.Uint16(b[:])), err
}

// folder returns a folder that an argument names.
func folder(name string) (fs.FS, error) {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = notOpened(name, "not a folder")
	}
	return os.DirFS(name), err
}

// An argumentFS has one file, which an argument names and which may be a pipe.
type argumentFS struct {
	app  *app
	name string
}

func (f argumentFS) Open(string) (fs.File, error) {
	r, err := f.app.input(f.name)
	if err != nil {
		return nil, err
	}
	return argumentFile{r}, nil
}

type argumentFile struct{ io.ReadCloser }

func (argumentFile) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

// readRecord reads a file of a machine: a snapshot, or a tape. The other one is nil.
func (a *app) readRecord(name string) (*lkm.Snapshot, *tape.Tape, error) {
	if err := notLonger(name, maxRecord); err != nil {
		return nil, nil, err
	}
	r, err := a.input(name)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	return readRecord(name, r)
}

func readRecord(name string, r io.Reader) (*lkm.Snapshot, *tape.Tape, error) {
	r = utf8Text(r)
	head := make([]byte, 16)
	n, err := io.ReadFull(r, head)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil, fmt.Errorf("%s: neither a snapshot nor a tape: %w: the file is empty", name, lkm.ErrMalformed)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if strings.HasPrefix(strings.TrimSpace(string(head[:n])), "{") {
		s, err := lkm.Decode(whole)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		return s, nil, nil
	}
	t, err := tape.Read(whole)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: neither a snapshot nor a tape: %w", name, err)
	}
	return nil, t, nil
}
