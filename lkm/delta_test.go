// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
)

// steady is the snapshot as JSON without volatile facts of modules.
func steady(t testing.TB, s *Snapshot) string {
	t.Helper()
	c := *s
	c.Modules = make([]Module, len(s.Modules))
	for i := range s.Modules {
		c.Modules[i] = s.Modules[i].Clone()
		c.Modules[i].dropVolatile()
	}
	b, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDiff(t *testing.T) {
	old := take(t, madeLinux(), Options{})
	m := madeLinux()
	m.set(linux.ModulesFile, "nvme 57344 9 - Live 0xffffffffc0a14000\n"+
		"nvme_core 184320 4 nvme, Live 0xffffffffc0a00000\n"+
		"fresh 4096 0 - Live 0xffffffffc0c00000\n")
	m.set("sys/module/nvme_core/version", "2.0\n")
	new := take(t, m, Options{})
	d := Diff(old, new)
	ids := func(modules []Module) (ids []string) {
		for _, m := range modules {
			ids = append(ids, m.Name)
		}
		return ids
	}
	if !slices.Equal(ids(d.Added), []string{"fresh"}) || !slices.Equal(ids(d.Removed), []string{"mine"}) {
		t.Errorf("added %v, removed %v", ids(d.Added), ids(d.Removed))
	}
	if len(d.Changed) != 1 || d.Changed[0].ID != "linux_module:nvme_core" ||
		!slices.Equal(d.Changed[0].Fields, []string{"linux", "version"}) {
		t.Errorf("changed %+v", d.Changed)
	}
	if !Diff(old, take(t, madeLinux(), Options{})).IsEmpty() {
		t.Error("the same machine differs")
	}
}

func TestDiffDoesNotTakeLostSightForChange(t *testing.T) {
	old := take(t, madeLinux(), Options{})
	m := madeLinux()
	m.fails["sys/module"] = fs.ErrPermission
	m.fails["sys/module/"] = fs.ErrPermission
	d := Diff(old, take(t, m, Options{}))
	if len(d.Changed)+len(d.Removed)+len(d.Added) != 0 || len(d.Unobserved) != 3 {
		t.Errorf("%d changed, %d removed, %d added, %d unobserved", len(d.Changed), len(d.Removed),
			len(d.Added), len(d.Unobserved))
	}
	m = madeLinux()
	m.set(linux.ModulesFile, "nvme 57344 9 - Live 0xffffffffc0a14000\nnvme_core 18")
	d = Diff(old, take(t, m, Options{}))
	if len(d.Removed) != 0 {
		t.Errorf("a cut list removed %v", d.Removed)
	}
}

// What is not seen is not removed, on any system, and what says another thing than before has
// changed, whatever else was lost.
func TestDiffOfLostSources(t *testing.T) {
	list := map[OS]string{
		Linux: linux.SourceModules, FreeBSD: freebsd.SourceKldstat, DragonFly: freebsd.SourceKldstat,
		NetBSD:  netbsd.SourceModctl,
		Illumos: solaris.SourceModinfo, Solaris: solaris.SourceModinfo, AIX: aix.SourceGenkex,
		Darwin: darwin.SourceKmutil, Windows: windows.SourceModules,
	}
	for os, source := range list {
		old := &Snapshot{OS: os, Modules: []Module{{ID: "a", State: StateLoaded}},
			Sources: []Source{{Name: source, Outcome: OutcomeOK}}}
		now := &Snapshot{OS: os, Modules: []Module{}, Sources: []Source{{Name: source, Outcome: OutcomePartial}}}
		if d := Diff(old, now); len(d.Removed) != 0 || len(d.Unobserved) != 1 {
			t.Errorf("%s: %d removed, %d unobserved", os, len(d.Removed), len(d.Unobserved))
		}
		now.Sources = old.Sources
		if d := Diff(old, now); len(d.Removed) != 1 {
			t.Errorf("%s: a whole list without it: %+v", os, d)
		}
	}
	withProblem := []Problem{{Source: linux.SourceSysModule, Field: "version", Code: CodePermission}}
	old := &Snapshot{OS: Linux,
		Modules: []Module{{ID: "a", Version: "1", Linux: &linux.Module{Srcversion: "A", Version: "1"}}}}
	for want, l := range map[string]*linux.Module{"unobserved": {Srcversion: "A"}, "changed": {Srcversion: "B"}} {
		d := Diff(old, &Snapshot{OS: Linux, Modules: []Module{{ID: "a", Linux: l, Problems: withProblem}}})
		if (want == "changed") != (len(d.Changed) == 1) || len(d.Changed)+len(d.Unobserved) != 1 {
			t.Errorf("want %s: %+v", want, d)
		}
	}
}

// Apply(Diff(a, b), a) is b, for random machines.
func TestApplyIsTheInverseOfDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() *Snapshot {
		m := madeLinux()
		var list bytes.Buffer
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			if r.IntN(3) == 0 {
				continue
			}
			list.WriteString(name + " 4096 0 - Live 0x0000000000000000\n")
			m.set("sys/module/"+name+"/coresize", "4096\n")
			if r.IntN(2) == 0 {
				m.set("sys/module/"+name+"/version", string(rune('0'+r.IntN(3)))+"\n")
			}
			if r.IntN(4) == 0 {
				m.fails["sys/module/"+name+"/coresize"] = fs.ErrPermission
			}
		}
		m.set(linux.ModulesFile, list.String())
		return take(t, m, Options{})
	}
	for range 300 {
		a, b := random(), random()
		got, err := Diff(a, b).Apply(a)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(steady(t, b), steady(t, got)); diff != "" {
			t.Fatalf("from\n%s\n(-want +got):\n%s", steady(t, a), diff)
		}
	}
}

func TestApplyRefusesAnotherSnapshot(t *testing.T) {
	a, empty := take(t, madeLinux(), Options{}), &Snapshot{Modules: []Module{}}
	if _, err := Diff(a, empty).Apply(empty); !errors.Is(err, ErrMalformed) {
		t.Errorf("removed what is not there: %v", err)
	}
	if _, err := Diff(empty, a).Apply(a); !errors.Is(err, ErrMalformed) {
		t.Errorf("added what is there: %v", err)
	}
	if _, err := new(Delta).Apply(a); !errors.Is(err, ErrMalformed) {
		t.Errorf("no header: %v", err)
	}
}
