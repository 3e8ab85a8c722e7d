// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Loaded returns the loaded files, the kernel among them. With DetailFiles it reads what their files on disk declare.
func (k *Kernel) Loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Record, error) {
	files, err := k.walk(ctx)
	if files == nil {
		return nil, err
	}
	records := k.loadedRecords(files, err, r)
	k.addAddresses(files, records, h.Arch, r)
	k.addPreloads(ctx, records, r)
	if k.options.Asks(fact.DetailFiles) {
		k.addFiles(ctx, files, records, r)
		k.addPackages(ctx, records, r)
	} else {
		r.Skip(SourceModulePath)
	}
	k.addHashes(ctx, records, r.Budget)
	return records, ctx.Err()
}

// Poll returns the kernel's own list.
func (k *Kernel) Poll(ctx context.Context, _ *any, r *fact.Report) ([]Record, error) {
	files, err := k.walk(ctx)
	if files == nil {
		return nil, err
	}
	return k.loadedRecords(files, err, r), nil
}

// walk reads the kernel's list. As for readFiles, an error beside files says that they are not all.
func (k *Kernel) walk(ctx context.Context) ([]loadedFile, error) {
	files, err := readFiles(ctx, k.call(), k.layout)
	if files == nil && errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (HardenedBSD lets only root list klds; a MAC policy may refuse too)", err)
	}
	return files, err
}

// loadedRecords returns the files as records, in their order, and reports how reading them went.
func (k *Kernel) loadedRecords(files []loadedFile, partial error, r *fact.Report) []Record {
	records := make([]Record, len(files))
	var losses []fact.Loss
	dir := kernelDir(files)
	for i := range files {
		f := &files[i]
		records[i] = k.loadedRecord(f, dir)
		if f.Size == 0 && f.Name != "" {
			err := fmt.Errorf("size and address %w (HardenedBSD's HARDEN_KLD)", fact.ErrRestricted)
			losses = append(losses, fact.Loss{Module: i, Source: SourceKldstat, Field: "size", Err: err})
		}
	}
	fact.AddLosses(r, records, losses)
	reportList(files, partial, r)
	return records
}

// reportList reports the two sources of a list. partial is why it is not whole; nil if it is.
func reportList(files []loadedFile, partial error, r *fact.Report) {
	outcome, inside, modules := fact.OutcomeOK, fact.OutcomeOK, 0
	var p *partialError
	if errors.As(partial, &p) {
		outcome, inside = fact.OutcomePartial, fact.OutcomePartial
		r.Problem(SourceKldstat, "", "modules",
			fmt.Errorf("the list kept changing during %d walks; a file that came or went may be missing: %w", p.passes,
				p.err))
	}
	for i := range files {
		modules += len(files[i].Modules)
		if files[i].Name == "" {
			outcome = fact.OutcomePartial
		}
		if files[i].Modules == nil || len(files[i].report.Problems) > 0 {
			inside = fact.OutcomePartial
		}
	}
	r.Source(SourceKldstat, outcome, fact.CountOf(int64(len(files))), nil)
	r.Source(SourceModstat, inside, fact.CountOf(int64(modules)), nil)
}

// kernelDir returns the directory that the running kernel was loaded from; empty if it is unknown.
func kernelDir(files []loadedFile) string {
	for i := range files {
		if dir := dirOf(files[i].Pathname); files[i].ID == 1 && dir != "" {
			return dir
		}
	}
	return ""
}

// addAddresses keeps the load addresses if they were asked for, and reports those that are hidden.
func (k *Kernel) addAddresses(files []loadedFile, records []Record, arch string, r *fact.Report) {
	if !k.options.Asks(fact.DetailAddresses) {
		return
	}
	var losses []fact.Loss
	for i := range files {
		f := &files[i]
		var err error
		switch {
		case f.Redacted:
			err = fmt.Errorf("address %w", fact.ErrRedacted)
		case f.Address == 0:
			err = fmt.Errorf("address %w", fact.ErrRestricted)
		case f.Bits == 32 && wideMachine(arch):
			err = errUnsupported("this program has pointers of 32 bits and sees only the low half of the kernel's " +
				"addresses")
		default:
			records[i].Address = fact.Address(f.Address)
		}
		if err != nil {
			losses = append(losses, fact.Loss{Module: i, Source: SourceKldstat, Field: "address", Err: err})
		}
	}
	fact.AddLosses(r, records, losses)
}

// wideMachine reports whether a kernel of the machine has pointers of 64 bits. An unknown machine counts as one that
// has, so that no half address is shown.
func wideMachine(arch string) bool {
	switch arch {
	case "i386", "arm", "armv6", "armv7", "powerpc", "mips", "pc98", "sh":
		return false
	}
	return true
}

