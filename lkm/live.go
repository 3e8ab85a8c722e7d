// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// Live returns the running machine, or the one mounted at o.Root, and its operating system. The
// machine has a Close method. Its error is that of opening o.Root, or errors.ErrUnsupported when the
// running kernel is not of the system o.OS. The operating system of an image that looks like none is
// taken to be that of this program.
func Live(o Options) (OS, Machine, error) {
	here := running()
	if !o.image() && o.OS != "" && o.OS != here.os {
		return "", nil, fmt.Errorf("lkm: open: the kernel that runs here is %s, not %s: %w",
			here.os, o.OS, errors.ErrUnsupported)
	}
	if o.Root == "" {
		return here.os, here.machine(hostfs.Live(), o), nil
	}
	root, err := hostfs.Mounted(o.Root)
	if err != nil {
		return "", nil, fmt.Errorf("lkm: open: %w", err)
	}
	if o.Live {
		return here.os, here.machine(root, o), nil
	}
	os := o.OS
	if os == "" {
		os = detectOS(root)
	}
	if r, err := rowOf(os); err == nil && r.root != nil {
		return os, &liveMachine{FS: r.root(root), call: noCall}, nil
	}
	return os, &liveMachine{FS: image{root, os}, call: noCall}, nil
}

func noCall(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

// withFallback asks the caller's function for what the system does not answer.
func withFallback(first, second fact.Call) fact.Call {
	if second == nil {
		return first
	}
	return func(ctx context.Context, op string, args ...string) ([]byte, error) {
		b, err := first(ctx, op, args...)
		if errors.Is(err, errors.ErrUnsupported) {
			return second(ctx, op, args...)
		}
		return b, err
	}
}

type liveMachine struct {
	hostfs.FS
	call   fact.Call
	events func(buffer int) (fact.EventSource, error) // nil where there is none
}

// machine returns the machine of the row's system whose kernel runs this program.
func (r *row) machine(files hostfs.FS, o Options) *liveMachine {
	m := &liveMachine{FS: files, call: noCall}
	if r.call != nil {
		m.call = r.call(o.Exec)
	}
	m.call = withFallback(m.call, o.Call)
	if r.live != nil {
		r.live(m)
	}
	return m
}

func (m *liveMachine) Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	return m.call(ctx, op, args...)
}

// Events opens the running kernel's own stream of events: the one exception to the rule that all
// comes through Machine.
func (m *liveMachine) Events(buffer int) (fact.EventSource, error) {
	if m.events == nil {
		return nil, fmt.Errorf("listen for kernel events: %w", errors.ErrUnsupported)
	}
	return m.events(buffer)
}

// An image is a mounted root that runs no kernel. What its proc and sys directories hold, should
// they hold anything, is another machine's.
type image struct {
	hostfs.FS
	os OS
}

func (i image) refuse(op, name string) error {
	top, _, _ := strings.Cut(name, "/")
	if i.os != Linux || (top != "proc" && top != "sys") {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("an image has no running kernel: %w", errors.ErrUnsupported)}
}

func (i image) Open(name string) (fs.File, error) {
	if err := i.refuse("open", name); err != nil {
		return nil, err
	}
	return i.FS.Open(name)
}

func (i image) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := i.refuse("readdir", name); err != nil {
		return nil, err
	}
	return i.FS.ReadDir(name)
}

func (i image) Stat(name string) (fs.FileInfo, error) {
	if err := i.refuse("stat", name); err != nil {
		return nil, err
	}
	return i.FS.Stat(name)
}

func (i image) Lstat(name string) (fs.FileInfo, error) {
	if err := i.refuse("lstat", name); err != nil {
		return nil, err
	}
	return i.FS.Lstat(name)
}

func (i image) ReadLink(name string) (string, error) {
	if err := i.refuse("readlink", name); err != nil {
		return "", err
	}
	return i.FS.ReadLink(name)
}

func (i image) AppendFile(dst []byte, name string, max int64) ([]byte, error) {
	if err := i.refuse("open", name); err != nil {
		return dst, err
	}
	return i.FS.AppendFile(dst, name, max)
}

func (i image) AppendAttr(dst []byte, name string, max int64) ([]byte, error) {
	if err := i.refuse("open", name); err != nil {
		return dst, err
	}
	return i.FS.AppendAttr(dst, name, max)
}

// marks are files that tell an operating system's root, most telling first.
var marks = []struct {
	path string
	os   OS
}{
	{"System/Library/CoreServices/SystemVersion.plist", Darwin},
	{"System/Library/Extensions", Darwin},
	{"Windows/System32/drivers", Windows},
	{"WINDOWS/system32/drivers", Windows},
	{"sbin/mount_hammer2", DragonFly},
	{"boot/kernel/kernel", FreeBSD},
	{"bsd.rd", OpenBSD},
	{"netbsd", NetBSD},
	{"usr/lib/modules", Linux},
	{"lib/modules", Linux},
	{"etc/os-release", Linux},
	{"usr/lib/os-release", Linux},
	{"etc/modprobe.d", Linux},
	{"boot/grub", Linux},
}

// detectOS returns the operating system whose root fsys looks like, or else the running one.
func detectOS(fsys fs.FS) OS {
	for _, m := range marks {
		if _, err := fs.Stat(fsys, m.path); err == nil {
			return m.os
		}
	}
	return running().os
}
