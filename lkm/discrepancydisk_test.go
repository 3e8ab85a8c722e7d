// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/linux"
)

// withFiles is viewed with the files of its modules: nvme is another build than what is loaded, mine has
// no file, and w is a link into another release's tree.
func withFiles() *made {
	m := viewed()
	const tree = "lib/modules/6.1.0-56-amd64/"
	m.set(tree+"modules.dep", "kernel/nvme.ko:\nkernel/nvme_core.ko:\nextra/byhand.ko:\nupdates/dkms/built.ko:\n"+
		"weak-updates/w.ko:\n")
	m.set("sys/module/nvme/srcversion", "AAAA\n")
	m.set("sys/module/nvme_core/srcversion", "BBBB\n")
	for file, srcversion := range map[string]string{"kernel/nvme.ko": "CCCC", "kernel/nvme_core.ko": "BBBB",
		"extra/byhand.ko": "D", "updates/dkms/built.ko": "E"} {
		m.set(tree+file, string(kotest.LinuxModule("license=GPL", "srcversion="+srcversion)))
		m.MapFS[tree+file].ModTime = time.Date(2026, 11, 23, 3, 59, 0, 0, time.UTC)
	}
	m.set("lib/modules/6.0/extra/w.ko", "")
	m.MapFS[tree+"weak-updates/w.ko"] = &fstest.MapFile{Data: []byte("/lib/modules/6.0/extra/w.ko"),
		Mode: fs.ModeSymlink}
	m.set("var/lib/dkms/built/1/6.1.0-56-amd64/x86_64/module/built.ko", "")
	m.set("var/lib/dpkg/info/linux-image-6.1.0-56-amd64.list", "/lib/modules/6.1.0-56-amd64/kernel/nvme.ko\n"+
		"/usr/lib/modules/6.1.0-56-amd64/kernel/nvme_core.ko\n")
	m.set("var/lib/dpkg/info/vendor.list", "/lib/modules/6.0/extra/w.ko\n")
	m.set("etc/modprobe.d/a.conf", "install one /bin/false\ninstall two /bin/true\n"+
		"install three /usr/bin/logger x; /sbin/modprobe --ignore-install three\nremove four /bin/rm x\n")
	return m
}

