// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"fmt"
	"strconv"

	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/netware"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/vxworks"
)

// The kinds of captures of the other Unix systems, VxWorks and NetWare. Those of plain genkex,
// VxWorks and NetWare are experimental: no recording of a real one was at hand.
const (
	CaptureModstat    CaptureKind = "modstat"    // modstat of NetBSD
	CaptureModinfo    CaptureKind = "modinfo"    // modinfo of illumos or Solaris
	CaptureGenkex     CaptureKind = "genkex"     // genkex, genkex -d or genkld of AIX
	CaptureModuleShow CaptureKind = "moduleshow" // moduleShow of VxWorks
	CaptureModules    CaptureKind = "modules"    // MODULES of NetWare
	CaptureModdebug   CaptureKind = "moddebug"   // console messages of an illumos kernel booted with moddebug
	CaptureAbendLog   CaptureKind = "abend_log"  // ABEND.LOG of NetWare: the modules on the stack
)

// Experimental reports whether no recording of a real system was at hand to prove the reader of
// this kind.
func (k CaptureKind) Experimental() bool {
	return k == CaptureModuleShow || k == CaptureModules || k == CaptureModstat
}

func readSolarisModinfo(text string) captured {
	c, err := solaris.ParseCapture(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: Solaris}
	r := &report{}
	outcome := badLines(r, solaris.SourceModinfo, toErrors(c.Bad), c.BadCount)
	s.Modules = solarisRows(c.Rows)
	r.source(solaris.SourceModinfo, outcome, CountOf(int64(len(s.Modules))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Rows), stray: c.BadCount, sure: solaris.LooksLikeCapture(text)}
}

// solarisRows joins the lines of one module, which have the same id, name and address.
func solarisRows(rows []solaris.CaptureRow) []Module {
	out := make([]Module, 0, len(rows))
	type key struct {
		id   int64
		name string
	}
	seen := map[key]int{}
	for _, row := range rows {
		link := solaris.Linkage{Description: row.Description, Info: row.Info, Cut: row.Cut}
		if i, ok := seen[key{row.ID, row.Name}]; ok {
			out[i].Solaris.Linkages = append(out[i].Solaris.Linkages, link)
			continue
		}
		seen[key{row.ID, row.Name}] = len(out)
		d := &solaris.Module{ID: CountOf(row.ID), State: row.State, Rev: row.Rev, LoadCount: row.LoadCount}
		m := Module{
			ID: string(KindSolarisModule) + ":" + row.Name, Kind: KindSolarisModule, Name: row.Name, State: StateLoaded,
			Description: row.Description, Path: row.Path, Size: row.Size, Address: row.Address, Solaris: d,
		}
		if row.Description != "" {
			d.Linkages = []solaris.Linkage{link}
		}
		out = append(out, m)
	}
	return out
}

func readModdebug(text string) captured {
	loads, err := solaris.ParseModdebug(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: Illumos, Modules: make([]Module, 0, len(loads))}
	for _, l := range loads {
		m := Module{
			ID: string(KindIllumosModule) + ":" + l.Name(), Kind: KindIllumosModule, Name: l.Name(), State: StateLoaded,
			Size: CountOf(l.TextSize), Address: l.Text, Solaris: &solaris.Module{ID: CountOf(l.ID), State: []string{"loaded"}},
		}
		if l.Installed {
			m.Solaris.State = append(m.Solaris.State, "installed")
		}
		s.Modules = append(s.Modules, m)
	}
	r := &report{}
	r.source(string(CaptureModdebug), OutcomePartial, CountOf(int64(len(loads))), nil)
	r.problem(string(CaptureModdebug), "", "modules", fmt.Errorf("the messages tell what was loaded while they were printed, not what was loaded before: %w", ErrUnrecorded))
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(loads), sure: true}
}

func readAbendLog(text string) captured {
	a, err := netware.ParseAbend(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: NetWare, Release: a.Server, Modules: make([]Module, 0, len(a.Modules))}
	for _, name := range a.Modules {
		s.Modules = append(s.Modules, Module{
			ID: string(KindNetWareNLM) + ":" + name, Kind: KindNetWareNLM, Name: name, State: StateLoaded, Other: &Other{System: NetWare},
		})
	}
	r := &report{}
	r.source(string(CaptureAbendLog), OutcomePartial, CountOf(int64(len(a.Modules))), nil)
	r.problem(string(CaptureAbendLog), "", "modules", fmt.Errorf("the log names the modules on the stack, not all that were loaded: %w", ErrUnrecorded))
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(a.Modules), sure: true}
}

