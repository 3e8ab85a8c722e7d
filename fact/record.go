// SPDX-License-Identifier: Apache-2.0

package fact

import "github.com/kernelext/kernelext/internal/escape"

// A Kind says what a Module is, and is the first part of its ID.
type Kind string

// The kinds.
const (
	KindLinuxModule   Kind = "linux_module"
	KindFreeBSDKld    Kind = "freebsd_kld"
	KindDragonFlyKld  Kind = "dragonfly_kld"
	KindNetBSDModule  Kind = "netbsd_module"
	KindIllumosModule Kind = "illumos_module"
	KindSolarisModule Kind = "solaris_module"
	KindAIXKext       Kind = "aix_kext"
	KindVxWorksModule Kind = "vxworks_module"
	KindNetWareNLM    Kind = "netware_nlm"
	KindMacOSKext     Kind = "macos_kext"
	KindMacOSDext     Kind = "macos_dext"
	KindMacOSSysext   Kind = "macos_sysext" // a system extension that is not a DriverKit driver
	KindWindowsDriver Kind = "windows_driver"
)

// A State says where a Module is in its life. Empty means unknown.
type State string

// The states.
const (
	StateLoaded    State = "loaded"    // in the kernel
	StateLoading   State = "loading"   // being put into the kernel
	StateUnloading State = "unloading" // being taken out of it
	StateBuiltin   State = "builtin"   // compiled into the kernel
	StateInstalled State = "installed" // on disk only
	StateStaged    State = "staged"    // in a store of drivers, and not installed from there
)

// A Record is one kernel extension as its kernel's package reports it: what means the same on every system, and
// in Own what only that kernel says. The fields are those of lkm.Module; an empty field is unknown unless its
// comment says otherwise.
type Record[Own any] struct {
	// ID is Kind, a colon and the canonical name: "linux_module:nvme". It is unique in a Snapshot
	// and the same across boots and versions. A second file of the same name gets "#" and its Path, a second module
	// without a Path "#2".
	ID string
	// Kind says what it is.
	Kind Kind
	// Name is the kernel's own name for it, with bytes that are not UTF-8 written \xNN. It may hold
	// control characters: escape it before showing it on a terminal.
	Name string
	// State says where it is in its life.
	State State
	// Version is the extension's own version, as its maker wrote it; most Linux modules have none.
	Version string
	// Description is what its maker says it does; only with DetailFiles.
	Description string
	// License is the license that the extension's own file declares, in its words; several with ", " between them.
	// Linux modules have one (MODULE_LICENSE); only with DetailFiles. Empty is unknown, or none declared.
	License string
	// Path is the file it was, or would be, loaded from, as an absolute path on its machine. Linux
	// does not keep it: it is the file that would be loaded now, only with DetailFiles.
	Path string
	// Size is its memory in the kernel in bytes when it is loaded, else the file's size in bytes.
	Size Count
	// Address is where its code starts; only with DetailAddresses, and only when the kernel shows
	// it to the caller.
	Address Address
	// Refs is how many users the kernel counts; unknown where the kernel does not count. Linux
	// says -1 while a module is being unloaded.
	Refs Count
	// Requires are the names of the modules that this one needs, sorted: of a loaded one, those
	// the running kernel knows of; of one on disk, those that the system's index or its file names.
	// Linux's index has also what those need in turn; linux.depends are the direct ones. Empty means
	// none.
	Requires []string
	// UsedBy are the names of the modules that need this one, in the same sense, in the kernel's
	// order. Empty means none.
	UsedBy []string
	// ContentID identifies the code: the build-id on Linux, in lower-case hexadecimal.
	ContentID string
	// Hashes are digests of the file at Path as it is stored; only with DetailHashes.
	Hashes Hashes
	// Package is the package that the file at Path belongs to; only with DetailFiles. nil is unknown, and one without a
	// name says that no package has the file.
	Package *Package
	// OnDisk says whether the loaded code is that of the file which would be loaded now.
	OnDisk OnDisk
	// Signature is what is known of who signed it.
	Signature Signature
	// Origin says whose code it is, with the evidence.
	Origin Origin
	// Problems are about this module alone: facts that could not be read, and why.
	Problems []Problem

	// Own is the kernel's own object; never nil in a finished record.
	Own *Own
}

// AddProblem adds a Problem about the module, or counts it if there are MaxProblems already.
func (m *Record[Own]) AddProblem(p Problem) {
	n := len(m.Problems)
	switch {
	case n < MaxProblems:
		m.Problems = append(m.Problems, p)
	case n == MaxProblems:
		m.Problems = append(m.Problems, Problem{Source: p.Source, Subject: p.Subject, Code: p.Code, Text: manyMore,
			Count: 1})
	default:
		last := &m.Problems[n-1]
		last.Count++
		if last.Code == CodeOlder {
			last.Code = p.Code // a list forgives CodeOlder, and not what p counts for
		}
	}
}

