// SPDX-License-Identifier: Apache-2.0

// Package lab is where a test of a real kernel begins: it finds what the test needs, or says why the test cannot run.
package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/module"
	"github.com/kernelext/kernelext/e2e/vm"
)

// The paths of our programs in a guest.
const (
	Lkm     = "/usr/bin/lkm"
	Modules = "/root/modules" // the out-of-tree modules of package module, built for the guest's kernel
)

// Met ends a test that lacks something: it fails where CI is "true", because CI installs
// everything, and is skipped elsewhere.
func Met(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip("skipped: ", err)
	}
}

// Tools ends a test that lacks a program (see Met).
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Met(t, fmt.Errorf("%w: run e2e/setup.sh", err))
		}
	}
}

// Kernel gives the newest kernel of a family.
func Kernel(t testing.TB, f debian.Family) debian.Kernel {
	t.Helper()
	Tools(t, debian.FetchTools...)
	k, err := debian.Find(t.Context(), f)
	Met(t, err)
	return k
}

// OutOfTree gives the host's directory with the modules of package module, built for a kernel.
func OutOfTree(t testing.TB, k debian.Kernel) string {
	t.Helper()
	Tools(t, debian.BuildTools...)
	headers, err := debian.Headers(t.Context(), k)
	Met(t, err)
	dir, err := debian.Build(t.Context(), k, headers, module.Sources())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Image gives the usual file tree of a guest: our guest program, lkm, kmod's tools, and the named
// modules with all they need below /lib/modules with the indexes of the whole tree. Tests add to it
// before they boot it.
func Image(t testing.TB, k debian.Kernel, modules ...string) *vm.Image {
	t.Helper()
	i := vm.NewImage()
	i.Add("/init", 0o755, Program(t, "e2e", "./guest"))
	i.Add(Lkm, 0o755, Program(t, ".", "./cmd/lkm"))
	for _, tool := range []string{"lsmod", "modprobe", "insmod", "rmmod", "modinfo", "depmod"} {
		i.CopyProgram("/sbin/" + tool)
	}
	AddModules(t, i, k, modules...)
	return i
}

// AddModules copies modules with all they need, and the tree's indexes.
func AddModules(t testing.TB, i *vm.Image, k debian.Kernel, modules ...string) {
	t.Helper()
	indexes, err := filepath.Glob(filepath.Join(k.Tree(), "modules.*"))
	if err != nil {
		t.Fatal(err)
	}
	files := indexes
	if len(modules) > 0 {
		needed, err := k.Closure(t.Context(), modules...)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, needed...)
	}
	for _, file := range files {
		name, err := filepath.Rel(k.Root, file)
		if err != nil {
			t.Fatal(err)
		}
		i.Copy(name, file)
	}
}

// AddOutOfTree copies the modules of package module to the directory Modules.
func AddOutOfTree(t testing.TB, i *vm.Image, k debian.Kernel) {
	t.Helper()
	dir := OutOfTree(t, k)
	for _, name := range []string{module.Base, module.User, module.Slow, module.Hidden, module.Patch} {
		i.Copy(Modules+"/"+name+".ko", filepath.Join(dir, name+".ko"))
	}
}

// built keeps the programs that Program made, for the life of the test binary.
var built sync.Map // directory and package -> func() ([]byte, error)

// Program gives a static Linux binary of one of our programs: a package path, as seen from a directory of the project.
func Program(t testing.TB, dir, pkg string) []byte {
	t.Helper()
	once, _ := built.LoadOrStore(dir+" "+pkg, sync.OnceValues(func() ([]byte, error) { return build(dir, pkg) }))
	data, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// build compiles a package in a directory of the project, each of whose modules has its own dependencies.
func build(dir, pkg string) ([]byte, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "kernelext-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, pkg)
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return os.ReadFile(file)
}

// Root gives the project's directory.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(filepath.Dir(strings.TrimSpace(string(out)))), nil
}
