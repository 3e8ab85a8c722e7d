// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/rpc"
	"syscall"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
)

// call asks the guest for something. It fails when the guest refuses, when the guest is gone, or when ctx ends.
func (v *VM) call(ctx context.Context, method string, args, reply any) error {
	call := v.client.Go(agent.Service+"."+method, args, reply, nil)
	select {
	case <-call.Done:
	case <-ctx.Done():
		return fmt.Errorf("guest call %s: %w", method, ctx.Err())
	}
	var refusal rpc.ServerError
	if call.Error == nil || errors.As(call.Error, &refusal) {
		return call.Error
	}
	return fmt.Errorf("guest call %s: the guest is gone: %w\n%s", method, call.Error, v.Console())
}

// Run runs a command to its end. The error is nil whenever the command ran, whatever its exit code.
func (v *VM) Run(ctx context.Context, c agent.Command) (agent.Result, error) {
	p, err := v.Start(ctx, c)
	if err != nil {
		return agent.Result{}, err
	}
	return p.Wait(ctx)
}

// A Process is a started command.
type Process struct {
	vm             *VM
	id             int
	stdout, stderr []byte
	done           bool
	result         agent.Result
}

// Start starts a command and does not wait for it.
func (v *VM) Start(ctx context.Context, c agent.Command) (*Process, error) {
	p := &Process{vm: v}
	if err := v.call(ctx, "Start", c, &p.id); err != nil {
		return nil, fmt.Errorf("start %q: %w", c.Argv, err)
	}
	return p, nil
}

// Next waits a while for something new and returns what the command wrote so far and whether it ended.
func (p *Process) Next(ctx context.Context, wait time.Duration) (stdout, stderr []byte, done bool, err error) {
	if !p.done {
		err = p.poll(ctx, wait)
	}
	return p.stdout, p.stderr, p.done, err
}

// poll asks once for the next part of the output.
func (p *Process) poll(ctx context.Context, wait time.Duration) error {
	args := agent.OutputArgs{ID: p.id, Stdout: len(p.stdout), Stderr: len(p.stderr), Wait: wait}
	var reply agent.OutputReply
	if err := p.vm.call(ctx, "Output", args, &reply); err != nil {
		return err
	}
	p.stdout = append(p.stdout, reply.Stdout...)
	p.stderr = append(p.stderr, reply.Stderr...)
	p.done, p.result = reply.Done, reply.Result
	return nil
}

// Signal sends a signal to the command and to all it started.
func (p *Process) Signal(ctx context.Context, s syscall.Signal) error {
	return p.vm.call(ctx, "Signal", agent.SignalArgs{ID: p.id, Signal: s}, &struct{}{})
}

// Wait waits for the command's end.
func (p *Process) Wait(ctx context.Context) (agent.Result, error) {
	for !p.done {
		if err := p.poll(ctx, 10*time.Second); err != nil {
			return agent.Result{}, err
		}
	}
	result := p.result
	result.Stdout, result.Stderr = p.stdout, p.stderr
	return result, nil
}

// ReadFile reads a file of the guest. The error is the guest kernel's, as a *fs.PathError.
func (v *VM) ReadFile(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	args := agent.ReadArgs{Path: name}
	for {
		var reply agent.ReadReply
		if err := v.call(ctx, "Read", args, &reply); err != nil {
			return nil, err
		}
		data = append(data, reply.Data...)
		if err := pathError("read", name, reply.Outcome); err != nil || !reply.More {
			return data, err
		}
		args.Handle = reply.Handle
	}
}

// ReadDir gives what a directory of the guest holds, sorted by name.
func (v *VM) ReadDir(ctx context.Context, name string) ([]agent.Entry, error) {
	var reply agent.Directory
	if err := v.call(ctx, "List", name, &reply); err != nil {
		return nil, err
	}
	return reply.Entries, pathError("read", name, reply.Outcome)
}

// WriteFile makes or replaces a file of the guest.
func (v *VM) WriteFile(ctx context.Context, name string, perm fs.FileMode, data []byte) error {
	args := agent.WriteArgs{Path: name, Perm: uint32(perm.Perm()), Create: true}
	for {
		part := data[:min(len(data), agent.MaxChunk)]
		args.Data, data = part, data[len(part):]
		if err := v.write(ctx, args); err != nil || len(data) == 0 {
			return err
		}
		args.Create, args.Append = false, true
	}
}

// Set writes a value to an existing file, such as a sysctl, with one write(2).
func (v *VM) Set(ctx context.Context, name, value string) error {
	return v.write(ctx, agent.WriteArgs{Path: name, Data: []byte(value)})
}

func (v *VM) write(ctx context.Context, args agent.WriteArgs) error {
	var reply agent.Outcome
	if err := v.call(ctx, "Write", args, &reply); err != nil {
		return err
	}
	return pathError("write", args.Path, reply)
}

// Mount mounts in the namespace that every later command sees.
func (v *VM) Mount(ctx context.Context, m agent.Mount) error {
	var reply agent.Outcome
	if err := v.call(ctx, "Mount", m, &reply); err != nil {
		return err
	}
	return pathError("mount", m.Target, reply)
}

// Unmount undoes Mount.
func (v *VM) Unmount(ctx context.Context, target string) error {
	var reply agent.Outcome
	if err := v.call(ctx, "Unmount", target, &reply); err != nil {
		return err
	}
	return pathError("unmount", target, reply)
}

// Uptime is the time since the guest's kernel started.
func (v *VM) Uptime(ctx context.Context) (d time.Duration, err error) {
	err = v.call(ctx, "Uptime", struct{}{}, &d)
	return d, err
}

func pathError(op, name string, o agent.Outcome) error {
	if o.Errno == 0 {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: o.Errno}
}
