// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Headers gives the directory to build modules in for a kernel, fetched and unpacked if it is not in the cache.
func Headers(ctx context.Context, k Kernel) (string, error) {
	kbuild, common, err := headerPackages(ctx, k)
	if err != nil {
		return "", err
	}
	own := "linux-headers-" + k.Release
	root, err := cached(own+"_"+k.Version, func(dir string) error {
		if err := download(ctx, dir, own+"="+k.Version, common+"="+k.Version, kbuild); err != nil {
			return err
		}
		// 6.12's headers hold a vmlinux for type information; without it none is made, and no pahole is needed.
		return os.RemoveAll(filepath.Join(dir, "usr", "src", own, "vmlinux"))
	})
	if err != nil {
		return "", err
	}
	build := filepath.Join(root, "usr", "src", own)
	// Debian's Makefile includes the common one by its path on an installed system.
	include := "include " + filepath.Join(root, "usr", "src", common, "Makefile") + "\n"
	return build, os.WriteFile(filepath.Join(build, "Makefile"), []byte(include), 0o644)
}

// headerPackages names the packages that a kernel's headers depend on.
func headerPackages(ctx context.Context, k Kernel) (kbuild, common string, err error) {
	out, err := run(ctx, "", "apt-cache", "show", "linux-headers-"+k.Release+"="+k.Version)
	if err != nil {
		return "", "", err
	}
	for word := range strings.FieldsSeq(string(out)) {
		word = strings.TrimRight(word, ",")
		switch {
		case strings.HasPrefix(word, "linux-kbuild-"):
			kbuild = word
		case strings.HasPrefix(word, "linux-headers-") && strings.HasSuffix(word, "-common"):
			common = word
		}
	}
	if kbuild == "" || common == "" {
		return "", "", fmt.Errorf("linux-headers-%s depends on no kbuild or common package", k.Release)
	}
	return kbuild, common, nil
}

// Build compiles out-of-tree modules in a kernel's headers and gives the directory with the .ko
// files. A build is kept until a source changes.
func Build(ctx context.Context, k Kernel, headers string, sources fs.FS) (string, error) {
	sum, err := hash(sources)
	if err != nil {
		return "", err
	}
	return cached(filepath.Join("built", k.Release+"_"+k.Version, sum), func(dir string) error {
		if err := os.CopyFS(dir, sources); err != nil {
			return err
		}
		// The path must not get into the build-id: the same sources always give the same module.
		_, err := run(ctx, dir, "make", "-s", "-C", headers, "M="+dir, "CC=gcc-12",
			"KCFLAGS=-ffile-prefix-map="+dir+"=.", "modules")
		if err != nil {
			return err
		}
		return strip(ctx, dir)
	})
}

// strip removes the debugging information from the modules of a directory, as Debian does.
func strip(ctx context.Context, dir string) error {
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	_, err = run(ctx, dir, "strip", append([]string{"--strip-debug"}, modules...)...)
	return err
}

// hash gives a name for the contents of a file tree.
func hash(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		fmt.Fprintf(h, "%s %d\n%s\n", name, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// SignFile gives the kernel's own program that signs a module, from the package that a kernel's headers depend on.
func SignFile(ctx context.Context, k Kernel) (string, error) {
	build, err := Headers(ctx, k)
	if err != nil {
		return "", err
	}
	usr := filepath.Dir(filepath.Dir(build))
	found, err := filepath.Glob(filepath.Join(usr, "lib", "linux-kbuild-*", "scripts", "sign-file"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("sign-file of %s: found %q", k.Release, found)
	}
	return found[0], nil
}
