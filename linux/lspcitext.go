// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/lazy"
)

// A device's block of lspci begins at the margin with its address.
var lspciDevice = lazy.Regexp{Pattern: `^(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7] `}

// SourceLspci is the source of the modules that lspci -k names.
const SourceLspci = "lspci"

// ReadLspci reads what lspci -k prints: the modules that fit a device. Whether one is loaded is unknown, and so is the
// module of the driver in use, which has a name of its own.
func ReadLspci(text string, r *fact.Report) fact.Capture[Module] {
	var c fact.Capture[Module]
	seen := make(map[string]bool)
	device, devices, drivers := false, 0, 0
	c.Stray = capture.Scan(text, capture.Form{Tool: "lspci", Source: SourceLspci}, r, func(line string) error {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case lspciDevice.MatchString(line):
			device = true
			devices++
		case !device:
			return fmt.Errorf("%.60q is not a row", line)
		case key == "Kernel driver in use":
			drivers++
		case key == "Kernel modules":
			c.Rows++
			return lspciModules(value, seen, &c)
		case line[0] != ' ' && line[0] != '\t':
			return fmt.Errorf("%.60q is not a row", line)
		}
		return nil
	})
	if c.Rows == 0 {
		return fact.Capture[Module]{}
	}
	c.Sure = c.Stray <= devices
	outcome := fact.OutcomeOK
	if r.Count(SourceLspci) > 0 {
		outcome = fact.OutcomePartial
	}
	if drivers > 0 {
		r.Add(fact.Problem{Source: SourceLspci, Field: "state", Code: fact.CodeUnsupported, Count: drivers,
			Text: "a driver in use is named as the driver names itself: the text does not say which module has it"})
	}
	r.Source(SourceLspci, outcome, fact.CountOf(int64(len(c.Records))), nil)
	return c
}

func lspciModules(value string, seen map[string]bool, c *fact.Capture[Module]) error {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.ReplaceAll(strings.TrimSpace(name), "-", "_")
		if !moduleName(name) {
			return fmt.Errorf("%.60q is not a module", name)
		}
		if !seen[name] && len(c.Records) < capture.MaxRows {
			seen[name] = true
			m := newRecord(name, "")
			m.Own = new(Module)
			c.Records = append(c.Records, m)
		}
	}
	return nil
}
