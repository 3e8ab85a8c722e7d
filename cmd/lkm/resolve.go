// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

func (a *app) resolve() *cobra.Command {
	c := &cobra.Command{
		Use:   "resolve ALIAS...",
		Short: "Show which modules an alias stands for (modprobe -R, devmatch)",
		Long: `Show which modules answer to each alias, in the order in which the system would load them: a
device's modalias or plug-and-play id, symbol:NAME, a file system or protocol name, a module's name.

For macOS a device is also pci:8086:15b7, usb:05ac:0223, the name of a PCI device, pci8086,15b7, or
properties as drivers name them: IOPCIMatch=0x15b78086, IOPCIClassMatch=0x0c033000,
idVendor=0x05ac,idProduct=0x0223,bConfigurationValue=1,bInterfaceNumber=1, IONameMatch=PNP0C0A.
A driver that asks for what these do not say is listed last and marked: it may match.`,
		Args: cobra.MinimumNArgs(1),
		RunE: a.onSystem(a.runResolve),
	}
	a.commonFlags(c)
	return c
}

// A resolved is an alias with the modules that answer to it.
type resolved struct {
	Alias   string       `json:"alias"`
	Modules []lkm.Module `json:"modules"`
}

func (a *app) runResolve(ctx context.Context, sys *lkm.System, aliases []string) error {
	t := &table{head: []string{"ALIAS", "MODULE", "STATE", "PATH"}}
	answers := make([]resolved, 0, len(aliases))
	missing := false
	var failed, incomplete []error
	for _, alias := range aliases {
		modules, err := sys.Resolve(ctx, alias)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		incomplete = append(incomplete, problemsOf(modules))
		if len(modules) == 0 {
			missing = true
			fmt.Fprintf(a.stderr, "lkm: %s: no module matches\n", escape.Text(alias))
			modules = []lkm.Module{}
		}
		a.sayTwo(alias, modules)
		answers = append(answers, resolved{alias, modules})
		for i := range modules {
			m := &modules[i]
			path := orNone(strings.TrimSpace(m.Path))
			if m.Darwin != nil && m.Darwin.Match != nil && m.Darwin.Match.Sure != lkm.Yes {
				path += " (may match: " + strings.Join(m.Darwin.Match.Unjudged, ", ") + " unknown)"
			}
			t.rows = append(t.rows, []string{alias, m.Name, orUnknown(string(m.State)), path})
		}
	}
	if a.flags.format != "table" || len(t.rows) > 0 {
		if err := writeRows(a, t, answers); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		a.stdout.Flush()
		for _, err := range failed {
			a.note(err)
		}
		return exit(exitFatal)
	case missing:
		return exit(exitFatal)
	}
	return a.strictly(errors.Join(incomplete...))
}
