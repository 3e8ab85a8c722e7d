// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/kernelext/kernelext/lkm"
)

// What a drawing has at most, and the measures of its boxes.
const (
	mostNodes  = 150
	mostLayers = 12
	mostLabel  = 22 // characters
	boxWidth   = 170
	gapWidth   = 70
	rowHeight  = 26
)

// A graph is a drawing of modules in columns: each is to the right of all that it needs.
type graph struct {
	Width, Height int
	Nodes         []node
	Edges         []edge
}

type node struct {
	Name, Label     string
	X, Y, W, TX, TY int
	Third           bool
}

type edge struct{ X1, Y1, X2, Y2, MX int }

// graphOf draws what needs what among the modules of one machine; nil if nothing needs anything. If there are too many
// modules it draws those that are third-party, and what they need and are needed by, before others.
func graphOf(s *lkm.Snapshot) (*graph, string) {
	chosen := choose(s)
	if len(chosen) == 0 {
		return nil, ""
	}
	layers := layersOf(chosen)
	g, at := place(chosen, layers)
	for _, m := range chosen {
		to := at[m.Name]
		for _, name := range m.Requires {
			if from, ok := at[name]; ok && name != m.Name {
				e := edge{X1: from.X + from.W, Y1: from.Y + 10, X2: to.X, Y2: to.Y + 10}
				e.MX = (e.X1 + e.X2) / 2
				g.Edges = append(g.Edges, e)
			}
		}
	}
	note := "Each module is to the right of what it needs; a red frame is third-party code."
	if total := related(s); total > len(chosen) {
		note += " " + number(len(chosen)) + " of " + number(total) + " modules are drawn."
	}
	return g, note
}

// byName are the modules that need another one of the list, or that another one needs.
func byName(s *lkm.Snapshot) map[string]*lkm.Module {
	all := make(map[string]*lkm.Module, len(s.Modules))
	for i := range s.Modules {
		all[s.Modules[i].Name] = &s.Modules[i]
	}
	used := make(map[string]*lkm.Module)
	for name, m := range all {
		for _, need := range m.Requires {
			if all[need] != nil && need != name {
				used[name], used[need] = m, all[need]
			}
		}
	}
	return used
}

func related(s *lkm.Snapshot) int { return len(byName(s)) }

// choose returns the modules to draw, at most mostNodes, sorted by name.
func choose(s *lkm.Snapshot) []*lkm.Module {
	used := byName(s)
	rank := make(map[string]int, len(used)) // 0 third-party, 1 its neighbors, 2 the rest
	for name := range used {
		rank[name] = 2
	}
	near := func(name string) {
		if r, ok := rank[name]; ok && r == 2 {
			rank[name] = 1
		}
	}
	for name, m := range used {
		if m.Origin.Class == lkm.OriginThirdParty {
			rank[name] = 0
			for _, other := range slices.Concat(m.Requires, m.UsedBy) {
				near(other)
			}
		}
	}
	list := make([]*lkm.Module, 0, len(used))
	for _, m := range used {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *lkm.Module) int {
		return cmp.Or(cmp.Compare(rank[a.Name], rank[b.Name]), cmp.Compare(a.Name, b.Name))
	})
	list = list[:min(len(list), mostNodes)]
	slices.SortFunc(list, func(a, b *lkm.Module) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// layersOf gives each module a column behind those of all that it needs. A circle ends at the last column.
func layersOf(list []*lkm.Module) map[string]int {
	layer := make(map[string]int, len(list))
	for _, m := range list {
		layer[m.Name] = 0
	}
	for range mostLayers {
		moved := false
		for _, m := range list {
			for _, name := range m.Requires {
				if l, ok := layer[name]; ok && name != m.Name && layer[m.Name] <= l && l+1 < mostLayers {
					layer[m.Name], moved = l+1, true
				}
			}
		}
		if !moved {
			break
		}
	}
	return layer
}

func place(list []*lkm.Module, layer map[string]int) (*graph, map[string]node) {
	g, at := new(graph), make(map[string]node, len(list))
	height := make(map[int]int)
	for _, m := range list {
		l := layer[m.Name]
		n := node{Name: text(m.Name), X: 10 + l*(boxWidth+gapWidth), Y: 10 + height[l]*rowHeight, W: boxWidth,
			Third: m.Origin.Class == lkm.OriginThirdParty}
		n.Label, n.TX, n.TY = label(n.Name), n.X+6, n.Y+14
		height[l]++
		g.Width, g.Height = max(g.Width, n.X+boxWidth+10), max(g.Height, n.Y+rowHeight+10)
		g.Nodes = append(g.Nodes, n)
		at[m.Name] = n
	}
	return g, at
}

// label is a name that fits its box.
func label(name string) string {
	if utf8.RuneCountInString(name) <= mostLabel {
		return name
	}
	return string([]rune(name)[:mostLabel-1]) + "…"
}
