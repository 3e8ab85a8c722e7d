// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// A moduleStat is one struct module_stat: what modstat(2) says of a module inside a linker file.
type moduleStat struct {
	// Name is the module's name, such as "pci/nvme"; bytes that are not UTF-8 are written \xNN.
	Name string
	// Cut is set if the kernel's structure has no room for the whole name (32 bytes before version
	// 3).
	Cut bool
	// Refs is the module's reference count.
	Refs int32
	// ID is the module's id, unique among all modules while it is loaded.
	ID int32
	// Data is the driver's own value as the kernel's union holds it; nil in version 1.
	Data *ModuleData
}

// A ModuleData is the value that a module keeps for its own use, read as each member of the
// kernel's union; a system-call module has its slot number there.
type ModuleData struct {
	// Int is the union read as an int.
	Int int32 `json:"int"`
	// Uint is it read as an unsigned int.
	Uint uint32 `json:"uint"`
	// Ulong is it read as an unsigned long.
	Ulong uint64 `json:"ulong"`
}

// moduleLayout are the offsets of one struct module_stat.
type moduleLayout struct {
	size           int
	name, refs, id int // name is its array's length
	data, bits     int // data is 0 if the structure has no data
}

var moduleLayouts = []moduleLayout{
	{1048, 1024, 1028, 1032, 1040, 64},
	{1040, 1024, 1028, 1032, 1036, 32},
	{56, 32, 36, 40, 48, 64},
	{48, 32, 36, 40, 44, 32},
	{44, 32, 36, 40, 0, 0},
}

// decodeModuleStat decodes an answer of OpModStat.
func decodeModuleStat(b []byte) (moduleStat, error) {
	for _, l := range moduleLayouts {
		if l.size == len(b) {
			return moduleStatOf(b, l)
		}
	}
	return moduleStat{}, &fact.ParseError{Source: OpModStat, Field: "version",
		Reason: fmt.Sprintf("%d bytes are not a version of struct module_stat", len(b))}
}

func moduleStatOf(b []byte, l moduleLayout) (moduleStat, error) {
	order, err := orderOf(b, OpModStat)
	if err != nil {
		return moduleStat{}, err
	}
	name, ended := fixedString(b[4 : 4+l.name])
	if name == "" {
		return moduleStat{}, &fact.ParseError{Source: OpModStat, Field: "name", Offset: 4, Reason: "empty"}
	}
	m := moduleStat{Name: name, Cut: !ended, Refs: int32(order.Uint32(b[l.refs:])), ID: int32(order.Uint32(b[l.id:]))}
	if l.data != 0 {
		first := order.Uint32(b[l.data:]) // an int member lies at the union's start in either byte order
		m.Data = &ModuleData{Int: int32(first), Uint: first, Ulong: word(b[l.data:], order, l.bits)}
	}
	return m, nil
}
