// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// A VmallocArea is one area of the kernel's virtual memory that is in use.
type VmallocArea struct {
	// Start is its first address, End the one behind its last.
	Start, End uint64
}

// maxVmallocAreas caps the areas of one file.
const maxVmallocAreas = 1 << 20

// ParseVmallocinfo reads /proc/vmallocinfo: "0xSTART-0xEND SIZE …" a line. The error is
// fact.ErrRestricted when the kernel hides the addresses, or that of a line that makes no sense.
func ParseVmallocinfo(text []byte) ([]VmallocArea, error) {
	var areas []VmallocArea
	n := 0
	for line := range bytes.Lines(text) {
		n++
		word, _, _ := strings.Cut(string(line), " ")
		from, to, _ := strings.Cut(word, "-")
		start, errStart := strconv.ParseUint(from, 0, 64)
		end, errEnd := strconv.ParseUint(to, 0, 64)
		switch {
		case errStart != nil || errEnd != nil || end < start:
			return nil, &fact.ParseError{Source: "/" + VmallocFile, Line: n, Reason: "is no 0xSTART-0xEND"}
		case end == 0:
			return nil, fmt.Errorf("/%s: the kernel hides addresses: %w", VmallocFile, fact.ErrRestricted)
		case len(areas) == maxVmallocAreas:
			return nil, limit.TooLarge(VmallocFile, maxVmallocAreas)
		}
		areas = append(areas, VmallocArea{start, end})
	}
	return areas, nil
}

// inMemory reports whether the code of a module, at the address that its directory of /sys/module
// tells, is in an area that is in use. Areas do not match modules one to one, since the allocator
// serves others too and packs several into one: that one is in use says that the module's memory was
// not given back, and no area is held against anyone.
func (r *viewReader) inMemory(name string) (bool, error) {
	if !validName(name) {
		return false, &fact.ParseError{Source: "/" + SysModuleDir, Reason: "module name " + strconv.Quote(name) + " is no file name"}
	}
	text, err := limit.AppendAttr(r.FS, nil, SysModuleDir+"/"+name+"/"+sectionsDir+"/.text", limit.Attr)
	if err != nil {
		return false, fmt.Errorf("the module's address is not known: %w", err)
	}
	address, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	switch {
	case err != nil:
		return false, &fact.ParseError{Source: "/" + SysModuleDir, Field: sectionsDir, Reason: "is no address"}
	case address == 0:
		return false, fmt.Errorf("the kernel hides addresses: %w", fact.ErrRestricted)
	}
	info, err := limit.AppendFile(r.FS, nil, VmallocFile, limit.Text)
	if err != nil {
		return false, err
	}
	if len(info) == 0 {
		return false, &fs.PathError{Op: "read", Path: "/" + VmallocFile, Err: fs.ErrNotExist}
	}
	areas, err := ParseVmallocinfo(info)
	if err != nil {
		return false, err
	}
	for _, a := range areas {
		if a.Start <= address && address < a.End {
			return true, nil
		}
	}
	return false, nil
}
