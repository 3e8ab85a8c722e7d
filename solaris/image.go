// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// Names of the sources of an image.
const (
	SourceModulePath = "module_path"    // the files below /kernel, /usr/kernel and /platform/*/kernel
	SourceAliases    = "driver_aliases" // /etc/driver_aliases: the devices of each driver
)

const (
	// WayBoot is the way of the modules that /etc/system forces to load at boot.
	WayBoot = "forceload"
	// WayDevice is the way of the drivers that a device's name asks for.
	WayDevice = "driver_alias"

	// fileSize is the memory of the record of a file beside its texts, in bytes.
	fileSize = 512
)

// moduleRoots returns the directories that the kernel of an image loads from: those of the platforms, /kernel and
// /usr/kernel (kernel(8)), and those that moddir in /etc/system adds.
func (k *Kernel) moduleRoots(list []directive, r *fact.Report) []string {
	roots := []string{"kernel", "usr/kernel"}
	if platforms, err := fs.Glob(k.machine, "platform/*/kernel"); err == nil {
		platforms, err := limit.Most(platforms, 64, "/platform")
		if err != nil {
			r.Problem(SourceModulePath, "", "modules", err)
		}
		roots = append(roots, platforms...)
	}
	for _, d := range list {
		if d.Word != "moddir" {
			continue
		}
		for dir := range strings.FieldsFuncSeq(d.Module, func(r rune) bool { return r == ' ' || r == ':' }) {
			dir = strings.TrimPrefix(path.Clean("/"+dir), "/")
			switch {
			case dir == "" || slices.Contains(roots, dir):
			case len(roots) == maxRoots:
				err := fmt.Errorf("moddir: %w: more than %d directories", fact.ErrTooLarge, maxRoots)
				r.Problem(SourceModulePath, "", "modules", err)
				return roots
			default:
				roots = append(roots, dir)
			}
		}
	}
	return roots
}

// maxRoots is how many directories with modules are looked into.
const maxRoots = 256

// Installed yields the module files of an image, sorted by path: KIND/NAME, and KIND/amd64/NAME or KIND/sparcv9/NAME of
// 64 bits. The files are not opened.
func (k *Kernel) Installed(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return lazy.Seq(func() ([]Record, error) { return k.installed(ctx, r) })
}

func (k *Kernel) installed(ctx context.Context, r *fact.Report) ([]Record, error) {
	if !k.options.Image {
		return nil, fmt.Errorf("module files of a running machine: %w", errors.ErrUnsupported)
	}
	list, err := k.directives(r)
	if err != nil { // moddir may add directories
		r.Problem(SourceModulePath, "", "modules", err)
	}
	out := []Record{}
	found := false
	for _, root := range k.moduleRoots(list, r) {
		kinds, err := k.machine.ReadDir(root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		if err != nil {
			r.Problem(SourceModulePath, "", "modules", err)
		}
		kinds, err = limit.Most(kinds, 256, "/"+root)
		if err != nil {
			r.Problem(SourceModulePath, "", "modules", err)
		}
		for _, kind := range kinds {
			if kind.IsDir() && ctx.Err() == nil {
				out = k.addKind(out, root+"/"+kind.Name(), r)
			}
		}
	}
	if !found {
		return nil, &fs.PathError{Op: "open", Path: "/kernel", Err: fs.ErrNotExist}
	}
	slices.SortStableFunc(out, func(a, b Record) int { return cmp.Compare(a.Path, b.Path) })
	r.Done(SourceModulePath, fact.CountOf(int64(len(out))))
	return out, ctx.Err()
}

// addKind adds the modules in the directory of one kind, such as drv.
func (k *Kernel) addKind(out []Record, dir string, r *fact.Report) []Record {
	for _, sub := range []string{"", "/amd64", "/sparcv9"} {
		entries, err := k.machine.ReadDir(dir + sub)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.Problem(SourceModulePath, "", "modules", err)
			}
			continue
		}
		item := r.Budget.Item(directorySize(entries))
		for _, e := range entries {
			// A driver's configuration lies beside it.
			if e.IsDir() || strings.HasSuffix(e.Name(), ".conf") {
				continue
			}
			name := escape.UTF8(e.Name())
			if err := item.Keep(int64(fileSize + 2*len(name) + len(dir))); err != nil {
				r.Problem(SourceModulePath, "", "modules", fmt.Errorf("/%s%s: %w", dir, sub, err))
				break
			}
			out = append(out, Record{ID: string(k.kind()) + ":" + name, Kind: k.kind(), Name: name,
				State: fact.StateInstalled, Path: "/" + dir + sub + "/" + name, Description: "",
				Own: &Module{}})
		}
		item.Done()
	}
	return out
}

