// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/vm"
)

// boot starts the older kernel with a shell and a few tools.
func boot(t *testing.T) *lab.Guest {
	k := lab.Kernel(t, debian.Cloud61)
	i := vm.NewImage()
	i.Add("/init", 0o755, lab.Program(t, "e2e", "./guest"))
	for _, tool := range []string{"/bin/sh", "/bin/cat", "/bin/sleep", "/bin/ls"} {
		i.CopyProgram(tool)
	}
	return lab.Boot(t, k, i)
}

// TestGuest uses everything that a test can ask of a guest.
func TestGuest(t *testing.T) {
	g := boot(t)
	for name, use := range map[string]func(*testing.T, *lab.Guest){
		"commands": testCommands, "privilege": testPrivilege, "mounts": testMounts, "files": testFiles,
		"streams": testStreams,
	} {
		t.Run(name, func(t *testing.T) { use(t, g.For(t)) })
	}
	testPanic(t, g)
}

func testCommands(t *testing.T, g *lab.Guest) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	r := g.Do(agent.Command{Argv: []string{"cat"}, Stdin: bytes.Repeat(all, 500)})
	if !bytes.Equal(r.Stdout, bytes.Repeat(all, 500)) {
		t.Errorf("cat gave %d bytes, want the %d of its input", len(r.Stdout), 256*500)
	}
	r = g.Do(agent.Command{Argv: []string{"sh", "-c", "echo $A $PWD >&2; exit 7"}, Env: []string{"A=b"}, Dir: "/usr"})
	if r.Code != 7 || string(r.Stderr) != "b /usr\n" {
		t.Errorf("exit code %d, %q; want 7 and the environment", r.Code, r.Stderr)
	}
	r, err := g.VM.Run(t.Context(),
		agent.Command{Argv: []string{"sh", "-c", "sleep 100 & sleep 100"}, Timeout: time.Second})
	if err != nil || !r.TimedOut || r.Code != 128+int(syscall.SIGKILL) {
		t.Errorf("endless command: %+v, %v", r, err)
	}
	if _, err = g.VM.Run(t.Context(), agent.Command{Argv: []string{"/no/such"}}); err == nil {
		t.Error("a program that does not exist ran")
	}
}

func testPrivilege(t *testing.T, g *lab.Guest) {
	for _, test := range []struct {
		name    string
		command agent.Command
		want    string // in /proc/self/status: effective capabilities
	}{
		{"root", agent.Command{}, "000001ffffffffff"},
		{"user", agent.Command{UID: lab.User, GID: lab.User}, "0000000000000000"},
		{"user with one", agent.Command{UID: lab.User, GID: lab.User, Ambient: []uintptr{agent.CapSyslog}},
			"0000000400000000"},
		{"root without one", agent.Command{Drop: []uintptr{agent.CapSyslog}}, "000001fbffffffff"},
	} {
		test.command.Argv = []string{"cat", "/proc/self/status"}
		status := string(g.Must(test.command))
		if !strings.Contains(status, "\nCapEff:\t"+test.want+"\n") {
			t.Errorf("%s: want capabilities %s in\n%s", test.name, test.want, status)
		}
	}
}

func testMounts(t *testing.T, g *lab.Guest) {
	if !bytes.Contains(g.Root("ls", "/sys"), []byte("module")) {
		t.Fatal("sysfs is not mounted")
	}
	hide := []agent.Mount{{Source: "none", Target: "/sys", Type: "tmpfs"},
		{Source: "proc", Target: "/proc", Type: "proc", Data: "subset=pid"}}
	if out := g.Must(agent.Command{Argv: []string{"ls", "/sys"}, Mounts: hide}); len(out) > 0 {
		t.Errorf("covered /sys holds %s", out)
	}
	if r := g.Do(agent.Command{Argv: []string{"cat", "/proc/modules"}, Mounts: hide}); r.Code == 0 {
		t.Error("/proc/modules was not hidden")
	}
	if !bytes.Contains(g.Root("ls", "/sys"), []byte("module")) {
		t.Error("a command's private mounts stayed")
	}
	if err := g.Mount(t.Context(), agent.Mount{Source: "none", Target: "/mnt/new", Type: "tmpfs"}); err != nil {
		t.Error(err)
	}
	if err := g.Unmount(t.Context(), "/mnt/new"); err != nil {
		t.Error(err)
	}
}

func testFiles(t *testing.T, g *lab.Guest) {
	ctx := t.Context()
	want := bytes.Repeat([]byte("\x00\xff\r\n\x03\x04\x11\x13"), 10_000)
	if err := g.WriteFile(ctx, "/tmp/file", 0o600, want); err != nil {
		t.Fatal(err)
	}
	if got := g.File("/tmp/file"); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want the %d written", len(got), len(want))
	}
	if err := g.Set(ctx, "/proc/sys/kernel/kptr_restrict", "2"); err != nil {
		t.Error(err)
	}
	if got := string(g.File("/proc/sys/kernel/kptr_restrict")); got != "2\n" {
		t.Errorf("kptr_restrict is %q", got)
	}
	if _, err := g.ReadFile(ctx, "/no/such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if all, err := g.ReadDir(ctx, "/etc"); err != nil || len(all) != 2 ||
		all[0] != (agent.Entry{Name: "group", Mode: 0o644}) {
		t.Errorf("/etc holds %v, %v", all, err)
	}
	if err := g.Set(ctx, "/proc/modules", "x"); !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EINVAL) {
		t.Errorf("write to /proc/modules: %v", err)
	}
}

func testStreams(t *testing.T, g *lab.Guest) {
	ctx := t.Context()
	p, err := g.Start(ctx, agent.Command{Argv: []string{"sh", "-c", "echo one; sleep 1; echo two; sleep 100"}})
	if err != nil {
		t.Fatal(err)
	}
	if out, _, done, err := p.Next(ctx, 20*time.Second); string(out) != "one\n" || done || err != nil {
		t.Errorf("first words: %q, %v, %v", out, done, err)
	}
	if out, _, done, err := p.Next(ctx, 20*time.Second); string(out) != "one\ntwo\n" || done || err != nil {
		t.Errorf("more words: %q, %v, %v", out, done, err)
	}
	if err := p.Signal(ctx, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if r, err := p.Wait(ctx); err != nil || r.Code != 128+int(syscall.SIGTERM) {
		t.Errorf("end: %+v, %v", r, err)
	}
}

// testPanic makes the guest's kernel panic: the call must come back, with the console's last words.
func testPanic(t *testing.T, g *lab.Guest) {
	err := g.Set(t.Context(), "/proc/sysrq-trigger", "c")
	if err == nil || !strings.Contains(err.Error(), "sysrq: Trigger a crash") {
		t.Errorf("call of a guest that panicked: %v", err)
	}
}
