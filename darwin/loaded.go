// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// maxKexts bounds one list; real ones have up to 800.
const maxKexts = 16384

// A Loaded is one kext of the kernel's list, whichever way it was read. Texts say less than the
// call: what they lack is empty.
type Loaded struct {
	BundleID          string
	Version           string
	CompatibleVersion string
	PackageType       string // KEXT or DEXT
	Path              string // of the bundle; may be a staged copy, or not on disk
	ExecutablePath    string
	UUID              string
	Architecture      string
	Collection        string // Primary, System, Auxiliary or Codeless

	Tag     fact.Count   // the load tag, kextstat's Index
	Refs    fact.Count   // kextstat's Refs
	Size    fact.Count   // bytes
	Wired   fact.Count   // bytes of it that stay in memory
	Address fact.Address // 0 where the kernel does not say
	Links   []int64      // load tags of direct dependencies, ascending; nil is unknown

	Interface, KernelResource, Prelinked, Started fact.Tri // what the kernel says under these names

	Problems []fact.Problem // what was lost of this kext
}

// A LoadedList is the kernel's list.
type LoadedList struct {
	Kexts []Loaded // in ascending order of tag, unknown tags last, then by bundle id
	// Problems are about the list as a whole.
	Problems []fact.Problem
}

// ParseLoadedInfo decodes the answer of OpLoadedKextInfo, a property list in any format. A value of
// an unexpected type costs that value. The error is a fact.ParseError.
func ParseLoadedInfo(data []byte) (LoadedList, error) {
	var list LoadedList
	n, err := decodePlist(SourceKextManager, data)
	if err != nil {
		return list, err
	}
	if n.kind != dictNode {
		return list, &fact.ParseError{Source: SourceKextManager, Field: "plist", Reason: "it is " + n.kind.String() + ", not a dictionary"}
	}
	if len(n.dict) > maxKexts {
		return list, &fact.ParseError{Source: SourceKextManager, Field: "plist", Reason: fmt.Sprintf("more than %d kexts", maxKexts), Err: fact.ErrTooLarge}
	}
	list.Kexts = make([]Loaded, 0, len(n.dict))
	for id, v := range n.dict {
		if v.kind != dictNode {
			list.Problems = append(list.Problems, fact.ProblemOf(SourceKextManager, escape.UTF8(id), "",
				&fact.ParseError{Source: SourceKextManager, Reason: "its information is " + v.kind.String() + ", not a dictionary"}))
			continue
		}
		k := loadedOf(escape.UTF8(id), v)
		if v.dict["OSBundleDependencies"].kind == noNode {
			k.Links = []int64{} // the kernel leaves an empty list out
		}
		list.Kexts = append(list.Kexts, k)
	}
	slices.SortFunc(list.Problems, func(a, b fact.Problem) int { return compareText(a.Subject, b.Subject) })
	sortLoaded(list.Kexts)
	return list, nil
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sortLoaded(kexts []Loaded) {
	slices.SortStableFunc(kexts, func(a, b Loaded) int {
		ta, okA := a.Tag.Get()
		tb, okB := b.Tag.Get()
		switch {
		case okA != okB:
			if okA {
				return -1
			}
			return 1
		case ta != tb:
			if ta < tb {
				return -1
			}
			return 1
		}
		return compareText(a.BundleID, b.BundleID)
	})
}

// loadedOf takes one kext's information.
func loadedOf(id string, n node) Loaded {
	l := &losses{source: SourceKextManager, subject: id}
	k := Loaded{
		BundleID:          id,
		Version:           n.text("CFBundleVersion", l),
		CompatibleVersion: n.text("OSBundleCompatibleVersion", l),
		PackageType:       n.text("CFBundlePackageType", l),
		Path:              n.text("OSBundlePath", l),
		ExecutablePath:    n.text("OSBundleExecutablePath", l),
		Collection:        n.text("_BundleCollectionType", l),
		Tag:               n.count("OSBundleLoadTag", l),
		Refs:              n.count("OSBundleRetainCount", l),
		Size:              n.count("OSBundleLoadSize", l),
		Wired:             n.count("OSBundleWiredSize", l),
		Interface:         n.tri("OSBundleIsInterface", l),
		KernelResource:    n.tri("OSKernelResource", l),
		Prelinked:         n.tri("OSBundlePrelinked", l),
		Started:           n.tri("OSBundleStarted", l),
	}
	if own := n.text("CFBundleIdentifier", l); own != "" && own != id {
		l.add("CFBundleIdentifier", &fact.ParseError{Source: SourceKextManager, Field: "CFBundleIdentifier", Reason: fmt.Sprintf("%q is listed as %q", own, id)})
	}
	if k.Collection == "??" {
		k.Collection = ""
	}
	if k.ExecutablePath == id { // what the kernel puts there for code that is built in
		k.ExecutablePath = ""
	}
	if b := n.bytes("OSBundleUUID", l); b != nil {
		if k.UUID = formatUUID(b); k.UUID == "" {
			l.add("uuid", &fact.ParseError{Source: SourceKextManager, Field: "OSBundleUUID", Reason: fmt.Sprintf("%d bytes", len(b))})
		}
	}
	// Addresses are 64 bits that the reply carries as signed numbers. A DriverKit extension has a
	// made-up one: its load tag.
	if address, ok := n.integer("OSBundleLoadAddress", l); ok && k.PackageType != "DEXT" {
		k.Address = fact.Address(address)
	}
	if n.dict["OSBundleCPUType"].kind == integerNode {
		k.Architecture = archName(uint32(n.dict["OSBundleCPUType"].num), uint32(n.dict["OSBundleCPUSubtype"].num))
	}
	k.Links = linksOf(n, l)
	k.Problems = l.problems
	return k
}

func linksOf(n node, l *losses) []int64 {
	list := n.array("OSBundleDependencies", l)
	if list == nil {
		return nil
	}
	links := make([]int64, 0, len(list))
	for _, v := range list {
		if v.kind != integerNode || v.num > 1<<32 {
			l.wrongType("OSBundleDependencies", "a load tag", v)
			continue
		}
		links = append(links, int64(v.num))
	}
	slices.Sort(links)
	return links
}
