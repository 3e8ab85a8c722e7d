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
	unread []*entry            // the drivers whose imports are not known
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
			if mayImport(&e) {
				c.imports.unread = append(c.imports.unread, &e)
			}
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

// mayImport reports whether a driver whose imports were not read may have some. What is no image at all, or is not
// there, has none, and a service whose path leads nowhere loads nothing.
func mayImport(e *entry) bool {
	if e.Path == "" || e.fileAbsent() {
		return false
	}
	return !slices.ContainsFunc(e.Problems, func(p fact.Problem) bool {
		return p.Source == SourceFile && p.Field == "pe" && p.Code == fact.CodeMalformed && e.Driver.PE == nil
	})
}

// imported answers for the way of a driver that imports the image: the kernel loads it with that driver, from the
// driver's own folder or from one of Windows', and no service is asked ("Export drivers",
// learn.microsoft.com/windows-hardware/drivers/kernel/creating-export-drivers). It is asked where nothing else is
// open: all drivers are read for it.
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
		if !c.inventory.Paths.finds(by, full) {
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
	unread := slices.IndexFunc(all.unread, func(by *entry) bool { return c.inventory.Paths.finds(by, full) })
	switch {
	case unsure.Applies():
		return unsure
	case unread >= 0:
		by := all.unread[unread]
		return fact.UnsureOf(fact.Reason{Code: ReasonImported, File: by.Path,
			Text: "the imports of " + by.Name + " could not be read: whether it brings the file in is not known"})
	case !c.folders:
		return fact.Unsure(ReasonImported, "the drivers were not listed whole: whether one imports it is not known")
	}
	return fact.Stops(fact.Reason{Code: ReasonImported, Text: "no driver that was found imports it"})
}

// finds reports whether the kernel, for a driver that imports an image of its name, looks for the file of that folded
// path: in the driver's own folder, System32\drivers and System32.
func (p ntPaths) finds(by *entry, path string) bool {
	own := p.fullKey(by.Path)
	return own != path &&
		(p.inDrivers(path) || folderOf(path) == fold(p.SystemRoot)+`\system32\` || folderOf(path) == folderOf(own))
}

// folderOf returns the folder of a path.
func folderOf(path string) string { return path[:strings.LastIndexByte(path, '\\')+1] }
