// SPDX-License-Identifier: Apache-2.0

// Command modinfo runs lkm and kmod's modinfo over every module of Debian's kernels in turn, and
// prints medians and ratios.
package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kernelext/kernelext/e2e/bench/cost"
	"github.com/kernelext/kernelext/e2e/debian"
)

func main() { cost.Main("modinfo", 7, bench) }

// A tree is one kernel's modules in one container.
type tree struct {
	name   string
	kernel debian.Kernel
	theirs bool // modinfo reads it
}

func bench(ctx context.Context, work string, runs int) error {
	lkm, err := cost.Build(ctx, work)
	if err != nil {
		return err
	}
	trees, err := find(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d cores, %d runs of each in turn, medians\n", runtime.NumCPU(), runs)
	fmt.Printf("%-6s %8s | %8s %8s %8s | %8s %8s %8s | %6s %6s %6s\n", "", "modules", "wall", "cpu", "peak", "wall",
		"cpu", "peak", "wall", "cpu", "peak")
	for _, t := range trees {
		if err := t.bench(ctx, lkm, runs); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

func find(ctx context.Context) ([]tree, error) {
	plain, err := debian.Find(ctx, debian.Full61)
	if err != nil {
		return nil, err
	}
	xz, err := debian.Find(ctx, debian.Full612)
	if err != nil {
		return nil, err
	}
	zst, err := debian.Recompress(ctx, plain, ".zst")
	if err != nil {
		return nil, err
	}
	gz, err := debian.Recompress(ctx, plain, ".gz")
	return []tree{{"plain", plain, true}, {"xz", xz, true}, {"zst", zst, true}, {"gz", gz, false}}, err
}

// bench measures one tree and prints a line: ours, modinfo's, and the ratios.
func (t tree) bench(ctx context.Context, lkm string, runs int) error {
	files, err := t.files()
	if err != nil {
		return err
	}
	var ours, theirs []cost.Cost
	for range runs + 1 { // the first run fills the page cache
		c, err := cost.Measure(ctx, lkm, "list", "--installed", "--root", t.kernel.Root, "--kernel", t.kernel.Release,
			"--format", "jsonl", "--detail", "files")
		if err != nil {
			return err
		}
		ours = append(ours, c)
		if !t.theirs {
			continue
		}
		if c, err = cost.Measure(ctx, "modinfo", files...); err != nil {
			return err
		}
		theirs = append(theirs, c)
	}
	a := cost.Medians(ours[1:])
	fmt.Printf("%-6s %8d | %s | ", t.name, len(files), a)
	if !t.theirs {
		fmt.Println("modinfo of Debian reads none")
		return nil
	}
	b := cost.Medians(theirs[1:])
	fmt.Printf("%s | %6.2f %6.2f %6.1f\n", b, float64(a.Wall)/float64(b.Wall), float64(a.CPU)/float64(b.CPU),
		float64(a.Peak)/float64(b.Peak))
	return nil
}

func (t tree) files() ([]string, error) {
	var files []string
	err := filepath.WalkDir(t.kernel.Tree(), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			files = append(files, name)
		}
		return err
	})
	return files, err
}
