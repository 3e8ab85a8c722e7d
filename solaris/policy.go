// SPDX-License-Identifier: Apache-2.0

package solaris

import (
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
	text, err := limit.ReadFile(k.machine, systemFile, maxSystem)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := readSystem(systemFile, string(text), r)
	if k.options.Image {
		list = append(list, k.systemDirectory(r)...)
	}
	return list, nil
}

// systemDirectory returns the directives of the files in /etc/system.d of an illumos image, which are added to
// /etc/system.
func (k *Kernel) systemDirectory(r *fact.Report) []directive {
	entries, err := k.machine.ReadDir(systemFile + ".d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceSystem, "", "", err)
	}
	var out []directive
	entries, err = limit.Most(entries, 256, "/"+systemFile+".d")
	if err != nil {
		r.Problem(SourceSystem, "", "", err)
	}
	for _, e := range entries {
		name := systemFile + ".d/" + e.Name()
		text, err := limit.ReadFile(k.machine, name, maxSystem)
		if err != nil {
			r.Problem(SourceSystem, "", "", err)
			continue
		}
		out = append(out, readSystem(name, string(text), r)...)
	}
	return out
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
