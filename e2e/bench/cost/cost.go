// SPDX-License-Identifier: Apache-2.0

// Package cost measures what programs take, for the benchmarks beside it.
package cost

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Main is the program NAME [RUNS], which runs bench in a folder of its own. It ends with 1 on an error.
func Main(name string, runs int, bench func(ctx context.Context, work string, runs int) error) {
	err := benched(name, runs, bench)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func benched(name string, runs int, bench func(ctx context.Context, work string, runs int) error) error {
	if len(os.Args) > 1 {
		var err error
		if runs, err = strconv.Atoi(os.Args[1]); err != nil || runs < 1 {
			return fmt.Errorf("usage: %s [RUNS]", name)
		}
	}
	work, err := os.MkdirTemp("", "kernelext-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	return bench(context.Background(), work, runs)
}

// Build builds lkm into a directory, and returns its path. The working directory is e2e.
func Build(ctx context.Context, dir string) (string, error) {
	lkm := filepath.Join(dir, "lkm")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", lkm, "./cmd/lkm")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return lkm, nil
}

// A Cost is what one run took: time on the clock, of all processors in user and system mode, and
// the most memory resident.
type Cost struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes
}

func (c Cost) String() string {
	return fmt.Sprintf("%7.3fs %7.3fs %4d MiB", c.Wall.Seconds(), c.CPU.Seconds(), c.Peak>>20)
}

// Measure runs a command. What it prints goes to a pipe that is read, as by a program that wants the answer.
func Measure(ctx context.Context, name string, args ...string) (Cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = new(sink), os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return Cost{}, fmt.Errorf("%s: %w", name, err)
	}
	c := Cost{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.Peak = int64(u.Maxrss) << 10
	}
	return c, nil
}

// A sink takes output and forgets it.
type sink struct{}

func (*sink) Write(p []byte) (int, error) { return len(p), nil }

// Medians gives the median of each figure.
func Medians(list []Cost) Cost {
	return Cost{
		Wall: median(list, func(c Cost) time.Duration { return c.Wall }),
		CPU:  median(list, func(c Cost) time.Duration { return c.CPU }),
		Peak: median(list, func(c Cost) int64 { return c.Peak }),
	}
}

func median[T cmp.Ordered](list []Cost, figure func(Cost) T) T {
	var all []T
	for _, c := range list {
		all = append(all, figure(c))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
