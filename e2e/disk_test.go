// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// full asks for comparisons that are too long for every change.
var full = os.Getenv("KERNELEXT_FULL") != ""

// plainTree gives the kernel with plain .ko files, xzTree that with .ko.xz; both have over four thousand modules.
func plainTree(t testing.TB) debian.Kernel { return lab.Kernel(t, debian.Full61) }
func xzTree(t testing.TB) debian.Kernel    { return lab.Kernel(t, debian.Full612) }

// recompressed gives the plain tree in another container: ".gz" or ".zst".
func recompressed(t testing.TB, suffix string) debian.Kernel {
	t.Helper()
	lab.Tools(t, "find", "xargs", map[string]string{".gz": "gzip", ".zst": "zstd"}[suffix])
	k, err := debian.Recompress(t.Context(), plainTree(t), suffix)
	lab.Met(t, err)
	return k
}

// openRoot opens a mounted root that has the modules of one kernel.
func openRoot(t testing.TB, root, release string, d lkm.Detail, o ...func(*lkm.Options)) *lkm.System {
	t.Helper()
	options := lkm.Options{OS: lkm.Linux, Kernel: release, Detail: d, Workers: runtime.NumCPU()}
	for _, set := range o {
		set(&options)
	}
	disk, err := lkm.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lkm.OpenImage(disk, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// installed lists what a System finds on disk.
func installed(t testing.TB, s *lkm.System) []lkm.Module {
	t.Helper()
	var list []lkm.Module
	for m, err := range s.Installed(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// moduleFiles lists the module files of a kernel, as absolute paths of this machine.
func moduleFiles(t testing.TB, k debian.Kernel) []string {
	t.Helper()
	var files []string
	err := filepath.Walk(k.Tree(), func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && strings.Contains(info.Name(), ".ko") {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4000 {
		t.Fatalf("%s has only %d modules", k.Tree(), len(files))
	}
	return files
}

// output runs a program that must succeed, in the C locale.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, complaints, err := attempt(t, name, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%.2000s", name, err, complaints)
	}
	return out
}

// attempt runs a program and returns what it printed on standard output and on standard error.
func attempt(t testing.TB, name string, args ...string) (out, complaints string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// outputs runs a program over many arguments, split among as many processes as there are
// processors, and returns what they printed in the order of the arguments.
func outputs(t testing.TB, last []string, name string, first ...string) string {
	t.Helper()
	n := runtime.NumCPU()
	parts := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			part := last[len(last)*i/n : len(last)*(i+1)/n]
			if len(part) > 0 {
				parts[i] = output(t, name, append(append([]string{}, first...), part...)...)
			}
		})
	}
	wg.Wait()
	return strings.Join(parts, "")
}

// encode writes a module as JSON.
func encode(t testing.TB, m *lkm.Module) string {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// smallest gives the n smallest module files of a kernel.
func smallest(t testing.TB, k debian.Kernel, n int) []string {
	t.Helper()
	files := moduleFiles(t, k)
	size := map[string]int64{}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		size[file] = info.Size()
	}
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(size[a], size[b]) })
	return files[:n]
}
