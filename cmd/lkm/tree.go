// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) tree() *cobra.Command {
	var reverse, dot bool
	c := &cobra.Command{
		Use:   "tree NAME...",
		Short: "Show a module's dependencies, or its dependents, recursively",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.runTree(c.Context(), args, reverse, dot)
		},
	}
	c.Flags().BoolVar(&reverse, "reverse", false, "show what needs the module instead")
	c.Flags().BoolVar(&dot, "dot", false, "print a graph for Graphviz")
	a.commonFlags(c)
	return c
}

// A node is a module in a tree, with the nodes below it.
type node struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state,omitzero"`
	// Soft is set for what goes with the module above and is not needed by it: softdep_pre, softdep_post, weakdep.
	Soft string `json:"soft,omitzero"`
	// Missing is set for a name that no module has.
	Missing bool `json:"missing,omitzero"`
	// Seen is set if the module is further up already, with the nodes below it.
	Seen  bool    `json:"seen,omitzero"`
	Nodes []*node `json:"nodes,omitzero"`
}

func (a *app) runTree(ctx context.Context, names []string, reverse, dot bool) error {
	if err := a.checkTabular(); err != nil {
		return err
	}
	if f := a.flags.format; f == "csv" || f == "markdown" {
		return errors.New("a tree cannot be shown as a table: --format table, json or jsonl")
	}
	known, err := a.relations(ctx, names, reverse)
	if err != nil {
		return err
	}
	var roots []*node
	missing := false
	for _, name := range names {
		matches := known.matching(name)
		a.sayTwo(name, matches)
		if len(matches) == 0 {
			missing = true
			a.noMatch(name, known)
		}
		for i := range matches {
			roots = append(roots, known.tree(&matches[i], reverse))
		}
	}
	switch {
	case dot:
		writeDot(a.stdout, roots, reverse)
	case a.flags.format == "table":
		for _, n := range roots {
			writeTree(a.stdout, n)
		}
	default:
		err = writeRows(a, nil, roots)
	}
	switch {
	case err != nil:
		return err
	case missing:
		return exit(exitFatal)
	}
	return a.strictly(known.lost)
}

// relations is a catalog that knows what each module in the trees of names needs. On Linux modules.dep
// has also what is needed indirectly; it shows which files to read for the rest.
func (a *app) relations(ctx context.Context, names []string, reverse bool) (*catalog, error) {
	known, err := a.catalog(ctx, 0, nil)
	if err != nil {
		return nil, err
	}
	if known.os != lkm.Linux {
		return a.catalog(ctx, lkm.DetailFiles, nil)
	}
	sys, err := a.open(0)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	soft, softLost := readSoftdeps(ctx, sys)
	if soft == nil {
		soft = &softdeps{found: make(map[string][]edge)}
	}
	whole, err := a.relationsOf(ctx, known, names, reverse, soft)
	if err == nil {
		whole.soft, whole.lost = soft.found, errors.Join(whole.lost, softLost, soft.lost)
	}
	return whole, err
}

// relationsOf reads the files of the modules in the trees of names, as far as it is known which those are.
func (a *app) relationsOf(
	ctx context.Context, known *catalog, names []string, reverse bool, soft *softdeps,
) (*catalog, error) {
	if wanted := known.reachable(names, reverse, soft); wanted != nil {
		return a.catalog(ctx, lkm.DetailFiles, func(m *lkm.Module) bool { return wanted[m.Name] })
	}
	whole, err := a.catalog(ctx, lkm.DetailFiles, nil)
	if err == nil {
		whole.reachable(names, reverse, soft)
	}
	return whole, err
}

// reachable returns the names of all modules in the trees of names; nil when that is not known.
func (c *catalog) reachable(names []string, reverse bool, soft *softdeps) map[string]bool {
	users := c.neededBy()
	reached := make(map[string]bool)
	var open []string
	unknown := func(m *lkm.Module) bool { return m.State == lkm.StateInstalled && m.Requires == nil }
	for i := range c.modules {
		if m := &c.modules[i]; reverse && unknown(m) { // it may need any
			open = append(open, m.Name)
		}
	}
	for _, name := range names {
		for _, m := range c.matching(name) {
			open = append(open, m.Name)
		}
	}
	whole := true
	for len(open) > 0 {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		if reached[name] {
			continue
		}
		reached[name] = true
		if reverse {
			open = append(open, users[name]...)
			continue
		}
		for _, i := range c.byName[name] {
			whole = whole && !unknown(&c.modules[i])
			open = append(open, c.modules[i].Requires...)
		}
		for _, e := range soft.of(name) {
			open = append(open, e.name)
		}
	}
	if !whole {
		return nil
	}
	return reached
}

