// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernelext/kernelext/e2e/agent"
)

// A Guest is what the host can call. Its exported methods are the service.
type Guest struct {
	mu      sync.Mutex
	last    int
	started map[int]*process
	open    map[int]*os.File
}

func newGuest() *Guest {
	return &Guest{started: map[int]*process{}, open: map[int]*os.File{}}
}

// Start starts a command and answers with its number.
func (g *Guest) Start(c agent.Command, id *int) error {
	p, err := start(c)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	*id = g.last
	g.started[g.last] = p
	return nil
}

// Output answers with what a command wrote since the given offsets, and with how it ended.
func (g *Guest) Output(a agent.OutputArgs, reply *agent.OutputReply) error {
	g.mu.Lock()
	p := g.started[a.ID]
	g.mu.Unlock()
	if p == nil {
		return fmt.Errorf("no command %d", a.ID)
	}
	*reply = p.output(a)
	if reply.Done {
		g.mu.Lock()
		delete(g.started, a.ID)
		g.mu.Unlock()
	}
	return nil
}

// Signal sends a signal to a command's process group.
func (g *Guest) Signal(a agent.SignalArgs, _ *struct{}) error {
	g.mu.Lock()
	p := g.started[a.ID]
	g.mu.Unlock()
	if p == nil {
		return fmt.Errorf("no command %d", a.ID)
	}
	return syscall.Kill(-p.cmd.Process.Pid, a.Signal)
}

// Read answers with the next part of a file.
func (g *Guest) Read(a agent.ReadArgs, reply *agent.ReadReply) error {
	f, err := g.file(a)
	if err != nil {
		reply.Errno = errno(err)
		return nil
	}
	reply.Data, reply.More, err = readPart(f)
	reply.Errno = errno(err)
	if reply.More && err == nil {
		reply.Handle = g.keep(f)
		return nil
	}
	return f.Close()
}

// file opens the file that is asked for, or takes it back out of the open ones.
func (g *Guest) file(a agent.ReadArgs) (*os.File, error) {
	if a.Handle == 0 {
		return os.Open(a.Path)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.open[a.Handle]
	delete(g.open, a.Handle)
	if f == nil {
		return nil, syscall.EBADF
	}
	return f, nil
}

// keep remembers an open file for the next Read.
func (g *Guest) keep(f *os.File) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	g.open[g.last] = f
	return g.last
}

// readPart reads until a chunk is full or the file ends.
func readPart(f *os.File) (data []byte, more bool, err error) {
	data = make([]byte, agent.MaxChunk)
	n := 0
	for n < len(data) {
		m, err := syscall.Read(int(f.Fd()), data[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return data[:n], false, err
		}
		n += m
	}
	return data, true, nil
}

// List answers with what a directory holds, sorted by name. What vanishes meanwhile is left out.
func (g *Guest) List(path string, reply *agent.Directory) error {
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			reply.Entries = append(reply.Entries, agent.Entry{Name: e.Name(), Mode: info.Mode()})
		}
	}
	reply.Errno = errno(err)
	return nil
}

// Write writes to a file with one write(2).
func (g *Guest) Write(a agent.WriteArgs, reply *agent.Outcome) error {
	reply.Errno = errno(write(a))
	return nil
}

func write(a agent.WriteArgs) error {
	flags := os.O_WRONLY
	if a.Create {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	if a.Append {
		flags |= os.O_APPEND
	}
	fd, err := syscall.Open(a.Path, flags|syscall.O_CLOEXEC, a.Perm)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	n, err := syscall.Write(fd, a.Data)
	if err == nil && n < len(a.Data) {
		return syscall.EIO
	}
	return err
}

// Mount mounts in the guest's own namespace.
func (g *Guest) Mount(m agent.Mount, reply *agent.Outcome) error {
	reply.Errno = errno(mount(m))
	return nil
}

// Unmount unmounts a path of the guest's own namespace.
func (g *Guest) Unmount(path string, reply *agent.Outcome) error {
	reply.Errno = errno(unix.Unmount(path, 0))
	return nil
}

// Uptime answers with the time since the guest's kernel started.
func (g *Guest) Uptime(_ struct{}, d *time.Duration) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return err
	}
	*d = time.Duration(ts.Nano())
	return nil
}

// errno gives the kernel's number for an error, EIO for one that has none.
func errno(err error) syscall.Errno {
	var n syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n):
		return n
	}
	return syscall.EIO
}
