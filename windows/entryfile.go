// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"slices"

	"github.com/kernelext/kernelext/fact"
)

var errNoCatalog = errors.New("no signature in the file; whether a catalog lists it is not known unless all catalogs are read (--catalogs DIR)")

// FileAbsent reports whether the image's file was looked for and is not there.
func (e *Entry) FileAbsent() bool {
	return slices.ContainsFunc(e.Problems, func(p fact.Problem) bool {
		return p.Source == SourceFile && p.Field == "file" && p.Code == fact.CodeAbsent
	})
}

// SetFile adds what the image's file says. Without any signature, that there is none is known only
// when the verifier's catalogs are whole.
func (e *Entry) SetFile(f *File, v *Verifier) {
	d := e.Driver
	d.PE, d.Version, d.Hashes, d.Signatures = f.PE, f.Version, f.Hashes, f.Signatures
	e.FileSize = fact.CountOf(f.Size)
	if v != nil && len(f.Signatures) == 0 && !v.Complete() {
		d.Signatures = nil
		e.Problems = append(e.Problems, fact.ProblemOf(SourceFile, e.Path, "signature", errNoCatalog))
	}
}
