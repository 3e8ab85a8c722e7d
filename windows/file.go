// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A File is what a driver's image file says, and who signed it.
type File struct {
	// Size is the file's, in bytes.
	Size int64
	// PE are its headers and tables.
	PE *pe.File
	// Version is its version resource; nil when it has none.
	Version *pe.Version
	// Hashes are its digests; nil unless they were asked for.
	Hashes *pe.Hashes
	// Signatures are all of them, in the file's order, catalogs' last; nil unless they were asked
	// for, empty if the file has no signature.
	Signatures []authenticode.Signature
}

// FileOptions say what ParseFile does beyond headers, imports and version.
type FileOptions struct {
	Hashes   bool                   // compute Hashes: reads every byte five times, about 6 ms a megabyte
	Verifier *authenticode.Verifier // fill Signatures; nil to leave them out
}

// The steps that the hashes, and a signature's digests, take for each byte.
const (
	hashWork      = 12
	signatureWork = 6
)

// ask asks for what a file takes: its digests, and what is kept of its tables.
func (o FileOptions) ask(item *fact.Item, p *pe.File, size int64) error {
	work := size
	if o.Hashes {
		work += hashWork * size
	}
	if o.Verifier != nil {
		work += signatureWork * size
	}
	if err := item.Work(work); err != nil {
		return err
	}
	return item.Keep(p.Memory())
}

// ParseFile reads a driver's image file, and reports the parts that are invalid. An error means that it is not an image
// file.
func ParseFile(b []byte, o FileOptions, r *fact.Report) (*File, error) {
	item := r.Budget.Content(b)
	defer item.Done()
	return parseFile(b, o, item, r)
}

// parseFile is ParseFile of bytes that a call counts by an item.
func parseFile(b []byte, o FileOptions, item *fact.Item, r *fact.Report) (*File, error) {
	p, err := pe.Parse(b, r)
	if err != nil {
		return nil, err
	}
	if err := o.ask(item, p, int64(len(b))); err != nil {
		return nil, err
	}
	f := &File{Size: int64(len(b)), PE: p}
	if f.Version, err = p.Version(); err != nil {
		r.Problem(SourceFile, "", "version", err)
	}
	if o.Hashes {
		f.Hashes = p.Hashes()
	}
	if o.Verifier != nil {
		f.Signatures = o.Verifier.Verify(p, item)
	}
	return f, nil
}

// ReadFile reads a driver's file by itself, within r's budget. Without DetailHashes and DetailSignatures only its
// headers are decoded. ok is false for a file that is not an image file. head is the file's beginning, nil for a
// folder.
func ReadFile(
	ctx context.Context, fsys fs.FS, name string, head []byte, o fact.Options, r *fact.Report,
) (m []Record, ok bool, err error) {
	if len(head) < 2 || head[0] != 'M' || head[1] != 'Z' {
		return nil, false, nil
	}
	raw, item, err := limit.ReadItem(fsys, name, o.FileCap(), r.Budget)
	defer item.Done()
	if err != nil {
		return nil, true, err
	}
	own := r.Part() // of this file alone: its Problems become those of the record
	fo := FileOptions{Hashes: o.Asks(fact.DetailHashes)}
	if o.Asks(fact.DetailSignatures) {
		fo.Verifier = fileVerifier(ctx, o, own)
	}
	f, err := parseFile(raw, fo, item, own)
	if err != nil {
		return nil, true, err
	}
	e := newEntry(strings.ToLower(path.Base(name)), path.Base(name), name)
	e.Problems = own.Problems
	e.setFile(f, fo.Verifier)
	return []Record{e.fileRecord()}, true, nil
}

// fileVerifier returns what the signatures of a file by itself are checked with: the caller's keys and catalogs.
func fileVerifier(ctx context.Context, o fact.Options, r *fact.Report) *authenticode.Verifier {
	var catalogs []*authenticode.Catalogs
	if o.Catalogs != nil {
		c := authenticode.NewCatalogs(o.Catalogs, ".")
		if _, err := c.Load(ctx, r); err != nil {
			r.Problem(SourceCatalogs, "", "signature", err)
		}
		catalogs = append(catalogs, c)
	}
	v := authenticode.NewVerifier(o.Keys, time.Now(), catalogs, r)
	v.Trust = o.Trust
	return v
}

// File reads a driver's file of the machine, by its DOS path or as the file system has it.
func (k *Kernel) File(ctx context.Context, name string, r *fact.Report) ([]Record, error) {
	paths, err := k.paths(ctx)
	if err != nil {
		return nil, err
	}
	dos := dosPath(name)
	v := k.askedVerifier(ctx, k.now(ctx), r)
	e := newEntry(paths.key(dos), baseName(dos), dos)
	k.readDriver(&e, paths, FileOptions{Hashes: k.options.Asks(fact.DetailHashes), Verifier: v}, nil, r.Budget)
	if e.Driver.PE == nil {
		for _, p := range e.Problems {
			return nil, p
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	m := e.fileRecord()
	m.Problems = append(m.Problems, r.Problems...)
	return []Record{m}, nil
}
