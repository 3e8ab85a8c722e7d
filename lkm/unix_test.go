// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

func system(t testing.TB, os lkm.OS, m lkm.Machine, o lkm.Options) *lkm.System {
	t.Helper()
	s, err := lkm.OpenMachine(os, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func snapshot(t testing.TB, os lkm.OS, m lkm.Machine, d lkm.Detail) *lkm.Snapshot {
	t.Helper()
	s, err := system(t, os, m, lkm.Options{Detail: d}).Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func source(t testing.TB, s *lkm.Snapshot, name string) lkm.Source {
	t.Helper()
	src, ok := s.Source(name)
	if !ok {
		t.Fatalf("no source %s in %+v", name, s.Sources)
	}
	return src
}

// facts is a Snapshot as JSON without what differs between two ways to the same bytes.
func facts(t testing.TB, s *lkm.Snapshot) string {
	t.Helper()
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFreeBSDSnapshot(t *testing.T) {
	all, _ := lkm.ParseDetail("all")
	s := snapshot(t, lkm.FreeBSD, fakeunix.GENERIC().Machine(), all)
	if s.Release != "14.2-RELEASE" || s.Arch != "amd64" || s.Privilege != "root" || s.BootID == "" ||
		s.TakenAt != fakeunix.Clock {
		t.Errorf("header %+v", s)
	}
	if len(s.Modules) != 6 {
		t.Fatalf("%d modules", len(s.Modules))
	}
	aesni := s.Module("freebsd_kld:aesni.ko")
	if aesni == nil || aesni.FreeBSD.Preloaded != lkm.Yes || aesni.Address != 0xffffffff8214e000 ||
		aesni.Origin.Class != lkm.OriginOS ||
		aesni.FreeBSD.BuiltFor != lkm.CountOf(1402000) || aesni.FreeBSD.Modules[0].Record != "aesni_nexus" ||
		!slices.Equal(aesni.Requires, []string{"kernel"}) {
		t.Errorf("aesni.ko: %+v %+v", aesni, aesni.FreeBSD)
	}
	kernel := s.Module("freebsd_kld:kernel")
	if kernel.OnDisk.Match != lkm.MatchSame || kernel.OnDisk.By != "build_id" || kernel.ContentID != "0a0b0c0d" {
		t.Errorf("kernel: %+v", kernel.OnDisk)
	}
	if d := kernel.FreeBSD.Modules[3].Data; d == nil || d.Int != 530 {
		t.Errorf("data %+v", d)
	}
	common := s.Module("freebsd_kld:linux_common.ko")
	if !slices.Equal(common.UsedBy, []string{"linux.ko"}) || common.FreeBSD.Preloaded != lkm.No {
		t.Errorf("linux_common.ko: used by %v, preloaded %v", common.UsedBy, common.FreeBSD.Preloaded)
	}
	if drm := s.Module("freebsd_kld:drm.ko"); drm.Origin.Class != lkm.OriginThirdParty {
		t.Errorf("drm.ko: %+v", drm.Origin)
	}
	if g := s.Module("freebsd_kld:gone.ko"); g.OnDisk.Match != lkm.MatchAbsent || g.FreeBSD.Modules == nil ||
		len(g.FreeBSD.Modules) != 0 {
		t.Errorf("gone.ko: %+v %+v", g.OnDisk, g.FreeBSD)
	}
	if s.Policy == nil || s.Policy.Loading != lkm.LoadingAny {
		t.Errorf("policy %+v", s.Policy)
	}
	if src := source(t, s, freebsd.SourceModulePath); src.Outcome != lkm.OutcomePartial {
		t.Errorf("gone.ko cannot be read: %+v", src)
	}
	plain := snapshot(t, lkm.FreeBSD, fakeunix.GENERIC().Machine(), 0)
	if plain.Module("freebsd_kld:aesni.ko").Address != 0 || plain.Err() != nil {
		t.Errorf("without detail: %v", plain.Err())
	}
}

// TestFreeBSDSituations looks at kernels that refuse, hide, change and are of another width.
func TestFreeBSDSituations(t *testing.T) {
	m := fakeunix.GENERIC()
	m.Deny = true
	sys := system(t, lkm.FreeBSD, m.Machine(), lkm.Options{})
	if s, err := sys.Snapshot(t.Context()); !errors.Is(err, fs.ErrPermission) || s != nil ||
		!strings.Contains(err.Error(), "HardenedBSD") {
		t.Errorf("EPERM: %v, %v", s, err)
	}

	m = fakeunix.GENERIC()
	m.Hidden = true
	s := snapshot(t, lkm.FreeBSD, m.Machine(), lkm.DetailAddresses)
	if len(s.Modules) != 6 || s.Modules[0].Address != 0 || !s.Modules[0].Size.IsZero() {
		t.Errorf("zero addresses: %+v", s.Modules[0])
	}
	hidden := slices.ContainsFunc(s.Problems,
		func(p lkm.Problem) bool { return p.Field == "size" && errors.Is(p, lkm.ErrRestricted) && p.Count == 6 })
	if !hidden {
		t.Errorf("nothing says that sizes are hidden: %v", s.Problems)
	}

	m = fakeunix.GENERIC()
	m.Bits = 32
	s = snapshot(t, lkm.FreeBSD, m.Machine(), lkm.DetailAddresses)
	if s.Modules[0].Address != 0 ||
		!slices.ContainsFunc(s.Problems,
			func(p lkm.Problem) bool { return p.Field == "address" && errors.Is(p, errors.ErrUnsupported) }) {
		t.Errorf("half an address of a kernel of 64 bits: %+v %v", s.Modules[0], s.Problems)
	}

	for _, version := range []int{2, 1} {
		m = fakeunix.GENERIC()
		m.ModuleVersion = version
		if s := snapshot(t, lkm.FreeBSD, m.Machine(), 0); s.Err() != nil ||
			len(s.Module("freebsd_kld:kernel").FreeBSD.Modules) != 4 {
			t.Errorf("module_stat version %d: %v", version, s.Err())
		}
	}

	m = fakeunix.GENERIC()
	m.FileVersion = 1
	if s := snapshot(t, lkm.FreeBSD, m.Machine(), 0); s.Module("freebsd_kld:aesni.ko").Path != "" {
		t.Error("a path where the structure has none")
	}

	m = fakeunix.GENERIC()
	vanished := 0
	m.Before = func(_ *fakeunix.FreeBSD, question string) error {
		if question == "kldnext 3" && vanished < 2 {
			vanished++
			return fact.ErrGone
		}
		return nil
	}
	if s := snapshot(t, lkm.FreeBSD, m.Machine(), 0); len(s.Modules) != 6 || s.Err() != nil {
		t.Errorf("a race that ends: %v", s.Err())
	}
	vanished = -1 << 30
	s = snapshot(t, lkm.FreeBSD, m.Machine(), 0)
	if src := source(t, s, freebsd.SourceKldstat); src.Outcome != lkm.OutcomePartial ||
		!errors.Is(s.Err(), lkm.ErrGone) {
		t.Errorf("a race that does not end: %+v %v", src, s.Err())
	}
}

// TestUnixTapes replays what was recorded, redacted or not, to the same facts.
func TestUnixTapes(t *testing.T) {
	all, _ := lkm.ParseDetail("all")
	big := fakeunix.GENERIC()
	big.Order = binary.BigEndian
	old := fakeunix.NetBSD10()
	old.Old = true
	solaris := fakeunix.OmniOS()
	solaris.Order = binary.BigEndian
	for name, c := range map[string]struct {
		os lkm.OS
		m  func() lkm.Machine
	}{
		"freebsd":            {lkm.FreeBSD, func() lkm.Machine { return fakeunix.GENERIC().Machine() }},
		"freebsd big-endian": {lkm.FreeBSD, func() lkm.Machine { return big.Machine() }},
		"many":               {lkm.FreeBSD, func() lkm.Machine { return fakeunix.Many(400).Machine() }},
		"one":                {lkm.FreeBSD, func() lkm.Machine { return fakeunix.Many(1).Machine() }},
		"dragonfly":          {lkm.DragonFly, func() lkm.Machine { return fakeunix.DragonFly().Machine() }},
		"netbsd":             {lkm.NetBSD, func() lkm.Machine { return fakeunix.NetBSD10().Machine() }},
		"netbsd, old":        {lkm.NetBSD, func() lkm.Machine { return old.Machine() }},
		"illumos":            {lkm.Illumos, func() lkm.Machine { return fakeunix.OmniOS().Machine() }},
		"solaris big-endian": {lkm.Solaris, func() lkm.Machine { return solaris.Machine() }},
		"aix":                {lkm.AIX, func() lkm.Machine { return fakeunix.AIX72().Machine() }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, unredacted := range []bool{true, false} {
				r := tape.Record(c.os, c.m(),
					tape.Options{Unredacted: unredacted, Header: tape.Header{Producer: "test", Synthetic: true}})
				live := snapshot(t, c.os, r, all)
				var b bytes.Buffer
				if _, err := r.WriteTo(&b); err != nil {
					t.Fatal(err)
				}
				if !unredacted && strings.Contains(b.String(), "hostname=\"secret\"") {
					t.Error("a setting that nothing reads is on the tape")
				}
				replay, err := tape.Read(&b)
				if err != nil {
					t.Fatal(err)
				}
				again := snapshot(t, c.os, replay, all)
				if unredacted {
					if facts(t, live) != facts(t, again) {
						t.Errorf("replayed differently:\n%s", cmp.Diff(facts(t, live), facts(t, again)))
					}
					continue
				}
				if len(again.Modules) != len(live.Modules) {
					t.Fatalf("%d modules, %d live", len(again.Modules), len(live.Modules))
				}
				for i := range again.Modules {
					if again.Modules[i].Address != 0 {
						t.Errorf("%s has its address on the tape", again.Modules[i].Name)
					}
				}
				if len(again.Modules) > 0 && c.os != lkm.AIX && !errors.Is(again.Err(), lkm.ErrRedacted) {
					t.Errorf("nothing says that addresses were redacted: %v", again.Err())
				}
			}
		})
	}
}

func TestNetBSD(t *testing.T) {
	m := fakeunix.NetBSD10()
	s := snapshot(t, lkm.NetBSD, m.Machine(), lkm.DetailAddresses|lkm.DetailPolicy)
	if len(s.Modules) != 3 || s.Err() != nil || s.Policy.Loading != lkm.LoadingAny {
		t.Fatalf("%+v %v", s.Modules, s.Err())
	}
	zfs, nfs := s.Module("netbsd_module:zfs"), s.Module("netbsd_module:nfs")
	if !slices.Equal(zfs.Requires, []string{"solaris"}) || zfs.Address == 0 || zfs.NetBSD.Class != "vfs" ||
		zfs.NetBSD.Source != "filesys" {
		t.Errorf("zfs %+v %+v", zfs, zfs.NetBSD)
	}
	if !slices.Equal(nfs.NetBSD.Required, []string{"compat_util", "sysv_ipc"}) ||
		!slices.Equal(nfs.NetBSD.Flags, []string{"auto_loaded"}) {
		t.Errorf("nfs %+v", nfs.NetBSD)
	}
	sol := s.Module("netbsd_module:solaris")
	if !slices.Equal(sol.UsedBy, []string{"zfs"}) {
		t.Errorf("solaris used by %v", sol.UsedBy)
	}
	b, err := system(t, lkm.NetBSD, m.Machine(), lkm.Options{}).SnapshotOf(t.Context(), lkm.ScopeBuiltin)
	if err != nil || len(b.Modules) != 2 || b.Modules[0].Name != "compat_50" ||
		b.Modules[0].NetBSD.Disabled != lkm.Yes || !b.Modules[0].Refs.IsZero() {
		t.Errorf("builtin %+v %v", b, err)
	}
	for name, change := range map[string]func(*fakeunix.NetBSD){
		"growing":          func(m *fakeunix.NetBSD) { m.Growing = 4 },
		"wrong offsets":    func(m *fakeunix.NetBSD) { m.WrongOffsets = true },
		"big-endian":       func(m *fakeunix.NetBSD) { m.Order = binary.BigEndian },
		"old":              func(m *fakeunix.NetBSD) { m.Old = true },
		"old, and growing": func(m *fakeunix.NetBSD) { m.Old, m.Growing = true, 2 },
	} {
		m := fakeunix.NetBSD10()
		change(m)
		s := snapshot(t, lkm.NetBSD, m.Machine(), 0)
		if n := len(m.Modules) - 2; len(s.Modules) != n || s.Err() != nil {
			t.Errorf("%s: %d modules, want %d: %v", name, len(s.Modules), n, s.Err())
		}
		if n := s.Module("netbsd_module:nfs"); !slices.Equal(n.NetBSD.Required, []string{"compat_util", "sysv_ipc"}) {
			t.Errorf("%s: %+v", name, n.NetBSD)
		}
	}
	m = fakeunix.NetBSD10()
	m.Growing = 1 << 20
	if _, err := system(t, lkm.NetBSD, m.Machine(), lkm.Options{}).Snapshot(t.Context()); !errors.Is(err, lkm.ErrGone) {
		t.Errorf("a list that grows for ever: %v", err)
	}
	m = fakeunix.NetBSD10()
	m.Hidden = true
	if s := snapshot(t, lkm.NetBSD, m.Machine(), 0); !errors.Is(s.Err(), lkm.ErrRestricted) ||
		!s.Modules[0].Size.IsZero() {
		t.Errorf("hidden: %v", s.Err())
	}
}

func TestIllumos(t *testing.T) {
	m := fakeunix.OmniOS()
	s := snapshot(t, lkm.Illumos, m.Machine(), lkm.DetailAddresses)
	if len(s.Modules) != 4 || s.Err() != nil {
		t.Fatalf("%+v %v", s.Modules, s.Err())
	}
	rpc := s.Module("illumos_module:rpcmod")
	if len(rpc.Solaris.Linkages) != 3 || rpc.Solaris.Linkages[0].Info != lkm.CountOf(226) ||
		!rpc.Solaris.Linkages[1].Info.IsZero() || rpc.Description != "RPC syscall" {
		t.Errorf("%+v", rpc.Solaris)
	}
	if fd := s.Module("illumos_module:fdfs"); fd.State != lkm.StateInstalled || fd.Address != 0 {
		t.Errorf("unloaded: %+v", fd)
	}
	calls := 0
	m.Before = func(m *fakeunix.Illumos) {
		if calls++; calls == 3 {
			m.Modules = append(m.Modules, fakeunix.IllumosModule{ID: 90, State: 3, Name: "late"})
		}
	}
	if s := snapshot(t, lkm.Illumos, m.Machine(), 0); s.Module("illumos_module:late") == nil || s.Err() != nil {
		t.Errorf("a module that came while reading: %v", s.Err())
	}
	next := int32(100)
	m.Before = func(m *fakeunix.Illumos) {
		next++
		m.Modules = append(m.Modules, fakeunix.IllumosModule{ID: next, State: 3, Name: fmt.Sprintf("new%d", next)})
		m.Modules = m.Modules[1:]
	}
	m.Modules = m.Modules[:1:1]
	calls = 0
	if _, err := system(t, lkm.Illumos, m.Machine(), lkm.Options{}).Snapshot(t.Context()); err != nil {
		t.Log(err)
	}
	p, err := system(t, lkm.Illumos, fakeunix.OmniOS().Machine(), lkm.Options{}).Policy(t.Context())
	if err != nil || p.Loading != lkm.LoadingAny || len(p.Facts) != 2 || p.Facts[0].Line != 2 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestAIX(t *testing.T) {
	s := snapshot(t, lkm.AIX, fakeunix.AIX72().Machine(), lkm.DetailAddresses)
	if len(s.Modules) != 3 || s.Modules[2].ID != "aix_kext:/usr/lib/drivers/if_en#2" ||
		s.Modules[0].Size != lkm.CountOf(0x77000) || s.Modules[0].Address != 0xf1000000c0338000 {
		t.Errorf("%+v", s.Modules)
	}
	if s.Modules[0].Other.System != lkm.AIX || len(s.Modules[0].Other.Fields) != 3 {
		t.Errorf("%+v", s.Modules[0].Other)
	}
	_, err := system(t, lkm.AIX, (&fakeunix.AIX{}).Machine(), lkm.Options{}).Snapshot(t.Context())
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "Options.Exec") {
		t.Errorf("without leave to run a program: %v", err)
	}
}

func TestOpenBSD(t *testing.T) {
	_, err := lkm.OpenMachine(lkm.OpenBSD, fakeunix.GENERIC().Machine(), lkm.Options{})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "2014") {
		t.Errorf("%v", err)
	}
}

// TestFreeBSDDisk lists, resolves, plans and checks.
func TestFreeBSDDisk(t *testing.T) {
	for _, image := range []bool{false, true} {
		o := lkm.Options{Detail: lkm.DetailFiles}
		sys := system(t, lkm.FreeBSD, fakeunix.GENERIC().Machine(), o)
		if image {
			var err error
			o.OS = lkm.FreeBSD
			if sys, err = lkm.OpenImage(fakeunix.GENERIC().Machine(), o); err != nil {
				t.Fatal(err)
			}
		}
		s, err := sys.SnapshotOf(t.Context(), lkm.ScopeInstalled)
		if err != nil || len(s.Modules) != 7 {
			t.Fatalf("%v %+v", err, s)
		}
		linux := s.Module("freebsd_kld:linux.ko")
		if linux.Path != "/boot/kernel/linux.ko" ||
			!slices.Equal(linux.Requires, []string{"kernel", "linux_common.ko"}) ||
			linux.FreeBSD.BuiltFor != lkm.CountOf(1402000) {
			t.Errorf("linux.ko %+v", linux)
		}
		if b := s.Module("freebsd_kld:broken.ko"); len(b.Problems) != 1 || !errors.Is(b.Problems[0], lkm.ErrMalformed) {
			t.Errorf("broken.ko %+v", b)
		}
		for query, want := range map[string]string{
			"aesni": "aesni.ko", "nexus/aesni": "aesni.ko", "aesni.ko": "aesni.ko",
			"pci:vendor=0x8086 device=0x10d3":                            "if_em.ko",
			"? at slot=0 function=0 vendor=0x8086 device=0x10d3 on pci0": "if_em.ko", "cam": "cam", "nothing": "",
		} {
			got, err := sys.Resolve(t.Context(), query)
			if err != nil || want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Name != want) {
				t.Errorf("resolve %s: %+v, %v", query, got, err)
			}
		}
		steps, err := sys.LoadPlan(t.Context(), "linux")
		if err != nil || len(steps) != 2 || steps[0].Path != "/boot/kernel/linux_common.ko" ||
			steps[0].Reason != "depends" || steps[1].Module != "freebsd_kld:linux.ko" {
			t.Errorf("%+v %v", steps, err)
		}
		if _, err := sys.LoadPlan(t.Context(), "nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
		v, err := sys.Check(t.Context(), "vtnet")
		if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != lkm.VerdictBuiltin || (v[0].Now == nil) != image {
			t.Errorf("check vtnet: %+v %v", v, err)
		}
		v, err = sys.Check(t.Context(), "freebsd_kld:aesni.ko")
		if err != nil || len(v) != 1 || v[0].Module != "freebsd_kld:aesni.ko" || !image &&
			v[0].Now.Outcome != lkm.VerdictLoaded {
			t.Errorf("check aesni: %+v %v", v, err)
		}
		b, err := sys.SnapshotOf(t.Context(), lkm.ScopeBuiltin)
		if err != nil || b.Module("freebsd_kld:virtio_pci/vtnet") == nil {
			t.Errorf("builtin: %+v %v", b, err)
		}
		if image {
			if _, err := sys.Snapshot(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("an image has no loaded list: %v", err)
			}
		}
	}
}

// TestFreeBSDHints lists without opening the files: the index shows the interfaces.
func TestFreeBSDHints(t *testing.T) {
	s, err := system(t, lkm.FreeBSD, fakeunix.GENERIC().Machine(), lkm.Options{}).SnapshotOf(t.Context(),
		lkm.ScopeInstalled)
	if err != nil || len(s.Modules) != 7 {
		t.Fatalf("%+v %v", s, err)
	}
	if src := source(t, s, freebsd.SourceHints); src.Outcome != lkm.OutcomeOK || src.Count != lkm.CountOf(5) {
		t.Errorf("%+v", src)
	}
	em := s.Module("freebsd_kld:if_em.ko")
	if len(em.FreeBSD.Versions) != 1 || em.FreeBSD.Versions[0] != (freebsd.Version{Name: "em", Version: 1}) ||
		em.FreeBSD.PNP != nil {
		t.Errorf("%+v", em.FreeBSD)
	}
}

// TestThreeFiles reads files of three systems side by side, on any system.
func TestThreeFiles(t *testing.T) {
	k := kotest.AMD64()
	k.Modules, k.Depends = []kotest.Module{{Record: "a", Name: "nexus/a"}},
		[]kotest.Depend{{Name: "kernel", Min: 1, Preferred: 1, Max: 2}}
	files := fstest.MapFS{"a.ko": {Data: k.Bytes()}, "b.NLM": {Data: kotest.NLM()}, "n.kmod": {Data: kotest.KMOD()},
		"junk": {Data: []byte("junk")}, "empty": {}}
	for name, want := range map[string]string{"a.ko": "freebsd_kld:a.ko", "b.NLM": "netware_nlm:CLIB.NLM",
		"n.kmod": "netbsd_module:zfs"} {
		m, err := lkm.ReadFile(t.Context(), files, name, lkm.Options{})
		if err != nil || len(m) != 1 || m[0].ID != want {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	nlm, err := lkm.ReadFile(t.Context(), files, "b.NLM", lkm.Options{})
	if err != nil || nlm[0].Version != "5.00a" || !slices.Equal(nlm[0].Requires, []string{"THREADS.NLM"}) ||
		nlm[0].Description != "C Library" {
		t.Errorf("%+v %v", nlm, err)
	}
	for _, name := range []string{"junk", "empty"} {
		if m, err := lkm.ReadFile(t.Context(), files, name, lkm.Options{}); !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
}