func readGenkex(text string) captured {
	c, err := aix.ParseCapture(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: AIX, Modules: aixModules(c, true)}
	r := &report{}
	outcome := badLines(r, aix.SourceGenkex, toErrors(c.Bad), c.BadCount)
	r.source(aix.SourceGenkex, outcome, CountOf(int64(len(c.Rows))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Rows), stray: c.BadCount, sure: true}
}

// aixModules converts the rows of genkex. Several instances of one path are several modules.
func aixModules(c *aix.Capture, addresses bool) []Module {
	out := make([]Module, 0, len(c.Rows))
	for _, row := range c.Rows {
		m := Module{
			ID: string(KindAIXKext) + ":" + row.Path, Kind: KindAIXKext, Name: row.Name(), State: StateLoaded, Path: row.Path,
			Size: row.TextSize, Other: &Other{System: AIX},
		}
		o := m.Other
		o.AddCount("textSize", row.TextSize)
		o.AddCount("dataSize", row.DataSize)
		if addresses {
			m.Address = row.Text
			o.AddAddress("dataAddress", row.Data)
		}
		out = append(out, m)
	}
	return out
}

const sourceModuleShow, sourceModules = "moduleshow", "modules"

func readModuleShow(text string) captured {
	c, err := vxworks.ParseCapture(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: VxWorks, Modules: make([]Module, 0, len(c.Rows))}
	for _, row := range c.Rows {
		m := Module{
			ID: string(KindVxWorksModule) + ":" + row.Name, Kind: KindVxWorksModule, Name: row.Name, State: StateLoaded,
			Size: row.Total, Address: row.Text, Other: &Other{System: VxWorks},
		}
		o := m.Other
		o.Add("moduleId", row.ID)
		o.AddCount("group", row.Group)
		o.AddAddress("dataStart", row.Data)
		o.AddAddress("bssStart", row.BSS)
		o.AddCount("textSize", row.TextSize)
		o.AddCount("dataSize", row.DataSize)
		o.AddCount("bssSize", row.BSSSize)
		s.Modules = append(s.Modules, m)
	}
	r := &report{}
	outcome := badLines(r, sourceModuleShow, toErrors(c.Bad), c.BadCount)
	r.source(sourceModuleShow, outcome, CountOf(int64(len(c.Rows))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Rows), stray: c.BadCount, sure: true}
}

func readNetWareModules(text string) captured {
	c, err := netware.ParseCapture(text)
	if err != nil {
		return captured{}
	}
	s := &Snapshot{OS: NetWare, Modules: make([]Module, 0, len(c.Rows))}
	for _, row := range c.Rows {
		m := Module{
			ID: string(KindNetWareNLM) + ":" + row.Name, Kind: KindNetWareNLM, Name: row.Name, State: StateLoaded,
			Version: row.Version, Description: row.Description, Other: &Other{System: NetWare},
		}
		m.Other.Add("date", row.Date)
		m.Other.Add("loadedFrom", row.LoadedFrom)
		m.Other.Add("addressSpace", row.AddressSpace)
		for _, note := range row.Notes {
			m.Other.Add("note", note)
		}
		s.Modules = append(s.Modules, m)
	}
	r := &report{}
	outcome := badLines(r, sourceModules, toErrors(c.Bad), c.BadCount)
	r.source(sourceModules, outcome, CountOf(int64(len(c.Rows))), nil)
	s.Sources, s.Problems = r.Sources, r.Problems
	return captured{snapshot: s, rows: len(c.Rows), stray: c.BadCount, sure: netware.LooksLikeCapture(text)}
}

// nlmModule converts an NLM file.
func nlmModule(n *netware.NLM, path string) Module {
	m := Module{
		ID: string(KindNetWareNLM) + ":" + n.Name, Kind: KindNetWareNLM, Name: n.Name, State: StateInstalled, Version: n.Version,
		Description: n.Description, Path: path, Size: CountOf(n.Size), Requires: n.Depends, Problems: n.Problems, Other: &Other{System: NetWare},
	}
	o := m.Other
	o.Add("type", n.Type)
	o.Add("date", n.Date)
	o.Add("copyright", n.Copyright)
	o.Add("screen", n.Screen)
	o.Add("thread", n.Thread)
	o.Add("flags", fmt.Sprintf("0x%x", n.Flags))
	o.Add("codeSize", strconv.FormatUint(uint64(n.CodeSize), 10))
	o.Add("dataSize", strconv.FormatUint(uint64(n.DataSize), 10))
	o.Add("bssSize", strconv.FormatUint(uint64(n.BSSSize), 10))
	for _, name := range n.Imports {
		o.Add("import", name)
	}
	for _, name := range n.Exports {
		o.Add("export", name)
	}
	return m
}
