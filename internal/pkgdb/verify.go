// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"crypto"
	_ "crypto/md5" // the digests that packages have
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/limit"
)

// A State is how a file compares with what its package brought.
type State string

// The states.
const (
	StateSame     State = "same"     // its digest is the package's
	StateChanged  State = "changed"  // it is not
	StateMissing  State = "missing"  // there is no such file
	StateUnstated State = "unstated" // the package does not say what the file has to be
)

// hashOf returns the digest of that name; 0 if the name is unknown.
func hashOf(algorithm string) crypto.Hash {
	switch algorithm {
	case "md5":
		return crypto.MD5
	case "sha1":
		return crypto.SHA1
	case "sha224":
		return crypto.SHA224
	case "sha256":
		return crypto.SHA256
	case "sha384":
		return crypto.SHA384
	case "sha512":
		return crypto.SHA512
	}
	return 0
}

// Verify compares a file, a path below the root, with what its package brought, as rpm -V and dpkg -V do: only what a
// regular file holds, not its owner and mode. Links are followed. A file that is meant to be changed, or that may be
// missing and is, is StateUnstated. The file is read whole if the package has a digest of it, at most max bytes. got is
// the digest of one that was changed, in hexadecimal; empty if it is not a regular file. An error says why the state is
// unknown.
func Verify(fsys fs.FS, path string, o *Owner, max int64) (state State, got string, err error) {
	info, err := fs.Stat(fsys, path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.Optional:
		return StateUnstated, "", nil
	case errors.Is(err, fs.ErrNotExist):
		return StateMissing, "", nil
	case err != nil:
		return "", "", err
	case o.Sum.Algorithm == "" || o.Config:
		return StateUnstated, "", nil
	case !info.Mode().IsRegular():
		return StateChanged, "", nil
	}
	if got, err = digest(fsys, path, o.Sum.Algorithm, max); err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	if got != o.Sum.Hex {
		return StateChanged, got, nil
	}
	return StateSame, "", nil
}

// digest hashes a file.
func digest(fsys fs.FS, path, algorithm string, max int64) (string, error) {
	h := hashOf(algorithm)
	if !hashing.Usable(h) {
		return "", fmt.Errorf("digest %s: %w", algorithm, errors.ErrUnsupported)
	}
	f, err := fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := h.New()
	n, err := io.Copy(sum, io.LimitReader(f, max+1))
	switch {
	case err != nil:
		return "", err
	case n > max:
		return "", limit.TooLarge(path, max)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
