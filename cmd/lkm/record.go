// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/tour"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

func (a *app) record() *cobra.Command {
	var out, comment string
	var releases []string
	var unredacted bool
	c := &cobra.Command{
		Use:   "record [NAME...]",
		Short: "Record what this machine answers on a tape, to look at elsewhere",
		Long: `Record every answer that a look at this machine gets, refusals and absences too, on a tape: one text
file that --tape reads on any operating system. Kernel addresses, parameter values, most of the
command line and serial numbers are left out unless --unredacted keeps them. The certificates of a
Windows machine's own stores stay: they have the names of those who issued them.

With a NAME, the indexes of modules and the loader's configuration are recorded too, and what check, info,
resolve, plan and config read for that name. --upgrade records the comparison with another kernel.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, names []string) error {
			header := tape.Header{Producer: lkm.Producer, Comment: comment}
			return a.runRecord(c.Context(), out, asked{names, releases},
				tape.Options{Header: header, Unredacted: unredacted})
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&out, "output", "o", "", "write to `FILE` instead of standard output")
	f.StringVar(&comment, "comment", "", "a line for people, kept on the tape")
	f.BoolVar(&unredacted, "unredacted", false,
		"keep addresses, parameter values, command line, serial numbers and --host")
	f.StringSliceVar(&releases, "upgrade", nil, "also read what lkm upgrade `RELEASE` reads")
	a.hostFlag(c)
	f.StringVar(&a.flags.detail, "detail", "",
		"also read: files,hashes,signatures,parameters,addresses,symbols,policy or all")
	f.StringVarP(&a.flags.root, "root", "r", "", "with --live: the running machine's root is mounted at `DIR`")
	f.BoolVar(&a.flags.exec, "exec", false, "run the system's own tools when its calls fail (macOS)")
	f.BoolVar(&a.flags.live, "live", false, "with --root: its kernel is the one that runs here")
	return c
}

func (a *app) runRecord(ctx context.Context, out string, q asked, to tape.Options) error {
	o, err := a.options()
	if err != nil {
		return err
	}
	if a.flags.root != "" && !a.flags.live {
		return fmt.Errorf("record: %s is an image, not a running machine: look at it with --root, or add --live "+
			"if it is this host's root", a.flags.root)
	}
	to.Header.Host, to.Header.Detail = o.Host, o.Detail.String()
	t, err := recordTape(ctx, o, q, to)
	if err != nil {
		return err
	}
	if out == "" || out == "-" {
		_, err = t.WriteTo(a.stdout)
		return err
	}
	if _, err := os.Lstat(out); errors.Is(err, fs.ErrNotExist) {
		return createFile(out, t)
	}
	return a.writeFile(out, func(w io.Writer) error {
		_, err := t.WriteTo(w)
		return err
	})
}

// asked are the questions of record beyond what is loaded.
type asked struct {
	names    []string // as check, info, resolve and plan take them
	releases []string // as upgrade takes them
}

func (q asked) none() bool { return len(q.names)+len(q.releases) == 0 }

// recordTape looks at the machine in every way that lkm has and returns the tape of it. A look
// that fails is recorded too: that is what the tape is for.
func recordTape(ctx context.Context, o lkm.Options, q asked, to tape.Options) (*tape.Tape, error) {
	system, machine, err := lkm.Live(o)
	if err != nil {
		return nil, err
	}
	r := tape.Record(system, machine, to)
	sys, err := lkm.OpenMachine(system, treeless{r, true}, o)
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	snap, err := tour.Take(ctx, sys)
	if err != nil {
		return nil, err
	}
	if err := recordViews(ctx, system, r, o); err != nil {
		return nil, err
	}
	if err := recordAsked(ctx, system, r, o, q); err != nil {
		return nil, err
	}
	if snap != nil {
		r.Describe(snap.Release, snap.Arch, snap.Privilege)
	}
	return r.Tape(), nil
}

// recordViews compares the machine's views of its modules, for the tape's sake. Without Detail Files
// no directory of modules is read: their files and indexes are large. The error is that ctx ended.
func recordViews(ctx context.Context, system lkm.OS, r *tape.Recorder, o lkm.Options) error {
	m := treeless{r, o.Detail&lkm.DetailFiles != 0}
	sys, err := lkm.OpenMachine(system, m, o)
	if err != nil {
		return err
	}
	defer sys.Close()
	_, _ = sys.Discrepancies(ctx) // what fails is an answer too
	return ctx.Err()
}

// recordAsked looks up the names and the releases that the caller named, each question with a System of its own,
// which remembers no answer of another. The error is that ctx ended.
func recordAsked(ctx context.Context, system lkm.OS, r *tape.Recorder, o lkm.Options, q asked) error {
	if q.none() {
		return nil
	}
	for _, ask := range q.questions(ctx) {
		sys, err := lkm.OpenMachine(system, treeless{r, true}, o)
		if err != nil {
			return err
		}
		ask(sys)
		sys.Close()
	}
	return errors.Join(ctx.Err(), recordInfo(ctx, system, r, o, q.names))
}

// questions returns what is asked. What fails is an answer too.
func (q asked) questions(ctx context.Context) []func(*lkm.System) {
	all := []func(*lkm.System){
		func(s *lkm.System) { _, _ = s.Policy(ctx) },
		func(s *lkm.System) { _, _ = s.Lint(ctx) },
	}
	for _, name := range q.names {
		all = append(all,
			func(s *lkm.System) { _, _ = s.Check(ctx, name) },
			func(s *lkm.System) { _, _ = s.Resolve(ctx, name) },
			func(s *lkm.System) { _, _ = s.LoadPlan(ctx, name) })
	}
	for _, release := range q.releases {
		all = append(all, func(s *lkm.System) { _, _ = s.Upgrade(ctx, release) })
	}
	return all
}

// recordInfo reads what is installed, and of the named modules the files.
func recordInfo(ctx context.Context, system lkm.OS, r *tape.Recorder, o lkm.Options, names []string) error {
	o.Detail |= lkm.DetailFiles | lkm.DetailSignatures
	o.Only = func(m *lkm.Module) bool {
		return slices.ContainsFunc(names, func(name string) bool { return answersTo(m, name) })
	}
	sys, err := lkm.OpenMachine(system, treeless{r, true}, o)
	if err != nil {
		return err
	}
	defer sys.Close()
	_, _ = sys.SnapshotOf(ctx, lkm.ScopeAll) // what fails is an answer too
	return nil
}

// treeless is a machine whose directories of modules are not asked for, unless files is set, nor the databases of
// packages of FreeBSD and of rpm, which may have a hundred megabytes. That there is one of rpm is asked.
type treeless struct {
	lkm.Machine
	files bool
}

func (t treeless) refuse(op, name string) error {
	path := "/" + name + "/"
	tree := strings.Contains(path, "/lib/modules/") || strings.HasPrefix(path, "/boot/kernel/") ||
		strings.HasPrefix(path, "/boot/modules/")
	rpm := strings.Contains(path, "/rpm/rpmdb.sqlite") || strings.Contains(path, "/rpm/Packages")
	packages := strings.HasPrefix(path, "/var/db/pkg/") || rpm && op == "open"
	if !packages && (t.files || !tree) {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: lkm.ErrUnrecorded}
}

func (t treeless) Open(name string) (fs.File, error) {
	if err := t.refuse("open", name); err != nil {
		return nil, err
	}
	return t.Machine.Open(name)
}

func (t treeless) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := t.refuse("readdir", name); err != nil {
		return nil, err
	}
	return t.Machine.ReadDir(name)
}

func (t treeless) Stat(name string) (fs.FileInfo, error) {
	if err := t.refuse("stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(t.Machine, name)
}

func (t treeless) Lstat(name string) (fs.FileInfo, error) {
	if err := t.refuse("lstat", name); err != nil {
		return nil, err
	}
	return t.Machine.Lstat(name)
}

func (t treeless) ReadLink(name string) (string, error) {
	if err := t.refuse("readlink", name); err != nil {
		return "", err
	}
	return t.Machine.ReadLink(name)
}

// createFile writes w's content to a new file, with the permissions that the process gives new files.
func createFile(name string, w io.WriterTo) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := w.WriteTo(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
