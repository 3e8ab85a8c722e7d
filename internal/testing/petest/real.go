// SPDX-License-Identifier: Apache-2.0

package petest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// RealDrivers returns where the module cache has the drivers that github.com/saferwall/pe is tested
// with. They are read where they lie; `go mod download github.com/saferwall/pe@v1.6.5` puts them
// there.
func RealDrivers(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("GOMODCACHE")
	if cache == "" {
		gopath := os.Getenv("GOPATH")
		if gopath == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Skip("skipped: ", err)
			}
			gopath = filepath.Join(home, "go")
		}
		cache = filepath.Join(gopath, "pkg", "mod")
	}
	dir := filepath.Join(cache, "github.com", "saferwall", "pe@v1.6.5", "test")
	if _, err := os.Stat(filepath.Join(dir, "acpi.sys")); err != nil {
		t.Skipf("skipped: no real drivers on %s: %v (go mod download github.com/saferwall/pe@v1.6.5)",
			runtime.GOOS, err)
	}
	return dir
}
