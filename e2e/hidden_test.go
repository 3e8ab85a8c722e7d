// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// A hiding is what our test module does to itself, and what has to be said of it.
type hiding struct {
	name    string
	params  []string
	kind    string
	grade   lkm.Grade
	subject string
	seen    []string // views that must show it
	missing []string // views that must not
}

var hidings = []hiding{
	{"off the list", []string{"off_list=1"}, linux.KindHiddenFromList, lkm.GradeStrong, module.Hidden,
		[]string{linux.SourceSysModule}, []string{linux.SourceModules}},
	{"off the list and out of sysfs", []string{"off_list=1", "off_sysfs=1"}, linux.KindHiddenFromList,
		lkm.GradeStrong, module.Hidden,
		[]string{"ftrace"}, []string{linux.SourceModules, linux.SourceSysModule}},
	{"out of sysfs", []string{"off_sysfs=1"}, linux.KindMissingDirectory, lkm.GradeStrong, module.Hidden,
		[]string{linux.SourceModules}, []string{linux.SourceSysModule}},
	{"taint cleared", []string{"no_taint=1"}, linux.KindTaintUnexplained, lkm.GradeWeak, "OE",
		[]string{linux.SourceTainted}, []string{linux.SourceModules}},
}

// TestHidden loads a module that hides itself in one way, each in a guest of its own: it cannot be taken out again.
func TestHidden(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		k := lab.Kernel(t, f)
		for _, h := range hidings {
			t.Run(f.String()+" "+h.name, func(t *testing.T) {
				t.Parallel()
				i := lab.Image(t, k, "dummy")
				lab.AddOutOfTree(t, i, k)
				i.Add(cycler, 0o755, lab.Program(t, "e2e", "./cycle"))
				g := lab.Boot(t, k, i)
				g.Root("modprobe", "dummy")
				if found := findings(t, g, 0); len(found) != 0 {
					t.Fatalf("before: %+v", found)
				}
				g.Root(append([]string{"insmod", lab.Modules + "/" + module.Hidden + ".ko"}, h.params...)...)
				time.Sleep(time.Second)
				h.check(t, findings(t, g, 1), h.grade)
				if h.name == hidings[0].name {
					h.checkOthers(t, g)
				}
			})
		}
	}
}

func (h hiding) check(t *testing.T, found []lkm.Discrepancy, grade lkm.Grade) {
	t.Helper()
	for _, d := range found {
		if d.Kind != h.kind || d.Name != h.subject {
			continue
		}
		if d.Grade != grade {
			t.Errorf("grade %s, want %s: %+v", d.Grade, grade, d)
		}
		for _, view := range h.seen {
			if d.Views[view] != lkm.ViewSeen {
				t.Errorf("%s is %q, want seen: %+v", view, d.Views[view], d)
			}
		}
		for _, view := range h.missing {
			if d.Views[view] != lkm.ViewMissing {
				t.Errorf("%s is %q, want missing: %+v", view, d.Views[view], d)
			}
		}
		if d.Grade == lkm.GradeStrong && d.Samples < 3 {
			t.Errorf("strong after %d looks", d.Samples)
		}
		return
	}
	t.Errorf("no %s of %s in %+v", h.kind, h.subject, found)
}

