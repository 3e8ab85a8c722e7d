// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// importers are the drivers of a machine by what they import.
type importers struct {
	by     map[string][]*entry // by the folded name of the image that they import
	unread fact.Reason         // a driver whose imports are not known; zero if all are
}

// readImporters reads which driver imports which images: the files of all drivers, once.
func (c *checker) readImporters() *importers {
	if c.imports != nil {
		return c.imports
	}
	c.imports = &importers{by: map[string][]*entry{}}
	for i := range c.entries {
		e := c.entries[i]
		d := *e.Driver
		e.Driver, e.Problems = &d, nil
		c.kernel.readDriver(&e, c.inventory.Paths, FileOptions{}, nil, c.report.Budget)
		if e.Driver.PE == nil || e.Driver.PE.Imports == nil {
			c.imports.lost(&e)
			continue
		}
		seen := map[string]bool{}
		for _, im := range e.Driver.PE.Imports {
			if name := fold(im.Library); !seen[name] {
				seen[name] = true
				c.imports.by[name] = append(c.imports.by[name], &e)
			}
		}
	}
	return c.imports
}

// lost notes a driver whose imports are not known. What is no image at all, or is not there, imports nothing, and a
// service whose path leads nowhere loads nothing.
func (m *importers) lost(e *entry) {
	if e.Path == "" || e.fileAbsent() || m.unread != (fact.Reason{}) {
		return
	}
	for _, p := range e.Problems {
		if p.Source == SourceFile && p.Field == "pe" && p.Code == fact.CodeMalformed && e.Driver.PE == nil {
			return
		}
	}
	m.unread = fact.Reason{Code: ReasonImported, File: e.Path,
		Text: "the imports of " + e.Name + " could not be read: whether it brings the file in is not known"}
}

// imported answers for the way of a driver that imports the image: the kernel loads it with that driver, from the
// driver's own folder or from one of Windows', and no service is asked ("Export drivers", learn.microsoft.com
// /windows-hardware/drivers/kernel/creating-export-drivers).
// It is asked where nothing else is open: all drivers are read for it.
func (c *checker) imported(e *entry, file fact.Answer, others ...fact.Answer) fact.Answer {
	if slices.ContainsFunc(others, func(a fact.Answer) bool { return a.Blocked() == fact.No }) {
		return fact.Answer{}
	}
	if file.Blocked() == fact.Yes || e.Path == "" {
		return file
	}
	all := c.readImporters()
	var unsure fact.Answer
	full := c.inventory.Paths.fullKey(e.Path)
	for _, by := range all.by[fold(baseName(e.Path))] {
		own := c.inventory.Paths.fullKey(by.Path)
		if own == full || !c.inventory.Paths.common(full) && folderOf(own) != folderOf(full) {
			continue
		}
		because := fact.Reason{Code: ReasonImported, File: by.Path,
			Text: fmt.Sprintf("%s imports it: what loads that driver loads it, too", by.Name)}
		for _, s := range by.Driver.Services {
			switch s.Start {
			case "boot", "system", "auto", "demand":
				if file.Blocked() == "" {
					return file
				}
				return fact.Passes(because)
			}
		}
		if !unsure.Applies() {
			unsure = fact.UnsureOf(because)
		}
	}
	switch {
	case unsure.Applies():
		return unsure
	case all.unread != (fact.Reason{}):
		return fact.UnsureOf(all.unread)
	case !c.folders:
		return fact.Unsure(ReasonImported, "the drivers were not listed whole: whether one imports it is not known")
	}
	return fact.Stops(fact.Reason{Code: ReasonImported, Text: "no driver that was found imports it"})
}

// common reports whether a folded path is that of a file in a folder where the kernel looks for what drivers import.
func (p ntPaths) common(path string) bool {
	return p.inDrivers(path) || folderOf(path) == fold(p.SystemRoot)+`\system32\`
}

// folderOf returns the folder of a path.
func folderOf(path string) string { return path[:strings.LastIndexByte(path, '\\')+1] }
