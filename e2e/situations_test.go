// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
)

// A situation is a way in which a real system shows less than everything, and what lkm list has to make of it.
type situation struct {
	name    string
	command agent.Command // its Argv is added to lkm list
	kptr    string        // kptr_restrict, "" for 0
	code    int           // the exit code
	says    string        // in standard error
	source  string        // a source that must not be ok
	shown   bool          // addresses are shown
	lost    string        // what --strict names as incomplete, "" for nothing but the list of what is built in
}

var situations = []situation{
	{name: "plain", shown: true},
	{name: "no /sys/module", source: "sys_module", shown: true, lost: "sys_module",
		command: agent.Command{Mounts: []agent.Mount{{Source: "none", Target: "/sys/module", Type: "tmpfs"}}}},
	{name: "no /sys", source: "sys_module", shown: true, lost: "sys_module",
		command: agent.Command{Mounts: []agent.Mount{{Source: "none", Target: "/sys", Type: "tmpfs"}}}},
	{name: "ProcSubset=pid", code: 2, says: "/proc/modules",
		command: agent.Command{
			Mounts: []agent.Mount{{Source: "proc", Target: "/proc", Type: "proc", Data: "subset=pid"}}}},
	{name: "no /proc", code: 2, says: "/proc/modules",
		command: agent.Command{Mounts: []agent.Mount{{Source: "none", Target: "/proc", Type: "tmpfs"}}}},
	{name: "/proc/modules refused", code: 2, says: "permission denied",
		command: agent.Command{UID: lab.User, GID: lab.User,
			Mounts: []agent.Mount{{Source: "/root/closed", Target: "/proc/modules", Flags: unix.MS_BIND}}}},
	{name: "host mounted in a container", shown: true,
		command: agent.Command{Argv: []string{"--root", "/host", "--live"}, Mounts: []agent.Mount{
			{Source: "/", Target: "/host", Flags: unix.MS_BIND | unix.MS_REC},
			{Source: "none", Target: "/sys", Type: "tmpfs"},
		}}},
	{name: "no host mounted", code: 2, command: agent.Command{Argv: []string{"--root", "/mnt", "--live"}}},
	{name: "root, pointers restricted", kptr: "1", shown: true},
	{name: "root without CAP_SYSLOG", kptr: "1", lost: "address",
		command: agent.Command{Drop: []uintptr{agent.CapSyslog}}},
	{name: "root, pointers hidden", kptr: "2", lost: "address"},
	{name: "user with CAP_SYSLOG", kptr: "1", shown: true, lost: "sections", // whose files are root's
		command: agent.Command{UID: lab.User, GID: lab.User, Ambient: []uintptr{agent.CapSyslog}}},
	{name: "user", kptr: "1", lost: "address", command: agent.Command{UID: lab.User, GID: lab.User}},
}

// TestSituations runs lkm list where something is hidden: it has to say so, and never to show an empty list.
func TestSituations(t *testing.T) {
	t.Parallel()
	g := scene(t, debian.Cloud61)
	if err := g.WriteFile(t.Context(), "/root/closed", 0, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) { s.check(t, g.For(t)) })
	}
}

func (s situation) check(t *testing.T, g *lab.Guest) {
	kptr := s.kptr
	if kptr == "" {
		kptr = "0"
	}
	if err := g.Set(t.Context(), "/proc/sys/kernel/kptr_restrict", kptr); err != nil {
		t.Fatal(err)
	}
	c := s.command
	c.Argv = append([]string{lab.Lkm, "list", "--format", "json", "--detail", "addresses"}, c.Argv...)
	r := g.Do(c)
	if r.Code != s.code || !strings.Contains(string(r.Stderr), s.says) {
		t.Fatalf("exit code %d, want %d; %q, want %q", r.Code, s.code, r.Stderr, s.says)
	}
	if s.code == 0 {
		s.checkList(t, r.Stdout)
		c.Argv = append(c.Argv, "--strict")
		s.checkStrict(t, g.Do(c))
	}
}

// checkStrict looks at what --strict says is incomplete, and at its exit code.
func (s situation) checkStrict(t *testing.T, r agent.Result) {
	t.Helper()
	lost := strings.ReplaceAll(string(r.Stderr), "lkm: incomplete: builtin: source is partial\n", "")
	want := 0
	if len(r.Stderr) > 0 {
		want = 3
	}
	if r.Code != want || !strings.Contains(lost, s.lost) || (s.lost == "") != (lost == "") {
		t.Errorf("--strict: exit code %d, want %d; %q, want %q", r.Code, want, r.Stderr, s.lost)
	}
}

// checkList looks at what was printed: a full list, and the truth about what was not seen.
func (s situation) checkList(t *testing.T, out []byte) {
	t.Helper()
	var got snapshot
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Modules) < len(wanted) {
		t.Errorf("%d modules, want more", len(got.Modules))
	}
	shown := 0
	for _, m := range got.Modules {
		if m.Address != "" {
			shown++
		}
	}
	if shown > 0 != s.shown {
		t.Errorf("%d addresses are shown, want them shown: %v", shown, s.shown)
	}
	for _, source := range got.Sources {
		if source.Name == s.source && source.Outcome == "ok" {
			t.Errorf("source: %+v", source)
		}
	}
	if (s.source != "" || !s.shown) && len(got.Problems) == 0 {
		t.Error("no problem says what is missing")
	}
}
