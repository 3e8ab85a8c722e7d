// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// A loadedFile is one linker file of the running kernel with the modules inside.
type loadedFile struct {
	fileStat
	// Modules are the modules inside, in the kernel's order; nil if they could not be read, empty if the file has none.
	Modules []moduleStat
	report  fact.Report // of this file alone: the problems of its record
}

// A partialError says that a list is not whole: files came and went during every one of several walks, or the walk
// met an answer that is invalid.
type partialError struct {
	passes int // how many walks it took
	err    error
}

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

// readFiles walks the kernel's list of linker files and returns them in load order, the kernel first. It begins again
// if a file vanishes under it, at most eight times. If no walk was undisturbed it returns the union of them all, and
// a partialError beside it. Any other error is that of the first call: there is no list, and it is nil.
func readFiles(ctx context.Context, call callFunc, l layout) ([]loadedFile, error) {
	w := &walker{call: call, layout: l, fileVersion: 2, moduleVersion: 3, seen: map[fileKey]int{},
		union: []loadedFile{}}
	for pass := 1; ; pass++ {
		files, err := w.walk(ctx)
		if err == nil {
			return files, nil
		}
		if len(files) == 0 && len(w.union) == 0 && !errors.Is(err, fact.ErrGone) {
			return nil, err
		}
		w.keep(files)
		if pass == maxPasses || !errors.Is(err, fact.ErrGone) || ctx.Err() != nil {
			return w.union, &partialError{pass, err}
		}
	}
}

// A fileKey distinguishes one load of a file from another, because ids are reused.
type fileKey struct {
	id      int32
	name    string
	address uint64
}

type walker struct {
	call          callFunc
	layout        layout
	fileVersion   int          // of struct kld_file_stat, the newest that the kernel accepts
	moduleVersion int          // of struct module_stat, likewise
	union         []loadedFile // never nil
	seen          map[fileKey]int
}

// keep adds what a broken walk saw to what earlier ones saw; the newer view of a file wins.
func (w *walker) keep(files []loadedFile) {
	for _, f := range files {
		k := fileKey{f.ID, f.Name, f.Address}
		if i, ok := w.seen[k]; ok {
			w.union[i] = f
			continue
		}
		w.seen[k] = len(w.union)
		w.union = append(w.union, f)
	}
}

// walk goes through the list once. fact.ErrGone means that it changed meanwhile.
func (w *walker) walk(ctx context.Context) ([]loadedFile, error) {
	files := []loadedFile{}
	ids := map[int]bool{}
	for id := 0; ; {
		next, err := w.call.number(ctx, OpKldNext, id)
		if err != nil || next == 0 {
			return files, err
		}
		if ids[next] || len(ids) == maxFiles {
			return files, &fact.ParseError{Source: OpKldNext,
				Reason: fmt.Sprintf("the list of files does not end: id %d again", next)}
		}
		id = next
		ids[id] = true
		f, err := w.file(ctx, id)
		switch {
		case err == nil:
			files = append(files, f)
		case errors.Is(err, fact.ErrGone), len(files) == 0:
			return files, err
		default: // only this file could not be read
			f.report.Problem(SourceKldstat, "id "+strconv.Itoa(id), "", err)
			f.ID = int32(id)
			files = append(files, f)
		}
	}
}

// file reads one file and its modules, and makes sure that the id still meant the same file after.
func (w *walker) file(ctx context.Context, id int) (loadedFile, error) {
	st, err := w.stat(ctx, id)
	if err != nil {
		return loadedFile{}, err
	}
	f := loadedFile{fileStat: st}
	f.Modules, err = w.modules(ctx, &f, id)
	if errors.Is(err, fact.ErrGone) {
		return loadedFile{}, err
	}
	if err != nil {
		f.Modules = nil
		f.report.Problem(SourceModstat, st.Name, "freebsd.modules", err)
	}
	again, err := w.stat(ctx, id)
	if errors.Is(err, fact.ErrGone) {
		return loadedFile{}, err
	}
	if err == nil && (again.Name != st.Name || again.Address != st.Address || again.ID != st.ID) {
		return loadedFile{}, fmt.Errorf("%s %d: %w: the id now means %s", OpKldStat, id, fact.ErrGone, again.Name)
	}
	return f, nil
}

// stat asks for the newest structure that the kernel accepts, and remembers which one that is.
func (w *walker) stat(ctx context.Context, id int) (fileStat, error) {
	for {
		b, err := w.call(ctx, OpKldStat, strconv.Itoa(id), strconv.Itoa(w.fileVersion))
		if errors.Is(err, errors.ErrUnsupported) && w.fileVersion > 1 {
			w.fileVersion--
			continue
		}
		if err != nil {
			return fileStat{}, fmt.Errorf("%s %d: %w", OpKldStat, id, machine.PlainError(err))
		}
		st, err := decodeFileStat(b, w.layout)
		if err == nil && int(st.ID) != id {
			err = &fact.ParseError{Source: OpKldStat, Field: "id", Reason: fmt.Sprintf("asked for %d, got %d", id,
				st.ID)}
		}
		return st, err
	}
}

func (w *walker) modules(ctx context.Context, f *loadedFile, id int) ([]moduleStat, error) {
	mods := []moduleStat{}
	seen := map[int]bool{}
	next, err := w.call.number(ctx, OpKldFirstMod, id)
	for ; err == nil && next != 0; next, err = w.call.number(ctx, OpModFNext, next) {
		if seen[next] || len(seen) == maxModules {
			return nil, &fact.ParseError{Source: OpModFNext,
				Reason: fmt.Sprintf("the list of modules does not end: id %d again", next)}
		}
		seen[next] = true
		m, err := w.modstat(ctx, next)
		if err != nil {
			return nil, err
		}
		if m.Cut {
			f.report.Add(fact.Problem{Source: SourceModstat, Subject: f.Name, Field: "freebsd.modules",
				Code: fact.CodeUnsupported,
				Text: fmt.Sprintf("module name %s is cut at 32 bytes by this kernel's struct module_stat", m.Name)})
		}
		mods = append(mods, m)
	}
	return mods, err
}

// modstat asks for version 3 of the structure, then 2, then 1, and remembers the one that works.
func (w *walker) modstat(ctx context.Context, id int) (moduleStat, error) {
	for {
		b, err := w.call(ctx, OpModStat, strconv.Itoa(id), strconv.Itoa(w.moduleVersion))
		if errors.Is(err, errors.ErrUnsupported) && w.moduleVersion > 1 {
			w.moduleVersion--
			continue
		}
		if err != nil {
			return moduleStat{}, fmt.Errorf("%s %d: %w", OpModStat, id, machine.PlainError(err))
		}
		m, err := decodeModuleStat(b)
		if err == nil && int(m.ID) != id {
			err = &fact.ParseError{Source: OpModStat, Field: "id", Reason: fmt.Sprintf("asked for %d, got %d", id,
				m.ID)}
		}
		return m, err
	}
}
