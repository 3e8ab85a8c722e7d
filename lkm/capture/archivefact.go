// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// addTo adds to a machine's snapshot what its files say beside the captures.
func (g *group) addTo(s *lkm.Snapshot) {
	if g.release != "" && (s.Release == "" || s.Release == g.release) {
		s.Release, s.Arch = g.release, g.arch
	}
	if s.BootID == "" {
		s.BootID = g.bootID
	}
	if !g.kernel.Taint.IsZero() {
		s.Kernel = g.kernel
	}
	index := make(map[string]*lkm.Module, len(s.Modules))
	for i := range s.Modules {
		index[s.Modules[i].ID] = &s.Modules[i]
	}
	for _, part := range g.fill {
		for i := range part.Modules {
			if m := index[part.Modules[i].ID]; m != nil {
				mergeModule(m, &part.Modules[i])
			}
		}
	}
	for i := range s.Modules {
		g.extra[s.Modules[i].Name].addTo(&s.Modules[i])
	}
}

// facts returns what the files of a folder say beside its captures.
func (a *archiveReader) facts(folder string) *group {
	g := a.groups["facts\x00"+folder]
	if g == nil {
		g = &group{extra: make(map[string]*sysModule)}
		a.groups["facts\x00"+folder] = g
	}
	return g
}

// uname reads what uname -a printed: "Linux HOST RELEASE …".
func (a *archiveReader) uname(folder string, b []byte) {
	words := strings.Fields(string(b[:min(len(b), 4096)]))
	if len(words) < 4 || words[0] != "Linux" {
		return
	}
	f := a.facts(folder)
	if f.arch != "" {
		return
	}
	f.release = escape.UTF8(words[2])
	for _, w := range words[3:] {
		switch w {
		case "x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", "ppc64", "loongarch64":
			f.arch = w
		}
	}
}

// fact reads a file of one value below /proc. The first one counts.
func (a *archiveReader) fact(name string, w what, value string) {
	f := a.facts(w.folder)
	switch words := strings.Fields(value); {
	case w.use == useVersion:
		if f.release == "" && len(words) > 2 && words[0] == "Linux" && words[1] == "version" {
			f.release = escape.UTF8(words[2])
		}
	case w.use == useBoot:
		if f.bootID == "" && len(value) == 36 && strings.Count(value, "-") == 4 {
			f.bootID = escape.UTF8(value)
		}
	case f.kernel.Taint.IsZero():
		kernel, err := taintOf(value)
		if err != nil {
			a.problem(fact.ProblemOf(SourceArchive, escape.UTF8(name), "kernel.taint", err))
			return
		}
		f.kernel = kernel
	}
}

// A sysModule is what files below sys/module say of a module.
type sysModule struct {
	version, srcversion string
	taints              []string // nil if they are not known
}

// sys reads a file below sys/module. The kernel says that a file of sysfs has a page (4096 bytes), so that GNU tar
// fills up its few bytes with NULs; and each has a line at least: one without a byte was not copied.
func (a *archiveReader) sys(folder, name string, b []byte) {
	b, _, _ = bytes.Cut(b, []byte{0})
	if len(b) == 0 {
		return
	}
	module := path.Base(path.Dir(name))
	f := a.facts(folder)
	m := f.extra[module]
	if m == nil {
		if len(f.extra) >= maxModules {
			return
		}
		m = new(sysModule)
		f.extra[module] = m
	}
	value := escape.UTF8(strings.TrimSpace(string(b)))
	switch path.Base(name) {
	case "version":
		m.version = value
	case "taint":
		if !strings.ContainsFunc(value, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			m.taints = append([]string{}, strings.Split(value, "")...)
		}
	default:
		m.srcversion = value
	}
}

func (s *sysModule) addTo(m *lkm.Module) {
	if s == nil || m.Linux == nil || m.State == lkm.StateInstalled {
		return
	}
	if m.Version == "" {
		m.Version, m.Linux.Version = s.version, s.version
	}
	if m.Linux.Srcversion == "" {
		m.Linux.Srcversion = s.srcversion
	}
	if m.Linux.Taints == nil {
		m.Linux.Taints = s.taints
	}
}
