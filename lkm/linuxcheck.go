// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

func (b *linuxBackend) check(ctx context.Context, query string) ([]Verdict, error) {
	name, err := b.queryName(query)
	if err != nil {
		return nil, err
	}
	machines, err := b.checkMachines(ctx)
	if err != nil {
		return nil, err
	}
	var verdicts []Verdict
	for _, m := range machines {
		found, err := linux.NewChecker(m).Check(name)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].Query = query
			if found[i].Module != "" {
				found[i].Module = string(KindLinuxModule) + ":" + found[i].Module
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
func (b *linuxBackend) queryName(query string) (string, error) {
	if name, ok := strings.CutPrefix(query, string(KindLinuxModule)+":"); ok {
		return name, nil
	}
	if !strings.Contains(query, "/") || strings.Contains(query, ":") || !ko.IsModuleFile(query) {
		return query, nil
	}
	f, err := ko.NewReader().ReadFile(b.guard, strings.TrimPrefix(path.Clean(query), "/"), ko.Options{}, new(fact.Report))
	if err != nil {
		return "", err
	}
	if name := f.Modinfo.Get("name"); name != "" {
		return name, nil
	}
	return ko.NameOfFile(query), nil
}

// checkMachines are the kernels in question: the running one, the one asked for, or all on disk.
func (b *linuxBackend) checkMachines(ctx context.Context) ([]linux.CheckMachine, error) {
	dirs, err := modprobe.Releases(b.guard, new(fact.Report))
	release := b.options.Kernel
	if release == KernelAll {
		if len(dirs) == 0 {
			return nil, fmt.Errorf("no kernel release on disk: %w", err)
		}
		var machines []linux.CheckMachine
		for _, dir := range dirs {
			machines = append(machines, b.checkMachine(ctx, dir.Release, dir, nil))
		}
		return machines, nil
	}
	if release == "" && b.live() {
		release = b.release(ctx)
	}
	if release == "" {
		switch {
		case len(dirs) == 1:
			return []linux.CheckMachine{b.checkMachine(ctx, dirs[0].Release, dirs[0], nil)}, nil
		case len(dirs) > 1:
			names := make([]string, len(dirs))
			for i, d := range dirs {
				names[i] = d.Release
			}
			return nil, fmt.Errorf("there are %d kernels: say which (--kernel), or all: %s", len(dirs), strings.Join(names, " "))
		}
		return []linux.CheckMachine{b.checkMachine(ctx, "", modprobe.ReleaseDir{}, err)}, nil
	}
	dir, err := b.findRelease(release)
	return []linux.CheckMachine{b.checkMachine(ctx, release, dir, err)}, nil
}

func (b *linuxBackend) checkMachine(ctx context.Context, release string, dir modprobe.ReleaseDir, err error) linux.CheckMachine {
	return linux.CheckMachine{
		FS: b.guard, Release: release, Dir: dir, DirErr: err,
		Running: b.isRunning(ctx, release), Live: b.live(), Keys: b.fileKeys(),
	}
}
