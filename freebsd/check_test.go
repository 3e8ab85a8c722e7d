// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

var forRelease = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999}}

func kld(modules []kotest.Module, versions []kotest.Version, depends ...kotest.Depend) kotest.KLD {
	k := kotest.AMD64()
	k.Modules, k.Versions, k.Depends = modules, versions, append(append([]kotest.Depend{}, forRelease...), depends...)
	return k
}

// diskRoot is a root with a kernel, klds and configuration.
func diskRoot() fstest.MapFS {
	kernel := kotest.KLD{Type: elf.ET_EXEC, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: binary.LittleEndian}
	kernel.Modules = []kotest.Module{{Record: "vtnet_virtio", Name: "virtio_pci/vtnet"},
		{Record: "crypto", Name: "cryptosoft"}}
	kernel.Versions = []kotest.Version{{Name: "kernel", Version: 1402000}, {Name: "crypto", Version: 1}}
	em := kld([]kotest.Module{{Record: "em_pci", Name: "pci/em"}}, []kotest.Version{{Name: "em", Version: 1}})
	row := binary.LittleEndian.AppendUint32(nil, 0x8086)
	row = binary.LittleEndian.AppendUint32(row, 0x10d3)
	em.PNP = []kotest.PNP{{Bus: "pci", Descr: "U32:vendor;U32:device;", EntryLen: 8, Rows: row, Num: 1}}
	newer := kld([]kotest.Module{{Record: "new", Name: "new"}}, nil)
	newer.Depends[0] = kotest.Depend{Name: "kernel", Min: 1500000, Preferred: 1500000, Max: 1599999}
	file := func(k kotest.KLD) *fstest.MapFile { return &fstest.MapFile{Data: k.Bytes()} }
	return fstest.MapFS{
		"boot/kernel/kernel": file(kernel),
		"boot/kernel/aesni.ko": file(kld([]kotest.Module{{Record: "aesni_nexus", Name: "nexus/aesni"}},
			[]kotest.Version{{Name: "aesni", Version: 1}},
			kotest.Depend{Name: "crypto", Min: 1, Preferred: 1, Max: 1})),
		"boot/kernel/if_vtnet.ko": file(kld([]kotest.Module{{Record: "vtnet_virtio", Name: "virtio_pci/vtnet"}}, nil)),
		"boot/kernel/if_em.ko":    file(em),
		"boot/kernel/linux.ko": file(kld([]kotest.Module{{Record: "linuxelf", Name: "linuxelf"}}, nil,
			kotest.Depend{Name: "linux_common", Min: 1, Preferred: 1, Max: 1})),
		"boot/kernel/linux_common.ko": file(kld([]kotest.Module{{Record: "linux_common", Name: "linux_common"}},
			[]kotest.Version{{Name: "linux_common", Version: 1}})),
		"boot/kernel/new.ko": file(newer),
		"boot/kernel/orphan.ko": file(kld([]kotest.Module{{Record: "orphan", Name: "orphan"}}, nil,
			kotest.Depend{Name: "gone", Min: 1, Preferred: 1, Max: 1})),
		"boot/kernel/if_em.ko.x": {Data: []byte("no")},
		"boot/modules/drm.ko": file(kld([]kotest.Module{{Record: "drmn", Name: "drmn"}},
			[]kotest.Version{{Name: "drmn", Version: 2}})),
		"boot/loader.conf": {Data: []byte("linux_load=\"YES\"\nmodule_blacklist=\"drm linux\"\n")},
		"etc/rc.conf": {Data: []byte("kld_list=\"drm\"\ndevmatch_enable=\"YES\"\n" +
			"devmatch_blocklist=\"other\"\n")},
	}
}

// checkerOf returns what verdicts follow from: a root, and a running kernel if live.
func checkerOf(t *testing.T, fsys fstest.MapFS, live bool) *checker {
	t.Helper()
	conf := readConfig(t.Context(), fsys, false)
	c := &checker{
		live: live, config: conf, osRelDate: 1402000,
		library: readLibrary(t.Context(), fsys, conf.modulePath("kernel"), conf.aside(conf.modulePath("kernel")),
			"/boot/kernel/kernel", 1<<30),
	}
	c.place()
	if live {
		c.lock = lockOf(t, int64(0), nil).answer()
		c.loaded = []loadedFile{
			{fileStat: fileStat{ID: 1, Name: "kernel", Pathname: "/boot/kernel/kernel"},
				Modules: []moduleStat{{ID: 1, Name: "virtio_pci/vtnet"}, {ID: 2, Name: "cryptosoft"}}},
			{fileStat: fileStat{ID: 2, Name: "aesni.ko", Pathname: "/boot/kernel/aesni.ko"},
				Modules: []moduleStat{{ID: 3, Name: "nexus/aesni"}}},
			{fileStat: fileStat{ID: 3, Name: "gone.ko", Pathname: "/tmp/gone.ko"},
				Modules: []moduleStat{{ID: 4, Name: "gone_driver"}}},
		}
		c.preloads = []preload{{Name: "/boot/kernel/aesni.ko", Type: "elf obj module"}}
	}
	return c
}

