// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// maxKexts bounds one list; real ones have up to 800.
const maxKexts = 16384

// parseLoadedInfo decodes the answer of OpLoadedKextInfo, a property list in any format. It returns the kexts in
// ascending order of tag, unknown tags last, then by bundle id. A value of an unexpected type costs that value, which
// is a problem of its record. The error is a fact.ParseError.
func parseLoadedInfo(data []byte, r *fact.Report) ([]Record, error) {
	n, err := decodePlist(SourceKextManager, data)
	if err != nil {
		return nil, err
	}
	malformed := func(kind error, format string, args ...any) error {
		return &fact.ParseError{Source: SourceKextManager, Field: "plist",
			Reason: fmt.Sprintf(format, args...), Err: kind}
	}
	if n.kind != dictNode {
		return nil, malformed(nil, "it is %s, not a dictionary", n.kind)
	}
	if len(n.dict) > maxKexts {
		return nil, malformed(fact.ErrTooLarge, "more than %d kexts", maxKexts)
	}
	modules := make([]Record, 0, len(n.dict))
	for _, id := range n.keys() {
		v := n.dict[id]
		if v.kind != dictNode {
			r.Problem(SourceKextManager, id, "", &fact.ParseError{Source: SourceKextManager,
				Reason: "its information is " + v.kind.String() + ", not a dictionary"})
			continue
		}
		m := loadedRecord(escape.UTF8(id), v)
		if v.dict["OSBundleDependencies"].kind == noNode {
			m.Own.LinkedAgainst = []Link{} // the kernel leaves an empty list out
		}
		modules = append(modules, m)
	}
	slices.SortStableFunc(modules, byTag)
	connect(modules, SourceKextManager)
	return modules, nil
}

// byTag orders kexts by load tag, unknown tags last, then by bundle id.
func byTag(a, b Record) int {
	ta, okA := a.Own.LoadTag.Get()
	tb, okB := b.Own.LoadTag.Get()
	if okA != okB {
		if okA {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(ta, tb), strings.Compare(a.Own.BundleID, b.Own.BundleID))
}

// loadedRecord returns the record of one kext from its information.
func loadedRecord(id string, n node) Record {
	var own fact.Report // its problems are the record's
	l := &losses{&own, SourceKextManager, id}
	version := n.text("CFBundleVersion", l)
	k := &Kext{
		BundleID:          id,
		CompatibleVersion: n.text("OSBundleCompatibleVersion", l),
		PackageType:       n.text("CFBundlePackageType", l),
	}
	m := Record{Kind: fact.KindMacOSKext, Name: id, State: fact.StateLoaded, Version: version,
		Path: n.text("OSBundlePath", l), Own: k}
	k.Collection = n.text("_BundleCollectionType", l)
	k.LoadTag = n.count("OSBundleLoadTag", l)
	m.Refs = n.count("OSBundleRetainCount", l)
	m.Size = n.count("OSBundleLoadSize", l)
	k.WiredSize = n.count("OSBundleWiredSize", l)
	k.Interface = n.tri("OSBundleIsInterface", l)
	k.KernelResource = n.tri("OSKernelResource", l)
	k.Prelinked = n.tri("OSBundlePrelinked", l)
	k.Started = n.tri("OSBundleStarted", l)
	if own := n.text("CFBundleIdentifier", l); own != "" && own != id {
		l.add("CFBundleIdentifier", &fact.ParseError{Source: SourceKextManager, Field: "CFBundleIdentifier",
			Reason: fmt.Sprintf("%q is listed as %q", own, id)})
	}
	if k.Collection == "??" {
		k.Collection = ""
	}
	if b := n.bytes("OSBundleUUID", l); b != nil {
		if k.UUID = formatUUID(b); k.UUID == "" {
			l.add("uuid", &fact.ParseError{Source: SourceKextManager, Field: "OSBundleUUID",
				Reason: fmt.Sprintf("%d bytes", len(b))})
		}
	}
	m.ContentID = k.UUID
	// Addresses are 64 bits that the reply carries as signed numbers. A DriverKit extension has a
	// made-up one: its load tag.
	if address, ok := n.integer("OSBundleLoadAddress", l); ok && k.PackageType != "DEXT" {
		m.Address = fact.Address(address)
	}
	if cpu := n.dict["OSBundleCPUType"]; cpu.kind == integerNode {
		k.Architectures = []string{archName(uint32(cpu.num), uint32(n.dict["OSBundleCPUSubtype"].num))}
	}
	k.LinkedAgainst = linksOf(n, l)
	m.Problems = own.Problems
	return m
}

// linksOf returns the load tags of the direct dependencies, ascending; nil is unknown.
func linksOf(n node, l *losses) []Link {
	list := n.array("OSBundleDependencies", l)
	if list == nil {
		return nil
	}
	tags := make([]int64, 0, len(list))
	for _, v := range list {
		if v.kind != integerNode || v.num > 1<<32 {
			l.wrongType("OSBundleDependencies", "a load tag", v)
			continue
		}
		tags = append(tags, int64(v.num))
	}
	return links(tags)
}

// links returns load tags as links, ascending. Their bundle ids are filled in when the whole list is known.
func links(tags []int64) []Link {
	slices.Sort(tags)
	all := make([]Link, len(tags))
	for i, tag := range tags {
		all[i].Tag = fact.CountOf(tag)
	}
	return all
}
