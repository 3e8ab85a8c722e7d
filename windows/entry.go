// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// An entry is one driver image, joined from all sources.
type entry struct {
	// Key names the image on this machine across boots and versions: the folded file name for one
	// below System32\drivers or in the driver store, else the folded full path; "service NAME" for
	// a service whose image is not known. Of several files of one name only one has the name as its
	// key, the one below System32\drivers before others.
	Key string
	// Name is the kernel's name of the image, or the service's when no image is known.
	Name string
	// Path is the DOS path; empty when unknown.
	Path string
	// Loaded says that the kernel lists the image, or that the service manager calls a service of
	// it running.
	Loaded bool
	// Pending is start_pending or stop_pending when a service of it is in that state.
	Pending string
	// Store is the folder of the file's package in the driver store; empty elsewhere.
	Store string
	// Staged is set for a file of the store that is not in use.
	Staged bool
	// FileSize is the size of the image's file, in bytes; unknown until it is read.
	FileSize fact.Count
	// Address is where the image is in memory, of a text that says so.
	Address fact.Address
	Driver  *Driver
	// Problems are facts that could not be read.
	Problems []fact.Problem

	// catalogsUnread is set if signatures were looked for, and a catalog that was not read may list the file.
	catalogsUnread bool
	// truncated is set if the file ends before what its headers name: its signature says nothing of the whole file.
	truncated bool
	// looked is set if the file's signatures were looked for, whether or not they were found.
	looked bool

	own   string // the path of the image's own name, when Path is that of the file that it is a copy of
	loose bool   // a service runs whose image is not known: it may be this one
}

// newEntry returns an entry of which nothing but its name and its path are known.
func newEntry(key, name, path string) entry {
	return entry{Key: key, Name: name, Path: path, Driver: &Driver{}}
}

// ownPath is where the file would lie that has the image's own name; it is Path but for an alias.
func (e *entry) ownPath() string {
	if e.own == "" {
		return e.Path
	}
	return e.own
}

// noAlias takes the image for one with a file of its own.
func (e *entry) noAlias() {
	e.Path, e.own = e.ownPath(), ""
	if e.Driver.Image != nil {
		e.Driver.Image.AliasOf = ""
	}
}

// tooMany notes, once for each field, that not everything is in the entry.
func (e *entry) tooMany(source, field, what string) {
	for _, p := range e.Problems {
		if p.Source == source && p.Field == field && p.Code == fact.CodeTooLarge {
			return
		}
	}
	e.Problems = append(e.Problems, fact.ProblemOf(source, e.Name, field, fmt.Errorf("%w: %s", fact.ErrTooLarge, what)))
}

var (
	errNoCatalog = errors.New("no signature in the file; " +
		"whether a catalog lists it is not known unless all catalogs are read (--catalogs DIR)")
	errOtherCatalog = errors.New("no signature that was found fits; " +
		"whether another catalog lists it is not known unless all catalogs are read (--catalogs DIR)")
	errNoBetter = errors.New("no signature that was found leads to a key that is known; " +
		"whether a catalog lists it is not known unless all catalogs are read (--catalogs DIR)")
	errTruncated error = &sentinel.Error{Before: "it ends before what its headers name: the file is not whole",
		Cause: fact.ErrMalformed}
)

// fileAbsent reports whether the image's file was looked for and is not there.
func (e *entry) fileAbsent() bool {
	return slices.ContainsFunc(e.Problems, func(p fact.Problem) bool {
		return p.Source == SourceFile && p.Field == "file" && p.Code == fact.CodeAbsent
	})
}

// setFile adds what the image's file says, and lets go of its bytes. If no signature was found, the file counts as
// unsigned only if the verifier's catalogs are complete; and only then does one that does not fit, or that no key
// vouches for, say that there is no better one.
func (e *entry) setFile(f *File, v *authenticode.Verifier) {
	d := e.Driver
	if e.truncated = f.PE.Truncated(); e.truncated {
		e.Problems = append(e.Problems, fact.ProblemOf(SourceFile, e.Path, "file", errTruncated))
	}
	f.PE.Release()
	d.PE, d.Version, d.Hashes, d.Signatures = f.PE, f.Version, f.Hashes, f.Signatures
	e.FileSize = fact.CountOf(f.Size)
	e.looked = e.looked || v != nil
	e.catalogsUnread = v != nil && !v.Complete()
	best, found := authenticode.Best(f.Signatures)
	var err error
	switch {
	case !e.catalogsUnread:
		return
	case !found:
		d.Signatures, err = nil, errNoCatalog
	case best.Status == fact.SignatureInvalid:
		err = errOtherCatalog
	case best.Status == fact.SignatureUntrusted:
		err = errNoBetter
	default:
		return
	}
	e.Problems = append(e.Problems, fact.ProblemOf(SourceFile, e.Path, "signature", err))
}
