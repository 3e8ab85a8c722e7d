// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

var linuxRow = row{
	os:      Linux,
	kernels: true,
	open:    func(m Machine, o fact.Options) backend { return adapt(linux.Open(m, o), o.OS) },
	call:    func(bool) fact.Call { return linux.Call },
	live:    func(m *liveMachine) { m.events, m.call = linux.ListenUevents, linux.CallBelow(m.FS, m.call) },
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(linux.ReadFile(ctx, fsys, name, head, o, r))
	},
}

var linuxLists = listSources{
	os:        Linux,
	loaded:    []string{linux.SourceModules, linux.SourceLsmod},
	builtin:   []string{linux.SourceBuiltin},
	installed: []string{linux.SourceTree},
}