// Problem adds a Problem about the module made of err.
func (m *Record[Own]) Problem(source, field string, err error) {
	m.AddProblem(ProblemOf(source, escape.UTF8(m.Name), field, err))
}

// Hashes are digests of a file's bytes, in lower-case hexadecimal. An empty one was not computed.
type Hashes struct {
	// SHA256 is the SHA-256 digest.
	SHA256 string `json:"sha256,omitzero"`
}

// A Package is what a package manager says of the package that a file belongs to. An empty field is unknown.
type Package struct {
	// Manager is the package manager: dpkg, opkg, apk, pacman, rpm, pkg.
	Manager string `json:"manager,omitzero"`
	// Name is the package's name. It is empty if every list of the machine's package managers was read, and none names
	// the file.
	Name string `json:"name,omitzero"`
	// Version is its version with epoch and release, as the manager writes it.
	Version string `json:"version,omitzero"`
	// Arch is its architecture, as the manager writes it.
	Arch string `json:"arch,omitzero"`
	// Vendor is who made it, as the manager writes it: rpm's vendor, dpkg's origin, else the maintainer or packager.
	Vendor string `json:"vendor,omitzero"`
}

// A Loss is a field of one module of a list that could not be read.
type Loss struct {
	// Module is the module's index in the list.
	Module int
	// Source is the name of the source that was being read.
	Source string
	// Field is the JSON name of the field; empty if the module as a whole could not be read.
	Field string
	// Err is why.
	Err error
}

// AddLosses gives each record the problems of its losses. A cause that hit every one of several records becomes one
// Problem of its source.
func AddLosses[Own any](r *Report, records []Record[Own], losses []Loss) {
	type cause struct {
		source, field string
		code          Code
	}
	causeOf := func(l Loss) cause { return cause{l.Source, l.Field, CodeOf(l.Err)} }
	hits, fields := make(map[cause]map[int]bool), make(map[cause]int)
	for _, l := range losses {
		c := causeOf(l)
		if hits[c] == nil {
			hits[c] = make(map[int]bool)
		}
		hits[c][l.Module] = true
		fields[c]++
	}
	reported := make(map[cause]bool)
	for _, l := range losses {
		c := causeOf(l)
		switch {
		case reported[c]:
		case len(hits[c]) == len(records) && len(records) > 1:
			p := ProblemOf(l.Source, "", l.Field, l.Err)
			p.Count = fields[c]
			r.Add(p)
			reported[c] = true
		default:
			records[l.Module].Problem(l.Source, l.Field, l.Err)
		}
	}
}

// An OnDisk compares a loaded module with the file that would be loaded now.
type OnDisk struct {
	// Match is the result; empty is unknown, and a Problem of the module says why.
	Match Match `json:"match,omitzero"`
	// Path is that file.
	Path string `json:"path,omitzero"`
	// ContentID is the file's content id, or its substitute (see By).
	ContentID string `json:"contentId,omitzero"`
	// By says what was compared, such as "build_id" or "srcversion".
	By string `json:"by,omitzero"`
}

// A Match is the result of comparing loaded code with a file.
type Match string

// The results.
const (
	MatchSame      Match = "same"      // the same code
	MatchDifferent Match = "different" // other code: replaced since it was loaded
	MatchAbsent    Match = "absent"    // no file would be loaded under that name
)

// Other is what a system without an object of its own says, in its words.
type Other struct {
	// System is the operating system.
	System OS `json:"system"`
	// Fields are its facts in the order in which it gives them; names may repeat.
	Fields []Field `json:"fields,omitzero"`
}

// A Field is one named value.
type Field struct {
	// Name is the system's own term.
	Name string `json:"name"`
	// Value is what it says.
	Value string `json:"value,omitzero"`
}

// Add adds a field, unless its value is empty.
func (o *Other) Add(name, value string) {
	if value != "" {
		o.Fields = append(o.Fields, Field{name, value})
	}
}

// AddCount adds a field for a count, unless it is unknown.
func (o *Other) AddCount(name string, c Count) {
	if !c.IsZero() {
		o.Add(name, c.String())
	}
}

// AddAddress adds a field for an address, unless it is unknown.
func (o *Other) AddAddress(name string, a Address) {
	if a != 0 {
		o.Add(name, a.String())
	}
}
