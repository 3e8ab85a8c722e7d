// SPDX-License-Identifier: Apache-2.0

// Package module holds the sources of kernel modules that tests build and load: out of tree and unsigned.
package module

import (
	"embed"
	"io/fs"
)

//go:embed src
var files embed.FS

// Sources gives the modules' sources with their Kbuild file.
func Sources() fs.FS {
	sub, err := fs.Sub(files, "src")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}

// The modules' names.
const (
	Base   = "kernelext_base"      // exports a function; has parameters of every visibility
	User   = "kernelext_user"      // uses Base; can never be unloaded ([permanent])
	Hidden = "kernelext_hidden"    // leaves the list, drops its directory or clears its taint, as its parameters say
	Patch  = "kernelext_livepatch" // a live patch of the kernel's cmdline_proc_show and of Base's function
	Slow   = "kernelext_slow"      // takes as long to load and to unload as its parameters say
)
