// SPDX-License-Identifier: Apache-2.0

package pe

import "encoding/binary"

// dirDelayImport is the data directory's entry of the images that are loaded at the first call of a function.
const dirDelayImport = 13

// delaySize is the size of one descriptor, delayByRVA the attribute that its addresses are relative to the image.
const (
	delaySize  = 32
	delayByRVA = 1
)

// delayImports reads the images that are loaded at the first call of a function; nil if there is no such table.
func (m *image) delayImports() ([]Import, error) {
	dir := m.dirs[dirDelayImport]
	if dir.addr == 0 {
		return nil, nil
	}
	var list []Import
	left := maxFunctions
	for i := 0; ; i++ {
		if i == maxLibraries {
			return list, peError("delayImports", "more than %d images", maxLibraries)
		}
		d, ok := m.at(dir.addr+uint32(delaySize*i), delaySize)
		if !ok {
			return list, peError("delayImports", "descriptor %d is outside the file", i)
		}
		le := binary.LittleEndian
		name, names := le.Uint32(d[4:]), le.Uint32(d[16:])
		switch {
		case name == 0:
			return list, nil
		case le.Uint32(d)&delayByRVA == 0:
			return list, peError("delayImports", "descriptor %d has addresses of an old form", i)
		}
		lib, ok := m.text(name)
		if !ok {
			return list, peError("delayImports", "name of image %d is outside the file", i)
		}
		funcs, err := m.functions(names, &left)
		list = append(list, Import{Library: lib, Functions: funcs})
		if err != nil {
			return list, err
		}
	}
}
