// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// A Filter is one file system filter that the filter manager knows.
type Filter struct {
	// Name is the filter driver's service.
	Name string `json:"name"`
	// Altitude is its place, a decimal number of any length kept as text; absent for a legacy
	// filter, which has none.
	Altitude string `json:"altitude,omitzero"`
	// Instances is how many volumes it is attached to; absent for a legacy filter.
	Instances fact.Count `json:"instances,omitzero"`
	// Frame is the filter manager's frame; absent for a legacy filter.
	Frame fact.Count `json:"frame,omitzero"`
	// Legacy says that it is not a minifilter.
	Legacy bool `json:"legacy,omitzero"`
}

func filterError(format string, args ...any) error {
	return &fact.ParseError{Source: SourceFilters, Reason: fmt.Sprintf(format, args...)}
}

// parseFilters reads the answer to OpFilters: FILTER_AGGREGATE_STANDARD_INFORMATION structures,
// each with NextEntryOffset, flags (1 minifilter, 2 legacy) and the kind's own part.
func parseFilters(b []byte) ([]Filter, error) {
	list := []Filter{}
	le := binary.LittleEndian
	for pos := 0; pos < len(b); {
		e := b[pos:]
		if len(e) < 12 {
			return nil, filterError("entry of %d bytes", len(e))
		}
		if len(list) == maxServices {
			return nil, filterError("more than %d entries", maxServices)
		}
		next, flags := int(le.Uint32(e)), le.Uint32(e[4:])
		if next != 0 && (next < 12 || next > len(e)) {
			return nil, filterError("offset %d, %d bytes left", next, len(e))
		}
		if next != 0 {
			e = e[:next]
		}
		f, err := parseFilter(e, flags)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
		if next == 0 {
			return list, nil
		}
		pos += next
	}
	return list, nil
}

func parseFilter(e []byte, flags uint32) (Filter, error) {
	le := binary.LittleEndian
	switch {
	case flags&1 != 0 && len(e) >= 28:
		// Flags, FrameID, NumberOfInstances, then length and offset of name and altitude.
		f := Filter{Frame: fact.CountOf(int64(le.Uint32(e[12:]))), Instances: fact.CountOf(int64(le.Uint32(e[16:])))}
		name, ok1 := filterText(e, le.Uint16(e[20:]), le.Uint16(e[22:]))
		alt, ok2 := filterText(e, le.Uint16(e[24:]), le.Uint16(e[26:]))
		if !ok1 || !ok2 {
			return f, filterError("text outside the entry")
		}
		f.Name, f.Altitude = name, alt
		return f, nil
	case flags&2 != 0 && len(e) >= 16:
		f := Filter{Legacy: true}
		name, ok := filterText(e, le.Uint16(e[12:]), le.Uint16(e[14:]))
		if !ok {
			return f, filterError("text outside the entry")
		}
		f.Name = name
		return f, nil
	}
	return Filter{}, filterError("entry of %d bytes with flags %#x", len(e), flags)
}

func filterText(e []byte, length, offset uint16) (string, bool) {
	if int(offset)+int(length) > len(e) {
		return "", false
	}
	return utf16text.Decode(e[offset : int(offset)+int(length)]), true
}
