// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A Record is one kernel extension: what every system says, and in Own the rest of its row. ID is of its path: several
// instances of one path are several records. Size is that of its code, in bytes.
type Record = fact.Record[fact.Other]

// fieldDataAddress is the field of an extension that says where its data starts.
const fieldDataAddress = "dataAddress"

// record returns the extension of a path; an archive's member is in brackets or parentheses after it.
func record(path string, text fact.Address, size fact.Count) Record {
	path = escape.UTF8(path)
	m := Record{
		ID: string(fact.KindAIXKext) + ":" + path, Kind: fact.KindAIXKext, Name: path[strings.LastIndexByte(path,
			'/')+1:],
		State: fact.StateLoaded, Path: path, Size: size, Address: text, Own: &fact.Other{System: fact.AIX},
	}
	m.Own.AddCount("textSize", size)
	return m
}

// hideAddresses takes the addresses out of the records, for a caller that did not ask for them.
func hideAddresses(records []Record) {
	for i := range records {
		m := &records[i]
		m.Address = 0
		m.Own.Fields = slices.DeleteFunc(m.Own.Fields, func(f fact.Field) bool { return f.Name == fieldDataAddress })
	}
}