// directorySize returns about how many bytes a directory takes on disk.
func directorySize(entries []fs.DirEntry) (n int64) {
	for _, e := range entries {
		n += int64(len(e.Name()) + 16)
	}
	return n
}

// resolveImage returns the modules on disk that a name or the alias of a device stands for.
func (k *Kernel) resolveImage(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	disk, err := k.installed(ctx, r)
	if err != nil {
		return nil, err
	}
	list, err := k.aliases(r)
	if err != nil {
		r.Problem(SourceAliases, "", "", err)
	}
	drivers := map[string]bool{}
	for _, a := range list {
		if a.device == name {
			drivers[a.driver] = true
		}
	}
	out := append([]Record{}, judge.Named(disk, bare(name))...)
	for _, m := range disk {
		if drivers[m.Name] && m.Name != name {
			out = append(out, m)
		}
	}
	return out, nil
}

// bare returns the name of a module without its kind: "fd" of "drv/fd".
func bare(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// An image is what the verdicts on an image follow from.
type image struct {
	directives map[string][]directive // by what they name, one of each word
	unread     error                  // why there may be more of them
	devices    devices
}

// checkImage is Check for an image.
func (k *Kernel) checkImage(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	var i image
	c := judge.Case[Module]{Query: query, Image: true, Boot: i.boot}
	disk, err := k.resolveImage(ctx, query, r)
	c.Meant = disk
	c.Add(SourceModulePath, disk, err, r)
	list, err := k.directives(r)
	if err != nil {
		c.Add("", nil, err, r)
	}
	i.unread = err
	i.directives = map[string][]directive{}
	for _, d := range list {
		of := i.directives[d.Module]
		if !slices.ContainsFunc(of, func(o directive) bool { return o.Word == d.Word }) {
			i.directives[d.Module] = append(of, d)
		}
	}
	i.devices = k.devices(r)
	return c.Verdicts(), ctx.Err()
}

// about returns the directives about the module: those of KIND/NAME, where KIND is a directory that it lies in, and
// those of NAME alone.
func (i *image) about(m *Record) []directive {
	out := slices.Clone(i.directives[m.Name])
	for kind := range strings.SplitSeq(strings.Trim(path.Dir(m.Path), "/"), "/") {
		out = append(out, i.directives[kind+"/"+m.Name]...)
	}
	return out
}

// boot answers by which ways a module on disk gets into the kernel, and what asks for it. A module that /etc/system
// excludes is loaded by none of them (mod_load of the kernel asks mod_sysctl).
func (i *image) boot(m *Record) (ways []judge.Entrance, triggers []fact.Reason) {
	load := fact.Passes(fact.Reason{Code: judge.ReasonInstalled, Text: "its file is on disk", File: m.Path})
	forced := fact.Answer{}
	for _, d := range i.about(m) {
		because := fact.Reason{Code: d.Word, Text: d.Word + ": " + d.Module, File: "/" + d.File, Line: d.Line}
		switch d.Word {
		case wordExclude:
			load = fact.Stops(because)
		case wordForceload:
			forced = fact.Passes(because)
			triggers = append(triggers, because)
		}
	}
	if i.unread != nil && load.Blocked() == fact.No {
		load = fact.Unsure(judge.ReasonUnread, "what /etc/system excludes was not read: "+i.unread.Error())
	}
	device, more := i.devices.asks(m)
	triggers = append(triggers, more...)
	for _, w := range []judge.Entrance{{Name: WayBoot, Answer: forced}, {Name: WayDevice, Answer: device}} {
		if !w.Answer.Applies() {
			continue
		}
		if load.Blocked() != fact.No && w.Answer.Blocked() != fact.Yes {
			w.Answer = load
		}
		ways = append(ways, w)
	}
	return append(ways, judge.Entrance{Name: judge.Way, Answer: load}), triggers
}
