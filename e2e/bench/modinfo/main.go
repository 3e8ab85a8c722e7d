// SPDX-License-Identifier: Apache-2.0

// Command modinfo runs lkm and kmod's modinfo over every module of Debian's kernels in turn, and
// prints medians and ratios.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kernelext/kernelext/e2e/debian"
)

func main() {
	runs := 7
	if len(os.Args) > 1 {
		var err error
		if runs, err = strconv.Atoi(os.Args[1]); err != nil || runs < 1 {
			fail(fmt.Errorf("usage: modinfo [RUNS]"))
		}
	}
	if err := bench(context.Background(), runs); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A tree is one kernel's modules in one container.
type tree struct {
	name   string
	kernel debian.Kernel
	theirs bool // modinfo reads it
}

func bench(ctx context.Context, runs int) error {
	work, err := os.MkdirTemp("", "kernelext-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	lkm := filepath.Join(work, "lkm")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", lkm, "./cmd/lkm")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
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
	var ours, theirs []cost
	for range runs + 1 { // the first run fills the page cache
		c, err := measure(ctx, lkm, "list", "--installed", "--root", t.kernel.Root, "--kernel", t.kernel.Release,
			"--format", "jsonl", "--detail", "files")
		if err != nil {
			return err
		}
		ours = append(ours, c)
		if !t.theirs {
			continue
		}
		if c, err = measure(ctx, "modinfo", files...); err != nil {
			return err
		}
		theirs = append(theirs, c)
	}
	a := medians(ours[1:])
	fmt.Printf("%-6s %8d | %s | ", t.name, len(files), a)
	if !t.theirs {
		fmt.Println("modinfo of Debian reads none")
		return nil
	}
	b := medians(theirs[1:])
	fmt.Printf("%s | %6.2f %6.2f %6.1f\n", b, float64(a.wall)/float64(b.wall), float64(a.cpu)/float64(b.cpu),
		float64(a.peak)/float64(b.peak))
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

// A cost is what one run took: time on the clock, of all processors in user and system mode, and
// the most memory resident.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes
}

func (c cost) String() string {
	return fmt.Sprintf("%7.3fs %7.3fs %4d MiB", c.wall.Seconds(), c.cpu.Seconds(), c.peak>>20)
}

// measure runs a command. What it prints goes to a pipe that is read, as by a program that wants the answer.
func measure(ctx context.Context, name string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = new(sink), os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", name, err)
	}
	c := cost{wall: time.Since(start), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.peak = int64(u.Maxrss) << 10
	}
	return c, nil
}

// A sink takes output and forgets it.
type sink struct{}

func (*sink) Write(p []byte) (int, error) { return len(p), nil }

// medians gives the median of each figure.
func medians(list []cost) cost {
	return cost{
		wall: median(list, func(c cost) time.Duration { return c.wall }),
		cpu:  median(list, func(c cost) time.Duration { return c.cpu }),
		peak: median(list, func(c cost) int64 { return c.peak }),
	}
}

func median[T cmp.Ordered](list []cost, figure func(cost) T) T {
	var all []T
	for _, c := range list {
		all = append(all, figure(c))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