// lockOf returns the lock of a kernel that answers with a number or an error, and with a text, an error, or nil for a
// kernel without veriexec.
func lockOf(t *testing.T, level, veriexec any) *lock {
	t.Helper()
	return lockReported(t, level, veriexec, new(fact.Report))
}

func lockReported(t *testing.T, level, veriexec any, r *fact.Report) *lock {
	t.Helper()
	l := readLock(t.Context(), func(_ context.Context, op string, _ ...string) ([]byte, error) {
		answer := veriexec
		if op == OpSysctlInt {
			answer = level
		}
		switch a := answer.(type) {
		case error:
			return nil, a
		case nil:
			return nil, fs.ErrNotExist
		default:
			return fmt.Append(nil, a), nil
		}
	})
	l.report(r)
	return l
}

// TestPresence asks whether something is present, as a file or compiled in, by module and file name.
func TestPresence(t *testing.T) {
	s := checkerOf(t, diskRoot(), true)
	for query, want := range map[string]struct {
		name string
		now  fact.VerdictOutcome
		next fact.VerdictOutcome
		word string
	}{
		"aesni":                           {"aesni.ko", fact.VerdictLoaded, fact.VerdictLoadable, "preloaded"},
		"aesni.ko":                        {"aesni.ko", fact.VerdictLoaded, fact.VerdictLoadable, "preloaded"},
		"nexus/aesni":                     {"aesni.ko", fact.VerdictLoaded, fact.VerdictLoadable, "preloaded"},
		"aesni_nexus":                     {"aesni.ko", fact.VerdictLoaded, fact.VerdictLoadable, "preloaded"},
		"if_vtnet":                        {"if_vtnet.ko", fact.VerdictBuiltin, fact.VerdictBuiltin, "in kernel"},
		"if_vtnet.ko":                     {"if_vtnet.ko", fact.VerdictBuiltin, fact.VerdictBuiltin, "in kernel"},
		"vtnet":                           {"if_vtnet.ko", fact.VerdictBuiltin, fact.VerdictBuiltin, "in kernel"},
		"virtio_pci/vtnet":                {"if_vtnet.ko", fact.VerdictBuiltin, fact.VerdictBuiltin, "in kernel"},
		"cryptosoft":                      {"cryptosoft", fact.VerdictBuiltin, fact.VerdictBuiltin, "in kernel"},
		"gone":                            {"gone.ko", fact.VerdictLoaded, fact.VerdictAbsent, "loaded"},
		"gone_driver":                     {"gone.ko", fact.VerdictLoaded, fact.VerdictAbsent, "loaded"},
		"drm":                             {"drm.ko", fact.VerdictLoadable, fact.VerdictLoadable, "blacklisted"},
		"drmn":                            {"drm.ko", fact.VerdictLoadable, fact.VerdictLoadable, "blacklisted"},
		"new":                             {"new.ko", fact.VerdictBlocked, fact.VerdictBlocked, ""},
		"orphan":                          {"orphan.ko", fact.VerdictBlocked, fact.VerdictBlocked, ""},
		"nothing":                         {"", fact.VerdictAbsent, fact.VerdictAbsent, ""},
		"/boot/modules/drm.ko":            {"drm.ko", fact.VerdictLoadable, fact.VerdictLoadable, "blacklisted"},
		"pci:vendor=0x8086 device=0x10d3": {"if_em.ko", fact.VerdictLoadable, fact.VerdictLoadable, ""},
	} {
		f := s.check(query)
		if len(f) != 1 || f[0].name != want.name || f[0].Now.Outcome != want.now ||
			f[0].NextBoot.Outcome != want.next || f[0].Word != want.word {
			t.Errorf("%s: %d findings, %q %+v %+v %q\nwant %+v", query, len(f), f[0].name, f[0].Now, f[0].NextBoot,
				f[0].Word, want)
		}
	}
}

