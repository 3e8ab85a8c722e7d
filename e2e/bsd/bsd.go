// SPDX-License-Identifier: Apache-2.0

// Package bsd runs real freebsd/amd64 programs on Linux, under a program that catches their system
// calls and answers them as a FreeBSD kernel would, from a table (bsdrun). It proves that the code
// behind a freebsd build tag makes the right calls with the right buffers; it is not FreeBSD.
package bsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/testdata"
)

// Find builds bsdrun from the source that lies beside the recordings. Where it is not there the
// test is skipped. The error says what else is missing: gcc, or the kernel's Syscall User Dispatch.
func Find(t testing.TB) (string, error) {
	t.Helper()
	dir := filepath.Join(testdata.Dir(t, "tools"), "bsdrun")
	if _, err := os.Stat(filepath.Join(dir, "build.sh")); err != nil {
		t.Skip("skipped: no bsdrun: ", err)
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return "", err
	}
	own, err := teach(dir, t.TempDir())
	if err != nil {
		return "", err
	}
	out := filepath.Join(t.TempDir(), "bsdrun")
	if text, err := exec.Command("sh", filepath.Join(own, "build.sh"), out).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bsdrun: %w\n%s", err, text)
	}
	return out, nil
}

// Go 1.26 wakes its network poller by an event of its own (EVFILT_USER), which bsdrun does not
// know: registering it has to succeed, and waiting for it may end by itself.
const (
	refusesEvents = "if (a[2]) return -ENODEV_;"
	takesWakeUps  = "if (a[2]) return *(short *)(a[1] + 8) == -11 ? 0 : -ENODEV_;"
)

// teach copies bsdrun's source into a folder of ours, with what it has to know beside.
func teach(dir, own string) (string, error) {
	for _, name := range []string{"bsdrun.c", "build.sh", "link.ld"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		b = bytes.Replace(b, []byte(refusesEvents), []byte(takesWakeUps), 1)
		if err := os.WriteFile(filepath.Join(own, name), b, 0o644); err != nil {
			return "", err
		}
	}
	return own, nil
}

// Build builds a program, or with test the test program, of the package for freebsd/amd64.
func Build(t testing.TB, pkg string, test bool) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	args := []string{"build", "-trimpath", "-o", out, pkg}
	if test {
		args = []string{"test", "-c", "-trimpath", "-o", out, pkg}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS=freebsd", "GOARCH=amd64", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return out
}

// A Kernel is what the programs find: a table of bsdrun's directives, and the directory that is the
// root of their files.
type Kernel struct {
	Run, Table, Root string
}

// New makes a kernel of the table's text and a root.
func New(t testing.TB, run, table, root string) Kernel {
	t.Helper()
	file := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	return Kernel{run, file, root}
}

// A Result is what a program wrote and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// ErrNoDispatch is returned on a Linux without Syscall User Dispatch.
var ErrNoDispatch = errors.New("this kernel has no Syscall User Dispatch (Linux 5.11, x86-64)")

// Do runs a program. What bsdrun was not taught, and every attempt to write, to load or to unload, ends the test.
func (k Kernel) Do(t testing.TB, program string, args ...string) (Result, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.Run, append([]string{k.Table, k.Root, program}, args...)...)
	cmd.Env = []string{"PATH=/nonexistent", "NO_COLOR=1"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, err
	}
	r := Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	if errors.Is(t.Context().Err(), context.Canceled) {
		return r, t.Context().Err()
	}
	switch {
	case strings.Contains(r.Stderr, "no Syscall User Dispatch"):
		return r, ErrNoDispatch
	case strings.Contains(r.Stderr, "unanswered system call"), strings.Contains(r.Stderr, "the program tried to"):
		t.Errorf("lkm %s: %s", strings.Join(args, " "), r.Stderr)
	}
	return r, nil
}
