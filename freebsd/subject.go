// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"slices"
	"strings"
)

// subject is what a query means: a file on disk, a loaded one, a module inside the kernel, or
// several of these at once.
type subject struct {
	disk     *diskFile
	loaded   *loadedFile
	inKernel string // the module's name in the kernel
	matched  *match // for a device
	second   bool   // a file of this name comes before it in the module path; a setting names this one
}

// name returns the name of the file or, for what is compiled in, of the module; empty if nothing has the query's name.
func (s *subject) name() string {
	switch {
	case s.disk != nil:
		return s.disk.Name()
	case s.loaded != nil:
		return s.loaded.Name
	}
	return s.inKernel
}

// subjects returns what the query means.
func (c *checker) subjects(query string) []subject {
	if d, err := parseDevice(query); err == nil {
		var out []subject
		for _, m := range c.library.drivers(d) {
			sub := subject{disk: m.File, matched: &m}
			if m.File == c.library.Kernel {
				sub = subject{inKernel: kernelName, matched: &m}
			} else {
				sub.loaded = c.loadedFile(m.File.Name())
			}
			out = append(out, sub)
		}
		return out
	}
	var out []subject
	for _, f := range c.library.find(query) {
		if f == c.library.Kernel {
			continue
		}
		sub := subject{disk: f, loaded: c.loadedFile(f.Name())}
		if sub.loaded == nil {
			sub.inKernel = c.compiledIn(f)
		}
		// The first of the path is the one that is loaded by its name; a setting may name another by its path.
		sub.second = slices.ContainsFunc(out, func(o subject) bool { return o.disk.Name() == f.Name() })
		if sub.second && len(c.asked[f]) == 0 {
			continue
		}
		if sub.second && sub.loaded != nil && sub.loaded.Pathname != f.Path {
			sub.loaded = nil
		}
		out = append(out, sub)
	}
	if out != nil {
		return out
	}
	if f := c.loadedNamed(query); f != nil {
		if f.ID == 1 {
			return []subject{{inKernel: moduleNamed(f.Modules, query)}}
		}
		return []subject{{loaded: f}}
	}
	if name := c.kernelFileHas(query); name != "" {
		return []subject{{inKernel: name}}
	}
	return nil
}

func (c *checker) loadedFile(name string) *loadedFile {
	for i := range c.loaded {
		if c.loaded[i].Name == name && c.loaded[i].ID != 1 {
			return &c.loaded[i]
		}
	}
	return nil
}

// loadedNamed finds a loaded file by its name, or by a module inside it.
func (c *checker) loadedNamed(query string) *loadedFile {
	base := fileName(query)
	for i := range c.loaded {
		f := &c.loaded[i]
		if f.Name == base || f.Name == base+".ko" || f.Pathname == query {
			return f
		}
	}
	for i := range c.loaded {
		if moduleNamed(c.loaded[i].Modules, query) != "" {
			return &c.loaded[i]
		}
	}
	return nil
}

// moduleNamed returns the module that the query names, whole or by the last part of its name.
func moduleNamed(modules []moduleStat, query string) string {
	query = strings.TrimSuffix(query, ".ko")
	for _, m := range modules {
		if m.Name == query {
			return m.Name
		}
	}
	for _, m := range modules {
		if lastPart(m.Name) == query {
			return m.Name
		}
	}
	if query == kernelName {
		return kernelName
	}
	return ""
}

// compiledIn returns the name of the first module of the file that the kernel itself holds: then
// the file's code is in the kernel already, and kldload(8) refuses the file.
func (c *checker) compiledIn(f *diskFile) string {
	if f.metadata == nil {
		return ""
	}
	for _, m := range f.Modules {
		if name := c.kernelHas(m.Name); name != "" {
			return name
		}
	}
	return ""
}

// kernelHas returns the name if a module of that very name is inside the kernel.
func (c *checker) kernelHas(name string) string {
	for i := range c.loaded {
		if c.loaded[i].ID != 1 {
			continue
		}
		for _, m := range c.loaded[i].Modules {
			if m.Name == name {
				return name
			}
		}
	}
	if c.live {
		return ""
	}
	for _, m := range c.library.kernelModules() {
		if m.Name == name {
			return name
		}
	}
	return ""
}

// kernelFileHas looks a query up among the modules that the kernel's file on disk declares.
func (c *checker) kernelFileHas(query string) string {
	k := c.library.Kernel
	if k == nil || k.metadata == nil {
		return ""
	}
	base := strings.TrimSuffix(query, ".ko")
	if base == kernelName {
		return kernelName
	}
	for _, m := range k.Modules {
		if m.Name == base || m.Record == base || lastPart(m.Name) == base {
			return m.Name
		}
	}
	for _, v := range k.Versions {
		if v.Name == base {
			return v.Name
		}
	}
	return ""
}
