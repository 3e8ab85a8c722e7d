// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
)

// A snapshot is what lkm list --format json prints, as far as these tests look at it.
type snapshot struct {
	OS        string `json:"os"`
	Release   string `json:"release"`
	BootID    string `json:"bootId"`
	Privilege string `json:"privilege"`
	Kernel    struct {
		Taint      json.Number `json:"taint"`
		TaintFlags []struct {
			Letter string `json:"letter"`
			Bit    int    `json:"bit"`
		} `json:"taintFlags"`
	} `json:"kernel"`
	Modules  []view    `json:"modules"`
	Sources  []source  `json:"sources"`
	Problems []problem `json:"problems"`
}

type source struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Code    string `json:"code"`
}

type problem struct {
	Source  string `json:"source"`
	Subject string `json:"subject"`
	Field   string `json:"field"`
	Code    string `json:"code"`
	Text    string `json:"text"`
}

// TestLoaded compares lkm list with what the kernel and kmod say of the same modules, as root and as an ordinary user.
func TestLoaded(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			g := scene(t, f)
			for _, user := range []uint32{0, lab.User} {
				name := map[uint32]string{0: "root", lab.User: "user"}[user]
				t.Run(name, func(t *testing.T) { compare(t, g.For(t), user) })
				t.Run(name+" addresses", func(t *testing.T) { compare(t, g.For(t), user, "addresses") })
				t.Run(name+" parameters", func(t *testing.T) { compareParameters(t, g.For(t), user) })
			}
			t.Run("kernel", func(t *testing.T) { compareKernel(t, g.For(t)) })
			t.Run("loading", func(t *testing.T) { compareLoading(t, g.For(t)) })
			t.Run("unloading", func(t *testing.T) { compareUnloading(t, g.For(t)) })
		})
	}
}

// list runs lkm list as a user until the kernel's own list was the same before and after, and gives both.
func list(t *testing.T, g *lab.Guest, user uint32, args ...string) (snapshot, string) {
	t.Helper()
	c := agent.Command{Argv: append([]string{lab.Lkm, "list", "--format", "json"}, args...), UID: user, GID: user}
	for range 5 {
		before := string(g.File("/proc/modules"))
		out := g.Must(c)
		if string(g.File("/proc/modules")) != before {
			continue
		}
		var s snapshot
		if err := json.Unmarshal(out, &s); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return s, before
	}
	t.Fatal("the kernel's list does not keep still")
	return snapshot{}, ""
}

// compare looks at every field of every module. Addresses are shown to root alone, and to nobody who does not ask.
func compare(t *testing.T, g *lab.Guest, user uint32, detail ...string) {
	s, lines := list(t, g, user, "--detail", strings.Join(detail, ","))
	want := truths(t, g, lines)
	addresses := len(detail) > 0 && user == 0
	seen := map[string]bool{}
	for _, v := range s.Modules {
		m, ok := want[v.Name]
		if !ok || seen[v.Name] {
			t.Errorf("%s is not loaded, or listed twice", v.Name)
			continue
		}
		seen[v.Name] = true
		for _, difference := range m.differences(v, addresses) {
			t.Error(difference)
		}
		if addresses {
			compareSections(t, g, v)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("lkm lists %d modules, the kernel %d", len(seen), len(want))
	}
	hidden := len(detail) > 0 && user != 0
	compareProblems(t, s, hidden)
	t.Logf("%d modules compared", len(seen))
}

// compareProblems expects nothing lost, but for addresses asked for by who may not see them.
func compareProblems(t *testing.T, s snapshot, hidden bool) {
	t.Helper()
	told := false
	for _, p := range s.Problems {
		switch {
		case p.Code == "unsupported":
		case hidden && (p.Field == "address" || p.Field == "sections"):
			told = true
		default:
			t.Errorf("problem: %+v", p)
		}
	}
	if hidden && !told {
		t.Error("no problem says that addresses are hidden")
	}
	for _, s := range s.Sources {
		switch s.Outcome {
		case "ok", "unsupported", "skipped":
		case "denied", "partial":
			if !hidden && s.Name != "builtin" {
				t.Errorf("source: %+v", s)
			}
		default:
			t.Errorf("source: %+v", s)
		}
	}
}

// compareSections compares the addresses of a module's sections; of the modules in the kernel's tree, a few will do.
func compareSections(t *testing.T, g *lab.Guest, v view) {
	t.Helper()
	if !strings.HasPrefix(v.Name, "kernelext_") && v.Name != "vrf" {
		return
	}
	dir := "/sys/module/" + v.Name + "/sections/"
	var want []string
	for _, e := range g.Dir(dir) {
		address := strings.TrimSpace(string(g.File(dir + e.Name)))
		want = append(want, fmt.Sprintf("%s 0x%016s", e.Name, strings.TrimPrefix(address, "0x")))
	}
	var got []string
	for _, section := range v.Linux.Sections {
		got = append(got, section.Name+" "+section.Address)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: sections are %q, the kernel says %q", v.Name, got, want)
	}
}

// compareParameters compares the parameters of every module. Who is root makes no difference: only
// what anyone may read is read.
func compareParameters(t *testing.T, g *lab.Guest, user uint32) {
	s, _ := list(t, g, user, "--detail", "parameters")
	total := 0
	for _, v := range s.Modules {
		var got []string
		for _, p := range v.Linux.Parameters {
			got = append(got, fmt.Sprintf("%s=%q readable %s", p.Name, p.Value, p.Readable))
		}
		want := parameters(t, g, v.Name)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: parameters are %q, the kernel says %q", v.Name, got, want)
		}
		total += len(want)
	}
	if total < 10 {
		t.Errorf("only %d parameters were compared", total)
	}
	t.Logf("%d parameters compared", total)
}

