// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// The kinds of discrepancies that a Comparison finds.
const (
	KindChanged = "changed_file" // a file is not the one that its package brought
	KindMissing = "missing_file" // a package has a file that is not there
)

// A Finding is a file that is not as its package brought it.
type Finding struct {
	Owner
	// Path is where the package has the file, below the root.
	Path string
	// Kind is KindChanged or KindMissing.
	Kind string
	// Got is the digest of a file that was changed; empty if it is not a regular file.
	Got string
}

// A Comparison is what comparing files with their packages found.
type Comparison struct {
	// Found are the findings by their paths, at most limit.Problems of each kind.
	Found []Finding
	// More is how many more there are, by kind.
	More map[string]int
	// Unstated is how many files the packages have no digest of.
	Unstated int
}

// Compare compares the files that wanted chooses with what their packages brought, of which each is read whole, at most
// max bytes. A file that could not be compared is reported under source.
func (o *Owners) Compare(
	ctx context.Context, fsys fs.FS, source string, wanted func(path string) bool, max int64, r *fact.Report,
) Comparison {
	c := Comparison{More: map[string]int{}}
	count := map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(o.Files)) {
		if !wanted(path) {
			continue
		}
		if err := ctx.Err(); err != nil {
			r.Problem(source, "/"+path, FieldHashes, err)
			return c
		}
		if err := r.Budget.Err(); err != nil {
			r.Problem(source, "/"+path, FieldHashes, err)
			return c
		}
		owner := o.Files[path]
		state, got, err := Verify(fsys, path, &owner, max)
		kind := ""
		switch {
		case err != nil:
			r.Problem(source, "/"+path, FieldHashes, err)
		case state == StateChanged:
			kind = KindChanged
		case state == StateMissing:
			kind = KindMissing
		case state == StateUnstated && owner.Sum.Algorithm == "" && !owner.Optional:
			c.Unstated++
		}
		switch {
		case kind == "":
		case count[kind] < limit.Problems:
			count[kind]++
			c.Found = append(c.Found, Finding{Owner: owner, Path: path, Kind: kind, Got: got})
		default:
			c.More[kind]++
		}
	}
	return c
}

// Discrepancy returns the finding. tree is the source that shows files. The caller adds the module that it is about.
func (f *Finding) Discrepancy(tree, packages string) fact.Discrepancy {
	d := fact.Discrepancy{Kind: f.Kind, Grade: fact.GradeWeak, Samples: 1,
		Views: map[string]fact.View{packages: fact.ViewSeen, tree: fact.ViewSeen},
		Evidence: []fact.Evidence{{Fact: "file", Value: "/" + f.Path, Source: packages},
			{Fact: "package", Value: strings.TrimSpace(f.Name + " " + f.Version), Source: packages}}}
	switch {
	case f.Kind == KindMissing:
		d.Views[tree] = fact.ViewMissing
		return d
	case f.Got == "":
		f.Got = "not a regular file"
	}
	d.Evidence = append(d.Evidence,
		fact.Evidence{Fact: "package's " + f.Sum.Algorithm, Value: f.Sum.Hex, Source: packages},
		fact.Evidence{Fact: "file's " + f.Sum.Algorithm, Value: f.Got, Source: tree})
	return d
}
