// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// Loaded returns the loaded modules: the kernel's list and what /sys/module says of each module in it.
func (k *Kernel) Loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Record, error) {
	k.readTaint(h, r)
	var list moduleList
	if err := newListReader(k.machine).Read(&list, r); err != nil {
		if err = k.whyNoList(err); err != errNoModules {
			return nil, err
		}
		reportNoModules(r)
		r.Skip(SourceSysModule, SourceLivepatch)
		k.builtins(ctx, new(moduleList), r)
		return nil, ctx.Err()
	}
	modules := recordsOf(&list, nil)
	r.Done(SourceModules, fact.CountOf(int64(len(modules))))
	k.readSysModules(ctx, modules, k.options.Detail, r)
	k.readLivepatches(ctx, modules, r)
	k.readAddresses(&list, modules, r)
	k.readFiles(ctx, modules, k.options.Detail, r)
	k.builtins(ctx, &list, r)
	return modules, ctx.Err()
}

// errNoModules is the error of a kernel without modules, whose list is empty.
var errNoModules = &sentinel.Error{Before: "kernel was built without loadable modules", Cause: errors.ErrUnsupported}

// whyNoList returns why /proc/modules could not be read: errNoModules if there is nothing that it could list.
func (k *Kernel) whyNoList(cause error) error {
	if !errors.Is(cause, fs.ErrNotExist) {
		return cause
	}
	none, err := noModuleSupport(k.machine)
	if err != nil {
		return fmt.Errorf("%w, and whether the kernel supports modules is unknown: %w (is /proc mounted here, "+
			"and without subset=pid?)", cause, err)
	}
	if !none {
		return fmt.Errorf("%w, although the kernel has modules: something hides it", cause)
	}
	return errNoModules
}

func reportNoModules(r *fact.Report) {
	r.Source(SourceModules, fact.OutcomeUnsupported, fact.CountOf(0), errNoModules)
	r.Problem(SourceModules, "", "modules", errNoModules)
}

// readSysModules adds to each module what /sys/module says of it, with the details asked for.
func (k *Kernel) readSysModules(ctx context.Context, modules []Record, detail fact.Detail, r *fact.Report) {
	if len(modules) > 0 {
		if _, err := fs.Stat(k.machine, SysModuleDir); err != nil {
			r.Source(SourceSysModule, "", fact.Count{}, err)
			r.Problem(SourceSysModule, "", "", err)
			return
		}
	}
	var read int64
	sys := &sysReader{fsys: k.machine}
	for i := range modules {
		if ctx.Err() != nil {
			return
		}
		m := &modules[i]
		sys.module = i
		facts, err := sys.readModule(m.Name)
		if err != nil {
			sys.lose("", err)
			continue
		}
		read++
		addSysModule(m, &facts)
		if detail&fact.DetailParameters != 0 {
			m.Own.Parameters = sys.readParameters(m.Name)
		}
		if detail&fact.DetailAddresses != 0 {
			m.Own.Sections = sys.readSections(m.Name)
		}
	}
	listed := func(l fact.Loss) bool { return l.Field == "state" || l.Field == "taints" } // the list says them
	lost := slices.DeleteFunc(sys.losses, listed)
	fact.AddLosses(r, modules, lost)
	switch {
	case len(lost) == 0:
		r.Source(SourceSysModule, fact.OutcomeOK, fact.CountOf(read), nil)
	case read == 0:
		r.Source(SourceSysModule, "", fact.CountOf(0), lost[0].Err)
	default:
		r.Source(SourceSysModule, fact.OutcomePartial, fact.CountOf(read), nil)
	}
}

// addSysModule joins the facts of /sys/module with those of the list.
func addSysModule(m *Record, f *sysModule) {
	m.Version, m.ContentID = f.Version, f.BuildID
	m.Own.Version, m.Own.Srcversion = f.Version, f.Srcversion
	m.Own.CoreSize, m.Own.InitSize = f.CoreSize, f.InitSize
}

// readAddresses keeps the load addresses when they were asked for. The kernel shows all of them or
// none to one reader; a single zero is that of a module whose code was all dropped after init.
func (k *Kernel) readAddresses(list *moduleList, modules []Record, r *fact.Report) {
	if !k.options.Asks(fact.DetailAddresses) || len(modules) == 0 {
		return
	}
	shown := false
	for i := range list.Entries {
		modules[i].Address = list.Entries[i].Address
		shown = shown || modules[i].Address != 0
	}
	if !shown {
		p := fact.ProblemOf(SourceModules, "", "address", k.hiddenAddresses())
		p.Count = len(modules)
		r.Add(p)
	}
}

// hiddenAddresses says why addresses are zero: the tape's recorder took them out, or the kernel
// does not show them to this caller.
func (k *Kernel) hiddenAddresses() error {
	if fact.IsRedacted(k.machine, ModulesFile) {
		return fmt.Errorf("addresses %w", fact.ErrRedacted)
	}
	settings := ""
	for _, file := range []string{kptrFile, perfParanoidFile} {
		if v, err := limit.AppendAttr(k.machine, nil, file, limit.Attr); err == nil {
			settings += path.Base(file) + "=" + strings.TrimSpace(string(v)) + " and "
		}
	}
	return fmt.Errorf("addresses %w: %sno CAP_SYSLOG (needed only for --detail addresses)",
		fact.ErrRestricted, settings)
}

// A pollScratch is what Poll keeps from one call to the next.
type pollScratch struct {
	reader *listReader
	list   moduleList
	slabs  slabs
}

// Poll returns the kernel's own list in memory that the next call with the same scratch uses again.
func (k *Kernel) Poll(_ context.Context, scratch *any, r *fact.Report) ([]Record, error) {
	s, ok := (*scratch).(*pollScratch)
	if !ok {
		s = &pollScratch{reader: newListReader(k.machine)}
		*scratch = s
	}
	if err := s.reader.Read(&s.list, r); err != nil {
		if err = k.whyNoList(err); err != errNoModules {
			return nil, err
		}
		reportNoModules(r)
		return nil, nil
	}
	r.Done(SourceModules, fact.CountOf(int64(len(s.list.Entries))))
	return recordsOf(&s.list, &s.slabs), nil
}

// Find returns what the kernel says now of one loaded module: fact.ErrGone if it is not there.
func (k *Kernel) Find(ctx context.Context, name string, r *fact.Report) (*Record, error) {
	var list moduleList
	if err := newListReader(k.machine).Read(&list, r); err != nil {
		return nil, err
	}
	modules := recordsOf(&list, nil)
	i := slices.IndexFunc(modules, func(m Record) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("module %s: %w", name, fact.ErrGone)
	}
	k.readSysModules(ctx, modules[i:i+1:i+1], k.options.Detail, r)
	return &modules[i], nil
}
