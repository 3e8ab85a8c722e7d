// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
)

var freebsdRow = row{
	os:      FreeBSD,
	kernels: true,
	open:    openFreeBSD,
	call:    func(bool) fact.Call { return freebsd.Call },
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(freebsd.ReadFile(ctx, fsys, name, head, o, r))
	},
}

var freebsdLists = listSources{
	os:        FreeBSD,
	loaded:    []string{freebsd.SourceKldstat},
	builtin:   []string{freebsd.SourceKldstat},
	installed: []string{freebsd.SourceModulePath},
}

var dragonflyRow = row{
	os:      DragonFly,
	kernels: true,
	open:    openFreeBSD,
	call:    func(bool) fact.Call { return freebsd.Call },
}

var dragonflyLists = listSources{
	os:        DragonFly,
	loaded:    []string{freebsd.SourceKldstat},
	builtin:   []string{freebsd.SourceKldstat},
	installed: []string{freebsd.SourceModulePath},
}

func openFreeBSD(m Machine, o fact.Options) backend { return adapt(freebsd.Open(m, o), o.OS) }
