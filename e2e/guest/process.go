// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernelext/kernelext/e2e/agent"
)

// path is Debian's for root, so that every tool of the image is found.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A process is a started command and what it wrote so far.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr buffer
	news           chan struct{} // one token when there may be something new
	done           chan struct{}
	result         agent.Result // valid after done
}

// A buffer collects output while others read it.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
	news chan<- struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data.Write(p)
	select {
	case b.news <- struct{}{}:
	default:
	}
	return len(p), nil
}

// from gives at most one chunk of what was written since an offset.
func (b *buffer) from(offset int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := b.data.Bytes()[min(offset, b.data.Len()):]
	return bytes.Clone(rest[:min(len(rest), agent.MaxChunk/2)])
}

// start starts a command from a thread that takes the command's mounts and dropped capabilities upon itself:
// the child inherits them, and a thread so changed ends with its goroutine.
func start(c agent.Command) (*process, error) {
	p := newProcess(c)
	errs := make(chan error, 1)
	go func() {
		if len(c.Mounts) > 0 || len(c.Drop) > 0 {
			runtime.LockOSThread() // and never unlock
		}
		if err := prepare(c); err != nil {
			errs <- err
			return
		}
		errs <- p.cmd.Start()
	}()
	if err := <-errs; err != nil {
		return nil, err
	}
	go p.wait(c)
	return p, nil
}

// newProcess describes a command to os/exec.
func newProcess(c agent.Command) *process {
	p := &process{news: make(chan struct{}, 1), done: make(chan struct{})}
	p.stdout.news, p.stderr.news = p.news, p.news
	if len(c.Argv) == 0 {
		c.Argv = []string{""}
	}
	p.cmd = exec.Command(c.Argv[0], c.Argv[1:]...)
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	if p.cmd.Dir == "" {
		p.cmd.Dir = "/"
	}
	if p.cmd.Env == nil {
		p.cmd.Env = []string{"PATH=" + path, "HOME=/", "LANG=C"}
	}
	p.cmd.Stdin = bytes.NewReader(c.Stdin)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:     true,
		Chroot:      c.Chroot,
		AmbientCaps: c.Ambient,
		Credential:  &syscall.Credential{Uid: c.UID, Gid: c.GID},
	}
	return p
}

// prepare changes the calling thread for one command.
func prepare(c agent.Command) error {
	if len(c.Mounts) > 0 {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
	}
	for _, m := range c.Mounts {
		if err := mount(m); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
	}
	for _, n := range c.Drop {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", n, err)
		}
	}
	return nil
}

// wait waits for the command's end, or makes it end.
func (p *process) wait(c agent.Command) {
	limit := c.Timeout
	if limit <= 0 {
		limit = time.Minute
	}
	began := time.Now()
	timer := time.AfterFunc(limit, func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	err := p.cmd.Wait()
	timedOut := !timer.Stop()
	p.result = agent.Result{Code: exitCode(err), TimedOut: timedOut, Elapsed: time.Since(began)}
	close(p.done)
}

// exitCode gives the code that a shell would show.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0
	case !errors.As(err, &exit):
		return -1
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// output answers with what is new, waiting for it a while.
func (p *process) output(a agent.OutputArgs) agent.OutputReply {
	timeout := time.After(a.Wait)
	for {
		ended := p.ended()
		out, err := p.stdout.from(a.Stdout), p.stderr.from(a.Stderr)
		reply := agent.OutputReply{Stdout: out, Stderr: err}
		if len(out) > 0 || len(err) > 0 {
			return reply
		}
		if ended {
			reply.Done, reply.Result = true, p.result
			return reply
		}
		select {
		case <-p.news:
		case <-p.done:
		case <-timeout:
			return reply
		}
	}
}

// ended reports whether the command ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
