// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
)

// An edge leads from a module to one that is loaded with it.
type edge struct {
	name string
	soft string // softdep_pre or softdep_post; empty for one that is needed
}

// softdeps are the modules that modprobe loads beside others by its softdep lines.
type softdeps struct {
	ctx   context.Context
	sys   *lkm.System
	lines []lkm.Setting
	found map[string][]edge // by module
}

// readSoftdeps reads the softdep lines of modprobe's configuration.
func readSoftdeps(ctx context.Context, sys *lkm.System) (*softdeps, error) {
	cfg, err := sys.Config(ctx)
	if err != nil {
		return nil, err
	}
	s := &softdeps{ctx: ctx, sys: sys, found: make(map[string][]edge), lines: cfg.Settings}
	s.lines = slices.DeleteFunc(s.lines, func(l lkm.Setting) bool { return l.Directive != "softdep" })
	return s, cfg.Err()
}

// of returns what modprobe loads beside a module: by the first line that matches, as kmod_module_get_softdeps.
func (s *softdeps) of(module string) []edge {
	if edges, ok := s.found[module]; ok {
		return edges
	}
	var edges []edge
	i := slices.IndexFunc(s.lines, func(l lkm.Setting) bool { return modprobe.MatchAlias(l.Name, module) })
	if i >= 0 {
		dep := ko.ParseSoftdep(s.lines[i].Value)
		edges = append(s.edges(dep.Pre, modprobe.ReasonSoftdepPre), s.edges(dep.Post, modprobe.ReasonSoftdepPost)...)
	}
	s.found[module] = edges
	return edges
}

// edges resolves the names of a softdep. modprobe leaves out those that stand for nothing.
func (s *softdeps) edges(names []string, soft string) (edges []edge) {
	for _, name := range names {
		modules, err := s.sys.Resolve(s.ctx, name)
		if err != nil {
			continue
		}
		for i := range modules {
			if e := (edge{modules[i].Name, soft}); !slices.Contains(edges, e) {
				edges = append(edges, e)
			}
		}
	}
	return edges
}
