// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// verifier returns what signatures are checked with at a time, and reports the keys and the catalogs that it has.
func (k *Kernel) verifier(ctx context.Context, now time.Time, r *fact.Report) *authenticode.Verifier {
	catalogs := k.catalogIndexes()
	v := authenticode.NewVerifier(k.options.Keys, now, catalogs, r)
	v.Trust, v.Stores = k.options.Trust, k.certificateStores(ctx, r)
	loadCatalogs(ctx, catalogs, r)
	return v
}

// askedVerifier returns the verifier if signatures were asked for, else nil.
func (k *Kernel) askedVerifier(ctx context.Context, now time.Time, r *fact.Report) *authenticode.Verifier {
	if !k.options.Asks(fact.DetailSignatures) {
		return nil
	}
	return k.verifier(ctx, now, r)
}

// catalogIndexes returns the indexes of the caller's catalogs and of the machine's. They are kept.
func (k *Kernel) catalogIndexes() []*authenticode.Catalogs {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.catalogs != nil {
		return k.catalogs
	}
	if k.options.Catalogs != nil {
		k.catalogs = append(k.catalogs, authenticode.NewCatalogs(k.options.Catalogs, "."))
	}
	if k.known != nil && len(k.known.SystemRoot) > 2 {
		if root, err := k.known.file(k.known.SystemRoot + `\` + catalogRoot); err == nil {
			k.catalogs = append(k.catalogs, authenticode.NewCatalogs(k.machine, root))
		}
	}
	return k.catalogs
}

// loadCatalogs loads the indexes and reports how that went. A file without a signature of its own is known to have
// none only if an index was read whole.
func loadCatalogs(ctx context.Context, list []*authenticode.Catalogs, r *fact.Report) {
	if len(list) == 0 {
		r.Skip(SourceCatalogs)
		return
	}
	total, lost := 0, r.Count(SourceCatalogs)
	var absent error
	for _, c := range list {
		n, err := c.Load(ctx, r)
		total += n
		if err != nil {
			absent = err
		}
	}
	switch count := fact.CountOf(int64(total)); {
	case r.Count(SourceCatalogs) > lost:
		r.Source(SourceCatalogs, fact.OutcomePartial, count, nil)
	case total == 0:
		r.Source(SourceCatalogs, fact.OutcomeAbsent, count, absent)
	default:
		r.Source(SourceCatalogs, fact.OutcomeOK, count, nil)
	}
}

// readFiles reads the files of the drivers of scope, several at a time. The error is that of ctx.
func (k *Kernel) readFiles(
	ctx context.Context, scope fact.Scope, entries []entry, paths ntPaths, now time.Time, r *fact.Report,
) error {
	if limit := r.Budget.Time(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fact.ErrBudget)
		defer cancel()
	}
	o := FileOptions{Hashes: k.options.Asks(fact.DetailHashes), Verifier: k.askedVerifier(ctx, now, r)}
	next := make(chan int)
	var wg sync.WaitGroup
	for range k.options.WorkersFor(scope) {
		wg.Go(func() {
			var buf []byte
			for i := range next {
				buf = k.readDriver(&entries[i], paths, o, buf, r.Budget)
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
		r.Source(SourceFile, filesOutcome(entries), fact.CountOf(int64(done)), nil)
		return nil
	}
	if !errors.Is(context.Cause(ctx), fact.ErrBudget) {
		return ctx.Err()
	}
	r.Source(SourceFile, fact.OutcomePartial, fact.CountOf(int64(done)), fact.ErrBudget)
	err := fmt.Errorf("%w: %d of %d files were read", fact.ErrBudget, done, len(entries))
	p := fact.ProblemOf(SourceFile, "", "", err)
	p.Count = len(entries) - done
	r.Add(p)
	return nil
}

func filesOutcome(entries []entry) fact.Outcome {
	for _, e := range entries {
		if e.Path != "" && e.Driver.PE == nil {
			return fact.OutcomePartial
		}
	}
	return fact.OutcomeOK
}

// maxKeptBuffer is the largest buffer that is used for the next file, too, in bytes.
const maxKeptBuffer = 4 << 20

// readDriver adds what the image's file says. What could not be read becomes a Problem of the entry. It reads into buf,
// and returns the buffer for the next file: nothing of the entry is in it.
func (k *Kernel) readDriver(e *entry, paths ntPaths, o FileOptions, buf []byte, b *fact.Budget) []byte {
	if e.Path == "" {
		return buf
	}
	e.looked = o.Verifier != nil
	k.resolveAlias(e, paths)
	name, err := paths.file(e.Path)
	field := "path"
	if err == nil {
		raw, item, readErr := limit.AppendItem(k.machine, buf, name, k.options.FileCap(), b)
		if k.options.Image && hasShortName(e.Path) && errors.Is(readErr, fs.ErrNotExist) {
			readErr = errShortName
		}
		field, err = "file", readErr
		if err == nil {
			buf = raw
			field, err = "pe", e.parseFile(raw, o, item, b)
		}
		item.Done()
	}
	if err != nil {
		e.Problems = append(e.Problems, fact.ProblemOf(SourceFile, safe(e.Path), field, err))
	}
	if cap(buf) > maxKeptBuffer {
		return nil
	}
	return buf
}

// parseFile adds what the image's file says.
func (e *entry) parseFile(raw []byte, o FileOptions, item *fact.Item, b *fact.Budget) error {
	r := fact.Report{Budget: b} // of this file alone: its Problems become those of the entry
	f, err := parseFile(raw, o, item, &r)
	if err != nil {
		return err
	}
	for _, p := range r.Problems {
		p.Subject = e.Path
		e.Problems = append(e.Problems, p)
	}
	e.setFile(f, o.Verifier)
	return nil
}

// resolveAlias looks whether an image whose name is that of a copy for crash dumps has a file of its own after all:
// any driver may have such a name.
func (k *Kernel) resolveAlias(e *entry, paths ntPaths) {
	own := e.ownPath()
	if own == e.Path {
		return
	}
	if name, err := paths.file(own); err == nil {
		if _, err := fs.Stat(k.machine, name); err == nil {
			e.noAlias()
		}
	}
}

// safe returns a name from the machine in a form that a Problem may contain.
func safe(name string) string { return escape.UTF8(name) }