// checkOthers checks that a module which left the list is found by an ordinary user too, and beside
// a hundred events a second that are about something else. There the looks may never be steady.
func (h hiding) checkOthers(t *testing.T, g *lab.Guest) {
	t.Helper()
	r := g.Do(agent.Command{Argv: []string{lab.Lkm, "discrepancies", "--format", "json"}, UID: lab.User, GID: lab.User,
		Timeout: 4 * time.Minute})
	h.seen = []string{linux.SourceSysModule}
	h.check(t, decode(t, r, 1), h.grade)
	p, err := g.Start(t.Context(), agent.Command{Argv: []string{cycler, "-n", "1000", "-pause", "1s", "-events", "100"},
		Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	found := findings(t, g, 1)
	if err := p.Signal(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Wait(t.Context())
	for _, d := range found {
		if d.Kind == h.kind && d.Name == h.subject {
			h.check(t, found, d.Grade)
			if d.Grade == lkm.GradeTransient {
				t.Errorf("on a busy machine: %+v", d)
			}
			t.Logf("beside 100 events a second: %s, %d steady looks", d.Grade, d.Samples)
			return
		}
	}
	t.Errorf("on a busy machine: %+v", found)
}

// findings runs lkm discrepancies as root, which must end with the exit code, and returns the
// findings but for files that no package owns and modules without files: the guest has neither
// packages nor all files.
func findings(t *testing.T, g *lab.Guest, code int, mounts ...agent.Mount) []lkm.Discrepancy {
	t.Helper()
	all := discrepancies(t, g, code, mounts...)
	var found []lkm.Discrepancy
	for _, d := range all {
		if d.Kind != linux.KindUnchecked {
			found = append(found, d)
		}
	}
	return found
}

func discrepancies(t *testing.T, g *lab.Guest, code int, mounts ...agent.Mount) []lkm.Discrepancy {
	t.Helper()
	return decode(t,
		g.Do(agent.Command{Argv: []string{lab.Lkm, "discrepancies", "--format", "json"}, Mounts: mounts,
			Timeout: 4 * time.Minute}), code)
}

// decode reads the output of lkm discrepancies, which must have ended with the exit code.
func decode(t *testing.T, r agent.Result, code int) []lkm.Discrepancy {
	t.Helper()
	var found []lkm.Discrepancy
	if err := json.Unmarshal(r.Stdout, &found); err != nil || r.Code != code {
		t.Fatalf("exit code %d, want %d; %v\n%s%s", r.Code, code, err, r.Stdout, r.Stderr)
	}
	return found
}

// TestHonest loads and unloads a module 200 times beside the check, which must find nothing above
// transient; and hides /sys/module from it, of which it must say that it was not compared, or
// covers one directory of it, which is not a strong finding.
func TestHonest(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "dummy")
	i.Add(cycler, 0o755, lab.Program(t, "e2e", "./cycle"))
	g := lab.Boot(t, k, i)
	// The pause spreads the cycles over several checks.
	p, err := g.Start(t.Context(), cycles(k, 200, "-pause", "100ms"))
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	for done := false; !done; looks++ {
		for _, d := range findings(t, g, 0) {
			t.Logf("transient: %+v", d)
		}
		if _, _, done, err = p.Next(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	r, err := p.Wait(t.Context())
	if err != nil || r.Code != 0 {
		t.Fatalf("cycles: %v, %+v", err, r)
	}
	t.Logf("%s", r.Stdout)
	t.Logf("%d checks beside 200 cycles", looks)
	if looks < 3 {
		t.Errorf("only %d checks ran beside the cycles", looks)
	}
	g.Root("modprobe", "dummy")
	for _, target := range []string{"/sys/module", "/sys"} {
		all := discrepancies(t, g, 0, agent.Mount{Source: "none", Target: target, Type: "tmpfs"})
		if len(all) == 0 || all[0].Kind != linux.KindUnchecked ||
			all[0].Views[linux.SourceSysModule] != lkm.ViewUnchecked {
			t.Errorf("without %s: %+v", target, all)
		}
	}
	covered := findings(t, g, 1, agent.Mount{Source: "none", Target: "/sys/module/dummy", Type: "tmpfs"})
	if len(covered) != 1 || covered[0].Kind != linux.KindMissingDirectory || covered[0].Grade != lkm.GradeWeak {
		t.Errorf("with one directory covered: %+v", covered)
	}
}

// cycler is the path of command cycle in a guest.
const cycler = "/usr/bin/cycle"

// cycles is the command that loads and unloads dummy n times.
func cycles(k debian.Kernel, n int, args ...string) agent.Command {
	file := "/lib/modules/" + k.Release + "/kernel/drivers/net/dummy.ko"
	return agent.Command{Argv: append([]string{cycler, "-file", file, "-name", "dummy", "-n", strconv.Itoa(n)},
		args...),
		Timeout: time.Hour}
}

// watching starts lkm watch as a user and waits for its baseline.
func watching(t *testing.T, g *lab.Guest, uid uint32, args ...string) *watcher {
	t.Helper()
	return watch(t, g, agent.Command{Argv: append([]string{lab.Lkm, "watch"}, args...), UID: uid,
		GID: uid, Timeout: time.Hour})
}

func watch(t *testing.T, g *lab.Guest, c agent.Command) *watcher {
	t.Helper()
	p, err := g.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, g: g}
	w.next = func() []byte {
		out, _, done, err := p.Next(t.Context(), time.Second)
		if err != nil || done {
			t.Fatalf("watch ended: %v", err)
		}
		return out
	}
	w.signal = p.Signal
	w.wait = p.Wait
	for !strings.Contains(string(w.next()), "\n") {
	}
	return w
}
