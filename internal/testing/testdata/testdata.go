// SPDX-License-Identifier: Apache-2.0

// Package testdata finds the recordings that are kept beside the source tree, not in it. Tests
// that need them skip where they are not.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder name of the shared recordings: below $KERNELEXT_SHARED, else below the
// folder "shared" beside the checkout. Where it is not there, the test is skipped.
func Dir(tb testing.TB, name string) string {
	tb.Helper()
	root := os.Getenv("KERNELEXT_SHARED")
	if root == "" {
		root = filepath.Join(filepath.Dir(checkout(tb)), "shared")
	}
	dir := filepath.Join(root, name)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		tb.Skipf("no %s: set KERNELEXT_SHARED to the folder that holds %q", dir, name)
	}
	return dir
}

// checkout returns the folder with go.mod that the test's package is in.
func checkout(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		parent := filepath.Dir(dir)
		if hasModule(dir) {
			if hasModule(parent) { // a module within this one, such as e2e
				return parent
			}
			return dir
		}
		if parent == dir {
			tb.Skip("no go.mod above the package: cannot find the shared recordings")
		}
		dir = parent
	}
}

func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
