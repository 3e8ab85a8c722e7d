// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/linux"
)

// viewed is madeLinux with every view there, all in agreement.
func viewed() *made {
	m := madeLinux()
	m.calls[linux.OpModuleLinks] = "7\n" // five directories
	m.set(linux.KallsymsFile, "0 t a\t[nvme]\n0 t b\t[nvme_core]\n0 t b\t[mine]\n0 t x\t[bpf]\n0 t y\t[__builtin__ftrace]\n0 T init\n")
	m.set(linux.FtraceFile, "nvme_x [nvme]\nschedule\n")
	m.set(linux.DynamicDebugFile, "# filename:lineno [module]function flags format\ninit/main.c:1 [main]f =p \"x\"\na.c:1 [nvme]f =_ \"y [z]\"\n")
	m.set(linux.CryptoFile, "name : x\nmodule       : kernel\nname : y\nmodule       : nvme_core\n")
	m.set(linux.BTFDir+"/vmlinux", "")
	m.set(linux.BTFDir+"/nvme", "")
	m.set("sys/bus/pci/uevent", "")
	m.set(linux.UnloadedFile, "")
	return m
}

func discrepanciesOf(t *testing.T, m Machine) []Discrepancy {
	t.Helper()
	s, err := OpenMachine(Linux, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found, err := s.Discrepancies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// words are the findings as "grade kind name: views that saw it - views that did not".
func words(found []Discrepancy) []string {
	var all []string
	for _, d := range found {
		if d.Kind == linux.KindUnchecked {
			continue
		}
		var seen, missing []string
		for name, v := range d.Views {
			switch v {
			case ViewSeen:
				seen = append(seen, name)
			case ViewMissing:
				missing = append(missing, name)
			}
		}
		slices.Sort(seen)
		slices.Sort(missing)
		all = append(all, string(d.Grade)+" "+d.Kind+" "+d.Name+": "+strings.Join(seen, ",")+" - "+strings.Join(missing, ","))
	}
	return all
}

// TestDiscrepancyMatrix removes one view after another from an honest machine, and looks at the
// harmless twins of each gap.
func TestDiscrepancyMatrix(t *testing.T) {
	rest := "btf,crypto,drivers,dynamic_debug,ftrace,holders"
	hideFromList := func(m *made, name string) {
		var kept strings.Builder
		for line := range strings.Lines(string(m.MapFS[linux.ModulesFile].Data)) {
			if !strings.HasPrefix(line, name+" ") {
				kept.WriteString(line)
			}
		}
		m.set(linux.ModulesFile, kept.String())
	}
	dropDirectory := func(m *made, name string) {
		for file := range m.MapFS {
			if strings.HasPrefix(file, "sys/module/"+name+"/") {
				delete(m.MapFS, file)
			}
		}
		m.calls[linux.OpModuleLinks] = "6\n"
	}
	for _, tt := range []struct {
		name   string
		change func(m *made)
		want   []string
	}{
		{"honest", func(*made) {}, nil},
		{"off the list, directory kept", func(m *made) { hideFromList(m, "mine") }, []string{
			"strong hidden_from_list mine: kallsyms,sys_module - " + rest + ",proc_modules,unloaded_tainted",
			"weak taint_unexplained OE: tainted - proc_modules,unloaded_tainted"}},
		{"off the list, directory gone, functions left", func(m *made) {
			hideFromList(m, "nvme")
			dropDirectory(m, "nvme")
			m.set(linux.KallsymsFile, "0 t b\t[nvme_core]\n")
		}, []string{"strong hidden_from_list nvme: btf,dynamic_debug,ftrace,holders - crypto,drivers,kallsyms,proc_modules,sys_module,unloaded_tainted"}},
		{"user of another that nobody lists", func(m *made) {
			m.set(linux.ModulesFile, strings.Replace(string(m.MapFS[linux.ModulesFile].Data), "nvme,", "ghost,nvme,", 1))
		}, []string{"strong hidden_from_list ghost: holders - btf,crypto,drivers,dynamic_debug,ftrace,kallsyms,proc_modules,sys_module,unloaded_tainted"}},
		{"only an algorithm is left", func(m *made) { m.set(linux.CryptoFile, "module       : ghost\n") },
			[]string{"weak hidden_from_list ghost: crypto - btf,drivers,dynamic_debug,ftrace,holders,kallsyms,proc_modules,sys_module,unloaded_tainted"}},
		{"directory gone", func(m *made) { dropDirectory(m, "nvme") },
			[]string{"strong missing_directory nvme: btf,dynamic_debug,ftrace,holders,kallsyms,proc_modules - crypto,drivers,sys_module,unloaded_tainted"}},
		{"directory left out of its listing", func(m *made) { m.calls[linux.OpModuleLinks] = "8\n" },
			[]string{"strong directory_count /sys/module: sys_module_links - sys_module"}},
		{"taint cleared", func(m *made) {
			m.set(linux.ModulesFile, strings.Replace(string(m.MapFS[linux.ModulesFile].Data), " (OE)", "", 1))
		}, []string{"weak taint_unexplained OE: tainted - proc_modules,unloaded_tainted"}},
		{"a tainted module is gone", func(m *made) {
			m.set(linux.TaintedFile, "12289\n")
			m.set(linux.UnloadedFile, "nvidia (POE) 1\n")
		}, []string{"transient unloaded_tainted nvidia: unloaded_tainted - btf,crypto,drivers,dynamic_debug,ftrace,holders,kallsyms,proc_modules,sys_module"}},
		{"builtin directories", func(m *made) {
			m.set("sys/module/loop/parameters/max_loop", "8\n")
			m.set(linux.CryptoFile, "module : loop\n")
			m.calls[linux.OpModuleLinks] = "8\n"
		}, nil},
		{"coming", func(m *made) {
			m.set("sys/module/new/initstate", "coming\n")
			m.set("sys/module/new/coresize", "1\n")
			m.calls[linux.OpModuleLinks] = "8\n"
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := viewed()
			tt.change(m)
			got := words(discrepanciesOf(t, m))
			for i := range tt.want { // names of views sorted as a whole
				head, views, _ := strings.Cut(tt.want[i], ": ")
				seen, missing, _ := strings.Cut(views, " - ")
				sorted := func(list string) string {
					names := strings.Split(list, ",")
					slices.Sort(names)
					return strings.Join(names, ",")
				}
				tt.want[i] = head + ": " + sorted(seen) + " - " + sorted(missing)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// unsteady is a machine whose counter moves with every look.
type unsteady struct {
	*made
	reads int
}

func (u *unsteady) Open(name string) (fs.File, error) {
	if name == linux.UeventSeqFile {
		u.reads++
		u.set(name, strings.Repeat("1", u.reads%15+1))
	}
	return u.made.Open(name)
}

func TestAGapThatNeverStandsStillIsTransient(t *testing.T) {
	m := viewed()
	m.set("sys/module/ghost/initstate", "live\n")
	m.set("sys/module/ghost/coresize", "1\n")
	found := words(discrepanciesOf(t, &unsteady{made: m}))
	if len(found) != 1 || !strings.HasPrefix(found[0], "transient hidden_from_list ghost") {
		t.Errorf("%q", found)
	}
}

func TestAGapThatGoesAwayIsNone(t *testing.T) {
	m := viewed()
	m.set("sys/module/late/initstate", "live\n")
	m.set("sys/module/late/coresize", "1\n")
	m.calls[linux.OpModuleLinks] = "8\n"
	s := &settling{made: m}
	if found := words(discrepanciesOf(t, s)); len(found) != 0 {
		t.Errorf("%q", found)
	}
}

// settling lists the module from the second reading of the list on.
type settling struct {
	*made
	reads int
}

func (s *settling) Open(name string) (fs.File, error) {
	if name == linux.ModulesFile {
		if s.reads++; s.reads == 2 {
			s.set(name, string(s.MapFS[name].Data)+"late 1 0 - Live 0x0\n")
		}
	}
	return s.made.Open(name)
}

// TestUncheckedIsNeverClean refuses or removes each view: the result must say so.
func TestUncheckedIsNeverClean(t *testing.T) {
	for view, path := range map[string]string{
		linux.SourceSysModule: "sys/module/", linux.ViewSymbols: linux.KallsymsFile, linux.ViewFtrace: linux.FtraceFile, linux.ViewCrypto: linux.CryptoFile,
		linux.ViewBTF: linux.BTFDir + "/", linux.ViewDrivers: linux.BusDir + "/", linux.ViewDynamicDebug: linux.DynamicDebugFile,
		linux.ViewUnloaded: linux.UnloadedFile, linux.SourceTainted: linux.TaintedFile,
	} {
		for _, err := range []error{fs.ErrPermission, fs.ErrNotExist} {
			m := viewed()
			m.fails[path] = err
			found := discrepanciesOf(t, m)
			if len(found) == 0 || found[0].Kind != linux.KindUnchecked || found[0].Views[view] != ViewUnchecked || found[0].Grade != GradeTransient {
				t.Errorf("%s %v: %+v", view, err, found)
			}
			for _, d := range found[1:] {
				if d.Grade == GradeStrong {
					t.Errorf("%s %v: a view that was not read makes a finding: %+v", view, err, d)
				}
			}
		}
	}
	m := viewed()
	delete(m.calls, linux.OpModuleLinks)
	if found := discrepanciesOf(t, m); found[0].Views[linux.ViewLinks] != ViewUnchecked {
		t.Errorf("%+v", found)
	}
}

func TestDiscrepanciesWithoutAList(t *testing.T) {
	m := viewed()
	m.fails[linux.ModulesFile] = fs.ErrPermission
	s, _ := OpenMachine(Linux, m, Options{})
	if _, err := s.Discrepancies(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ = OpenMachine(Linux, viewed(), Options{})
	if _, err := s.Discrepancies(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s, _ = OpenMachine(Linux, viewed(), Options{Root: "/image"})
	if _, err := s.Discrepancies(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("image: %v", err)
	}
}
