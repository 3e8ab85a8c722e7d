// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) tree() *cobra.Command {
	var reverse, dot bool
	c := &cobra.Command{
		Use:   "tree NAME...",
		Short: "Show what a module needs, or what needs it, all the way",
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

// A node is a module in a tree, with what stands below it.
type node struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state,omitzero"`
	// Missing is set for a name that no module has.
	Missing bool `json:"missing,omitzero"`
	// Seen is set where the module stands further up already, with what is below it.
	Seen  bool    `json:"seen,omitzero"`
	Nodes []*node `json:"nodes,omitzero"`
}

func (a *app) runTree(ctx context.Context, names []string, reverse, dot bool) error {
	if err := a.checkTabular(); err != nil {
		return err
	}
	if f := a.flags.format; f == "csv" || f == "markdown" {
		return errors.New("a tree is no table: --format table, json or jsonl")
	}
	known, err := a.relations(ctx, names, reverse)
	if err != nil {
		return err
	}
	var roots []*node
	missing := false
	for _, name := range names {
		matches := known.matching(name)
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
// has also what is needed indirectly; it tells which files to read for the rest.
func (a *app) relations(ctx context.Context, names []string, reverse bool) (*catalog, error) {
	known, err := a.catalog(ctx, 0, nil)
	if err != nil {
		return nil, err
	}
	var wanted map[string]bool
	if known.os == lkm.Linux {
		wanted = known.reachable(names, reverse)
	}
	if wanted == nil {
		return a.catalog(ctx, lkm.DetailFiles, nil)
	}
	return a.catalog(ctx, lkm.DetailFiles, func(m *lkm.Module) bool { return wanted[m.Name] })
}

// reachable returns the names of all modules in the trees of names; nil when that is not known.
func (c *catalog) reachable(names []string, reverse bool) map[string]bool {
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
	for len(open) > 0 {
		name := open[len(open)-1]
		open = open[:len(open)-1]
		if reached[name] {
			continue
		}
		reached[name] = true
		if reverse {
			open = append(open, users[name]...)
		}
		for _, i := range c.byName[name] {
			if reverse {
				continue
			}
			if unknown(&c.modules[i]) {
				return nil
			}
			open = append(open, c.modules[i].Requires...)
		}
	}
	return reached
}

// tree makes the tree below a module. What is below a module is shown where it comes up first.
func (c *catalog) tree(root *lkm.Module, reverse bool) *node {
	next := needs
	if reverse {
		users := c.neededBy()
		next = func(m *lkm.Module) []string { return users[m.Name] }
	}
	type step struct {
		parent *node
		name   string
	}
	var open []step
	push := func(n *node, m *lkm.Module) {
		names := next(m)
		for i := len(names) - 1; i >= 0; i-- {
			open = append(open, step{n, names[i]})
		}
	}
	top := nodeOf(root)
	seen := map[string]bool{root.ID: true}
	push(top, root)
	for len(open) > 0 {
		s := open[len(open)-1]
		open = open[:len(open)-1]
		at := c.byName[s.name]
		if len(at) == 0 && s.name == "kernel" && isKld(root) { // of an image: it provides what needs it
			s.parent.Nodes = append(s.parent.Nodes, &node{ID: string(root.Kind) + ":kernel", Name: s.name,
				State: string(lkm.StateBuiltin)})
			continue
		}
		if len(at) == 0 {
			s.parent.Nodes = append(s.parent.Nodes, &node{Name: s.name, Missing: true})
			continue
		}
		m := &c.modules[at[0]]
		n := nodeOf(m)
		s.parent.Nodes = append(s.parent.Nodes, n)
		if seen[m.ID] {
			n.Seen = len(next(m)) > 0
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
	switch {
	case n.Missing:
		return n.Name + "  (no such module)"
	case n.Seen:
		return n.Name + "  (above)"
	case n.State != string(lkm.StateLoaded) && n.State != "":
		return n.Name + "  " + n.State
	}
	return n.Name
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
		edge := func(line string) {
			if !seen[line] {
				seen[line] = true
				fmt.Fprintln(w, "\t"+line+";")
			}
		}
		edge(quote(n.Name))
		for _, below := range n.Nodes {
			from, to := n.Name, below.Name
			if reverse {
				from, to = to, from
			}
			edge(quote(from) + " -> " + quote(to))
		}
		for _, below := range slices.Backward(n.Nodes) {
			open = append(open, below)
		}
	}
	fmt.Fprintln(w, "}")
}