// parameters lists what sysfs has of a module's parameters.
func parameters(t *testing.T, g *lab.Guest, name string) []string {
	t.Helper()
	dir := "/sys/module/" + name + "/parameters"
	if _, err := g.ReadDir(t.Context(), dir); err != nil {
		return nil
	}
	var all []string
	for _, e := range g.Dir(dir) {
		value, readable := "", "no"
		if e.Mode.Perm()&0o004 != 0 {
			value, readable = strings.TrimSuffix(string(g.File(dir+"/"+e.Name)), "\n"), "yes"
		}
		all = append(all, fmt.Sprintf("%s=%q readable %s", e.Name, value, readable))
	}
	return all
}

// compareKernel looks at what is said of the kernel itself.
func compareKernel(t *testing.T, g *lab.Guest) {
	for user, privilege := range map[uint32]string{0: "root", lab.User: "user"} {
		s, _ := list(t, g, user)
		for field, values := range map[string][2]string{
			"os":           {s.OS, "linux"},
			"release":      {s.Release, trimmed(g, "/proc/sys/kernel/osrelease")},
			"bootId":       {s.BootID, trimmed(g, "/proc/sys/kernel/random/boot_id")},
			"kernel.taint": {s.Kernel.Taint.String(), trimmed(g, "/proc/sys/kernel/tainted")},
			"privilege":    {s.Privilege, privilege},
			"taintFlags":   {fmt.Sprint(s.Kernel.TaintFlags), "[{O 12} {E 13}]"},
		} {
			if values[0] != values[1] {
				t.Errorf("%s is %q, want %q", field, values[0], values[1])
			}
		}
	}
}

func trimmed(g *lab.Guest, name string) string { return strings.TrimSpace(string(g.File(name))) }

// compareLoading compares while a module is being loaded.
func compareLoading(t *testing.T, g *lab.Guest) {
	p, err := g.Start(t.Context(),
		agent.Command{Argv: []string{"insmod", lab.Modules + "/" + module.Slow + ".ko", "load_ms=15000"}})
	if err != nil {
		t.Fatal(err)
	}
	awaitState(t, g, "Loading")
	compare(t, g, lab.User)
	if r, err := p.Wait(t.Context()); err != nil || r.Code != 0 {
		t.Fatalf("insmod: %v, %+v", err, r)
	}
}

// compareUnloading compares while the same module is being unloaded.
func compareUnloading(t *testing.T, g *lab.Guest) {
	if err := g.Set(t.Context(), "/sys/module/"+module.Slow+"/parameters/unload_ms", "15000"); err != nil {
		t.Fatal(err)
	}
	p, err := g.Start(t.Context(), agent.Command{Argv: []string{"rmmod", module.Slow}})
	if err != nil {
		t.Fatal(err)
	}
	awaitState(t, g, "Unloading")
	compare(t, g, lab.User)
	if r, err := p.Wait(t.Context()); err != nil || r.Code != 0 {
		t.Fatalf("rmmod: %v, %+v", err, r)
	}
}

// awaitState waits until the slow module is in a state.
func awaitState(t *testing.T, g *lab.Guest, state string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for line := range strings.Lines(string(g.File("/proc/modules"))) {
			if strings.HasPrefix(line, module.Slow+" ") && strings.Contains(line, " "+state+" ") {
				return
			}
		}
	}
	t.Fatalf("%s never was in state %s", module.Slow, state)
}
