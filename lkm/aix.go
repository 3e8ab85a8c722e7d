// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/fact"
)

var aixRow = row{
	os:   AIX,
	open: func(m Machine, o fact.Options) backend { return adapt(aix.Open(m, o), o.OS) },
	call: func(exec bool) fact.Call {
		if exec {
			return withFallback(aix.Call, aix.Exec)
		}
		return aix.Call
	},
}

var aixLists = listSources{
	os:        AIX,
	loaded:    []string{aix.SourceGenkex},
	builtin:   []string{aix.SourceGenkex},
	installed: []string{aix.SourceGenkex},
}
