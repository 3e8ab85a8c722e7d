// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/solaris"
)

var (
	illumosRow = row{os: Illumos, open: openSolaris, call: callSolaris}
	solarisRow = row{os: Solaris, open: openSolaris, call: callSolaris}

	illumosLists = listSources{
		os: Illumos, loaded: []string{solaris.SourceModinfo}, builtin: []string{solaris.SourceModinfo},
		installed: []string{solaris.SourceModulePath},
	}
	solarisLists = listSources{
		os: Solaris, loaded: []string{solaris.SourceModinfo}, builtin: []string{solaris.SourceModinfo},
		installed: []string{solaris.SourceModulePath},
	}
)

func openSolaris(m Machine, o fact.Options) backend { return adapt(solaris.Open(m, o), o.OS) }

func callSolaris(bool) fact.Call { return solaris.Call }
