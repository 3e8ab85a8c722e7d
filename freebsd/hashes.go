// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// addHashes gives records the digests of their files as they are stored, if DetailHashes asks for it. A file that
// cannot be read costs its record's digest, which says why.
func (k *Kernel) addHashes(ctx context.Context, records []Record, b *fact.Budget) {
	for i := range records {
		if m := &records[i]; strings.HasPrefix(m.Path, "/") && ctx.Err() == nil {
			addHash(k.machine, m, slashPath(m.Path), k.options, b)
		}
	}
}

// addHash gives one record the digest of its file of that name.
func addHash(fsys fs.FS, m *Record, name string, o fact.Options, b *fact.Budget) {
	if !o.Asks(fact.DetailHashes) {
		return
	}
	sum, err := hashFile(fsys, name, o.FileCap(), b)
	if err != nil {
		m.Problem(SourceModulePath, "hashes.sha256", err)
		return
	}
	m.Hashes.SHA256 = sum
}

// hashWork are the steps that a digest takes for each byte.
const hashWork = 4

// hashFile returns the SHA-256 digest of a file of at most max bytes.
func hashFile(fsys fs.FS, name string, max int64, b *fact.Budget) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	item := b.File(hostfs.FileID(fsys, name, st), st.Size())
	defer item.Done()
	if err := item.Work(hashWork * min(st.Size(), max)); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, max+1))
	if err == nil && n > max {
		err = limit.TooLarge(name, max)
	}
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
