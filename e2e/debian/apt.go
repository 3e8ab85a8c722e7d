// SPDX-License-Identifier: Apache-2.0

// Package debian fetches Debian's kernels and their headers with apt, unpacks them below a cache
// directory without installing anything, and builds modules for them.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs this package calls: to fetch and unpack kernels, and to build modules for them.
var (
	FetchTools = []string{"apt-cache", "apt-get", "dpkg-deb", "depmod", "modprobe"}
	BuildTools = []string{"make", "gcc-12", "strip"}
)

// Cache gives the directory that everything is kept in: $KERNELEXT_CACHE, or a folder of the user's cache directory.
func Cache() (string, error) {
	if dir := os.Getenv("KERNELEXT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "kernelext-e2e"), nil
}

// cached gives the directory of that name in the cache, made by fill if it is not there yet.
// Several tests may ask at once: each fills a directory of its own, and the first to finish wins.
func cached(name string, fill func(dir string) error) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if exists(final) {
		return final, nil
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(final), ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return "", err
	}
	if err := fill(work); err != nil {
		return "", err
	}
	if err := os.Rename(work, final); err != nil && !exists(final) {
		return "", err
	}
	return final, nil
}

// download fetches packages, each "name" or "name=version", and unpacks them over each other into a directory.
func download(ctx context.Context, dir string, packages ...string) error {
	work, err := os.MkdirTemp(dir, ".deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	args := append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, packages...)
	if _, err := run(ctx, work, "apt-get", args...); err != nil {
		return fmt.Errorf("%w (are the package lists fresh? apt-get update)", err)
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return err
	}
	if len(debs) < len(packages) {
		return fmt.Errorf("apt-get download %s: %d files", strings.Join(packages, " "), len(debs))
	}
	for _, deb := range debs {
		if _, err := run(ctx, work, "dpkg-deb", "-x", deb, dir); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program and returns its output; an error holds what it complained about.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, os.ErrNotExist)
}
