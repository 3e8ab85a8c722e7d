// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Check answers for each module that the query means, of each kernel in question.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	name, err := k.queryName(query)
	if err != nil {
		return nil, err
	}
	machines, err := k.checkMachines(ctx, r)
	if err != nil {
		return nil, err
	}
	var verdicts []fact.Verdict
	for _, m := range machines {
		found, err := check(ctx, m, name, r)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Query = query
			if found[i].Module != "" {
				found[i].Module = string(fact.KindLinuxModule) + ":" + found[i].Module
			}
		}
		verdicts = append(verdicts, found...)
		if ctx.Err() != nil {
			break
		}
	}
	return verdicts, nil
}

// queryName turns an id, or the path of a module's file, into a name.
func (k *Kernel) queryName(query string) (string, error) {
	if name, ok := strings.CutPrefix(query, string(fact.KindLinuxModule)+":"); ok {
		return name, nil
	}
	if !strings.Contains(query, "/") || strings.Contains(query, ":") || !ko.IsModuleFile(query) {
		return query, nil
	}
	// only the name is asked for
	f, err := ko.NewReader().ReadFile(k.machine, strings.TrimPrefix(path.Clean(query), "/"),
		ko.Options{}, new(fact.Report))
	if err != nil {
		return "", err
	}
	if name := f.Modinfo.Get("name"); name != "" {
		return name, nil
	}
	return ko.NameOfFile(query), nil
}

// checkMachines are the kernels in question: the running one, the one asked for, or all on disk.
func (k *Kernel) checkMachines(ctx context.Context, r *fact.Report) ([]checkedKernel, error) {
	dirs, err := modprobe.Releases(k.machine, r)
	release := k.options.Kernel
	if release == fact.KernelAll {
		if len(dirs) == 0 {
			return nil, fmt.Errorf("no kernel release on disk: %w", err)
		}
		var machines []checkedKernel
		for _, dir := range dirs {
			machines = append(machines, k.checkMachine(ctx, dir.Release, dir, nil))
		}
		return machines, nil
	}
	if release == "" && k.live() {
		release = k.release(ctx)
	}
	if release == "" {
		switch {
		case len(dirs) == 1:
			return []checkedKernel{k.checkMachine(ctx, dirs[0].Release, dirs[0], nil)}, nil
		case len(dirs) > 1:
			names := make([]string, len(dirs))
			for i, d := range dirs {
				names[i] = d.Release
			}
			return nil, fmt.Errorf("there are %d kernels: say which (--kernel), or all: %s", len(dirs),
				strings.Join(names, " "))
		}
		return []checkedKernel{k.checkMachine(ctx, "", modprobe.ReleaseDir{}, err)}, nil
	}
	dir, err := k.findRelease(release)
	return []checkedKernel{k.checkMachine(ctx, release, dir, err)}, nil
}

func (k *Kernel) checkMachine(ctx context.Context, release string, dir modprobe.ReleaseDir, err error) checkedKernel {
	keys, _ := k.fileKeys() // the check asks the keys itself what is wrong with them
	return checkedKernel{
		FS: k.machine, Release: release, Dir: dir, DirErr: err,
		Running: k.isRunning(ctx, release), Live: k.live(), Keys: keys,
	}
}

// Policy returns what is enforced on loading: by the running kernel, or by the next boot of one that does not run.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	m := PolicyMachine{FS: k.machine, Release: k.release(ctx), Live: k.live()}
	if running, err := k.runningRelease(ctx); m.Live && err == nil && m.Release != running {
		m.Live, m.Firmware = false, true // another kernel of this machine
	}
	if !m.Live {
		var lost fact.Report // the facts of the command line say so
		setup := boot.Read(k.machine, &lost)
		e, err := nextEntry(setup, m.Release, lost.Problems)
		m.Cmdline, m.CmdlineFile, m.CmdlineLine, m.CmdlineOpen, m.CmdlineErr = e.Words, e.File,
			e.Line, e.Unresolved, err
	}
	p := ReadPolicy(m)
	r.Policy(p)
	return p, ctx.Err()
}

// nextEntry returns the boot entry of the release whose command line counts, when the boot loaders'
// files leave no choice: all entries for it agree on the words that bear on modules. lost are files that
// could not be read.
func nextEntry(setup *boot.Setup, release string, lost []fact.Problem) (boot.Entry, error) {
	entries := setup.For(release)
	if len(entries) == 0 {
		if len(lost) > 0 {
			p := lost[0]
			p.Source = "" // the fact names it
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
