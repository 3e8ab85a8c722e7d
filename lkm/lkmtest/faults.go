// SPDX-License-Identifier: Apache-2.0

package lkmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// Faults returns m with faults: an error for each question that a key stands for, for tests of what a program does when
// a machine refuses something. A question that no key stands for is passed on to m. A key is one of
//
//   - a slash path, "proc/modules": Open, ReadDir, Stat, Lstat and ReadLink of this path
//   - a path that ends in "/", "sys/module/": the directory and whatever is below it
//   - a pattern of package path, "sys/module/*/coresize": each path that matches
//   - an operation and a path or pattern, "open:proc/modules": this operation alone, one of open, readdir, stat, lstat
//     and readlink
//   - "call:OP" or "call:OP ARGS": the call with all its arguments, with a space between them; "call:OP *" with any
//     arguments, "call:*" every call
//
// The error of a path is a *fs.PathError around that of the map, and that of a call is wrapped too, so that errors.Is
// holds for what a System returns, and a Problem has the error's code: fs.ErrPermission, fs.ErrNotExist,
// os.ErrDeadlineExceeded, lkm.ErrRestricted. The longest key wins. A nil error lets a question pass that a shorter key
// stands for.
//
// On Windows, whose paths begin with a drive, upper and lower case are the same. A fault is of the path as the library
// asks for it: a link that leads there is not followed. The Machine is as safe for concurrent use as m. It has the
// abilities of m that package fact names, but for reading files whole. Close closes m. Faults copies the map.
func Faults(m lkm.Machine, faults map[string]error) lkm.Machine {
	f := &faulty{m: m}
	for key, err := range faults {
		f.faults = append(f.faults, faultOf(key, err))
	}
	return f
}

// A fault is one key with its error.
type fault struct {
	key string // as it was written
	op  string // empty for every operation on a path
	at  string // a path, a pattern, or the words of a call
	err error
}

var operations = [...]string{"open", "readdir", "stat", "lstat", "readlink", "call"}

func faultOf(key string, err error) fault {
	for _, op := range operations {
		if at, ok := strings.CutPrefix(key, op+":"); ok {
			return fault{key, op, at, err}
		}
	}
	return fault{key, "", key, err}
}

// covers reports whether the fault is of the operation op on a path or call.
func (f *fault) covers(op, at string) bool {
	if len(f.at) > 1 && f.at[1] == ':' { // a path on Windows
		folded := *f
		folded.at = "/" + strings.ToLower(f.at)
		return folded.covers(op, "/"+strings.ToLower(at))
	}
	switch {
	case f.op != "" && f.op != op, f.op == "" && op == "call":
		return false
	case f.at == at:
		return true
	case op == "call":
		start, any := strings.CutSuffix(f.at, "*")
		return any && strings.HasPrefix(at+" ", start)
	}
	if dir, below := strings.CutSuffix(f.at, "/"); below {
		return at == dir || strings.HasPrefix(at, f.at)
	}
	matched, err := path.Match(f.at, at)
	return err == nil && matched
}

// A faulty machine refuses what its faults say.
type faulty struct {
	m      lkm.Machine
	faults []fault
}

// of returns the error of the operation op on a path or call; nil if the operation succeeds.
func (f *faulty) of(op, at string) error {
	var found *fault
	for i := range f.faults {
		if f.faults[i].covers(op, at) && (found == nil || len(f.faults[i].key) > len(found.key)) {
			found = &f.faults[i]
		}
	}
	if found == nil || found.err == nil {
		return nil
	}
	if op == "call" {
		return &callFault{at, found.err}
	}
	return &fs.PathError{Op: op, Path: at, Err: found.err}
}

// A callFault is the error of a call.
type callFault struct {
	call string
	err  error
}

func (e *callFault) Error() string { return "call " + e.call + ": " + e.err.Error() }
func (e *callFault) Unwrap() error { return e.err }

func (f *faulty) Open(name string) (fs.File, error) {
	if err := f.of("open", name); err != nil {
		return nil, err
	}
	return f.m.Open(name)
}

func (f *faulty) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.of("readdir", name); err != nil {
		return nil, err
	}
	return f.m.ReadDir(name)
}

func (f *faulty) Stat(name string) (fs.FileInfo, error) {
	if err := f.of("stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(f.m, name)
}

func (f *faulty) Lstat(name string) (fs.FileInfo, error) {
	if err := f.of("lstat", name); err != nil {
		return nil, err
	}
	return f.m.Lstat(name)
}

func (f *faulty) ReadLink(name string) (string, error) {
	if err := f.of("readlink", name); err != nil {
		return "", err
	}
	return f.m.ReadLink(name)
}

func (f *faulty) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	if err := f.of("call", strings.Join(append([]string{op}, args...), " ")); err != nil {
		return nil, err
	}
	return f.m.Call(ctx, op, args...)
}

// Redacted implements [fact.Redactor].
func (f *faulty) Redacted(key string) bool { return fact.IsRedacted(f.m, key) }

// Close closes the machine if it can be closed.
func (f *faulty) Close() error {
	if c, ok := f.m.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Events implements [fact.Listener].
func (f *faulty) Events(buffer int) (fact.EventSource, error) {
	l, ok := f.m.(fact.Listener)
	if !ok {
		return nil, fmt.Errorf("listen for kernel events: not a running machine: %w", errors.ErrUnsupported)
	}
	return l.Events(buffer)
}
