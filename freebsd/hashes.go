// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// addHashes gives records the digests of their files as they are stored, if DetailHashes asks for it. A file that
// cannot be read costs its record's digest, which says why.
func (k *Kernel) addHashes(ctx context.Context, records []Record) {
	for i := range records {
		if m := &records[i]; strings.HasPrefix(m.Path, "/") && ctx.Err() == nil {
			addHash(k.machine, m, slashPath(m.Path), k.options)
		}
	}
}

// addHash gives one record the digest of its file of that name.
func addHash(fsys fs.FS, m *Record, name string, o fact.Options) {
	if !o.Asks(fact.DetailHashes) {
		return
	}
	sum, err := hashFile(fsys, name, o.FileCap())
	if err != nil {
		m.Problem(SourceModulePath, "hashes.sha256", err)
		return
	}
	m.Hashes.SHA256 = sum
}

// hashFile returns the SHA-256 digest of a file of at most max bytes.
func hashFile(fsys fs.FS, name string, max int64) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
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