// below returns what the tree shows below a module.
func (c *catalog) below(m *lkm.Module, users map[string][]string) []edge {
	names := users[m.Name]
	if users == nil {
		names = needs(m)
	}
	edges := make([]edge, 0, len(names))
	for _, name := range names {
		edges = append(edges, edge{name: name})
	}
	if users == nil {
		edges = append(edges, c.soft[m.Name]...)
	}
	return edges
}

// tree makes the tree below a module. What is below a module is shown where it comes up first.
func (c *catalog) tree(root *lkm.Module, reverse bool) *node {
	var users map[string][]string
	if reverse {
		users = c.neededBy()
	}
	type step struct {
		parent *node
		edge   edge
	}
	var open []step
	push := func(n *node, m *lkm.Module) {
		for _, e := range slices.Backward(c.below(m, users)) {
			open = append(open, step{n, e})
		}
	}
	top := nodeOf(root)
	seen := map[string]bool{root.ID: true}
	push(top, root)
	for len(open) > 0 {
		s := open[len(open)-1]
		open = open[:len(open)-1]
		at := c.byName[s.edge.name]
		if len(at) == 0 && s.edge.name == "kernel" && isKld(root) { // of an image: it provides what needs it
			s.parent.Nodes = append(s.parent.Nodes, &node{ID: string(root.Kind) + ":kernel", Name: s.edge.name,
				State: string(lkm.StateBuiltin)})
			continue
		}
		if len(at) == 0 {
			s.parent.Nodes = append(s.parent.Nodes, &node{Name: s.edge.name, Soft: s.edge.soft, Missing: true})
			continue
		}
		m := &c.modules[at[0]]
		n := nodeOf(m)
		n.Soft = s.edge.soft
		s.parent.Nodes = append(s.parent.Nodes, n)
		if seen[m.ID] {
			n.Seen = len(c.below(m, users)) > 0
			continue
		}
		seen[m.ID] = true
		push(n, m)
	}
	return top
}

func nodeOf(m *lkm.Module) *node { return &node{ID: m.ID, Name: m.Name, State: string(m.State)} }

// maxDepth is how deep a tree for people goes.
const maxDepth = 100

// writeTree prints a node and what is below it.
func writeTree(w io.Writer, top *node) {
	type line struct {
		n           *node
		first, rest string
		depth       int
	}
	for open := []line{{n: top}}; len(open) > 0; {
		l := open[len(open)-1]
		open = open[:len(open)-1]
		fmt.Fprintln(w, l.first+escape.Text(l.n.text()))
		if l.depth == maxDepth && len(l.n.Nodes) > 0 {
			fmt.Fprintln(w, l.rest+"└─ … (deeper: --format json)")
			continue
		}
		for i := len(l.n.Nodes) - 1; i >= 0; i-- {
			branch, below := "├─ ", "│  "
			if i == len(l.n.Nodes)-1 {
				branch, below = "└─ ", "   "
			}
			open = append(open, line{l.n.Nodes[i], l.rest + branch, l.rest + below, l.depth + 1})
		}
	}
}

func (n *node) text() string {
	text := n.Name
	switch {
	case n.Missing:
		text += "  (no such module)"
	case n.Seen:
		text += "  (above)"
	case n.State != string(lkm.StateLoaded) && n.State != "":
		text += "  " + n.State
	}
	if n.Soft != "" {
		text += "  " + strings.ReplaceAll(n.Soft, "_", " ")
	}
	return text
}

// writeDot prints the trees as one graph, each edge once, from what needs to what is needed.
func writeDot(w io.Writer, roots []*node, reverse bool) {
	fmt.Fprintln(w, "digraph modules {")
	seen := make(map[string]bool)
	quote := func(s string) string { return strconv.Quote(escape.Text(s)) }
	open := slices.Clone(roots)
	slices.Reverse(open)
	for len(open) > 0 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		say := func(line string) {
			if !seen[line] {
				seen[line] = true
				fmt.Fprintln(w, "\t"+line+";")
			}
		}
		say(quote(n.Name))
		for _, below := range n.Nodes {
			from, to := n.Name, below.Name
			if reverse {
				from, to = to, from
			}
			style := ""
			if below.Soft != "" {
				style = " [style=dashed]"
			}
			say(quote(from) + " -> " + quote(to) + style)
		}
		for _, below := range slices.Backward(n.Nodes) {
			open = append(open, below)
		}
	}
	fmt.Fprintln(w, "}")
}
