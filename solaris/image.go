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
	platforms, err := k.machine.ReadDir("platform")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceModulePath, "", "modules", err)
	}
	platforms, err = limit.Most(platforms, 64, "/platform")
	if err != nil {
		r.Problem(SourceModulePath, "", "modules", err)
	}
	for _, p := range platforms {
		if name := "platform/" + p.Name(); k.isDir(p, name) {
			roots = append(roots, name+"/kernel")
		}
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

// isDir reports whether an entry is a directory, or a link that leads to one, or may lead to one that cannot be read.
func (k *Kernel) isDir(e fs.DirEntry, name string) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	st, err := fs.Stat(k.machine, name)
	return err == nil && st.IsDir() || err != nil && !errors.Is(err, fs.ErrNotExist)
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
	return k.modulesBelow(ctx, k.moduleRoots(list, r), err, r)
}

// modulesBelow returns the modules in the directories. unread is why there may be more directories.
func (k *Kernel) modulesBelow(ctx context.Context, roots []string, unread error, r *fact.Report) ([]Record, error) {
	if unread != nil { // moddir may add directories
		r.Problem(SourceModulePath, "", "modules", unread)
	}
	out := []Record{}
	found := false
	for _, root := range roots {
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
			if name := root + "/" + kind.Name(); ctx.Err() == nil && k.isDir(kind, name) {
				out = k.addKind(out, name, r)
			}
		}
	}
	if !found {
		return nil, &fs.PathError{Op: "open", Path: "/kernel", Err: fs.ErrNotExist}
	}
	if !slices.ContainsFunc(out, func(m Record) bool { return strings.HasPrefix(m.Path, "/kernel/") }) {
		r.Problem(SourceModulePath, "", "modules",
			fmt.Errorf("/kernel has no module: the kernel's modules are on another disk: %w", fs.ErrNotExist))
	}
	slices.SortStableFunc(out, func(a, b Record) int { return cmp.Compare(a.Path, b.Path) })
	r.Done(SourceModulePath, fact.CountOf(int64(len(out))))
	return out, ctx.Err()
}

// wide are the directories of the modules of 64 bits, beside those of 32.
var wide = []string{"amd64", "sparcv9"}

// addKind adds the modules in the directory of one kind, such as drv, and in the directories below it: a kind may have
// kinds of its own, such as misc/scsi_vhci.
func (k *Kernel) addKind(out []Record, dir string, r *fact.Report) []Record {
	out, below := k.addFiles(out, dir, r)
	if len(below) > maxKinds {
		r.Problem(SourceModulePath, "", "modules", fmt.Errorf("/%s: %w: more than %d directories", dir,
			fact.ErrTooLarge, maxKinds))
		below = below[:maxKinds]
	}
	for _, sub := range below {
		var own []string
		if out, own = k.addFiles(out, dir+"/"+sub, r); slices.Contains(wide, sub) {
			continue
		}
		for _, bits := range own {
			if slices.Contains(wide, bits) {
				out, _ = k.addFiles(out, dir+"/"+sub+"/"+bits, r)
			}
		}
	}
	return out
}

// maxKinds is how many directories one kind may have.
const maxKinds = 256

// addFiles adds the modules in one directory, and returns the names of the directories in it.
func (k *Kernel) addFiles(out []Record, dir string, r *fact.Report) (modules []Record, below []string) {
	entries, err := k.machine.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceModulePath, "", "modules", err)
		}
		return out, nil
	}
	item := r.Budget.Item(directorySize(entries))
	defer item.Done()
	for _, e := range entries {
		if k.isDir(e, dir+"/"+e.Name()) {
			below = append(below, e.Name())
			continue
		}
		if strings.HasSuffix(e.Name(), ".conf") { // a driver's configuration lies beside it
			continue
		}
		name := escape.UTF8(e.Name())
		if err := item.Keep(int64(fileSize + 2*len(name) + len(dir))); err != nil {
			r.Problem(SourceModulePath, "", "modules", fmt.Errorf("/%s: %w", dir, err))
			break
		}
		out = append(out, Record{ID: string(k.kind()) + ":" + name, Kind: k.kind(), Name: name,
			State: fact.StateInstalled, Path: "/" + dir + "/" + name, Description: "", Own: &Module{}})
	}
	return out, below
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
	return meant(disk, list, name), nil
}

// meant returns the modules that a name or the alias of a device stands for.
func meant(disk []Record, list []alias, name string) []Record {
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
	return out
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
	roots      []string               // the directories that the kernel loads from
	directives map[string][]directive // by what they name, one of each word
	unread     error                  // why there may be more of them
	devices    devices
}

// checkImage is Check for an image.
func (k *Kernel) checkImage(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	var i image
	c := judge.Case[Module]{Query: query, Image: true, Boot: i.boot}
	list, unread := k.directives(r)
	i.roots, i.unread = k.moduleRoots(list, r), unread
	disk, err := k.modulesBelow(ctx, i.roots, unread, r)
	aliases, lost := k.aliases(r)
	if lost != nil {
		r.Problem(SourceAliases, "", "", lost)
	}
	c.Meant = meant(disk, aliases, query)
	c.Add(SourceModulePath, disk, err, r)
	c.Lose(SourceSystem, unread)
	c.Lose(SourceAliases, lost) // the query may be an alias
	i.directives = map[string][]directive{}
	for _, d := range list {
		of := i.directives[d.Module]
		if !slices.ContainsFunc(of, func(o directive) bool { return o.Word == d.Word }) {
			i.directives[d.Module] = append(of, d)
		}
	}
	i.devices = k.devices(aliases, lost, r)
	return c.Verdicts(), ctx.Err()
}

// filename returns the name by which the kernel loads a module: KIND/NAME, where KIND are the directories between one
// that it loads from and the file, without that of 64 bits (modload, kobj_open_path).
func (i *image) filename(m *Record) string {
	dir := strings.TrimPrefix(path.Dir(m.Path), "/")
	if slices.Contains(wide, path.Base(dir)) {
		dir = path.Dir(dir)
	}
	kind := dir
	for _, root := range i.roots {
		if rest, ok := strings.CutPrefix(dir, root+"/"); ok && len(rest) < len(kind) {
			kind = rest
		}
	}
	return kind + "/" + m.Name
}

// boot answers by which ways a module on disk gets into the kernel, and what asks for it. A module that /etc/system
// excludes by its name or as KIND/NAME is loaded by none of them: mod_load of the kernel compares both with mod_sysctl.
// It knows the file of modload(8) with a path by its name and that path.
func (i *image) boot(m *Record) (ways []judge.Entrance, triggers, bypasses []fact.Reason) {
	load := fact.Passes(fact.Reason{Code: judge.ReasonInstalled, Text: "its file is on disk", File: m.Path})
	forced := fact.Answer{}
	filename := i.filename(m)
	for _, d := range slices.Concat(i.directives[m.Name], i.directives[filename]) {
		because := fact.Reason{Code: d.Word, Text: d.Word + ": " + d.Module, File: "/" + d.File, Line: d.Line}
		switch d.Word {
		case wordExclude:
			if d.Module == filename && load.Blocked() == fact.No {
				bypasses = append(bypasses, fact.Reason{Code: judge.Way,
					Text: "modload with the path of the file: the kernel does not compare it with " + filename})
			}
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
	return append(ways, judge.Entrance{Name: judge.Way, Answer: load}), triggers, bypasses
}
