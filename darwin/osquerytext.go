// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// SourceOsquery is the source of osquery's table kernel_extensions.
const SourceOsquery = "kernel_extensions"

// ReadOsquery reads osquery's table kernel_extensions as lines, JSON, CSV or a box.
func ReadOsquery(text string, r *fact.Report) fact.Capture[Kext] {
	t := capture.Table{Source: SourceOsquery}
	c := &reading{source: SourceOsquery, report: r}
	c.Records = []Record{}
	header := func(columns []string) bool {
		return slices.Contains(columns, "idx") && slices.Contains(columns, "linked_against")
	}
	for _, o := range t.Objects(text, capture.ObjectForm{Header: header, Separators: "="}) {
		m, ok := osqueryKext(o.Get)
		if !ok || c.full() {
			t.Stray(o.Line, o.Text)
			continue
		}
		c.add(m)
	}
	c.Stray = t.Strays
	if len(c.Records) == 0 {
		return fact.Capture[Kext]{}
	}
	t.Report(r)
	c.Sure = true
	c.selects(missingTags(c.Records))
	c.loadedKexts()
	return c.done()
}

// osqueryKext returns a row as a record; false if a value has not the shape of its column.
func osqueryKext(get func(string) string) (Record, bool) {
	tag, err := strconv.ParseInt(get("idx"), 10, 64)
	refs, err2 := strconv.ParseInt(get("refs"), 10, 64)
	size, err3 := strconv.ParseInt(get("size"), 10, 64)
	id := get("name")
	if err != nil || err2 != nil || err3 != nil || !isBundleID(id) || get("linked_against") == "" {
		return Record{}, false
	}
	m := Record{Kind: fact.KindMacOSKext, Name: id, State: fact.StateLoaded, Version: get("version"), Path: get("path"),
		Size: fact.CountOf(size), Refs: fact.CountOf(refs), Own: &Kext{BundleID: id, LoadTag: fact.CountOf(tag)}}
	links := strings.Trim(get("linked_against"), "<> ")
	m.Own.LinkedAgainst = []Link{}
	for word := range strings.FieldsSeq(links) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return Record{}, false
		}
		m.Own.LinkedAgainst = append(m.Own.LinkedAgainst, Link{Tag: fact.CountOf(n)})
	}
	return m, true
}
