// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kernelext/kernelext/internal/testing/testdata"
)

// sampleInfoPlists are the recorded property lists of real bundles.
func sampleInfoPlists(t *testing.T) []string {
	t.Helper()
	dir := testdata.Dir(t, "captures")
	var files []string
	for _, pattern := range []string{"apple-oss-plists/*", "kext-osxfuse-3.10.4/*", "plist-apple-IO80211Legacy/*"} {
		found, err := filepath.Glob(filepath.Join(dir, "darwin", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 12 {
		t.Fatalf("only %d sample property lists", len(files))
	}
	slices.Sort(files)
	return files
}

// captureText reads one recorded text.
func captureText(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata.Dir(t, "captures"), "darwin", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fastest is the time of the fastest of five runs: other work on the machine only adds.
func fastest(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 5 {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best
}
