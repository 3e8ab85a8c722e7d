// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows"
)

// isWindowsFile reports whether a file begins as an image file does.
func isWindowsFile(head []byte) bool { return len(head) > 1 && head[0] == 'M' && head[1] == 'Z' }

// readWindowsFile reads a driver's file by itself. Without DetailHashes and DetailSignatures only
// its headers are decoded.
func readWindowsFile(ctx context.Context, fsys fs.FS, name string, o Options) ([]Module, error) {
	max := o.MaxFile
	if max <= 0 {
		max = limit.File
	}
	raw, err := limit.ReadFile(fsys, name, max)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	fo := windows.FileOptions{Hashes: o.Detail&DetailHashes != 0}
	if o.Detail&DetailSignatures != 0 {
		var catalogs []*windows.Catalogs
		if o.Catalogs != nil {
			c := windows.NewCatalogs(o.Catalogs, ".")
			_, problems = c.Load(ctx)
			catalogs = append(catalogs, c)
		}
		v, errs := windows.NewVerifier(o.Keys, time.Now(), catalogs...)
		for _, err := range errs {
			problems = append(problems, problemOf(windows.SourceFile, "", "signature", err))
		}
		fo.Verifier = v
	}
	f, err := windows.ParseFile(raw, fo)
	if err != nil {
		return nil, err
	}
	base := path.Base(name)
	e := windows.Entry{Key: strings.ToLower(base), Name: base, Path: name, Driver: &windows.Driver{}, Problems: append(problems, f.Problems...)}
	e.SetFile(f, fo.Verifier)
	m := windowsModule(&e, o.Detail)
	m.State = ""
	return []Module{m}, nil
}

// file reads a driver's file of the machine, by its DOS path or as the file system has it.
func (b *windowsBackend) file(ctx context.Context, name string) ([]Module, error) {
	paths, err := b.pathsOf(ctx)
	if err != nil && !b.image {
		return nil, err
	}
	dos := windowsPath(name)
	var r report
	now, _ := b.clock(ctx)
	if b.image {
		now = time.Now()
	}
	e := windows.Entry{Key: paths.Key(dos), Name: dos[strings.LastIndexByte(dos, '\\')+1:], Path: dos, Driver: &windows.Driver{}}
	b.readDriver(&e, paths, windows.FileOptions{Hashes: b.asked(DetailHashes), Verifier: b.verifier(ctx, now, &r)})
	if e.Driver.PE == nil {
		for _, p := range e.Problems {
			return nil, p
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	m := windowsModule(&e, b.options.Detail)
	m.State = ""
	m.Problems = append(m.Problems, r.Problems...)
	return []Module{m}, nil
}

// windowsPath makes a DOS path of one that may be written as the file system has it. One without a
// drive is on C:.
func windowsPath(name string) string {
	dos := strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", `\`)
	if len(dos) < 2 || dos[1] != ':' {
		dos = `C:\` + strings.TrimPrefix(dos, `\`)
	}
	return dos
}

// refresh forgets what is kept of registry and catalogs.
func (b *windowsBackend) refresh() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hive, b.hiveErr, b.catalogs, b.paths = nil, nil, nil, nil
}

// Errors of a look-up that has no answer because nothing is there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotThere)
}
