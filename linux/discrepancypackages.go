// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// packageDiscrepancies compares the files of a tree with the packages: those that no package owns, and with Detail
// Hashes those that are not what their package brought, or are missing. That the packages could not be read is said
// once, for all trees.
func (k *Kernel) packageDiscrepancies(ctx context.Context, tree *modprobe.Tree, unchecked *fact.Discrepancy,
	r *fact.Report) []fact.Discrepancy {
	owners, lost := k.owners(tree.Release)
	found, err := unownedFiles(tree, owners, lost, r)
	if k.options.Asks(fact.DetailHashes) {
		changed, changedErr := k.changedFiles(ctx, tree, owners, lost, r)
		found = append(found, changed...)
		if err == nil {
			err = changedErr
		}
	}
	if err != nil && unchecked.Views[SourcePackages] == "" {
		addUncheckedFor(unchecked, SourcePackages, err)
	}
	return found
}

// changedFiles compares the files of a tree with what their packages brought. lost is what reading the owners reported;
// the error says why some were not compared.
func (k *Kernel) changedFiles(ctx context.Context, tree *modprobe.Tree, owners *fileOwners, lost, r *fact.Report,
) ([]fact.Discrepancy, error) {
	below := unmerged(tree.Dir) + "/"
	part := r.Part()
	c := owners.Compare(ctx, k.machine, SourcePackages, func(path string) bool {
		return strings.HasPrefix(unmerged(path), below)
	}, k.options.FileCap(), part)
	var found []fact.Discrepancy
	last := map[string]int{}
	for i := range c.Found {
		d := c.Found[i].Discrepancy(SourceTree, SourcePackages)
		d.Name = ko.NameOfFile(c.Found[i].Path)
		d.ID = d.Name
		last[d.Kind] = len(found)
		found = append(found, d)
	}
	for kind, n := range c.More {
		d := &found[last[kind]]
		d.Evidence = append(d.Evidence,
			fact.Evidence{Fact: "and more such files", Value: fmt.Sprint(n), Source: SourceTree})
	}
	for _, p := range append(part.Problems, lost.Problems...) {
		if p.Field == pkgdb.FieldHashes {
			p.Source, p.Field = "", "" // the caller names them
			return found, p
		}
	}
	if c.Unstated > 0 {
		return found, fmt.Errorf("%d module files are not compared, their packages have no digest of them: %w",
			c.Unstated, fs.ErrNotExist)
	}
	return found, nil
}
