// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
)

// exportDetails are read of a machine for an export, unless --detail says others.
const exportDetails = lkm.DetailFiles | lkm.DetailPolicy

// An exportWriter writes snapshots in one format.
type exportWriter = func(w io.Writer, snapshots []*lkm.Snapshot, o exportOptions) error

// exportFormats returns the words that export takes, each with its writer.
func exportFormats() map[string]exportWriter {
	return map[string]exportWriter{
		"cyclonedx": func(w io.Writer, snapshots []*lkm.Snapshot, o exportOptions) error {
			return exportDocuments(w, snapshots, func(s *lkm.Snapshot) []export.Document {
				return []export.Document{export.CycloneDX(s, o.all)}
			})
		},
		"ecs": func(w io.Writer, snapshots []*lkm.Snapshot, _ exportOptions) error {
			return exportDocuments(w, snapshots, export.ECS)
		},
		"sysmon": func(w io.Writer, snapshots []*lkm.Snapshot, _ exportOptions) error {
			return exportDocuments(w, snapshots, export.Sysmon)
		},
		"prometheus": func(w io.Writer, snapshots []*lkm.Snapshot, o exportOptions) error {
			return export.Prometheus(w, export.Metrics(snapshots, o.infoMax))
		},
		"osquery":              exportRows(export.TableAll),
		export.TableModules:    exportRows(export.TableModules),
		export.TableExtensions: exportRows(export.TableExtensions),
		export.TableDrivers:    exportRows(export.TableDrivers),
	}
}

// exportOptions are the flags that only export has.
type exportOptions struct {
	out     string
	all     bool
	csv     bool
	infoMax int
}

func (a *app) export() *cobra.Command {
	var o exportOptions
	words := slices.Sorted(maps.Keys(exportFormats()))
	c := &cobra.Command{
		Use:   "export FORMAT [SNAPSHOT...]",
		Short: "Write an inventory in the form of another program",
		Long: `Write what is in the kernel in the form of another program, to standard output or to a file. Each
SNAPSHOT is a snapshot (lkm list --format json), a tape, demo:NAME, or "-" for standard input; without one
it is this machine, or that of --tape or --root. Of a machine, files and policy are read.

  cyclonedx          a CycloneDX 1.6 bill of materials: what is not the operating system's, and its packages
  ecs                documents of the Elastic Common Schema, one a line
  kernel_modules, kernel_extensions, drivers
                     rows of osquery's tables, one JSON object a line
  osquery            rows for every system, with the columns of all three and the whole record
  sysmon             the fields of Sysmon's event 6, which Sigma's driver_load has, one a line (Windows)
  prometheus         text for node_exporter's textfile collector; -o FILE replaces FILE at once`,
		Example: `  lkm export prometheus -o lkm.prom --tape demo:debian-6.12-cloud-root  # for node_exporter
  lkm export cyclonedx old.json                     # a bill of materials of a saved snapshot
  lkm export osquery --csv old.json                 # a table for a database`,
		Args:      cobra.MinimumNArgs(1),
		ValidArgs: words,
		RunE: func(c *cobra.Command, args []string) error {
			return a.runExport(c.Context(), args[0], args[1:], o, words)
		},
	}
	a.commonFlags(c)
	c.Flags().Lookup("format").Hidden = true
	c.Flags().Lookup("fields").Hidden = true
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "write to `FILE`, which is replaced at once when all is "+
		"written; - is standard output")
	f.BoolVar(&o.all, "all", false, "cyclonedx: every module is a component, those of the operating system too")
	f.BoolVar(&o.csv, "csv", false, "osquery's tables: as CSV with a head")
	f.IntVar(&o.infoMax, "info-max", 0, "prometheus: a sample for each of at most `N` third-party modules")
	c.RegisterFlagCompletionFunc("info-max", cobra.NoFileCompletions)
	return c
}

func (a *app) runExport(ctx context.Context, format string, names []string, o exportOptions, words []string) error {
	write, ok := exportFormats()[format]
	if !ok {
		return fmt.Errorf("%q is not one of %s", format, strings.Join(words, ", "))
	}
	if a.flags.format != "table" || len(a.flags.fields) > 0 {
		return fmt.Errorf("--format and --fields do not go with export")
	}
	if o.csv {
		write, ok = exportCSV(format)
		if !ok {
			return fmt.Errorf("--csv goes with the tables of osquery")
		}
	}
	snapshots, lost, err := a.snapshots(ctx, names, exportDetails)
	switch {
	case err != nil:
		return err
	case len(snapshots) == 0: // what was written before stays
		return exit(exitFatal)
	}
	var text bytes.Buffer
	if err := write(&text, snapshots, o); err != nil {
		return err
	}
	if err := a.deliver(o.out, text.Bytes()); err != nil {
		return err
	}
	var incomplete []error
	for _, s := range snapshots {
		incomplete = append(incomplete, a.notListed(s), a.notExported(format, o, s), s.Err())
	}
	if format == "prometheus" {
		a.noteTwins(snapshots)
	}
	if lost {
		return exit(exitFatal)
	}
	return a.strictly(errors.Join(incomplete...))
}

