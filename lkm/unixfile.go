// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/freebsd"
)

// readUnixFile reads a module file of FreeBSD, told by its content; ok is false for another file.
func readUnixFile(fsys fs.FS, name string, head []byte, o Options) (modules []Module, ok bool, err error) {
	max := (&freebsdBackend{options: o}).maxFile()
	if !strings.HasPrefix(string(head), "\x7fELF") {
		return nil, false, nil
	}
	m, err := freebsd.ReadMetadata(fsys, name, max)
	if err == nil {
		f := freebsd.DiskFile{Path: name, Metadata: m}
		return []Module{freebsdFile(&f, KindFreeBSDKld)}, true, nil
	}
	if !errors.Is(err, freebsd.ErrNoMetadata) {
		return nil, false, nil // whoever else may know it says what is wrong with it
	}
	return nil, false, nil
}
