// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// diskFacts is what a Linux backend keeps of the machine's disk.
type diskFacts struct {
	mu       sync.Mutex
	release  string // the running kernel's, once asked
	trees    map[string]*modprobe.Tree
	firmware map[string]*firmwareFinder
	packages *packages               // nil until they were read
	owners   map[string]*foundOwners // nil likewise

	packagesLost fact.Report // what reading the packages reported

	cache ko.Cache
}

func (d *diskFacts) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release, d.trees, d.firmware, d.owners = "", nil, nil, nil
	d.cache.Clear()
}

// runningRelease is the release of the kernel that runs.
func (k *Kernel) runningRelease(ctx context.Context) (string, error) {
	k.disk.mu.Lock()
	defer k.disk.mu.Unlock()
	if k.disk.release != "" {
		return k.disk.release, nil
	}
	uname, err := k.machine.Call(ctx, OpUname)
	if err != nil {
		return "", err
	}
	release := machine.Keys(uname)["release"]
	if release == "" {
		return "", &fact.ParseError{Source: OpUname, Field: "release", Reason: "no release"}
	}
	k.disk.release = release
	return release, nil
}

// tree returns the release directory that the options name: that of Kernel, of the running kernel,
// or on an image the only one.
func (k *Kernel) tree(ctx context.Context, r *fact.Report) (*modprobe.Tree, error) {
	release := k.options.Kernel
	if release == "" && !k.options.Image {
		var err error
		if release, err = k.runningRelease(ctx); err != nil {
			return nil, err
		}
	}
	if release != "" {
		return k.treeOf(ctx, release)
	}
	dirs, err := modprobe.Releases(k.machine, r)
	switch {
	case len(dirs) == 0:
		return nil, k.noRelease(err)
	case len(dirs) > 1:
		return nil, fmt.Errorf("modules of several kernels: name one with Options.Kernel (--kernel): %s",
			releaseNames(dirs))
	}
	return k.treeAt(dirs[0]), nil
}

