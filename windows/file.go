// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"github.com/kernelext/kernelext/fact"
)

// A File is what a driver's image file says, and who signed it.
type File struct {
	// Size is the file's, in bytes.
	Size int64
	// PE are its headers and tables.
	PE *PE
	// Version is its version resource; nil when it has none.
	Version *Version
	// Hashes are its digests; nil unless they were asked for.
	Hashes *Hashes
	// Signatures are all of them, in the file's order, catalogs' last; nil unless they were asked
	// for, empty when there is none.
	Signatures []Signature
	// Problems are the parts that make no sense.
	Problems []fact.Problem
}

// FileOptions say what ParseFile does beyond headers, imports and version.
type FileOptions struct {
	Hashes   bool      // compute Hashes: reads every byte seven times, about 5 ms a megabyte
	Verifier *Verifier // fill Signatures; nil to leave them out
}

// ParseFile reads a driver's image file. An error means that it is no image file.
func ParseFile(b []byte, o FileOptions) (*File, error) {
	p, problems, err := ParsePE(b)
	if err != nil {
		return nil, err
	}
	f := &File{Size: int64(len(b)), PE: p, Problems: problems}
	if f.Version, err = p.Version(); err != nil {
		f.Problems = append(f.Problems, fact.ProblemOf(SourceFile, "", "version", err))
	}
	if o.Hashes {
		f.Hashes = HashFile(b, p)
	}
	if o.Verifier != nil {
		f.Signatures = o.Verifier.Verify(p)
	}
	return f, nil
}
