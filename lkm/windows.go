// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
)

var windowsRow = row{
	os:   Windows,
	open: func(m Machine, o fact.Options) backend { return adapt(windows.Open(m, o), o.OS) },
	call: func(bool) fact.Call { return windows.Call },
	root: windows.Volume,
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(windows.ReadFile(ctx, fsys, name, head, o, r))
	},
}

var windowsLists = listSources{
	os:        Windows,
	loaded:    []string{windows.SourceModules},
	builtin:   []string{windows.SourceModules},
	installed: []string{windows.SourceRegistry, windows.SourceFolders, windows.SourceStore},
	optional:  []string{windows.SourceStore},
}
