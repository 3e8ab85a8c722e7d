// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) info() *cobra.Command {
	c := &cobra.Command{
		Use:   "info NAME|FILE...",
		Short: "Show everything known of a module, or of a module's file (modinfo, kldstat -v)",
		Long: `Show everything known of each module. A NAME is a module's id, such as linux_module:nvme, or its
name; on Linux "-" and "_" are the same letter, on Windows a service's name is one too. When several
modules match, all are shown. What has a path separator in it is a FILE: a .ko, a .sys, a kext bundle,
a .nlm, of any system on any other.`,
		Args: cobra.MinimumNArgs(1),
	}
	list := ""
	c.RunE = func(c *cobra.Command, args []string) error { return a.runInfo(c.Context(), args, list) }
	c.Flags().StringVarP(&a.flags.field, "field", "F", "", "print only this `FIELD`, a value a line: "+
		"a word of modinfo, such as license or parm, or a JSON name, such as signature.status")
	c.Flags().StringVar(&list, "blocklist", "", "report the rules of a block list that name a driver: "+
		"`FILE` as for list; "+
		"exit 1 if any (Windows)")
	a.commonFlags(c)
	return c
}

func (a *app) runInfo(ctx context.Context, names []string, list string) error {
	if err := a.checkFormat(); err != nil {
		return err
	}
	if list == systemBlockList && slices.ContainsFunc(names, isFile) {
		return errors.New("--blocklist system is compared with the drivers of its machine, not with a FILE: " +
			"give the list as a file")
	}
	blocked, err := a.readBlockList(list)
	if err != nil {
		return err
	}
	more := lkm.DetailFiles | lkm.DetailSignatures
	if blocked != nil {
		more |= lkm.DetailHashes
	}
	q, err := a.lookUp(ctx, names, more)
	if err != nil {
		return err
	}
	if blocked != nil {
		if err := q.drivers(); err != nil {
			return err
		}
		blocked.matchAll(q.found)
	}
	if err := a.writeInfo(q.found); err != nil {
		return err
	}
	if err := a.infoBlocked(blocked, q); err != nil || q.missing {
		if q.missing {
			return exit(exitFatal)
		}
		return err
	}
	incomplete := problemsOf(q.found)
	if q.known != nil {
		incomplete = errors.Join(q.known.lost, incomplete)
	}
	return a.strictly(incomplete)
}

// looked is what the names of a question led to.
type looked struct {
	found   []lkm.Module
	known   *catalog // nil if every name is a file
	missing bool     // a name led to nothing: a line on stderr says so
}

// lookUp finds the modules that names and files lead to.
func (a *app) lookUp(ctx context.Context, names []string, more lkm.Detail) (*looked, error) {
	q := new(looked)
	asked := func(m *lkm.Module) bool {
		return slices.ContainsFunc(names, func(name string) bool { return answersTo(m, name) })
	}
	for _, name := range names {
		if isFile(name) {
			modules, err := a.readFile(ctx, name, more)
			if err != nil { // it costs itself
				q.missing = true
				a.note(err)
			}
			q.found = append(q.found, modules...)
			continue
		}
		if q.known == nil {
			var err error
			if q.known, err = a.catalog(ctx, more, asked); err != nil {
				return nil, err
			}
		}
		matches := q.known.matching(name)
		if len(matches) == 0 {
			q.missing = true
			a.noMatch(name, q.known)
		}
		a.sayTwo(name, matches)
		q.found = append(q.found, matches...)
	}
	return q, nil
}

// drivers returns an error if something was found and nothing of it is a Windows driver, which a block list is about.
func (q *looked) drivers() error {
	isDriver := func(m lkm.Module) bool { return m.Windows != nil }
	if len(q.found) == 0 || slices.ContainsFunc(q.found, isDriver) {
		return nil
	}
	if q.known != nil {
		return notDrivers(string(q.known.os))
	}
	return notDrivers(string(q.found[0].Kind))
}

// infoBlocked says what a block list says of what was found, whose cards show the rules.
func (a *app) infoBlocked(l *blockList, q *looked) error {
	if l == nil || len(q.found) == 0 {
		return nil
	}
	var src lkm.Source
	if q.known != nil {
		src = q.known.lists
	}
	title, whole := l.title(src)
	return a.writeBlocked(l, q.found, title, whole)
}

// isFile reports whether an argument is a file and not a name.
func isFile(arg string) bool {
	return strings.ContainsRune(arg, '/') || (runtime.GOOS == "windows" && strings.ContainsRune(arg, '\\'))
}

// readFile reads a module's file of this machine, in any folder.
func (a *app) readFile(ctx context.Context, name string, more lkm.Detail) ([]lkm.Module, error) {
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.Detail |= more
	dir, file := filepath.Split(filepath.Clean(name))
	if dir == "" {
		dir = "."
	}
	modules, err := lkm.ReadFile(ctx, os.DirFS(dir), file, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i := range modules {
		if modules[i].Path == file { // a file by itself is where it was given
			modules[i].Path = name
		}
	}
	return modules, nil
}

func (a *app) writeInfo(modules []lkm.Module) error {
	if a.flags.field != "" {
		return a.writeField(modules, a.flags.field)
	}
	switch a.flags.format {
	case "json":
		if modules == nil {
			modules = []lkm.Module{}
		}
		return writeJSON(a.stdout, modules, "  ")
	case "table":
		if len(a.flags.fields) == 0 {
			for i := range modules {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				a.writeCard(&modules[i])
			}
			return nil
		}
	}
	return a.writeModules(modules, []column{nameColumn, stateColumn, versionColumn, sizeColumn, originColumn,
		signedColumn})
}
