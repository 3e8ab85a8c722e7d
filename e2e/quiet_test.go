// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
)

// quietCommands are what must leave no trace on a machine: they only read.
var quietCommands = [][]string{
	{"list", "--format", "json"},
	{"list", "--builtin"},
	{"list", "--detail", "parameters,addresses"},
	{"list", "--detail", "policy"},
	{"policy", "--verbose"},
	{"discrepancies"},
	{"sources"},
	{"sources", "--plan"},
}

// TestQuiet watches every system call of lkm that could leave a trace, on this machine and, where
// modules are loaded, in a guest.
func TestQuiet(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "strace")
	t.Run("this machine", func(t *testing.T) {
		lkm := filepath.Join(t.TempDir(), "lkm")
		if err := os.WriteFile(lkm, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, words := range quietCommands {
			checkQuiet(t, words, traceHere(t, lkm, words))
		}
	})
	t.Run("guest", func(t *testing.T) {
		g := scene(t, debian.Cloud612, "/usr/bin/strace")
		for _, words := range append(quietCommands, []string{"info", module.Base}) {
			for _, user := range []uint32{0, lab.User} {
				checkQuiet(t, words, traceGuest(t, g, user, words))
			}
		}
	})
}

// traceArgs makes strace write every call of every thread that names a file, makes a process or uses the network.
func traceArgs(log string, argv ...string) []string {
	return append([]string{"strace", "-f", "--seccomp-bpf", "-qq", "-s", "256", "-o", log, "-e",
		"trace=%file,%process,%network,write,ioctl,bpf"}, argv...)
}

func traceHere(t *testing.T, lkm string, words []string) string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	args := traceArgs(log, append([]string{lkm}, words...)...)
	if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func traceGuest(t *testing.T, g *lab.Guest, user uint32, words []string) string {
	t.Helper()
	log := fmt.Sprintf("/tmp/trace-%d", user)
	r := g.Do(agent.Command{Argv: traceArgs(log, append([]string{lab.Lkm}, words...)...), UID: user, GID: user,
		Timeout: 4 * time.Minute})
	if r.Code > 1 { // 1 is a finding: our own modules have no file in the tree
		t.Fatalf("%q: exit code %d\n%s%s", words, r.Code, r.Stdout, r.Stderr)
	}
	return string(g.File(log))
}

// checkQuiet judges a trace. It has to show that the kernel's files were opened, so that an empty one does not pass.
func checkQuiet(t *testing.T, words []string, trace string) {
	t.Helper()
	calls, opens := 0, 0
	for line := range strings.Lines(trace) {
		if strings.Contains(line, "execve(") && calls == 0 {
			calls++ // strace itself starting lkm
			continue
		}
		calls++
		if strings.Contains(line, `"/proc/`) || strings.Contains(line, `"/sys/`) {
			opens++
		}
		if reason := loud(line); reason != "" {
			t.Errorf("lkm %s %s: %s", strings.Join(words, " "), reason, line)
		}
	}
	if plan := words[len(words)-1] == "--plan"; opens == 0 && !plan {
		t.Errorf("lkm %s: the trace shows no kernel file\n%s", strings.Join(words, " "), trace)
	}
	t.Logf("lkm %s: %d calls traced, %d of kernel files", strings.Join(words, " "), calls, opens)
}

// call finds the name and the arguments of a system call in a line of strace.
var call = regexp.MustCompile(`^\d+ +([a-z0-9_]+)\((.*)`)

// loud says what is wrong with a system call, "" for nothing. Calls that only look are listed; what is not is loud.
func loud(line string) string {
	found := call.FindStringSubmatch(line)
	if found == nil {
		return "" // the end of a call that began on another line, or of a thread
	}
	name, args := found[1], found[2]
	switch name {
	case "open", "openat":
		if strings.Contains(args, "O_RDONLY") && !strings.Contains(args, "O_CREAT") &&
			!strings.Contains(args, "O_TRUNC") {
			return ""
		}
		return "opens a file for writing"
	case "clone", "clone3":
		if strings.Contains(args, "CLONE_THREAD") {
			return ""
		}
		return "starts a process"
	case "write":
		if strings.HasPrefix(args, "1, ") || strings.HasPrefix(args, "2, ") ||
			strings.Contains(args, `"\1\0\0\0\0\0\0\0", 8`) {
			return "" // its output, or the runtime waking its own poller
		}
		return "writes"
	case "tgkill":
		if strings.Contains(args, "SIGURG") {
			return "" // Go's runtime nudging a thread of its own
		}
		return "sends a signal"
	case "ioctl":
		if strings.Contains(args, "TCGETS") || strings.Contains(args, "TIOCGWINSZ") {
			return ""
		}
		return "controls a device"
	case "access", "faccessat", "faccessat2", "stat", "lstat", "newfstatat", "statx", "statfs",
		"readlink", "readlinkat",
		"getcwd", "arch_prctl", "exit", "exit_group":
		return ""
	}
	return "calls what no reader needs"
}
