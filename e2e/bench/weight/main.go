// SPDX-License-Identifier: Apache-2.0

// Command weight measures what the library adds to a program: the resident memory of an agent, and the time that `lkm
// version` takes, each beside the same program without it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/e2e/bench/cost"
)

const (
	modules = 250
	polls   = 1000
)

func main() { cost.Main("weight", 5, bench) }

func bench(ctx context.Context, work string, runs int) error {
	empty := filepath.Join(work, "empty.go")
	if err := os.WriteFile(empty, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return err
	}
	for name, source := range map[string]string{
		"bare": "./bench/weight/bare", "byhand": "./bench/weight/byhand", "agent": "./bench/weight/agent",
		"empty": empty, "lkm": "../cmd/lkm",
	} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(work, name))
		build.Args, build.Env = append(build.Args, source), append(os.Environ(), "CGO_ENABLED=0")
		if source == "../cmd/lkm" { // of the module above
			build.Args[len(build.Args)-1], build.Dir = "./cmd/lkm", ".."
		}
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	root := filepath.Join(work, "root")
	if err := writeRoot(root); err != nil {
		return err
	}
	fmt.Printf("%d cores, %d runs of each in turn, medians\n", runtime.NumCPU(), runs)
	if err := benchResident(ctx, work, root, runs); err != nil {
		return err
	}
	return benchStart(ctx, work, runs)
}

// benchResident compares the memory of the agent with that of the same program without the library, and with one that
// reads the same files itself. Each is measured twice: in a program that does nothing beside it, and in one that works,
// whose heap is as large as Go lets it grow before it collects (4 MB).
func benchResident(ctx context.Context, work, root string, runs int) error {
	all := fmt.Sprint(modules, " modules")
	programs := []struct{ name, prints string }{{"bare", "0 modules"}, {"byhand", all}, {"agent", all}}
	for _, load := range []string{"idle", "working"} {
		sizes := make(map[string][]int)
		for range runs {
			for _, p := range programs {
				size, err := resident(ctx, filepath.Join(work, p.name), root, load, p.prints)
				if err != nil {
					return err
				}
				sizes[p.name] = append(sizes[p.name], size)
			}
		}
		bare, hand, agent := median(sizes["bare"]), median(sizes["byhand"]), median(sizes["agent"])
		fmt.Printf("resident after %d polls of %d modules, one watch beside them, in a program that is %s: %d KiB, "+
			"without the library %d KiB: %d KiB more; than one that reads the files itself (%d KiB): %d KiB more\n",
			polls, modules, load, agent, bare, agent-bare, hand, agent-hand)
	}
	return nil
}

// resident runs a program until it is ready and has printed what it must, and returns its VmRSS in KiB.
func resident(ctx context.Context, program, root, load, want string) (int, error) {
	cmd := exec.CommandContext(ctx, program, root, strconv.Itoa(polls), load)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	got, _ := bufio.NewReader(stdout).ReadString('\n')
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	stdin.Close()
	if waited := cmd.Wait(); waited != nil {
		return 0, fmt.Errorf("%s: %w", program, waited)
	}
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(got) != want {
		return 0, fmt.Errorf("%s found %q, not %q", program, got, want)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	return strconv.Atoi(strings.Fields(rest)[0])
}

// benchStart compares `lkm version` with a program that does nothing. The fastest of many runs is what the program
// itself takes, whatever else the machine does.
func benchStart(ctx context.Context, work string, runs int) error {
	best := func(name string, args ...string) (wall, cpu time.Duration, err error) {
		var walls, cpus []time.Duration
		for range 20 * runs {
			cmd := exec.CommandContext(ctx, filepath.Join(work, name), args...)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, 0, fmt.Errorf("%s: %w\n%s", name, err, out)
			}
			walls = append(walls, time.Since(start))
			cpus = append(cpus, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		return slices.Min(walls), median(cpus), nil
	}
	emptyWall, emptyCPU, err := best("empty")
	if err != nil {
		return err
	}
	wall, cpu, err := best("lkm", "version")
	if err != nil {
		return err
	}
	fmt.Printf("lkm version: %v, an empty program %v: %v more; CPU time %v and %v\n",
		wall, emptyWall, wall-emptyWall, cpu, emptyCPU)
	return nil
}

func median[T int | time.Duration](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// writeRoot makes the files of a running machine with many modules.
func writeRoot(root string) error {
	files := map[string]string{
		"proc/sys/kernel/tainted": "0\n", "proc/sys/kernel/random/boot_id": "b\n", "sys/kernel/uevent_seqnum": "1\n",
	}
	var list strings.Builder
	for i := range modules {
		name := fmt.Sprintf("module_%03d", i*101%modules) // the kernel's list is in no order
		fmt.Fprintf(&list, "%s 16384 0 - Live 0x0000000000000000\n", name)
		dir := "sys/module/" + name + "/"
		files[dir+"coresize"], files[dir+"initsize"] = "16384\n", "0\n"
		files[dir+"initstate"], files[dir+"taint"] = "live\n", "\n"
		files[dir+"notes/.note.gnu.build-id"] = "\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00abcd"
	}
	files["proc/modules"] = list.String()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
