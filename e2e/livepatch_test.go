// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/module"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// TestLivepatch loads a live patch of ours: what lkm says of it is what the kernel does. Then it is switched off.
func TestLivepatch(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			k := lab.Kernel(t, f)
			i := lab.Image(t, k, "dummy")
			lab.AddOutOfTree(t, i, k)
			g := lab.Boot(t, k, i)
			if s := patchSnapshot(t, g); outcomeOf(s, linux.SourceLivepatch) != lkm.OutcomeOK {
				t.Errorf("a kernel with live patches and none loaded: %s", outcomeOf(s, linux.SourceLivepatch))
			}
			g.Root("insmod", lab.Modules+"/"+module.Patch+".ko")
			comparePatch(t, g, "patched\n", fact.Yes)
			if err := g.Set(t.Context(), "/sys/kernel/livepatch/"+module.Patch+"/enabled", "0"); err != nil {
				t.Fatal(err)
			}
			if text := settled(t, g); text == "patched\n" {
				t.Error("the patch is still in use")
			}
			compareKexec(t, g)
		})
	}
}

// patchSnapshot is what lkm list says.
func patchSnapshot(t *testing.T, g *lab.Guest, args ...string) *lkm.Snapshot {
	t.Helper()
	out := g.Root(append([]string{lab.Lkm, "list", "--format", "json"}, args...)...)
	s, err := lkm.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func outcomeOf(s *lkm.Snapshot, source string) lkm.Outcome {
	for _, src := range s.Sources {
		if src.Name == source {
			return src.Outcome
		}
	}
	return ""
}

// settled waits until the patch is not in transition, and returns the command line as the kernel shows it then.
func settled(t *testing.T, g *lab.Guest) string {
	t.Helper()
	for range 60 {
		entries := g.Dir("/sys/kernel/livepatch")
		if len(entries) == 0 || string(g.File("/sys/kernel/livepatch/"+module.Patch+"/transition")) == "0\n" {
			return string(g.File("/proc/cmdline"))
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the patch stays in transition")
	return ""
}

// comparePatch compares what lkm says of the live patch with what the kernel does and shows.
func comparePatch(t *testing.T, g *lab.Guest, cmdline string, enabled fact.Tri) {
	t.Helper()
	if got := settled(t, g); got != cmdline {
		t.Errorf("the command line is %q, want %q", got, cmdline)
	}
	s := patchSnapshot(t, g)
	m := s.Module("linux_module:" + module.Patch)
	if m == nil || m.Linux == nil || m.Linux.Patch == nil {
		t.Fatalf("no patch: %+v %v", s.Sources, s.Problems)
	}
	p := m.Linux.Patch
	if p.Enabled != enabled || p.Transition != fact.No || len(p.Objects) != 2 {
		t.Errorf("%+v", p)
	}
	for _, o := range p.Objects {
		var functions []string
		for _, e := range g.Dir("/sys/kernel/livepatch/" + module.Patch + "/" + o.Name) {
			if name, _, ok := strings.Cut(e.Name, ","); ok {
				functions = append(functions, name)
			}
		}
		slices.Sort(functions)
		var got []string
		for _, f := range o.Functions {
			got = append(got, f.Name)
		}
		if len(got) != 1 || !slices.Equal(got, functions) || o.Patched != fact.TriOf(o.Name == "vmlinux") {
			t.Errorf("%+v, the kernel shows %v", o, functions)
		}
	}
	if card := string(g.Root(lab.Lkm, "info", module.Patch)); !strings.Contains(card, "live patch enabled: ") {
		t.Errorf("the card says nothing of the patch:\n%s", card)
	}
}

// compareKexec compares policy's lines of kexec with the kernel's files.
func compareKexec(t *testing.T, g *lab.Guest) {
	t.Helper()
	s := patchSnapshot(t, g, "--detail", "policy")
	files := map[string]string{linux.FactKexecLoaded: "/sys/kernel/kexec_loaded",
		linux.FactKexecCrash:    "/sys/kernel/kexec_crash_loaded",
		linux.FactKexecDisabled: "/proc/sys/kernel/kexec_load_disabled"}
	for _, f := range s.Policy.Facts {
		if file, ok := files[f.Name]; ok {
			delete(files, f.Name)
			if want := strings.TrimSpace(string(g.File(file))); f.Value != want || f.File != file || f.Unknown {
				t.Errorf("%+v, the kernel says %q", f, want)
			}
		}
	}
	if len(files) > 0 {
		t.Errorf("policy has no %v", files)
	}
}
