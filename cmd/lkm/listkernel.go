// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/lkm"
)

// checkKernel returns an error for a list with --kernel of a machine that does not have the release, and for the list
// of what is loaded: only the kernel that runs has one, whatever other release --kernel names.
func (a *app) checkKernel(ctx context.Context, sys *lkm.System, scope lkm.Scope) error {
	if a.flags.kernel == "" || scope == lkm.ScopeInstalled || scope == lkm.ScopeBuiltin { // these read the release
		return nil
	}
	for _, err := range sys.Installed(ctx) {
		if err != nil {
			return fmt.Errorf("--kernel %s: %w", a.flags.kernel, err)
		}
		break // the first module shows that the release is there
	}
	if scope == lkm.ScopeAll {
		return nil
	}
	if snap, err := sys.Snapshot(ctx); err == nil && snap.Release == a.flags.kernel {
		return nil
	}
	return fmt.Errorf("--kernel %s is about files on disk, and what is loaded is loaded in the kernel that runs: "+
		"add --installed, --builtin or --all", a.flags.kernel)
}
