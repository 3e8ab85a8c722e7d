// SPDX-License-Identifier: Apache-2.0

package export

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// refKernel is the bom-ref of the operating system.
const refKernel = "kernel"

// bomRefs are the bom-refs of one bill of materials, each of which occurs once: also if ids do not, as in a snapshot
// that somebody else wrote.
type bomRefs struct {
	taken    map[string]bool
	tried    map[string]int // by ref, how many numbers were tried behind it
	own      []string       // of each module; empty if it is no component and in none
	byName   map[string]string
	packages map[lkm.Package]string
}

func newBOMRefs(modules int) *bomRefs {
	return &bomRefs{taken: map[string]bool{refKernel: true}, tried: make(map[string]int), own: make([]string, modules),
		byName: make(map[string]string), packages: make(map[lkm.Package]string)}
}

// take returns a ref that no component has: ref, or else with # and a number behind it.
func (r *bomRefs) take(ref string) string {
	free := ref
	for free == "" || r.taken[free] {
		r.tried[ref]++
		free = fmt.Sprintf("%s#%d", ref, r.tried[ref])
	}
	r.taken[free] = true
	return free
}

// module gives a module the ref that is its id.
func (r *bomRefs) module(i int, m *lkm.Module) {
	r.own[i] = r.take(strings.ToValidUTF8(m.ID, "\ufffd"))
	r.byName[m.Name] = r.own[i]
}

// packageOf is the package that a module of the operating system is folded into. One without a name stands for those
// whose package is not known.
func packageOf(m *lkm.Module) lkm.Package {
	if m.Package == nil || m.Package.Name == "" {
		return lkm.Package{}
	}
	return *m.Package
}

func comparePackages(a, b lkm.Package) int {
	return cmp.Or(cmp.Compare(packageText(a), packageText(b)), cmp.Compare(a.Manager, b.Manager),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch),
		cmp.Compare(a.Vendor, b.Vendor))
}

// packageText names a package.
func packageText(p lkm.Package) string {
	if p.Name == "" {
		return "package:unknown"
	}
	return "package:" + strings.Join([]string{p.Manager, p.Name, p.Version, p.Arch, p.Vendor}, ":")
}

// packaged gives a package its ref.
func (r *bomRefs) packaged(p lkm.Package) string {
	r.packages[p] = r.take(strings.ToValidUTF8(packageText(p), "\ufffd"))
	return r.packages[p]
}

// fold gives the modules that are folded into packages the refs of these.
func (r *bomRefs) fold(s *lkm.Snapshot) {
	for i := range s.Modules {
		if m := &s.Modules[i]; r.own[i] == "" && inKernel(m) {
			r.own[i] = r.packages[packageOf(m)]
			r.byName[m.Name] = r.own[i]
		}
	}
}

// dependencies are the edges between the components of the list, folded like them. A component whose needs are not
// known has no entry.
func (r *bomRefs) dependencies(s *lkm.Snapshot) []Document {
	edges := make(map[string]map[string]bool)
	for i := range s.Modules {
		from := r.own[i]
		if from == "" || from != r.byName[s.Modules[i].Name] {
			continue // another module of the same name is the component
		}
		for _, name := range s.Modules[i].Requires {
			to := r.byName[name]
			if to == "" || to == from {
				continue
			}
			if edges[from] == nil {
				edges[from] = make(map[string]bool)
			}
			edges[from][to] = true
		}
	}
	var list []Document
	for _, from := range slices.Sorted(maps.Keys(edges)) {
		list = append(list, Document{"ref": from, "dependsOn": slices.Sorted(maps.Keys(edges[from]))})
	}
	return list
}
