// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux"
)

func openMade(t testing.TB, m Machine, o Options) *System {
	t.Helper()
	s, err := OpenMachine(Linux, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func take(t testing.TB, m Machine, o Options) *Snapshot {
	t.Helper()
	snap, err := openMade(t, m, o).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func outcome(t *testing.T, s *Snapshot, source string) Outcome {
	t.Helper()
	src, ok := s.Source(source)
	if !ok {
		t.Fatalf("no source %s in %v", source, s.Sources)
	}
	return src.Outcome
}

func TestSnapshotOfLinux(t *testing.T) {
	s := take(t, madeLinux(), Options{})
	if s.OS != Linux || s.Release != "6.1.0-56-amd64" || s.Arch != "x86_64" || s.Privilege != "root" || s.Live != Yes ||
		s.TakenAt.IsZero() || s.BootID == "" {
		t.Errorf("header %+v", s)
	}
	var ids []string
	for _, m := range s.Modules {
		ids = append(ids, m.ID)
	}
	if got := strings.Join(ids, " "); got != "linux_module:mine linux_module:nvme linux_module:nvme_core" {
		t.Errorf("ids %s", got)
	}
	mine, nvme, core := s.Module("linux_module:mine"), s.Module("linux_module:nvme"), s.Module("linux_module:nvme_core")
	if mine.Origin.Class != OriginThirdParty || mine.Signature.Evidence != fact.EvidenceTaintE ||
		mine.Signature.Status != "" || !slices.Equal(mine.Linux.Taints, []string{"O", "E"}) {
		t.Errorf("mine %+v", mine)
	}
	if nvme.Version != "1.0" || nvme.ContentID != "6e766d65" || nvme.State != StateLoaded ||
		nvme.Linux.State != "Live" || nvme.Address != 0 || nvme.Linux.Sections != nil || nvme.Linux.Parameters != nil {
		t.Errorf("nvme %+v %+v", nvme, nvme.Linux)
	}
	if !slices.Equal(nvme.Requires, []string{"nvme_core"}) || nvme.UsedBy == nil || len(nvme.UsedBy) != 0 ||
		!slices.Equal(core.UsedBy, []string{"nvme"}) || core.Requires == nil {
		t.Errorf("relations: %#v %#v %#v", nvme.Requires, nvme.UsedBy, core.UsedBy)
	}
	if n, _ := s.Kernel.Taint.Get(); n != 12288 || len(s.Kernel.TaintFlags) != 2 {
		t.Errorf("kernel %+v", s.Kernel)
	}
	for _, name := range []string{linux.SourceModules, linux.SourceSysModule, linux.SourceTainted,
		linux.SourceMachine} {
		if outcome(t, s, name) != OutcomeOK {
			t.Errorf("%s is %s", name, outcome(t, s, name))
		}
	}
	for name, want := range map[string]Outcome{linux.SourceBPF: OutcomeUnsupported,
		linux.SourceLivepatch: OutcomeAbsent, linux.SourceKexec: OutcomeSkipped} {
		if outcome(t, s, name) != want {
			t.Errorf("%s is %s", name, outcome(t, s, name))
		}
	}
	if len(s.Problems) != 0 {
		t.Errorf("problems %v", s.Problems)
	}
}

func TestSnapshotDetails(t *testing.T) {
	s := take(t, madeLinux(), Options{Detail: DetailParameters | DetailAddresses})
	nvme := s.Module("linux_module:nvme")
	if len(nvme.Linux.Parameters) != 1 || nvme.Linux.Parameters[0].Value != "1024" || len(nvme.Linux.Sections) != 1 ||
		nvme.Address != 0xffffffffc0a14000 {
		t.Errorf("nvme %+v", nvme.Linux)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	var texts [2][]byte
	for i := range texts {
		texts[i], _ = json.Marshal(take(t, madeLinux(), Options{Detail: DetailParameters | DetailAddresses}))
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("two looks at the same machine differ")
	}
}

func TestHiddenAddresses(t *testing.T) {
	m := madeLinux()
	m.set(linux.ModulesFile, "nvme 57344 3 - Live 0x0000000000000000\n"+
		"nvme_core 184320 4 nvme, Live 0x0000000000000000\n")
	s := take(t, m, Options{})
	if len(s.Problems) != 0 {
		t.Errorf("addresses were not asked for: %v", s.Problems)
	}
	s = take(t, m, Options{Detail: DetailAddresses})
	i := slices.IndexFunc(s.Problems, func(p Problem) bool { return p.Field == "address" })
	if i < 0 || !errors.Is(s.Problems[i], ErrRestricted) || s.Problems[i].Count != 2 ||
		!strings.Contains(s.Problems[i].Text, "kptr_restrict=1") {
		t.Errorf("problems %v", s.Problems)
	}
}

// The situations of a machine that shows less than all of itself.
func TestSituations(t *testing.T) {
	t.Run("kernel without modules", func(t *testing.T) {
		m := madeLinux()
		delete(m.MapFS, linux.ModulesFile)
		delete(m.MapFS, "proc/sys/kernel/modules_disabled")
		s := take(t, m, Options{})
		if s.Modules == nil || len(s.Modules) != 0 || outcome(t, s, linux.SourceModules) != OutcomeUnsupported {
			t.Errorf("%v %v", s.Modules, s.Sources)
		}
		b, _ := json.Marshal(s)
		if !bytes.Contains(b, []byte(`"modules":[]`)) {
			t.Errorf("%s", b)
		}
		var l List
		if err := openMade(t, m, Options{}).Poll(context.Background(), &l); err != nil || len(l.Modules) != 0 ||
			l.Sources[0].Outcome != OutcomeUnsupported {
			t.Errorf("poll: %v, %+v", err, l)
		}
	})
	t.Run("subset=pid", func(t *testing.T) {
		m := &made{MapFS: madeLinux().MapFS, calls: madeLinux().calls, fails: map[string]error{},
			opens: map[string]int{}}
		for name := range m.MapFS {
			if strings.HasPrefix(name, "proc/") {
				delete(m.MapFS, name)
			}
		}
		_, err := openMade(t, m, Options{}).Snapshot(context.Background())
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "subset=pid") ||
			!strings.HasPrefix(err.Error(), "lkm: list modules: open /proc/modules: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("list refused", func(t *testing.T) {
		m := madeLinux()
		m.fails[linux.ModulesFile] = fs.ErrPermission
		_, err := openMade(t, m, Options{}).Snapshot(context.Background())
		if !errors.Is(err, fs.ErrPermission) ||
			err.Error() != "lkm: list modules: open /proc/modules: permission denied" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("list hidden although there are modules", func(t *testing.T) {
		m := madeLinux()
		delete(m.MapFS, linux.ModulesFile)
		if _, err := openMade(t, m, Options{}).Snapshot(context.Background()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("container without /sys/module", func(t *testing.T) {
		m := madeLinux()
		for name := range m.MapFS {
			if strings.HasPrefix(name, "sys/module/") {
				delete(m.MapFS, name)
			}
		}
		s := take(t, m, Options{})
		if len(s.Modules) != 3 || outcome(t, s, linux.SourceSysModule) != OutcomeAbsent || len(s.Problems) == 0 {
			t.Errorf("%v %v", s.Sources, s.Problems)
		}
		for i := range s.Modules {
			if len(s.Modules[i].Problems) != 0 {
				t.Errorf("the cause is said once, not at %s: %v", s.Modules[i].Name, s.Modules[i].Problems)
			}
		}
	})
	t.Run("a module goes while it is looked at", func(t *testing.T) {
		m := madeLinux()
		for name := range m.MapFS {
			if strings.HasPrefix(name, "sys/module/nvme/") {
				delete(m.MapFS, name)
			}
		}
		s := take(t, m, Options{})
		nvme := s.Module("linux_module:nvme")
		if nvme == nil || len(nvme.Problems) != 1 || nvme.Problems[0].Code != CodeGone ||
			outcome(t, s, linux.SourceSysModule) != OutcomePartial {
			t.Errorf("%+v", nvme)
		}
	})
	t.Run("a file that every module refuses is said once", func(t *testing.T) {
		m := madeLinux()
		for _, name := range []string{"mine", "nvme", "nvme_core"} {
			m.fails["sys/module/"+name+"/sections"] = fs.ErrPermission
		}
		s := take(t, m, Options{Detail: DetailAddresses})
		if len(s.Problems) != 1 || s.Problems[0].Count != 3 || s.Problems[0].Code != CodePermission {
			t.Errorf("%v", s.Problems)
		}
	})
	t.Run("every module refuses", func(t *testing.T) {
		m := madeLinux()
		for _, name := range []string{"mine", "nvme", "nvme_core"} {
			m.fails["sys/module/"+name+"/"] = fs.ErrPermission
		}
		s := take(t, m, Options{})
		if outcome(t, s, linux.SourceSysModule) != OutcomeDenied || len(s.Problems) != 1 {
			t.Errorf("%v %v", s.Sources, s.Problems)
		}
	})
	t.Run("what the list says is not lost", func(t *testing.T) {
		m := madeLinux()
		delete(m.MapFS, "sys/module/nvme/taint")
		m.fails["sys/module/nvme/initstate"] = fs.ErrPermission
		s := take(t, m, Options{})
		if nvme := s.Module("linux_module:nvme"); len(nvme.Problems) != 0 || nvme.Linux.Taints == nil ||
			nvme.Linux.State != "Live" {
			t.Errorf("%v", nvme.Problems)
		}
	})
	t.Run("a file that one module refuses often is not a cause of all", func(t *testing.T) {
		m := madeLinux()
		for i := range 150 {
			name := fmt.Sprintf("sys/module/nvme/parameters/p%03d", i)
			m.set(name, "x\n")
			m.fails[name] = fs.ErrPermission
		}
		s := take(t, m, Options{Detail: DetailParameters})
		nvme := s.Module("linux_module:nvme")
		if len(s.Problems) != 0 || len(nvme.Problems) != limit.Problems+1 || nvme.Problems[limit.Problems].Count != 50 {
			t.Errorf("%v, %d of the module", s.Problems, len(nvme.Problems))
		}
	})
	t.Run("malformed line", func(t *testing.T) {
		m := madeLinux()
		m.set(linux.ModulesFile, "nvme x 3 - Live 0x0\nnvme_core 184320 4 - Live 0x0\n")
		s := take(t, m, Options{})
		if len(s.Modules) != 1 || outcome(t, s, linux.SourceModules) != OutcomePartial || len(s.Problems) != 1 ||
			s.Problems[0].Line != 1 || s.Problems[0].Field != "size" {
			t.Errorf("%v %v", s.Modules, s.Problems)
		}
	})
}

func TestBuiltin(t *testing.T) {
	sys := openMade(t, madeLinux(), Options{Detail: DetailParameters})
	var names []string
	for m, err := range sys.Builtin(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, m.Name)
		if m.State != StateBuiltin || m.Linux == nil {
			t.Errorf("%+v", m)
		}
	}
	if got := strings.Join(names, " "); got != "printk tcp_cubic" {
		t.Errorf("builtin %s", got)
	}
	s, err := sys.SnapshotOf(context.Background(), ScopeBuiltin)
	if err != nil || len(s.Modules) != 2 || outcome(t, s, linux.SourceModules) != OutcomeSkipped ||
		outcome(t, s, linux.SourceBuiltin) != OutcomePartial {
		t.Errorf("%v, %v", s, err)
	}
	for range sys.Builtin(context.Background()) {
		break // stopping early is not trouble
	}
}

func TestPollMatchesSnapshot(t *testing.T) {
	m := madeLinux()
	sys := openMade(t, m, Options{})
	var l List
	for range 3 {
		if err := sys.Poll(context.Background(), &l); err != nil {
			t.Fatal(err)
		}
		snap := take(t, m, Options{})
		if len(l.Modules) != len(snap.Modules) {
			t.Fatalf("%d polled, %d in the snapshot", len(l.Modules), len(snap.Modules))
		}
		for i := range l.Modules {
			p, s := &l.Modules[i], &snap.Modules[i]
			if p.ID != s.ID || p.Size != s.Size || p.Refs != s.Refs || p.State != s.State ||
				!slices.Equal(p.UsedBy, s.UsedBy) || !slices.Equal(p.Requires, s.Requires) {
				t.Errorf("%+v\n%+v", p, s)
			}
		}
	}
	m.fails[linux.ModulesFile] = fs.ErrPermission
	if err := sys.Poll(context.Background(), &l); !errors.Is(err, fs.ErrPermission) || len(l.Modules) != 0 {
		t.Errorf("after a refusal: %v, %d modules", err, len(l.Modules))
	}
}

func TestPollAllocations(t *testing.T) {
	sys := openMade(t, manyModules(250), Options{})
	var l List
	n := testing.AllocsPerRun(20, func() {
		if err := sys.Poll(context.Background(), &l); err != nil {
			t.Fatal(err)
		}
	})
	if len(l.Modules) != 250 || n > 260 {
		t.Errorf("%v allocations for %d modules", n, len(l.Modules))
	}
	t.Logf("%v allocations", n)
}

func TestChanged(t *testing.T) {
	m := madeLinux()
	sys := openMade(t, m, Options{})
	var token Token
	want := func(want bool) {
		t.Helper()
		got, err := sys.Changed(context.Background(), &token)
		if err != nil || got != want {
			t.Errorf("changed %v, %v; want %v", got, err, want)
		}
	}
	want(true)
	want(false)
	want(false)
	for _, number := range []string{"1240\n", "12401\n", "124012\n", "7\n"} {
		m.set("sys/kernel/uevent_seqnum", number)
		want(true)
		want(false)
	}
	delete(m.MapFS, "sys/kernel/uevent_seqnum")
	sys.Refresh()
	if _, err := sys.Changed(context.Background(), &token); !errors.Is(err, fs.ErrNotExist) ||
		!errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no counter: %v", err)
	}
}

func TestImageRunsNoKernel(t *testing.T) {
	sys, err := OpenImage(madeLinux(), Options{OS: Linux})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	_, err = sys.Snapshot(context.Background())
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "Installed") ||
		!strings.Contains(err.Error(), "--installed") {
		t.Errorf("snapshot: %v", err)
	}
	if err := sys.Poll(context.Background(), new(List)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("poll: %v", err)
	}
	if _, err := sys.Changed(context.Background(), new(Token)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("changed: %v", err)
	}
}

// A List may be used with one system after another, and then says what the other one has.
func TestPollOfAnotherSystem(t *testing.T) {
	one, other := openMade(t, madeLinux(), Options{}), openMade(t, manyModules(5), Options{})
	var l List
	for _, want := range []struct {
		sys *System
		n   int
	}{{one, 3}, {other, 5}, {one, 3}} {
		if err := want.sys.Poll(context.Background(), &l); err != nil || len(l.Modules) != want.n {
			t.Errorf("%d modules, %v; want %d", len(l.Modules), err, want.n)
		}
	}
}

// Poll reads the kernel's own list and nothing beside it, also where the kernel has none.
func TestPollReadsNoOtherSource(t *testing.T) {
	m := madeLinux()
	delete(m.MapFS, linux.ModulesFile)
	delete(m.MapFS, "proc/sys/kernel/modules_disabled")
	var l List
	if err := openMade(t, m, Options{}).Poll(context.Background(), &l); err != nil {
		t.Fatal(err)
	}
	if m.count(linux.SysModuleDir) != 0 || len(l.Sources) != 1 || len(l.Problems) != 1 {
		t.Errorf("%v %v", l.Sources, l.Problems)
	}
}

// A descriptor that Changed holds is not opened again by a call that overlaps Close.
func TestChangedAfterClose(t *testing.T) {
	sys := openMade(t, madeLinux(), Options{})
	if err := sys.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sys.backend.changed(context.Background()); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

func TestClosedSystem(t *testing.T) {
	sys := openMade(t, madeLinux(), Options{})
	if err := errors.Join(sys.Close(), sys.Close()); err != nil {
		t.Error(err)
	}
	_, snapshot := sys.Snapshot(context.Background())
	_, changed := sys.Changed(context.Background(), new(Token))
	_, file := sys.File(context.Background(), "/x")
	_, plan := sys.LoadPlan(context.Background(), "x")
	for _, err := range []error{snapshot, changed, file, plan, sys.Poll(context.Background(), new(List))} {
		if !errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), "system is closed") {
			t.Errorf("error %v", err)
		}
	}
}

func TestContextEndsALook(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := openMade(t, madeLinux(), Options{}).Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestPolicyErrOfNoConclusion: a policy that says nothing is never complete, whatever its facts are.
func TestPolicyErrOfNoConclusion(t *testing.T) {
	facts := []PolicyFact{{Name: "a", Code: CodeAbsent, Effect: "no such thing"}, {Name: "b", Code: CodeUnsupported}}
	if err := (&Policy{Loading: LoadingAny, Facts: facts}).Err(); err != nil {
		t.Error(err)
	}
	if err := (&Policy{Facts: facts}).Err(); err == nil || !strings.Contains(err.Error(), "not known: b") {
		t.Error(err)
	}
}

// TestOpenOfAnotherSystem: the running kernel is not looked at for another system's.
func TestOpenOfAnotherSystem(t *testing.T) {
	for _, o := range []Options{{OS: "bogus"}, {OS: "bogus", HostRoot: t.TempDir()}} {
		if s, err := Open(o); !errors.Is(err, errors.ErrUnsupported) || s != nil ||
			!strings.Contains(err.Error(), "bogus") {
			t.Errorf("%+v: %v, %v", o, s, err)
		}
	}
	s, err := Open(Options{OS: running().os})
	if err == nil {
		err = s.Close()
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) { // a system without a backend
		t.Error(err)
	}
}

func TestUnknownSystems(t *testing.T) {
	for _, os := range []OS{OpenBSD, "plan9", ""} {
		_, err := OpenMachine(os, madeLinux(), Options{})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), string(os)) {
			t.Errorf("%q: %v", os, err)
		}
	}
}

func TestDuplicateNamesAreNumbered(t *testing.T) {
	modules := []Module{{ID: "k:a", Name: "a"}, {ID: "k:a", Name: "a"}, {ID: "k:a", Name: "a"}, {ID: "k:b", Name: "b"},
		{ID: "k:b", Name: "b"}}
	var ids []string
	for _, m := range numberDuplicates(modules) {
		ids = append(ids, m.ID)
		if strings.Contains(m.ID, "#") != (len(m.Problems) == 1) {
			t.Errorf("%s: %v", m.ID, m.Problems)
		}
	}
	if got := strings.Join(ids, " "); got != "k:a k:a#2 k:a#3 k:b k:b#2" {
		t.Errorf("ids %s", got)
	}
	ids = nil
	for _, m := range numberDuplicates([]Module{{ID: "k:a"}, {ID: "k:a"}, {ID: "k:a b"}, {ID: "k:a#2"}}) {
		ids = append(ids, m.ID)
	}
	if got := strings.Join(ids, ", "); got != "k:a, k:a b, k:a#2, k:a#3" {
		t.Errorf("ids %s", got)
	}
	// A file's id is its own, whichever other copies there are; two entries of one file are numbered.
	for _, tt := range []struct{ paths, want string }{
		{"/a /b /c", "k:a k:a#/b k:a#/c"}, {"/a /c", "k:a k:a#/c"}, {"/a /a", "k:a k:a#2"},
		{"/a /b /b", "k:a k:a#/b k:a#3"},
	} {
		modules, ids = nil, nil
		for p := range strings.FieldsSeq(tt.paths) {
			modules = append(modules, Module{ID: "k:a", Name: "a", Path: p})
		}
		for _, m := range numberDuplicates(modules) {
			ids = append(ids, m.ID)
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%s: ids %s, want %s", tt.paths, got, tt.want)
		}
	}
}

func BenchmarkPoll(b *testing.B) {
	for _, n := range []int{50, 250, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sys := openMade(b, manyModules(n), Options{})
			var l List
			b.ReportAllocs()
			for b.Loop() {
				if err := sys.Poll(context.Background(), &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPollOfChanges polls a list in which a reference count changed since the last time.
func BenchmarkPollOfChanges(b *testing.B) {
	m := manyModules(250)
	text := string(m.MapFS[linux.ModulesFile].Data)
	texts := []string{text, strings.Replace(text, " 4 - Live", " 3 - Live", 1)}
	sys := openMade(b, m, Options{})
	var l List
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.set(linux.ModulesFile, texts[i%2])
		if err := sys.Poll(context.Background(), &l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{50, 250, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sys := openMade(b, manyModules(n), Options{})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sys.Snapshot(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChanged(b *testing.B) {
	sys := openMade(b, madeLinux(), Options{})
	var token Token
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sys.Changed(context.Background(), &token); err != nil {
			b.Fatal(err)
		}
	}
}
