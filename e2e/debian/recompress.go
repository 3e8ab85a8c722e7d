// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// compressors are the programs that compress modules, with the options that the kernel's own build gives them.
var compressors = map[string][]string{
	".gz":  {"gzip", "-n", "-f"},
	".xz":  {"xz", "--check=crc32", "--lzma2=dict=1MiB", "-f"},
	".zst": {"zstd", "-T1", "--rm", "-f", "-q"},
}

// Recompress gives the kernel with its modules, which must be plain .ko files, compressed: ".gz",
// ".xz" or ".zst". depmod makes its indexes anew, except with .gz, which Debian's does not read: the kernel then has no
// index.
func Recompress(ctx context.Context, k Kernel, suffix string) (Kernel, error) {
	compressor := compressors[suffix]
	if compressor == nil {
		return Kernel{}, fmt.Errorf("no compressor for %s", suffix)
	}
	root, err := cached(filepath.Join("recompressed", k.Package+"_"+k.Version+suffix), func(dir string) error {
		tree := filepath.Join(dir, "lib", "modules", k.Release)
		if err := copyTree(tree, k.Tree(), suffix == ".gz"); err != nil {
			return err
		}
		if err := compress(ctx, tree, compressor); err != nil || suffix == ".gz" {
			return err
		}
		_, err := run(ctx, "", "depmod", "-b", dir, k.Release)
		return err
	})
	k.Root = root
	return k, err
}

// copyTree copies the modules of a release directory, and of the files beside them those that the
// kernel's build makes, if asked for.
func copyTree(to, from string, modulesOnly bool) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case strings.HasSuffix(name, ".ko"), !modulesOnly && d.Type().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(target, data, 0o644)
		}
		return nil
	})
}

// compress runs a compressor over every module below a directory, on all processors.
func compress(ctx context.Context, tree string, compressor []string) error {
	files, err := exec.CommandContext(ctx, "find", tree, "-name", "*.ko", "-print0").Output()
	if err != nil {
		return fmt.Errorf("find %s: %w", tree, err)
	}
	xargs := exec.CommandContext(ctx, "xargs",
		append([]string{"-0", "-n", "32", "-P", strconv.Itoa(runtime.NumCPU())}, compressor...)...)
	xargs.Stdin = strings.NewReader(string(files))
	if out, err := xargs.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", compressor[0], err, out)
	}
	return nil
}
