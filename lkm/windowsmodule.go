// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows"
)

var (
	errNotThere error = &sentinel.Error{Before: "not in the registry", Cause: fs.ErrNotExist}
	errNoStamp  error = &sentinel.Error{
		Before: "the kernel told neither checksum nor time stamp of the image to compare its file with",
		Cause:  errors.ErrUnsupported,
	}
	errReplaced  = errors.New("the file was replaced since it was loaded: imports, signature and the like are the file's, and not those of the code in memory")
	errDirtyHive = errors.New("the registry was not written back whole: the machine was not shut down cleanly, and its log files are not read")
)

// registry reads one key of HKEY_LOCAL_MACHINE; on an image only those of the SYSTEM hive.
func (b *windowsBackend) registry(ctx context.Context, path string) (*windows.RegKey, error) {
	if b.image {
		return b.hiveKey(path)
	}
	raw, err := b.guard.Call(ctx, windows.OpRegistry, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotThere
	}
	if err != nil {
		return nil, err
	}
	keys, _, err := windows.ParseReg(windows.OpRegistry, raw)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errNotThere
	}
	if keys[0].Partial {
		return nil, fmt.Errorf("registry key %s: a value cannot be read: %w", path, ErrMalformed)
	}
	return &keys[0], nil
}

func (b *windowsBackend) hiveKey(path string) (*windows.RegKey, error) {
	rest, ok := strings.CutPrefix(path, `SYSTEM\CurrentControlSet\`)
	if !ok {
		return nil, fmt.Errorf("registry key %s of an image: %w", path, errors.ErrUnsupported)
	}
	hive, set, err := b.controlSet()
	if err != nil {
		return nil, err
	}
	key, found, err := hive.Reg(set + `\` + rest)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNotThere
	}
	return &key, nil
}

func (b *windowsBackend) systemHive() (*windows.Hive, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hive != nil || b.hiveErr != nil {
		return b.hive, b.hiveErr
	}
	b.hive, b.hiveErr = b.readHive(windows.SystemHiveFile)
	return b.hive, b.hiveErr
}

// controlSet returns the SYSTEM hive with the name of the control set that the next boot uses.
func (b *windowsBackend) controlSet() (*windows.Hive, string, error) {
	hive, err := b.systemHive()
	if err != nil {
		return nil, "", err
	}
	set, err := hive.ControlSet()
	return hive, set, err
}

func (b *windowsBackend) readHive(name string) (*windows.Hive, error) {
	raw, err := limit.ReadFile(b.guard, name, windows.MaxHive)
	if err != nil {
		return nil, err
	}
	return windows.OpenHive(raw)
}

// modules converts entries, reading their files when that was asked for.
func (b *windowsBackend) modules(ctx context.Context, entries []windows.Entry, inv *windows.Inventory, now time.Time, r *report) ([]Module, error) {
	if b.asked(DetailFiles) || b.asked(DetailHashes) || b.asked(DetailSignatures) {
		if err := b.readFiles(ctx, entries, inv.Paths, now, r); err != nil {
			return nil, err
		}
	}
	list := make([]Module, 0, len(entries))
	for i := range entries {
		list = append(list, windowsModule(&entries[i], b.options.Detail))
	}
	addWindowsUsers(list)
	r.gather(list)
	return list, nil
}

// gather makes one Problem of a source of one that every module has.
func (r *report) gather(list []Module) {
	if len(list) < 2 {
		return
	}
	same := func(p, q Problem) bool {
		return p.Source == q.Source && p.Field == q.Field && p.Code == q.Code && p.Text == q.Text && q.Subject != ""
	}
	for _, p := range slices.Clone(list[0].Problems) {
		has := func(q Problem) bool { return same(p, q) }
		if p.Subject == "" || slices.ContainsFunc(list, func(m Module) bool { return !slices.ContainsFunc(m.Problems, has) }) {
			continue
		}
		for i := range list {
			list[i].Problems = slices.DeleteFunc(list[i].Problems, has)
		}
		p.Subject, p.Count = "", len(list)
		r.add(p)
	}
}

// verifier makes what signatures are checked with.
func (b *windowsBackend) verifier(ctx context.Context, now time.Time, r *report) *windows.Verifier {
	if !b.asked(DetailSignatures) {
		return nil
	}
	b.mu.Lock()
	if b.catalogs == nil {
		if b.options.Catalogs != nil {
			b.catalogs = append(b.catalogs, windows.NewCatalogs(b.options.Catalogs, "."))
		}
		if b.paths != nil && len(b.paths.SystemRoot) > 2 {
			if root, err := b.paths.File(b.paths.SystemRoot + `\` + windows.CatalogRoot); err == nil {
				b.catalogs = append(b.catalogs, windows.NewCatalogs(b.guard, root))
			}
		}
	}
	catalogs := b.catalogs
	b.mu.Unlock()
	v, errs := windows.NewVerifier(b.options.Keys, now, catalogs...)
	for _, err := range errs {
		r.problem(windows.SourceFile, "", "signature", err)
	}
	r.catalogs(ctx, catalogs)
	return v
}

// catalogs loads the indexes and reports how that went. A file without a signature of its own is
// known to have none only when an index was read whole.
func (r *report) catalogs(ctx context.Context, list []*windows.Catalogs) {
	if len(list) == 0 {
		r.source(windows.SourceCatalogs, OutcomeSkipped, Count{}, nil)
		return
	}
	total, outcome := 0, OutcomeOK
	var first error
	for _, c := range list {
		n, problems := c.Load(ctx)
		total += n
		for _, p := range problems {
			if n == 0 && errors.Is(p, fs.ErrNotExist) {
				first = p
				continue
			}
			outcome = OutcomePartial
			r.add(p)
		}
	}
	if total == 0 && outcome == OutcomeOK {
		r.source(windows.SourceCatalogs, OutcomeAbsent, CountOf(0), first)
		return
	}
	r.source(windows.SourceCatalogs, outcome, CountOf(int64(total)), nil)
}

// readFiles reads the drivers' files, Workers at a time.
func (b *windowsBackend) readFiles(ctx context.Context, entries []windows.Entry, paths windows.Paths, now time.Time, r *report) error {
	if b.options.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.options.Deadline, ErrBudget)
		defer cancel()
	}
	o := windows.FileOptions{Hashes: b.asked(DetailHashes), Verifier: b.verifier(ctx, now, r)}
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, b.options.Workers) {
		wg.Go(func() {
			for i := range next {
				b.readDriver(&entries[i], paths, o)
			}
		})
	}
	done := 0
	for i := range entries {
		if ctx.Err() != nil {
			break
		}
		next <- i
		done++
	}
	close(next)
	wg.Wait()
	if done == len(entries) {
		r.source(windows.SourceFile, filesOutcome(entries), CountOf(int64(done)), nil)
		return nil
	}
	if !errors.Is(context.Cause(ctx), ErrBudget) {
		return ctx.Err()
	}
	r.source(windows.SourceFile, OutcomePartial, CountOf(int64(done)), ErrBudget)
	p := problemOf(windows.SourceFile, "", "", fmt.Errorf("%w: %d of %d files were read", ErrBudget, done, len(entries)))
	p.Count = len(entries) - done
	r.add(p)
	return nil
}

func filesOutcome(entries []windows.Entry) Outcome {
	for _, e := range entries {
		if e.Path != "" && e.Driver.PE == nil {
			return OutcomePartial
		}
	}
	return OutcomeOK
}

func (b *windowsBackend) readDriver(e *windows.Entry, paths windows.Paths, o windows.FileOptions) {
	if e.Path == "" {
		return
	}
	b.settleAlias(e, paths)
	note := func(field string, err error) {
		e.Problems = append(e.Problems, problemOf(windows.SourceFile, e.Path, field, err))
	}
	name, err := paths.File(e.Path)
	if err != nil {
		note("path", err)
		return
	}
	raw, err := limit.ReadFile(b.guard, name, b.maxFile())
	if err != nil {
		note("file", err)
		return
	}
	f, err := windows.ParseFile(raw, o)
	if err != nil {
		note("pe", err)
		return
	}
	for _, p := range f.Problems {
		p.Subject = e.Path
		e.Problems = append(e.Problems, p)
	}
	e.SetFile(f, o.Verifier)
}

// settleAlias looks whether an image whose name is that of a copy for crash dumps has a file of its
// own after all: anyone may call a driver so.
func (b *windowsBackend) settleAlias(e *windows.Entry, paths windows.Paths) {
	own := e.OwnPath()
	if own == e.Path {
		return
	}
	if name, err := paths.File(own); err == nil {
		if _, err := b.guard.Stat(name); err == nil {
			e.NoAlias()
		}
	}
}

func (b *windowsBackend) maxFile() int64 {
	if b.options.MaxFile > 0 {
		return b.options.MaxFile
	}
	return limit.File
}

// windowsModule converts one entry.
func windowsModule(e *windows.Entry, detail Detail) Module {
	d := e.Driver
	m := Module{
		ID: string(KindWindowsDriver) + ":" + e.Key, Kind: KindWindowsDriver, Name: e.Name, Path: e.Path,
		State: windowsState(e), Size: e.FileSize, Origin: d.Origin(), Problems: e.Problems, Windows: d,
	}
	if d.Image != nil {
		m.Size, m.Address = CountOf(d.Image.Size), d.Image.Base
	}
	if d.PE != nil {
		if d.PE.PDB != nil {
			m.ContentID = d.PE.PDB.ID()
		}
		m.Requires = windowsRequires(d.PE)
	}
	m.Description = d.Version.String("FileDescription")
	if d.Version != nil {
		m.Version = d.Version.File
	}
	if d.Image != nil {
		m.OnDisk = windowsOnDisk(e)
	}
	if d.Image != nil && d.PE != nil && m.OnDisk.Match == "" {
		m.addProblem(problemOf(windows.SourceModules, e.Name, "onDisk.match", errNoStamp))
	}
	if m.OnDisk.Match == MatchDifferent {
		m.Version, m.ContentID = "", ""
		m.addProblem(problemOf(windows.SourceFile, e.Path, "version", errReplaced))
	}
	if best, ok := windows.BestSignature(d.Signatures); ok {
		m.Signature = best.Common()
	} else if d.Signatures != nil {
		m.Signature.Status = SignatureNone
	}
	return m
}

func windowsState(e *windows.Entry) State {
	switch {
	case e.Driver.Image != nil && e.Pending == "":
		return StateLoaded
	case e.Pending == "start_pending":
		return StateLoading
	case e.Pending == "stop_pending":
		return StateUnloading
	case e.Loaded:
		return StateLoaded
	}
	return StateInstalled
}

// windowsRequires are the imported images, as the file names them, each once. API sets are names of
// groups of functions and no images.
func windowsRequires(p *windows.PE) []string {
	if p.Imports == nil {
		return nil
	}
	names := make([]string, 0, len(p.Imports))
	for _, im := range p.Imports {
		if !windows.IsAPISet(im.Library) {
			names = append(names, im.Library)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// addWindowsUsers turns the imports of the listed images around.
func addWindowsUsers(list []Module) {
	index := make(map[string]int, len(list))
	for i := range list {
		index[strings.ToLower(list[i].Name)] = i
		if list[i].Requires == nil {
			return // not all are known, so nobody's users are
		}
	}
	for i := range list {
		list[i].UsedBy = []string{}
	}
	for i := range list {
		for _, lib := range list[i].Requires {
			if at, ok := index[strings.ToLower(lib)]; ok && at != i {
				list[at].UsedBy = append(list[at].UsedBy, list[i].Name)
			}
		}
	}
	for i := range list {
		slices.Sort(list[i].UsedBy)
	}
}

// windowsOnDisk compares the headers in memory with the file's. Without the file a Problem has said why
// there is no answer.
func windowsOnDisk(e *windows.Entry) OnDisk {
	im, pe := e.Driver.Image, e.Driver.PE
	if pe == nil {
		if e.FileAbsent() {
			return OnDisk{Match: MatchAbsent, Path: e.Path}
		}
		return OnDisk{}
	}
	if im.Checksum == "" {
		return OnDisk{Path: e.Path}
	}
	o := OnDisk{Match: MatchSame, Path: e.Path, By: "checksum_timestamp"}
	if im.Checksum != pe.Checksum || im.TimeStamp != pe.TimeStamp {
		o.Match = MatchDifferent
	}
	if pe.PDB != nil {
		o.ContentID = pe.PDB.ID()
	}
	return o
}
