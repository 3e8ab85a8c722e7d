// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/netware"
)

var netwareRow = row{
	os:     NetWare,
	reason: "no live look, only NLM files and captures of MODULES",
	readFile: func(
		ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
	) ([]Module, bool, error) {
		return asModules(netware.ReadFile(ctx, fsys, name, head, o, r))
	},
}