// addPreloads marks the files that the boot loader loaded.
func (k *Kernel) addPreloads(ctx context.Context, records []Record, r *fact.Report) {
	preloads, err := k.preloads(ctx, r)
	if err != nil {
		r.Source(SourcePreloaded, "", fact.Count{}, err)
		return
	}
	r.Done(SourcePreloaded, fact.CountOf(int64(len(preloads))))
	paths, names := map[string]bool{}, map[string]bool{}
	for _, p := range preloads {
		if p.Code() {
			paths[p.Name], names[fileName(p.Name)] = true, true
		}
	}
	for i := range records {
		own := records[i].Own
		own.Preloaded = fact.TriOf(paths[own.Pathname] || own.Pathname == "" && names[records[i].Name])
	}
}

// preloads asks the running kernel what the boot loader loaded.
func (k *Kernel) preloads(ctx context.Context, r *fact.Report) ([]preload, error) {
	text, err := k.call().text(ctx, sysctlPreloaded)
	if err != nil {
		r.Problem(SourcePreloaded, "", "freebsd.preloaded", err)
		return nil, err
	}
	return parsePreloads(text, r), nil
}

// addFiles adds to each loaded file what its file on disk declares, the relations between the loaded files, and
// whether the loaded code is that of the file.
func (k *Kernel) addFiles(ctx context.Context, loaded []loadedFile, records []Record, r *fact.Report) {
	files := make([]diskFile, len(records))
	var losses []fact.Loss
	read := 0
	for i := range records {
		if ctx.Err() != nil {
			return
		}
		m := &records[i]
		err := errUnsupported("the kernel does not return the file's path")
		if m.Path != "" {
			files[i].report.Budget = r.Budget
			files[i].metadata, err = readDisk(k.machine, m.Path, k.options.FileCap(), &files[i].report)
			files[i].Path, m.OnDisk.Path = m.Path, m.Path
		}
		if err == nil {
			read++
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			m.OnDisk.Match = fact.MatchAbsent
		}
		losses = append(losses, fact.Loss{Module: i, Source: SourceModulePath, Field: "freebsd.depends", Err: err})
	}
	kernelID, err := k.kernelBuildID(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // older kernels have none
		r.Problem(SourceModulePath, "kernel", "contentId", err)
	}
	for i := range records {
		addFile(&records[i], &files[i])
		compare(&records[i], &loaded[i], &files[i], kernelID)
	}
	relate(records, files)
	outcome := fact.OutcomeOK
	if read < len(records) {
		outcome = fact.OutcomePartial
	}
	fact.AddLosses(r, records, losses)
	r.Source(SourceModulePath, outcome, fact.CountOf(int64(read)), nil)
}

// kernelBuildID returns the running kernel's build-id.
func (k *Kernel) kernelBuildID(ctx context.Context) (string, error) {
	id, err := k.call().text(ctx, sysctlBuildID)
	return strings.ToLower(strings.TrimSpace(id)), err
}

// compare says whether the loaded code is the file's, as far as the kernel shows it.
func compare(m *Record, loaded *loadedFile, f *diskFile, kernelID string) {
	if f.metadata == nil {
		return
	}
	m.OnDisk.ContentID = f.BuildID
	if loaded.ID == 1 && kernelID != "" {
		m.ContentID = kernelID
		if f.BuildID != "" {
			m.OnDisk.By, m.OnDisk.Match = "build_id", fact.MatchSame
			if f.BuildID != kernelID {
				m.OnDisk.Match = fact.MatchDifferent
			}
			return
		}
	}
	if len(f.undeclared(loaded.Modules)) > 0 {
		m.OnDisk.By, m.OnDisk.Match = "modules", fact.MatchDifferent
		return
	}
	m.AddProblem(fact.Problem{Source: SourceModulePath, Subject: m.Name, Field: "onDisk.match",
		Code: fact.CodeUnsupported,
		Text: "the file declares every module that is loaded, and the kernel keeps nothing else to compare"})
}

// relate fills Requires and UsedBy of loaded files from their metadata, by the kernel's rule.
func relate(records []Record, files []diskFile) {
	index := map[*diskFile]int{}
	whole := true
	for i := range files {
		index[&files[i]] = i
		whole = whole && files[i].metadata != nil
		if files[i].Path == "" {
			files[i].Path = records[i].Name
		}
	}
	lib := newLibrary(files, nil)
	for i := range files {
		if files[i].metadata == nil {
			continue
		}
		for _, n := range addRequires(&records[i], lib, &lib.Files[i]) {
			j := index[n]
			records[j].UsedBy = append(records[j].UsedBy, records[i].Name)
		}
	}
	knowUsers(records, whole)
}

// knowUsers makes UsedBy of the records that nobody needs empty, which is known none, if all files were read.
func knowUsers(records []Record, whole bool) {
	for i := range records {
		if records[i].UsedBy == nil && whole {
			records[i].UsedBy = []string{}
		}
	}
}
