// SPDX-License-Identifier: Apache-2.0

// Command signatures verifies the modules of Debian's kernels against the certificates in their own images, and prints
// medians and ratios: against the list without verification, and against programs that do less than a verification has
// to. openssl is no measure: it takes one process, and two files, for each module.
package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/kernelext/kernelext/e2e/bench/cost"
	"github.com/kernelext/kernelext/e2e/debian"
)

func main() { cost.Main("signatures", 7, bench) }

func bench(ctx context.Context, work string, runs int) error {
	lkm, err := cost.Build(ctx, work)
	if err != nil {
		return err
	}
	fmt.Printf("%d cores, %d runs of each in turn, medians: wall, CPU, peak memory\n", runtime.NumCPU(), runs)
	for _, t := range []struct {
		family debian.Family
		read   string // reads every byte that is signed, and makes one digest of them all
	}{
		{debian.Full61, `find "$1" -name "*.ko" -print0 | xargs -0 cat | sha256sum`},
		{debian.Full612, `find "$1" -name "*.ko.xz" -print0 | xargs -0 xz -dc | sha512sum`},
	} {
		k, err := debian.Find(ctx, t.family)
		if err != nil {
			return err
		}
		if err := compare(ctx, k, lkm, t.read, runs); err != nil {
			return fmt.Errorf("%s: %w", k.Release, err)
		}
	}
	return nil
}

// compare measures one kernel, and prints a line for each program.
func compare(ctx context.Context, k debian.Kernel, lkm, read string, runs int) error {
	list := func(detail string) []string {
		return []string{lkm, "list", "--installed", "--root", k.Root, "--kernel", k.Release, "--format", "jsonl",
			"--detail", detail}
	}
	programs := []struct {
		name string
		args []string
	}{
		{"signatures", list("signatures")},
		{"the list alone", list("files")},
		{"digests of the files as they lie", list("hashes")},
		{"one digest of what is signed", []string{"sh", "-c", read, "sh", k.Tree()}},
		{"one module", []string{lkm, "info", "ext4", "--root", k.Root, "--kernel", k.Release}},
	}
	taken := make([][]cost.Cost, len(programs))
	for range runs + 1 { // the first run fills the page cache
		for i, p := range programs {
			c, err := cost.Measure(ctx, p.args[0], p.args[1:]...)
			if err != nil {
				return err
			}
			taken[i] = append(taken[i], c)
		}
	}
	fmt.Println(k.Release)
	ours := cost.Medians(taken[0][1:])
	for i, p := range programs {
		c := cost.Medians(taken[i][1:])
		fmt.Printf("  %-34s %s", p.name, c)
		if i > 0 {
			fmt.Printf(" | signatures take %5.2f of its wall time, %5.2f of its CPU time",
				float64(ours.Wall)/float64(c.Wall), float64(ours.CPU)/float64(c.CPU))
		}
		fmt.Println()
	}
	return nil
}