// noRelease is why a root whose releases were listed has none: err says why they could not be, and is nil for an empty
// directory.
func (k *Kernel) noRelease(err error) error {
	err = cmp.Or(err, fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root := modprobe.ModuleRoots[0]
	return fmt.Errorf("this root has no kernel (no release directory below %s): %w", fact.PathAt(k.options.Root, root),
		fact.ErrorAt(k.options.Root, root, err))
}

// withReleases adds to the error of a release that the machine does not have which ones it has.
func (k *Kernel) withReleases(err error) error {
	var lost fact.Report // what could not be listed is not offered
	dirs, listErr := modprobe.Releases(k.machine, &lost)
	switch {
	case len(dirs) > 0:
		return fmt.Errorf("%w; installed: %s", err, releaseNames(dirs[:min(len(dirs), maxAnswers)]))
	case len(lost.Problems) == 0 && (listErr == nil || errors.Is(listErr, fs.ErrNotExist)):
		return fmt.Errorf("%w; no kernel is installed here", err)
	}
	return err
}

// releaseNames names releases for a person.
func releaseNames(dirs []modprobe.ReleaseDir) string {
	names := make([]string, len(dirs))
	for i := range dirs {
		names[i] = cmp.Or(dirs[i].Release, dirs[i].Dir)
	}
	return strings.Join(names, ", ")
}

func (k *Kernel) treeOf(ctx context.Context, release string) (*modprobe.Tree, error) {
	k.disk.mu.Lock()
	t := k.disk.trees[release]
	k.disk.mu.Unlock()
	if t != nil {
		return t, nil
	}
	dir, err := k.findRelease(release)
	if errors.Is(err, fs.ErrNotExist) && !k.options.Image {
		running, runErr := k.runningRelease(ctx)
		var lost fact.Report // a root that could not be read may hold the release: its modules are then not these
		flat, flatErr := modprobe.Releases(k.machine, &lost)
		if flatErr == nil && len(lost.Problems) == 0 && runErr == nil && running == release {
			for _, f := range flat { // Android: no directory bears the release
				if f.Release == "" {
					return k.treeAt(f), nil
				}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return k.treeAt(dir), nil
}

// findRelease is modprobe.FindRelease with the path as the machine's user knows it in its error, and with the releases
// that there are.
func (k *Kernel) findRelease(release string) (modprobe.ReleaseDir, error) {
	dir, err := modprobe.FindRelease(k.machine, release)
	err = fact.ErrorAt(k.options.Root, dir.Dir, err)
	if !errors.Is(err, fs.ErrNotExist) && fact.CodeOf(err) != fact.CodeUnrecorded {
		return dir, err
	}
	return dir, k.withReleases(err)
}

func (k *Kernel) treeAt(dir modprobe.ReleaseDir) *modprobe.Tree {
	k.disk.mu.Lock()
	defer k.disk.mu.Unlock()
	if t := k.disk.trees[dir.Release]; t != nil && t.Dir == dir.Dir {
		return t
	}
	if k.disk.trees == nil {
		k.disk.trees = make(map[string]*modprobe.Tree)
	}
	t := modprobe.OpenTree(k.machine, dir, !k.options.Image)
	t.SetWorkers(k.options.WorkersFor(fact.ScopeInstalled))
	k.disk.trees[dir.Release] = t
	return t
}

// live reports whether the machine's kernel runs.
func (k *Kernel) live() bool { return !k.options.Image }

// release returns the kernel release that questions are about: the one asked for, else the running
// one, else the only one on the image; empty when that does not decide.
func (k *Kernel) release(ctx context.Context, r *fact.Report) string {
	if k.options.Kernel != "" && k.options.Kernel != fact.KernelAll {
		return k.options.Kernel
	}
	if k.live() {
		release, _ := k.runningRelease(ctx) // not known: facts that need it say so
		return release
	}
	if dirs, _ := modprobe.Releases(k.machine, r); len(dirs) == 1 {
		return dirs[0].Release
	}
	return ""
}

// isRunning reports whether the release is that of the kernel that runs.
func (k *Kernel) isRunning(ctx context.Context, release string) bool {
	if !k.live() {
		return false
	}
	running, err := k.runningRelease(ctx)
	return err == nil && running == release
}

// foundOwners are the owners of a release's files, and what reading them reported.
type foundOwners struct {
	owners *fileOwners
	lost   fact.Report
}

// owners reads which package and which DKMS build files are of, once a release, and returns what that reported too. The
// packages are those of the machine: they are read once, with a budget of their own.
func (k *Kernel) owners(release string) (*fileOwners, *fact.Report) {
	k.disk.mu.Lock()
	defer k.disk.mu.Unlock()
	if o := k.disk.owners[release]; o != nil {
		return o.owners, &o.lost
	}
	if k.disk.owners == nil {
		k.disk.owners = make(map[string]*foundOwners)
		k.disk.packagesLost = fact.Report{Budget: fact.NewBudget(0)}
		k.disk.packages = readPackages(k.machine, k.options.Asks(fact.DetailHashes), &k.disk.packagesLost)
	}
	o := new(foundOwners)
	o.lost.Append(&k.disk.packagesLost)
	o.owners = readOwners(k.machine, release, k.disk.packages, &o.lost)
	k.disk.owners[release] = o
	return o.owners, &o.lost
}

func (k *Kernel) firmwareOf(release string) *firmwareFinder {
	k.disk.mu.Lock()
	defer k.disk.mu.Unlock()
	if f := k.disk.firmware[release]; f != nil {
		return f
	}
	if k.disk.firmware == nil {
		k.disk.firmware = make(map[string]*firmwareFinder)
	}
	f := newFirmwareFinder(k.machine, release, !k.options.Image)
	k.disk.firmware[release] = f
	return f
}
