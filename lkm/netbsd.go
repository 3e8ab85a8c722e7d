// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/netbsd"
)

var netbsdRow = row{
	os:      NetBSD,
	kernels: true,
	open:    func(m Machine, o fact.Options) backend { return adapt(netbsd.Open(m, o), o.OS) },
	call:    func(bool) fact.Call { return netbsd.Call },
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(netbsd.ReadFile(ctx, fsys, name, head, o, r))
	},
}

var netbsdLists = listSources{
	os:        NetBSD,
	loaded:    []string{netbsd.SourceModctl},
	builtin:   []string{netbsd.SourceModctl},
	installed: []string{netbsd.SourceModulePath},
}