func TestDiscrepanciesOnDisk(t *testing.T) {
	m := withFiles()
	m.set("proc/uptime", "120.50 10.00\n")
	found := discrepanciesOf(t, m)
	want := []string{
		"weak disk_memory nvme: modules_dir,proc_modules - ",
		"weak no_file mine: proc_modules - modules_dir",
		"weak unowned_file byhand: modules_dir - packages",
		"weak install_runs_programs three: modprobe_d - ",
	}
	if got := words(found); !slices.Equal(got, want) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
	var text strings.Builder
	for _, d := range found {
		for _, e := range d.Evidence {
			text.WriteString(e.Fact + "=" + e.Value + " (" + e.Source + ")\n")
		}
	}
	for _, want := range []string{
		"loaded srcversion=AAAA (sys_module)", "file's srcversion=CCCC (/lib/modules/6.1.0-56-amd64/kernel/nvme.ko)",
		"file written=2026-11-23T03:59:00Z, after the machine was started", "taint letters=OE (proc_modules)",
		"file=/lib/modules/6.1.0-56-amd64/extra/byhand.ko (modules_dir)", "(/etc/modprobe.d/a.conf:3)",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// TestDiscrepanciesOfAnImage has nothing but files to compare, of one kernel or of all. The kernel's list is
// unchecked, though this made-up machine would give one.
func TestDiscrepanciesOfAnImage(t *testing.T) {
	m := withFiles()
	m.set("lib/modules/6.0/extra/left.ko", "")
	for kernel, want := range map[string][]string{
		"": {"weak unowned_file left: modules_dir - packages",
			"weak unowned_file byhand: modules_dir - packages", "weak install_runs_programs three: modprobe_d - "},
		KernelAll: {"weak unowned_file left: modules_dir - packages",
			"weak unowned_file byhand: modules_dir - packages", "weak install_runs_programs three: modprobe_d - "},
		"6.0": {"weak unowned_file left: modules_dir - packages",
			"weak install_runs_programs three: modprobe_d - "},
		"5.0-none": {"weak install_runs_programs three: modprobe_d - "},
	} {
		s, err := OpenImage(m, Options{OS: Linux, Kernel: kernel})
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Discrepancies(t.Context())
		if got := words(found); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v (-want +got):\n%s", kernel, err, cmp.Diff(want, got))
			continue
		}
		if found[0].Views[linux.SourceModules] != ViewUnchecked {
			t.Errorf("%q: %+v", kernel, found[0])
		}
		if lost := found[0].Views[linux.SourceTree] == ViewUnchecked; lost != (kernel == "5.0-none") {
			t.Errorf("%q: %+v", kernel, found[0])
		}
	}
}

// TestDiskIsUncheckedWithoutItsSources takes the packages, or the whole tree away. What the
// configuration says does not need them.
func TestDiskIsUncheckedWithoutItsSources(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *made)
		views  []string
		code   Code
	}{
		{"no packages", func(m *made) { m.fails["var/lib/"] = fs.ErrNotExist }, []string{linux.SourcePackages},
			CodeAbsent},
		{"rpm", func(m *made) {
			m.fails["var/lib/dpkg/"] = fs.ErrNotExist
			m.set("var/lib/rpm/rpmdb.sqlite", "")
		}, []string{linux.SourcePackages}, CodeMalformed},
		{"no tree", func(m *made) { m.fails["lib/modules/"] = fs.ErrNotExist },
			[]string{linux.SourceTree, linux.SourcePackages}, CodeAbsent},
	} {
		m := withFiles()
		tt.change(m)
		found := discrepanciesOf(t, m)
		for _, view := range tt.views {
			if found[0].Kind != linux.KindUnchecked || found[0].Views[view] != ViewUnchecked {
				t.Errorf("%s: %s is not unchecked: %+v", tt.name, view, found[0])
			}
			if !slices.ContainsFunc(found[0].Evidence,
				func(e Evidence) bool { return e.Source == view && e.Fact == string(tt.code) }) {
				t.Errorf("%s: %+v", tt.name, found[0].Evidence)
			}
		}
		got := words(found)
		if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "unowned") }) ||
			!slices.Contains(got, "weak install_runs_programs three: modprobe_d - ") {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestAnotherDirectory has a second directory of the running release, in which the file may be that the first lacks.
func TestAnotherDirectory(t *testing.T) {
	m := withFiles()
	m.set("usr/lib/modules/6.1.0-56-amd64/extra/mine.ko", "")
	found := discrepanciesOf(t, m)
	if got := words(found); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "no_file") }) ||
		found[0].Views[linux.SourceTree] != ViewUnchecked {
		t.Errorf("%q, %+v", got, found[0])
	}
}

// TestNoFilesAtAll has a tree without one of the loaded modules: one finding, not one for each.
func TestNoFilesAtAll(t *testing.T) {
	m := withFiles()
	m.set("lib/modules/6.1.0-56-amd64/modules.dep", "")
	m.fails["lib/modules/6.1.0-56-amd64/kernel/"] = fs.ErrNotExist
	got := words(discrepanciesOf(t, m))
	if !slices.Contains(got, "weak no_file /lib/modules/6.1.0-56-amd64: proc_modules - modules_dir") ||
		slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "no_file mine") }) {
		t.Errorf("%q", got)
	}
}

// A release directory with neither a module nor an index does not say that a loaded module has no file; one that depmod
// or the kernel's build has written says so.
func TestNoFileOfUnfilledFolder(t *testing.T) {
	const tree = "lib/modules/6.1.0-56-amd64/"
	for _, kept := range []string{"", "modules.order", "modules.builtin", "modules.dep"} {
		m := withFiles()
		maps.DeleteFunc(m.MapFS, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, tree) })
		m.MapFS[tree+"readme"] = &fstest.MapFile{}
		if kept != "" {
			m.MapFS[tree+kept] = &fstest.MapFile{}
		}
		s, err := openMade(t, m, Options{Detail: DetailFiles}).Snapshot(t.Context())
		if err != nil || len(s.Modules) == 0 {
			t.Fatal(err)
		}
		for _, x := range s.Modules {
			if absent := x.OnDisk.Match == MatchAbsent; absent != (kept != "") || absent == (len(x.Problems) > 0) {
				t.Errorf("with %q: %s: %+v %v", kept, x.Name, x.OnDisk, x.Problems)
			}
		}
	}
}
