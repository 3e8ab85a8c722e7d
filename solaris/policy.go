// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/unsettled"
)

// systemFile is the file that says which modules are excluded or forced to load at boot.
const systemFile = "etc/system"

// maxSystem is the largest systemFile that is read, in bytes.
const maxSystem = 4 << 20

// directives returns the directives of /etc/system; none if there is no such file.
func (k *Kernel) directives(r *fact.Report) ([]directive, error) {
	list, err := k.system(systemFile, r)
	if errors.Is(err, fs.ErrNotExist) {
		list, err = []directive{}, nil
	}
	if err == nil && k.options.Image {
		var more []directive
		more, err = k.systemDirectory(r)
		list = append(list, more...)
	}
	return list, err
}

// system returns the directives of one file.
func (k *Kernel) system(name string, r *fact.Report) ([]directive, error) {
	text, item, err := limit.ReadItem(k.machine, name, maxSystem, r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	return readSystem(name, string(text), item, r)
}

// systemDirectory returns the directives of the files in /etc/system.d of an illumos image, which are added to
// /etc/system. The error is that of a file that was not read.
func (k *Kernel) systemDirectory(r *fact.Report) ([]directive, error) {
	entries, err := k.machine.ReadDir(systemFile + ".d")
	var lost error
	lose := func(err error) {
		if err != nil {
			r.Problem(SourceSystem, "", "", err)
			lost = cmp.Or(lost, err)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		lose(err)
	}
	var out []directive
	entries, err = limit.Most(entries, 256, "/"+systemFile+".d")
	lose(err)
	for _, e := range entries {
		list, err := k.system(systemFile+".d/"+e.Name(), r)
		lose(err)
		out = append(out, list...)
	}
	return out, lost
}

// Policy returns what the system enforces on loading.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	if k.options.OS == fact.Illumos { // by its design: it has no signatures of modules, no securelevel, and no setting
		p.Loading = fact.LoadingAny
	}
	list, err := k.directives(r)
	if err != nil {
		p.Facts = append(p.Facts, fact.PolicyFact{Name: wordExclude, Source: SourceSystem, Code: fact.CodeOf(err)})
	}
	for _, d := range list {
		p.Facts = append(p.Facts, d.fact())
	}
	if k.options.Image {
		if why, ok := k.missing(r); ok {
			unsettled.Kernel(p, why)
		}
	}
	r.Policy(p)
	return p, ctx.Err()
}

// missing says why an image has no kernel whose policy this could be: neither unix nor genunix is in a directory that
// the kernel loads from (kernel(8)). The root of a zone may have none, and one whose kernel is on another disk.
func (k *Kernel) missing(r *fact.Report) (fact.Problem, bool) {
	part := r.Part()
	for _, root := range k.moduleRoots(nil, part) {
		for _, bits := range append([]string{""}, wide...) {
			for _, file := range []string{"unix", "genunix"} {
				_, err := fs.Stat(k.machine, path.Join(root, bits, file))
				if err == nil {
					return fact.Problem{}, false
				}
				if !errors.Is(err, fs.ErrNotExist) {
					part.Problem(SourceModulePath, "", "policy", err)
				}
			}
		}
	}
	if p, ok := part.First(SourceModulePath); ok {
		return p, true
	}
	return fact.Problem{Source: SourceModulePath, Code: fact.CodeAbsent,
		Text: "this root has no kernel: it is a zone's, or a disk of it is not mounted"}, true
}

func (d directive) fact() fact.PolicyFact {
	f := fact.PolicyFact{
		Name: d.Word, Value: d.Module, Source: SourceSystem, File: "/" + d.File, Line: d.Line,
	}
	switch d.Word {
	case wordExclude:
		f.Effect = "this module is not loaded at boot"
	case wordForceload:
		f.Effect = "this module is loaded at boot"
	}
	return f
}