func TestWays(t *testing.T) {
	s := checkerOf(t, diskRoot(), true)
	em := s.check("if_em")[0]
	want := []fact.Way{{Way: WayDevmatch, Blocked: fact.No}, {Way: WayKldload, Blocked: fact.No}}
	if diff := cmp.Diff(want, em.Now.Ways); diff != "" {
		t.Error(diff)
	}
	drm := s.check("drm")[0]
	if len(drm.Triggers) != 1 || drm.Triggers[0].File != "/etc/rc.conf" || drm.Triggers[0].Line != 1 {
		t.Errorf("triggers %+v", drm.Triggers)
	}
	linux := s.check("linux")[0]
	want = []fact.Way{{Way: WayLoader, Blocked: fact.Yes}, {Way: WayService, Blocked: fact.Yes},
		{Way: WayKldload, Blocked: fact.No}}
	if diff := cmp.Diff(want, linux.NextBoot.Ways); diff != "" {
		t.Error(diff)
	}
	common := s.check("linux_common")[0]
	if diff := cmp.Diff([]fact.Way{{Way: WayDependency, Blocked: fact.No}, {Way: WayKldload, Blocked: fact.No}},
		common.Now.Ways); diff != "" {
		t.Error(diff)
	}

	s.lock = lockOf(t, 1, nil).answer()
	if f := s.check("if_em")[0]; f.Now.Outcome != fact.VerdictBlocked || f.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("securelevel 1: %+v %+v", f.Now, f.NextBoot)
	}
	s.lock = lockOf(t, 0, "loaded active enforce").answer()
	if f := s.check("if_em")[0]; f.Now.Outcome != fact.VerdictUnknown {
		t.Errorf("veriexec decides by file: %+v", f.Now)
	}
	s.lock = lockReported(t, fs.ErrPermission, nil, &s.unread).answer()
	if f := s.check("if_em")[0]; f.Now.Outcome != fact.VerdictUnknown || len(f.Problems) != 1 {
		t.Errorf("an unknown securelevel: %+v %v", f.Now, f.Problems)
	}
	s.loaded = nil
	s.unread.Problem(SourceKldstat, "", "", fs.ErrPermission)
	for _, query := range []string{"if_em", "nothing"} {
		if f := s.check(query)[0]; f.Now.Outcome != fact.VerdictUnknown {
			t.Errorf("%s without the kernel's list: %+v", query, f.Now)
		}
	}
}

func TestImageAndSecureLevel(t *testing.T) {
	root := diskRoot()
	root["etc/rc.conf"] = &fstest.MapFile{Data: []byte(
		"kern_securelevel_enable=\"YES\"\nkern_securelevel=\"2\"\nkld_list=\"drm\"\n")}
	s := checkerOf(t, root, false)
	f := s.check("if_em")[0]
	if f.Now != nil || f.NextBoot.Outcome != fact.VerdictUnknown || len(f.Bypasses) != 1 {
		t.Errorf("devmatch is unknown, kldload is blocked: %+v %+v", f.NextBoot, f.Bypasses)
	}
	if f := s.check("drm")[0]; f.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("kld_list comes before the securelevel: %+v", f.NextBoot)
	}
	if f := s.check("vtnet")[0]; f.NextBoot.Outcome != fact.VerdictBuiltin {
		t.Errorf("the kernel's own file has it: %+v", f)
	}
	p := policyOf(nil, s.config)
	if p.Loading != "" {
		t.Errorf("loading %q: raised at the end of the boot, so not certain", p.Loading)
	}
	if p := policyOf(lockOf(t, -1, nil), s.config); p.Loading != fact.LoadingAny || p.Facts[0].Value != "-1" {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		level, veriexec any
		want            fact.Loading
	}{
		{1, nil, fact.LoadingNone}, {0, "enforce", fact.LoadingSigned}, {fs.ErrPermission, nil, ""},
		{0, fs.ErrPermission, ""}, {3, fs.ErrPermission, fact.LoadingNone}, {fs.ErrPermission, "enforce", ""},
	} {
		if got := policyOf(lockOf(t, c.level, c.veriexec), s.config).Loading; got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}

func TestLibrary(t *testing.T) {
	l := readLibrary(t.Context(), diskRoot(), []string{"/boot/kernel", "/boot/modules", "/no/such"}, nil,
		"/boot/kernel/kernel", 1<<30)
	if len(l.Files) != 8 || len(l.report.Problems) != 0 {
		t.Fatalf("%d files, %v", len(l.Files), l.report.Problems)
	}
	linux := l.find("linux")[0]
	needs, missing := l.requires(linux)
	names := []string{}
	for _, n := range needs {
		names = append(names, n.Name())
	}
	if strings.Join(names, " ") != "kernel linux_common.ko" || missing != nil {
		t.Errorf("linux.ko needs %v, missing %v", names, missing)
	}
	if _, missing := l.requires(l.find("new")[0]); len(missing) != 1 || !errors.Is(errMissing(missing[0]),
		fs.ErrNotExist) {
		t.Errorf("new.ko is for another kernel: %v", missing)
	}
	d, _ := parseDevice("? at slot=0 vendor=0x8086 device=0x10d3 on pci0")
	if m := l.drivers(d); len(m) != 1 || m[0].File.Name() != "if_em.ko" {
		t.Errorf("%+v", m)
	}
	broken := diskRoot()
	broken["boot/kernel/bad.ko"] = &fstest.MapFile{Data: []byte("\x7fELF")}
	l = readLibrary(t.Context(), broken, []string{"/boot/kernel"}, nil, "", 1<<30)
	bad := l.find("bad")
	if len(bad) != 1 || bad[0].unread == nil || len(l.Files) != 8 {
		t.Errorf("a broken file costs itself: %+v", bad)
	}
}
