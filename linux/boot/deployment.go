// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// The words of a command line that name the root which starts: a link of an ostree's disk to one of its deployments
// (ostree-prepare-root(1)), and the digest of a composefs image (bootc's own store of systems).
const (
	ostreeKey    = "ostree"
	composefsKey = "composefs"
)

// errComposefs says why a system of bootc's own store is not read.
var errComposefs error = &sentinel.Error{
	Before: "the entry starts a composefs image, whose files are not read",
	Cause:  errors.ErrUnsupported,
}

// errNoDeployment says why it is not known which deployment starts.
var errNoDeployment error = &sentinel.Error{Before: "is not a link to a deployment", Cause: fs.ErrNotExist}

// Deployment returns the root that a command line starts on an ostree's disk, as a path below the machine's root;
// empty for one that names none, or whose value a recording left out. Like ostree-prepare-root, it uses the first such
// word, a link to the deployment.
func Deployment(fsys fs.FS, words []Word) (string, error) {
	if i := slices.IndexFunc(words, func(w Word) bool { return w.Key == composefsKey && w.Value != "" }); i >= 0 {
		return "", errComposefs
	}
	i := slices.IndexFunc(words, func(w Word) bool { return w.Key == ostreeKey })
	if i < 0 || words[i].Value == "" || words[i].Redacted {
		return "", nil
	}
	link := strings.TrimPrefix(path.Clean("/"+words[i].Value), "/")
	target, err := fs.ReadLink(fsys, link)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		return "", fmt.Errorf("/%s %w", escape.Text(link), errNoDeployment)
	case err != nil:
		return "", err
	case path.IsAbs(target):
		return strings.TrimPrefix(path.Clean(target), "/"), nil
	}
	return strings.TrimPrefix(path.Join("/", path.Dir(link), target), "/"), nil
}

// Root returns the root that the entry starts on an ostree's disk, as a path below the machine's root; empty for an
// entry that starts the root it was read from. The error says that the entry starts another root and that it is not
// known which, or that this root is not read.
func (e *Entry) Root() (string, error) { return e.deployment, e.deploymentErr }

// readDeployments notes which deployment each entry starts. A release that has modules there is no guess.
func (r *bootReader) readDeployments() {
	for i := range r.boot.Entries {
		e := &r.boot.Entries[i]
		if e.deployment, e.deploymentErr = Deployment(r.fsys, e.Words); e.deployment == "" {
			continue
		}
		info, err := fs.Stat(r.fsys, e.deployment+"/"+usrModules+"/"+e.Release)
		e.doubtful = e.doubtful && (err != nil || !info.IsDir())
	}
}

// usrModules is where a deployment has its modules.
const usrModules = "usr/lib/modules"

// SameRoot reports whether two command lines name the same root of an ostree's disk or of bootc's store by the same
// words.
func SameRoot(a, b []Word) bool {
	for _, key := range []string{ostreeKey, composefsKey} {
		same := func(w Word) bool { return w.Key == key }
		i, j := slices.IndexFunc(a, same), slices.IndexFunc(b, same)
		if (i < 0) != (j < 0) || i >= 0 && (a[i].Value != b[j].Value || a[i].Redacted || b[j].Redacted) {
			return false
		}
	}
	return true
}
