// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// differentNames returns the module files whose metadata has another name than their code. No build makes one: such a
// file passes module_blacklist= under the one name, and is listed under the other. The kernel's own folder is left out,
// whose files packages own.
func (k *Kernel) differentNames(tree *modprobe.Tree, unchecked *fact.Discrepancy,
	r *fact.Report) (found []fact.Discrepancy) {
	lines := tree.DepLines()
	reader, opened, unread := ko.NewReader(), 0, 0
	var first error
	for i := range lines {
		if strings.HasPrefix(lines[i].Path, "kernel/") {
			continue
		}
		if opened++; opened > maxInnerNames {
			first = fmt.Errorf("more than %d files beside the kernel's own: %w", maxInnerNames, fact.ErrTooLarge)
			unread++
			break
		}
		name := tree.Path(lines[i].Path)
		f, err := reader.ReadFile(k.machine, name, ko.Options{Sections: true}, r.Part())
		switch inner := f.Modinfo.Get("name"); {
		case fact.CodeOf(err) == fact.CodeAbsent: // another finding
		case err != nil:
			if unread++; first == nil {
				first = err
			}
		case inner != "" && f.StructName != "" && f.Name != f.StructName && len(found) < maxFindings:
			found = append(found, namesDiffer(&f, name))
		}
	}
	if unread > 0 {
		addUncheckedFor(unchecked, SourceTree,
			fmt.Errorf("the names in %d module files were not compared: %w", unread, first))
	}
	return found
}

// namesDiffer is the finding about one file.
func namesDiffer(f *ko.File, name string) fact.Discrepancy {
	return fact.Discrepancy{ID: f.StructName, Name: f.StructName, Kind: KindNamesDiffer, Grade: fact.GradeStrong,
		Samples: 1, Views: map[string]fact.View{SourceTree: fact.ViewSeen},
		Evidence: []fact.Evidence{
			{Fact: "name in the metadata, which module_blacklist= uses", Value: f.Name, Source: "/" + name},
			{Fact: "name in the code, which the list of loaded modules has", Value: f.StructName, Source: "/" + name},
		}}
}
