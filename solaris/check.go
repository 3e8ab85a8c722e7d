// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/judge"
)

// reasonFiles is the code of the reason that the files of modules are not read.
const reasonFiles = "module_files"

// Check answers for each module that the query names, with the directives of /etc/system about it.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	if k.options.Image {
		return k.checkImage(ctx, query, r)
	}
	files := fmt.Errorf("module files of %s: %w", k.options.OS, errors.ErrUnsupported)
	c := judge.Case[Module]{
		Query: query,
		// Whether a module that was unloaded again can come back depends on its file.
		Load: fact.Unsure(reasonFiles, files.Error()),
	}
	modules, err := k.Loaded(ctx, new(fact.Header), r)
	c.Add(SourceModinfo, modules, err, r)
	list, err := k.directives(r)
	c.Lose(SourceSystem, err)
	c.Lose(SourceModulePath, files)
	out := c.Verdicts()
	name := strings.TrimPrefix(query, string(k.kind())+":")
	for _, d := range list {
		if d.Name() == name {
			d.explain(out)
		}
	}
	return out, ctx.Err()
}

// explain adds the directive to the verdicts on its module.
func (d directive) explain(verdicts []fact.Verdict) {
	reason := fact.Reason{Code: d.Word, Text: d.Word + ": " + d.Module, File: "/" + d.File, Line: d.Line}
	for i := range verdicts {
		v := &verdicts[i]
		if d.Word == wordForceload {
			v.Triggers = append(v.Triggers, reason)
		} else {
			v.Reasons = append(v.Reasons, reason)
		}
	}
}
