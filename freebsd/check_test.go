// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"debug/elf"
	"encoding/binary"
	"errors"
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

func situation(t *testing.T, fsys fstest.MapFS, live bool) *Situation {
	t.Helper()
	conf := ReadConfig(t.Context(), fsys)
	s := &Situation{
		Live: live, Config: conf, OSRelDate: 1402000,
		Library: ReadLibrary(t.Context(), fsys, conf.ModulePath(), "/boot/kernel/kernel", 1<<30),
	}
	if live {
		s.Loaded = []LoadedFile{
			{FileStat: FileStat{ID: 1, Name: "kernel", Pathname: "/boot/kernel/kernel"},
				Modules: []ModuleStat{{ID: 1, Name: "virtio_pci/vtnet"}, {ID: 2, Name: "cryptosoft"}}},
			{FileStat: FileStat{ID: 2, Name: "aesni.ko", Pathname: "/boot/kernel/aesni.ko"},
				Modules: []ModuleStat{{ID: 3, Name: "nexus/aesni"}}},
			{FileStat: FileStat{ID: 3, Name: "gone.ko", Pathname: "/tmp/gone.ko"},
				Modules: []ModuleStat{{ID: 4, Name: "gone_driver"}}},
		}
		s.Preloads = []Preload{{Name: "/boot/kernel/aesni.ko", Type: "elf obj module"}}
	}
	return s
}

// TestPresence asks whether something is present, as a file or compiled in, by module and file name.
func TestPresence(t *testing.T) {
	s := situation(t, diskRoot(), true)
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
		f := s.Check(query)
		if len(f) != 1 || f[0].Name != want.name || f[0].Now.Outcome != want.now ||
			f[0].NextBoot.Outcome != want.next ||
			f[0].Word != want.word {
			t.Errorf("%s: %d findings, %q %+v %+v %q\nwant %+v", query, len(f), f[0].Name, f[0].Now,
				f[0].NextBoot, f[0].Word, want)
		}
	}
}

func TestWays(t *testing.T) {
	s := situation(t, diskRoot(), true)
	em := s.Check("if_em")[0]
	want := []fact.Way{{Way: WayDevmatch, Blocked: fact.No}, {Way: WayKldload, Blocked: fact.No}}
	if diff := cmp.Diff(want, em.Now.Ways); diff != "" {
		t.Error(diff)
	}
	drm := s.Check("drm")[0]
	if len(drm.Triggers) != 1 || drm.Triggers[0].File != "/etc/rc.conf" || drm.Triggers[0].Line != 1 {
		t.Errorf("triggers %+v", drm.Triggers)
	}
	linux := s.Check("linux")[0]
	want = []fact.Way{{Way: WayLoader, Blocked: fact.Yes}, {Way: WayKldload, Blocked: fact.No}}
	if diff := cmp.Diff(want, linux.NextBoot.Ways); diff != "" {
		t.Error(diff)
	}
	common := s.Check("linux_common")[0]
	if diff := cmp.Diff([]fact.Way{{Way: WayDependency, Blocked: fact.No}, {Way: WayKldload, Blocked: fact.No}},
		common.Now.Ways); diff != "" {
		t.Error(diff)
	}

	s.Lock.SecureLevel = 1
	if f := s.Check("if_em")[0]; f.Now.Outcome != fact.VerdictBlocked || f.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("securelevel 1: %+v %+v", f.Now, f.NextBoot)
	}
	s.Lock = Lock{Veriexec: "loaded active enforce"}
	if f := s.Check("if_em")[0]; f.Now.Outcome != fact.VerdictUnknown {
		t.Errorf("veriexec decides by file: %+v", f.Now)
	}
	s.Lock = Lock{LevelErr: fs.ErrPermission}
	if f := s.Check("if_em")[0]; f.Now.Outcome != fact.VerdictUnknown || len(f.Problems) != 1 {
		t.Errorf("an unknown securelevel: %+v %v", f.Now, f.Problems)
	}
	s.Loaded, s.LoadedErr = nil, fs.ErrPermission
	for _, query := range []string{"if_em", "nothing"} {
		if f := s.Check(query)[0]; f.Now.Outcome != fact.VerdictUnknown {
			t.Errorf("%s without the kernel's list: %+v", query, f.Now)
		}
	}
}

