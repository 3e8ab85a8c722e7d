// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// livepatchDir has a directory for each live patch, by the name of its module, with one for each object that it
// patches, with one for each function (Documentation/ABI/testing/sysfs-kernel-livepatch).
const livepatchDir = "sys/kernel/livepatch"

// maxPatched is how many functions of one patch are read.
const maxPatched = 1 << 16

// A LivePatch is what the kernel says of a live patch, which is a loaded module.
type LivePatch struct {
	// Enabled says whether its functions are used, or are to be (enabled).
	Enabled fact.Tri `json:"enabled,omitzero"`
	// Transition says whether the kernel is on its way to the state that Enabled names: some tasks still run the other
	// code (transition).
	Transition fact.Tri `json:"transition,omitzero"`
	// Replace says whether it takes the place of every patch before it (replace); absent in a kernel before 6.11.
	Replace fact.Tri `json:"replace,omitzero"`
	// StackOrder is its place among the patches, from 1: of two that patch one function, the higher counts
	// (stack_order); absent in a kernel before 6.13.
	StackOrder fact.Count `json:"stackOrder,omitzero"`
	// Objects are what it patches; nil if they could not be read.
	Objects []PatchedObject `json:"objects,omitzero"`
}

// A PatchedObject is what a live patch changes in the kernel or in one module.
type PatchedObject struct {
	// Name is "vmlinux", or the name of a module, which need not be loaded.
	Name string `json:"name"`
	// Patched says whether it is patched now: no for a module that is not loaded (patched); absent in a kernel before
	// 6.1.
	Patched fact.Tri `json:"patched,omitzero"`
	// Functions are the functions that are replaced; nil if they could not be read.
	Functions []PatchedFunction `json:"functions,omitzero"`
}

// A PatchedFunction is one function that a live patch replaces.
type PatchedFunction struct {
	// Name is the function's name.
	Name string `json:"name"`
	// Position says which of several functions of that name it is, from 1 in the order of kallsyms.
	Position fact.Count `json:"position,omitzero"`
}

// readLivepatches adds to the loaded modules that are live patches what the kernel says of them. A kernel without
// live patches has no such directory.
func (k *Kernel) readLivepatches(ctx context.Context, modules []Record, r *fact.Report) {
	patches, err := fs.ReadDir(k.machine, livepatchDir)
	if err != nil {
		r.Source(SourceLivepatch, "", fact.Count{}, err)
		if !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceLivepatch, "", "patch", err)
		}
		return
	}
	item := r.Budget.Item(0)
	defer item.Done()
	index := make(map[string]int, len(modules))
	for i := range modules {
		index[modules[i].Name] = i
	}
	read := int64(0)
	for _, e := range patches {
		if ctx.Err() != nil {
			return
		}
		p := &patchReader{fsys: k.machine, item: item, report: r, name: e.Name()}
		i, listed := index[e.Name()]
		if !listed {
			r.Problem(SourceLivepatch, e.Name(), "patch",
				fmt.Errorf("a live patch whose module is not in the list: %w", fact.ErrGone))
			continue
		}
		modules[i].Own.Patch = p.read()
		read++
	}
	r.Done(SourceLivepatch, fact.CountOf(read))
}

// A patchReader reads one live patch.
type patchReader struct {
	fsys   fs.FS
	item   *fact.Item
	report *fact.Report
	name   string
	count  int // functions so far
}

func (p *patchReader) lose(err error) { p.report.Problem(SourceLivepatch, p.name, "patch", err) }

func (p *patchReader) read() *LivePatch {
	dir := livepatchDir + "/" + p.name
	l := &LivePatch{Enabled: p.flag(dir+"/enabled", false), Transition: p.flag(dir+"/transition", false),
		Replace: p.flag(dir+"/replace", true)}
	if text := p.attr(dir+"/stack_order", true); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err == nil {
			l.StackOrder = fact.CountOf(int64(n))
		} else {
			p.lose(&fact.ParseError{Source: "/" + dir + "/stack_order", Reason: "is " + strconv.Quote(text)})
		}
	}
	entries, err := fs.ReadDir(p.fsys, dir)
	if err != nil {
		p.lose(err)
		return l
	}
	l.Objects = []PatchedObject{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := p.item.Keep(int64(len(e.Name())) + 64); err != nil {
			p.lose(err)
			return l
		}
		l.Objects = append(l.Objects, p.object(dir, e.Name()))
	}
	return l
}

// object reads what a patch changes in one object.
func (p *patchReader) object(dir, name string) PatchedObject {
	dir += "/" + name
	o := PatchedObject{Name: escape.UTF8(name), Patched: p.flag(dir+"/patched", true)}
	entries, err := fs.ReadDir(p.fsys, dir)
	if err != nil {
		p.lose(err)
		return o
	}
	o.Functions = []PatchedFunction{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if p.count++; p.count > maxPatched {
			p.lose(fmt.Errorf("%w: more than %d functions", fact.ErrTooLarge, maxPatched))
			return o
		}
		if err := p.item.Keep(int64(len(e.Name())) + 32); err != nil {
			p.lose(err)
			return o
		}
		o.Functions = append(o.Functions, p.function(dir, e.Name()))
	}
	slices.SortFunc(o.Functions, func(a, b PatchedFunction) int { return strings.Compare(a.Name, b.Name) })
	return o
}

// function reads the name of a directory, FUNCTION,POSITION (klp_init_func).
func (p *patchReader) function(dir, entry string) PatchedFunction {
	i := strings.LastIndexByte(entry, ',')
	if i > 0 {
		if n, err := strconv.ParseUint(entry[i+1:], 10, 31); err == nil {
			return PatchedFunction{Name: escape.UTF8(entry[:i]), Position: fact.CountOf(int64(n))}
		}
	}
	p.lose(&fact.ParseError{Source: "/" + dir, Reason: strconv.Quote(entry) + " is not FUNCTION,POSITION"})
	return PatchedFunction{Name: escape.UTF8(entry)}
}

// attr returns the text of a file. optional is set for one that older kernels have not.
func (p *patchReader) attr(name string, optional bool) string {
	text, err := limit.AppendAttr(p.fsys, nil, name, limit.Attr)
	if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
		p.lose(err)
	}
	return strings.TrimSpace(string(text))
}

// flag returns what a file of 0 or 1 says.
func (p *patchReader) flag(name string, optional bool) fact.Tri {
	switch text := p.attr(name, optional); text {
	case "1":
		return fact.Yes
	case "0":
		return fact.No
	case "":
		return ""
	default:
		p.lose(&fact.ParseError{Source: "/" + name, Reason: "is " + strconv.Quote(text)})
		return ""
	}
}
