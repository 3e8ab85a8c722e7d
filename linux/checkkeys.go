// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

// checkKeys are the certificates of the kernel that a check is about. They are read when a signature is asked about.
type checkKeys struct {
	finder *keyFinder
	kernel keyedKernel
	found  *kernelKeys // nil until asked for
}

// newCheckKeys returns the certificates of a kernel, and reports those of the caller's that cannot be used.
func newCheckKeys(m checkedKernel, setup *boot.Setup, r *fact.Report) *checkKeys {
	if m.Keys == nil {
		return nil
	}
	m.Keys.given(r, "", "")
	return &checkKeys{finder: m.Keys,
		kernel: keyedKernel{FS: m.FS, Release: m.Release, Running: m.Running, Live: m.Live, Setup: setup}}
}

// get returns the certificates. What could not be read of them is in r.
func (k *checkKeys) get(r *fact.Report) *kernelKeys {
	switch {
	case k == nil:
		return &kernelKeys{keys: ko.NewKeys(nil), builtin: errLeftOut, other: errLeftOut}
	case k.found == nil:
		lost := r.Part()
		k.found = k.finder.find(k.kernel, lost)
		for _, p := range lost.Problems {
			r.Add(p)
		}
	}
	return k.found
}
