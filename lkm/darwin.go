// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
)

var darwinRow = row{
	os:      Darwin,
	kernels: true,
	open:    func(m Machine, o fact.Options) backend { return adapt(darwin.Open(m, o), o.OS) },
	call: func(exec bool) fact.Call {
		if exec {
			return withFallback(darwin.Call, darwin.ExecCall)
		}
		return darwin.Call
	},
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(darwin.ReadFile(ctx, fsys, name, head, o, r))
	},
}

var darwinLists = listSources{
	os:        Darwin,
	loaded:    []string{darwin.SourceKextManager, darwin.SourceKmutil, darwin.SourceKextstat},
	builtin:   []string{darwin.SourceKextManager, darwin.SourceKmutil, darwin.SourceKextstat},
	installed: []string{darwin.SourceBundles, darwin.SourceCollections},
	optional:  []string{darwin.SourceCollections},
}
