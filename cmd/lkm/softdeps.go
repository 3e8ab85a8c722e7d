// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
)

// An edge leads from a module to one that goes with it.
type edge struct {
	name string
	soft string // softdep_pre, softdep_post or weakdep; empty for one that is needed
}

// weakdep marks a module that another may ask for: modprobe does not load it, the makers of initial file systems add
// it.
const weakdep = "weakdep"

// softdeps are the modules that go with others by modprobe's softdep and weakdep lines.
type softdeps struct {
	ctx   context.Context
	sys   *lkm.System
	lines []lkm.Setting
	found map[string][]edge // by module
	lost  error             // the first look-up that failed
}

// readSoftdeps reads the softdep and weakdep lines of modprobe's configuration.
func readSoftdeps(ctx context.Context, sys *lkm.System) (*softdeps, error) {
	cfg, err := sys.Config(ctx)
	if err != nil {
		return nil, err
	}
	s := &softdeps{ctx: ctx, sys: sys, found: make(map[string][]edge), lines: cfg.Settings}
	s.lines = slices.DeleteFunc(s.lines, func(l lkm.Setting) bool {
		return l.Directive != "softdep" && l.Directive != weakdep
	})
	return s, cfg.Err()
}

// of returns what goes with a module: by the first line of each directive that matches, as in
// kmod_module_get_softdeps and kmod_module_get_weakdeps.
func (s *softdeps) of(module string) []edge {
	if edges, ok := s.found[module]; ok {
		return edges
	}
	var edges []edge
	if text, ok := s.first("softdep", module); ok {
		dep := ko.ParseSoftdep(text)
		edges = append(s.edges(dep.Pre, modprobe.ReasonSoftdepPre), s.edges(dep.Post, modprobe.ReasonSoftdepPost)...)
	}
	if text, ok := s.first(weakdep, module); ok {
		edges = append(edges, s.edges(strings.Fields(text), weakdep)...)
	}
	s.found[module] = edges
	return edges
}

// first returns the first line of a directive that matches a module.
func (s *softdeps) first(directive, module string) (text string, ok bool) {
	i := slices.IndexFunc(s.lines, func(l lkm.Setting) bool {
		return l.Directive == directive && modprobe.MatchAlias(l.Name, module)
	})
	if i < 0 {
		return "", false
	}
	return s.lines[i].Value, true
}

// edges resolves the names of a line. modprobe leaves out those that stand for nothing.
func (s *softdeps) edges(names []string, soft string) (edges []edge) {
	for _, name := range names {
		modules, err := s.sys.Resolve(s.ctx, name)
		if err != nil && s.lost == nil {
			s.lost = err
		}
		for i := range modules {
			if e := (edge{modules[i].Name, soft}); !slices.Contains(edges, e) {
				edges = append(edges, e)
			}
		}
	}
	return edges
}
