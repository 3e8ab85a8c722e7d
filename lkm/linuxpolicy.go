// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// live reports whether the machine's kernel runs.
func (b *linuxBackend) live() bool { return !b.image() }

// release returns the kernel release that questions are about: the one asked for, else the running
// one, else the only one on the image; empty when that does not decide.
func (b *linuxBackend) release(ctx context.Context) string {
	if b.options.Kernel != "" && b.options.Kernel != KernelAll {
		return b.options.Kernel
	}
	if b.live() {
		release, _ := b.runningRelease(ctx) // not known: facts that need it say so
		return release
	}
	if dirs, _ := modprobe.Releases(b.guard, new(fact.Report)); len(dirs) == 1 {
		return dirs[0].Release
	}
	return ""
}

// isRunning reports whether the release is that of the kernel that runs.
func (b *linuxBackend) isRunning(ctx context.Context, release string) bool {
	if !b.live() {
		return false
	}
	running, err := b.runningRelease(ctx)
	return err == nil && running == release
}

func (b *linuxBackend) policy(ctx context.Context, r *report) (*Policy, error) {
	m := linux.PolicyMachine{FS: b.guard, Release: b.release(ctx), Live: b.live()}
	if running, err := b.runningRelease(ctx); m.Live && err == nil && m.Release != running {
		m.Live, m.Firmware = false, true // another kernel of this machine
	}
	if !m.Live {
		var lost fact.Report
		setup := boot.Read(b.guard, &lost)
		e, err := nextEntry(setup, m.Release, lost.Problems)
		m.Cmdline, m.CmdlineFile, m.CmdlineLine, m.CmdlineOpen, m.CmdlineErr = e.Words, e.File, e.Line, e.Unresolved, err
	}
	p := linux.ReadPolicy(m)
	r.policy(p)
	return p, ctx.Err()
}

// nextEntry returns the boot entry of the release whose command line counts, when the boot loaders'
// files leave no choice: all entries for it agree on the words that bear on modules. lost are files that
// could not be read.
func nextEntry(setup *boot.Setup, release string, lost []Problem) (boot.Entry, error) {
	entries := setup.For(release)
	if len(entries) == 0 {
		if len(lost) > 0 {
			p := lost[0]
			p.Source = ""
			return boot.Entry{}, p
		}
		return boot.Entry{}, boot.ErrNoEntry
	}
	first := entries[0]
	for _, e := range entries[1:] {
		if !boot.SameForModules(first.Words, e.Words) || !slices.Equal(first.Unresolved, e.Unresolved) {
			return boot.Entry{File: first.File, Line: first.Line}, errBootEntriesDiffer
		}
	}
	return first, nil
}

// errBootEntriesDiffer is for several ways to start a kernel that treat modules differently.
var errBootEntriesDiffer = errors.New("boot loader entries differ in what they say of modules")