// noteTwins prints which hosts have several snapshots: of these the metrics are the last one's.
func (a *app) noteTwins(snapshots []*lkm.Snapshot) {
	count := make(map[string]int)
	for _, s := range snapshots {
		if count[s.Host]++; count[s.Host] == 2 {
			fmt.Fprintf(a.stderr, "lkm: several snapshots of host %q: the last one counts\n", escape.Text(s.Host))
		}
	}
}

// notListed prints that a snapshot's list may lack modules, which a form without a place for it does not say, and
// returns it.
func (a *app) notListed(s *lkm.Snapshot) error {
	err := s.ListErr("")
	if err != nil {
		err = fmt.Errorf("%s: the list of modules is not whole: %w", cmp.Or(s.Host, string(s.OS)), err)
		fmt.Fprintln(a.stderr, "lkm:", escape.Text(oneLine(err)))
	}
	return err
}

// notExported prints that a format has no place for any module of a snapshot, which then looks like one without
// modules. The error is that what the format is about was not read.
func (a *app) notExported(format string, o exportOptions, s *lkm.Snapshot) error {
	system, loaded := lkm.OS(""), false
	switch format {
	case "cyclonedx":
		loaded = !o.all
	case "sysmon":
		system, loaded = lkm.Windows, true
	case export.TableDrivers:
		system = lkm.Windows
	case export.TableModules:
		system, loaded = lkm.Linux, true
	case export.TableExtensions:
		system = lkm.Darwin
	}
	var err, lost error
	switch name := cmp.Or(s.Host, string(s.OS)); {
	case system != "" && s.OS != system:
		err = fmt.Errorf("%s: %s has a place for modules of %s alone, and this is %s", name, format, system, s.OS)
	case loaded && s.Live == lkm.No:
		err = fmt.Errorf("%s: %s is about loaded modules, and an image does not say what was loaded", name, format)
		if format == "cyclonedx" {
			err = fmt.Errorf("%w (--all takes every module)", err)
		}
		lost = err
	default:
		return nil
	}
	fmt.Fprintln(a.stderr, "lkm:", escape.Text(oneLine(err)))
	return lost
}

// snapshots reads the named snapshots and tapes; one that cannot be read costs itself, and is noted: lost. Without a
// name it is the machine that the flags say, read with these details.
func (a *app) snapshots(ctx context.Context, names []string, more lkm.Detail) (
	all []*lkm.Snapshot, lost bool, err error,
) {
	if len(names) == 0 {
		s, err := a.oneSnapshot(ctx, more)
		return []*lkm.Snapshot{s}, false, err
	}
	if a.flags.detail == "" {
		a.flags.detail = more.String() // of a tape that comes with lkm, and of "live"
	}
	for _, name := range names {
		s, err := a.snapshot(ctx, name)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err != nil {
			lost = true
			a.note(err)
			continue
		}
		s.Host = cmp.Or(s.Host, a.flags.host)
		if s.Host == "" && len(names) > 1 {
			s.Host = hostOfFile(name)
		}
		all = append(all, s)
	}
	return all, lost, nil
}

// oneSnapshot reads the machine that the flags say with these details.
func (a *app) oneSnapshot(ctx context.Context, more lkm.Detail) (*lkm.Snapshot, error) {
	if a.flags.detail != "" {
		more = 0
	}
	sys, err := a.open(more)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	scope := lkm.ScopeLoaded
	if a.flags.root != "" && !a.flags.live {
		scope = lkm.ScopeInstalled // an image runs no kernel
	}
	return sys.SnapshotOf(ctx, scope)
}

// hostOfFile is what a snapshot without a host is called among others: its file's name, without what says the form.
func hostOfFile(name string) string {
	name = filepath.Base(strings.TrimPrefix(name, "demo:"))
	for _, ending := range []string{".gz", ".json", ".tape"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name
}

// exportDocuments writes a document a line, or one document indented if it is the only one.
func exportDocuments(w io.Writer, snapshots []*lkm.Snapshot, of func(*lkm.Snapshot) []export.Document) error {
	var docs []export.Document
	for _, s := range snapshots {
		docs = append(docs, of(s)...)
	}
	indent := ""
	if len(docs) == 1 {
		indent = "  "
	}
	for _, d := range docs {
		if err := writeJSON(w, d, indent); err != nil {
			return err
		}
	}
	return nil
}

// exportRows writes a row of a table a line.
func exportRows(table string) exportWriter {
	return func(w io.Writer, snapshots []*lkm.Snapshot, _ exportOptions) error {
		for _, s := range snapshots {
			rows, err := export.Osquery(s, table)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if err := writeJSON(w, r, ""); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// exportCSV returns the writer of a table as CSV. Cells are not altered as those for spreadsheets are: a database reads
// them.
func exportCSV(format string) (write exportWriter, ok bool) {
	table := format
	if format == "osquery" {
		table = export.TableAll
	}
	columns := export.Columns(table)
	return func(w io.Writer, snapshots []*lkm.Snapshot, _ exportOptions) error {
		out := csv.NewWriter(w)
		out.Write(columns)
		for _, s := range snapshots {
			rows, err := export.Osquery(s, table)
			if err != nil {
				return err
			}
			for _, r := range rows {
				cells := make([]string, len(columns))
				for i, c := range columns {
					cells[i] = r[c]
				}
				out.Write(cells)
			}
		}
		out.Flush()
		return out.Error()
	}, columns != nil
}