func TestImageAndSecureLevel(t *testing.T) {
	root := diskRoot()
	root["etc/rc.conf"] = &fstest.MapFile{Data: []byte("kern_securelevel_enable=\"YES\"\nkern_securelevel=\"2\"\n" +
		"kld_list=\"drm\"\n")}
	s := situation(t, root, false)
	f := s.Check("if_em")[0]
	if f.Now != nil || f.NextBoot.Outcome != fact.VerdictUnknown || len(f.Bypasses) != 1 {
		t.Errorf("devmatch is unknown, kldload is blocked: %+v %+v", f.NextBoot, f.Bypasses)
	}
	if f := s.Check("drm")[0]; f.NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("kld_list comes before the securelevel: %+v", f.NextBoot)
	}
	if f := s.Check("vtnet")[0]; f.NextBoot.Outcome != fact.VerdictBuiltin || !f.InKernel {
		t.Errorf("the kernel's own file has it: %+v", f)
	}
	p := Policy(nil, s.Config)
	if p.Loading != "" {
		t.Errorf("loading %q: raised at the end of the boot, so not certain", p.Loading)
	}
	lock := &Lock{SecureLevel: -1}
	if p := Policy(lock, s.Config); p.Loading != fact.LoadingAny || p.Facts[0].Value != "-1" {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		lock Lock
		want fact.Loading
	}{
		{Lock{SecureLevel: 1}, fact.LoadingNone}, {Lock{Veriexec: "enforce"}, fact.LoadingSigned},
		{Lock{LevelErr: fs.ErrPermission}, ""}, {Lock{VeriexecErr: fs.ErrPermission}, ""},
		{Lock{SecureLevel: 3, VeriexecErr: fs.ErrPermission}, fact.LoadingNone},
	} {
		if got := Policy(&c.lock, s.Config).Loading; got != c.want {
			t.Errorf("%+v: %q, want %q", c.lock, got, c.want)
		}
	}
}

func TestLibrary(t *testing.T) {
	l := ReadLibrary(t.Context(), diskRoot(), []string{"/boot/kernel", "/boot/modules", "/no/such"},
		"/boot/kernel/kernel", 1<<30)
	if len(l.Files) != 8 || len(l.Problems) != 0 {
		t.Fatalf("%d files, %v", len(l.Files), l.Problems)
	}
	linux := l.Find("linux")[0]
	needs, missing := l.Requires(linux)
	names := []string{}
	for _, n := range needs {
		names = append(names, n.Name())
	}
	if strings.Join(names, " ") != "kernel linux_common.ko" || missing != nil {
		t.Errorf("linux.ko needs %v, missing %v", names, missing)
	}
	if _, missing := l.Requires(l.Find("new")[0]); len(missing) != 1 ||
		!errors.Is(ErrMissing(missing[0]), fs.ErrNotExist) {
		t.Errorf("new.ko is for another kernel: %v", missing)
	}
	d, _ := ParseDevice("? at slot=0 vendor=0x8086 device=0x10d3 on pci0")
	if m := l.Match(d); len(m) != 1 || m[0].File.Name() != "if_em.ko" {
		t.Errorf("%+v", m)
	}
	broken := diskRoot()
	broken["boot/kernel/bad.ko"] = &fstest.MapFile{Data: []byte("\x7fELF")}
	l = ReadLibrary(t.Context(), broken, []string{"/boot/kernel"}, "", 1<<30)
	bad := l.Find("bad")
	if len(bad) != 1 || bad[0].Err == nil || len(l.Files) != 8 {
		t.Errorf("a broken file costs itself: %+v", bad)
	}
}
