// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/lab"
)

// record makes TestRecord write the corpus of package lkmtest again; see README.md.
var record = flag.Bool("record", false, "write the tapes of lkm/lkmtest/testdata again")

// recordDetail is what the corpus holds beyond the kernel's own list. Whoever adds a source of live
// facts adds its word here.
const recordDetail = "parameters,policy"

// maxTape is the size that a tape of the corpus should not exceed: each is everything that lkm
// reads of a machine, the text of modules.builtin.modinfo included.
const maxTape = 256 << 10

// TestRecord records real kernels, as root and as an ordinary user, and checks that a tape gives on
// another machine what the recorded machine itself gives. With -record the tapes become the corpus.
func TestRecord(t *testing.T) {
	t.Parallel()
	lkm := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(lkm, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			g := scene(t, f)
			series := strings.TrimSuffix(f.String(), "-amd64")
			if name := "debian-" + series + "-root"; name != demoName { // that one is TestDemo's
				checkTape(t, lkm, name, guestLkm(g, 0))
			}
			checkTape(t, lkm, "debian-"+series+"-user", guestLkm(g, lab.User))
		})
	}
	t.Run("no modules", func(t *testing.T) {
		if _, err := os.Stat("/proc/modules"); err == nil {
			t.Skip("skipped: this machine's kernel has modules, so it cannot be recorded as one without")
		}
		release, err := os.ReadFile("/proc/sys/kernel/osrelease")
		if err != nil {
			t.Fatal(err)
		}
		series := strings.Join(strings.Split(string(release), ".")[:2], ".")
		checkTape(t, lkm, "linux-"+series+"-nomodules", localLkm(lkm))
	})
}

// A runner runs lkm on the machine that is recorded, and reads a file it wrote there.
type runner struct {
	run  func(t *testing.T, args ...string) []byte
	read func(t *testing.T, name string) []byte
}

func guestLkm(g *lab.Guest, user uint32) runner {
	return runner{
		run: func(t *testing.T, args ...string) []byte {
			t.Helper()
			return g.For(t).Must(agent.Command{Argv: append([]string{lab.Lkm}, args...), UID: user, GID: user,
				Timeout: 4 * time.Minute})
		},
		read: func(t *testing.T, name string) []byte { t.Helper(); return g.For(t).File(name) },
	}
}

func localLkm(lkm string) runner {
	return runner{
		run: func(t *testing.T, args ...string) []byte {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), lkm, args...).Output()
			if err != nil {
				t.Fatalf("lkm %q: %v\n%s", args, err, out)
			}
			return out
		},
		read: func(t *testing.T, name string) []byte {
			t.Helper()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
	}
}

// checkTape records a machine and compares what the tape gives here with what the machine gives there.
func checkTape(t *testing.T, lkm, name string, machine runner) {
	t.Helper()
	there := filepath.Join("/tmp", name+".tape")
	machine.run(t, "record", "-o", there, "--detail", recordDetail, "--comment", "e2e: go test -run TestRecord -record")
	tape := machine.read(t, there)
	os.Remove(there) // where the machine is this one
	live := machine.run(t, "list", "--format", "json")

	here := filepath.Join(t.TempDir(), name+".tape")
	if err := os.WriteFile(here, tape, 0o644); err != nil {
		t.Fatal(err)
	}
	played := localLkm(lkm).run(t, "list", "--format", "json", "--tape", here)
	if got, want := timeless(t, played), timeless(t, live); got != want {
		t.Errorf("%s: the tape gives\n%s\nthe machine gave\n%s", name, got, want)
	}
	checkRedacted(t, name, localLkm(lkm).run(t, "list", "--format", "json", "--detail", "addresses", "--tape", here))
	if len(tape) > maxTape {
		t.Errorf("%s: %d bytes, want at most %d", name, len(tape), maxTape)
	}
	t.Logf("%s: %d bytes", name, len(tape))
	if *record {
		keep(t, name+".tape", tape)
	}
}

// checkRedacted checks that what the tape leaves out is not called hidden by the kernel, which showed it to root.
func checkRedacted(t *testing.T, name string, played []byte) {
	t.Helper()
	var s snapshot
	if err := json.Unmarshal(played, &s); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Problems {
		if s.Privilege == "root" && p.Code == "restricted" {
			t.Errorf("%s: problem: %+v", name, p)
		}
	}
}

// timeless prints a snapshot without the time it was taken.
func timeless(t *testing.T, snapshot []byte) string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(snapshot))
	decoder.UseNumber()
	var all map[string]any
	if err := decoder.Decode(&all); err != nil && err != io.EOF {
		t.Fatalf("%v\n%s", err, snapshot)
	}
	delete(all, "takenAt")
	out, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// keep writes a tape into the corpus.
func keep(t *testing.T, file string, tape []byte) {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(root, "lkm", "lkmtest", "testdata", file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, tape, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log("wrote ", file)
}
