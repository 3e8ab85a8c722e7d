// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
)

// unixFacts are what only one of the Unix systems, VxWorks or NetWare says of a module.
func unixFacts(m *lkm.Module) []fact {
	var facts []fact
	line := func(label, text string) { facts = append(facts, fact{label, text}) }
	if f := m.FreeBSD; f != nil {
		freebsdLines(f, line)
	}
	if n := m.NetBSD; n != nil {
		line("class", strings.TrimSpace(n.Class+" "+strings.Join(n.Flags, " ")))
		line("source", n.Source)
		if n.Disabled == lkm.Yes {
			line("state", "built in and disabled")
		}
		if v, ok := n.BuiltFor.Get(); ok {
			line("built for", "NetBSD "+netbsd.Release(uint32(v)))
		}
	}
	if s := m.Solaris; s != nil {
		for i, l := range s.Linkages {
			label := "adds"
			if i > 0 {
				label = ""
			}
			line(label, linkageText(l))
		}
	}
	if o := m.Other; o != nil {
		otherLines(o, line)
	}
	return facts
}

func freebsdLines(f *freebsd.File, line func(label, text string)) {
	names := make([]string, len(f.Modules))
	for i, m := range f.Modules {
		names[i] = m.Name
	}
	line("modules", someOf(names, 8))
	if f.SizeText != "" {
		line("size", f.SizeText+" (rounded)")
	}
	if f.Preloaded == lkm.Yes {
		line("preloaded", "by the boot loader")
	}
	if n, ok := f.BuiltFor.Get(); ok {
		line("built for", fmt.Sprintf("%s (%d)", freebsd.Release(n), n))
	}
	var provides []string
	for _, v := range f.Versions {
		provides = append(provides, fmt.Sprintf("%s.%d", v.Name, v.Version))
	}
	line("provides", someOf(provides, 8))
	var needs []string
	for _, d := range f.Depends {
		needs = append(needs, fmt.Sprintf("%s.%d (%d to %d)", d.Name, d.Preferred, d.Min, d.Max))
	}
	line("depends", someOf(needs, 8))
	for _, p := range f.PNP {
		line("devices", fmt.Sprintf("%d on bus %s: %s", len(p.IDs), p.Bus, someOf(p.IDs, 2)))
	}
}

func linkageText(l solaris.Linkage) string {
	text := l.Description
	if l.Cut {
		text += "…"
	}
	if n, ok := l.Info.Get(); ok {
		text += fmt.Sprintf(" (%d)", n)
	}
	return text
}

// otherLines prints each field; of one that is there many times, the first few.
func otherLines(o *lkm.Other, line func(label, text string)) {
	for i := 0; i < len(o.Fields); {
		j := i
		var values []string
		for ; j < len(o.Fields) && o.Fields[j].Name == o.Fields[i].Name; j++ {
			values = append(values, o.Fields[j].Value)
		}
		line(o.Fields[i].Name, someOf(values, 8))
		i = j
	}
}

// someOf joins the first n words and says how many more there are.
func someOf(words []string, n int) string {
	if len(words) <= n {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s (and %d more: --format json)", strings.Join(words[:n], ", "), len(words)-n)
}
