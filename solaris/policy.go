// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
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
	if k.options.OS == fact.Illumos {
		p.Loading = fact.LoadingAny // it has no signatures of modules and no securelevel
	}
	list, err := k.directives(r)
	if err != nil {
		p.Facts = append(p.Facts, fact.PolicyFact{Name: wordExclude, Source: SourceSystem, Code: fact.CodeOf(err)})
	}
	for _, d := range list {
		p.Facts = append(p.Facts, d.fact())
	}
	r.Policy(p)
	return p, ctx.Err()
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
