// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// viewed is madeLinux with every view there, all in agreement.
func viewed() *made {
	m := madeLinux()
	m.calls[linux.OpModuleLinks] = "7\n" // five directories
	m.set("proc/kallsyms", "0 t a\t[nvme]\n0 t b\t[nvme_core]\n0 t b\t[mine]\n0 t x\t[bpf]\n"+
		"0 t y\t[__builtin__ftrace]\n0 T init\n")
	m.set("sys/kernel/tracing/available_filter_functions", "nvme_x [nvme]\nschedule\n")
	m.set("sys/kernel/debug/dynamic_debug/control",
		"# filename:lineno [module]function flags format\ninit/main.c:1 [main]f =p \"x\"\n"+
			"a.c:1 [nvme]f =_ \"y [z]\"\n")
	m.set("proc/crypto", "name : x\nmodule       : kernel\nname : y\nmodule       : nvme_core\n")
	m.set("sys/kernel/btf"+"/vmlinux", "")
	m.set("sys/kernel/btf"+"/nvme", "")
	m.set("sys/bus/pci/uevent", "")
	m.set("sys/kernel/debug/modules/unloaded_tainted", "")
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
		all = append(all, string(d.Grade)+" "+d.Kind+" "+d.Name+": "+strings.Join(seen, ",")+" - "+
			strings.Join(missing, ","))
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
			"strong hidden_from_list mine: kallsyms,sys_module,sys_module_open - " + rest +
				",proc_modules,unloaded_tainted",
			"weak taint_unexplained OE: tainted - proc_modules,unloaded_tainted"}},
		{"off the list, directory gone, functions left", func(m *made) {
			hideFromList(m, "nvme")
			dropDirectory(m, "nvme")
			m.set("proc/kallsyms", "0 t b\t[nvme_core]\n")
		}, []string{"strong hidden_from_list nvme: btf,dynamic_debug,ftrace,holders - crypto,drivers,kallsyms," +
			"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"user of another that nobody lists", func(m *made) {
			m.set(linux.ModulesFile,
				strings.Replace(string(m.MapFS[linux.ModulesFile].Data), "nvme,", "ghost,nvme,", 1))
		}, []string{"strong hidden_from_list ghost: holders - btf,crypto,drivers,dynamic_debug,ftrace,kallsyms," +
			"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"only an algorithm is left", func(m *made) { m.set("proc/crypto", "module       : ghost\n") },
			[]string{"weak hidden_from_list ghost: crypto - btf,drivers,dynamic_debug,ftrace,holders,kallsyms," +
				"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"directory gone", func(m *made) { dropDirectory(m, "nvme") },
			[]string{"strong missing_directory nvme: btf,dynamic_debug,ftrace,holders,kallsyms,proc_modules - crypto," +
				"drivers,sys_module,sys_module_open,unloaded_tainted"}},
		{"directory left out of its listing", func(m *made) { m.calls[linux.OpModuleLinks] = "8\n" },
			[]string{"strong directory_count /sys/module: sys_module_links - sys_module"}},
		{"taint cleared", func(m *made) {
			m.set(linux.ModulesFile, strings.Replace(string(m.MapFS[linux.ModulesFile].Data), " (OE)", "", 1))
		}, []string{"weak taint_unexplained OE: tainted - proc_modules,unloaded_tainted"}},
		{"a tainted module is gone", func(m *made) {
			m.set("proc/sys/kernel/tainted", "12289\n")
			m.set("sys/kernel/debug/modules/unloaded_tainted", "nvidia (POE) 1\n")
		}, []string{"transient unloaded_tainted nvidia: unloaded_tainted - btf,crypto,drivers,dynamic_debug,ftrace," +
			"holders,kallsyms,proc_modules,sys_module,sys_module_open"}},
		{"builtin directories", func(m *made) {
			m.set("sys/module/loop/parameters/max_loop", "8\n")
			m.set("proc/crypto", "module : loop\n")
			m.calls[linux.OpModuleLinks] = "8\n"
		}, nil},
		{"coming", func(m *made) {
			m.set("sys/module/new/initstate", "coming\n")
			m.set("sys/module/new/coresize", "1\n")
			m.calls[linux.OpModuleLinks] = "8\n"
			m.set(linux.ModulesFile, string(m.MapFS[linux.ModulesFile].Data)+"new 1 1 - Loading 0x0\n")
		}, nil},
		{"coming, and never listed", func(m *made) {
			m.set("sys/module/new/initstate", "coming\n")
			m.set("sys/module/new/coresize", "1\n")
			m.calls[linux.OpModuleLinks] = "8\n"
		}, []string{"weak hidden_from_list new: sys_module,sys_module_open - " + rest +
			",kallsyms,proc_modules,unloaded_tainted"}},
		{"directory left out of its listing, and opened by name", func(m *made) {
			m.hide("sys/module/nvme")
			m.calls[linux.OpModuleLinks] = "7\n"
		}, []string{
			"strong directory_count /sys/module: sys_module_links - sys_module",
			"strong hidden_directory nvme: btf,dynamic_debug,ftrace,holders,kallsyms,proc_modules,sys_module_open - " +
				"crypto,drivers,sys_module,unloaded_tainted"}},
		{"directory left out of its listing, off the list", func(m *made) {
			hideFromList(m, "nvme")
			m.hide("sys/module/nvme")
			m.calls[linux.OpModuleLinks] = "7\n"
		}, []string{
			"strong directory_count /sys/module: sys_module_links - sys_module",
			"strong hidden_directory nvme: btf,dynamic_debug,ftrace,holders,kallsyms,sys_module_open - crypto," +
				"drivers,proc_modules,sys_module,unloaded_tainted",
			"strong hidden_from_list nvme: btf,dynamic_debug,ftrace,holders,kallsyms,sys_module_open - crypto," +
				"drivers,proc_modules,sys_module,unloaded_tainted"}},
		{"what is in the directory is covered", func(m *made) {
			dropDirectory(m, "nvme")
			m.set("sys/module/nvme/x", "")
			m.calls[linux.OpModuleLinks] = "7\n"
		}, []string{"weak missing_directory nvme: btf,dynamic_debug,ftrace,holders,kallsyms,proc_modules - crypto," +
			"drivers,sys_module,sys_module_open,unloaded_tainted"}},
		{"the directory may not be read", func(m *made) { m.fails["sys/module/nvme/"] = fs.ErrPermission }, nil},
		{"a holder in sysfs that nobody lists", func(m *made) { m.set("sys/module/nvme/holders/ghost", "") },
			[]string{"strong hidden_from_list ghost: holders - btf,crypto,drivers,dynamic_debug,ftrace,kallsyms," +
				"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"a hook of a module that nobody lists", func(m *made) {
			m.set("sys/kernel/tracing/enabled_functions",
				"nvme_x [nvme] (1) R I     \ttramp: 0xffffffffc0000000 (hook+0x0/0x50 "+
					"[ghost]) ->ftrace_ops_assist_func+0x0/0xf0\nkfree (1)\n")
		}, []string{"strong hidden_from_list ghost: ftrace - btf,crypto,drivers,dynamic_debug,holders,kallsyms," +
			"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"types of a module that nobody lists", func(m *made) { m.set("sys/kernel/btf"+"/ghost", "") },
			[]string{"weak hidden_from_list ghost: btf - crypto,drivers,dynamic_debug,ftrace,holders,kallsyms," +
				"proc_modules,sys_module,sys_module_open,unloaded_tainted"}},
		{"the log names a module that neither is there nor is gone", func(m *made) {
			m.calls[linux.OpModuleLog] = "<4>[    1.5] ghost: loading out-of-tree module taints kernel.\n" +
				"<4>[    1.5] mine: loading out-of-tree module taints kernel.\n"
		}, []string{"weak hidden_from_list ghost: kernel_log - " + rest + ",kallsyms,proc_modules,sys_module," +
			"sys_module_open,unloaded_tainted"}},
		{"the log names a module that is gone", func(m *made) {
			m.calls[linux.OpModuleLog] = "<4>[    1.5] ghost: loading out-of-tree module taints kernel.\n"
			m.set("sys/kernel/debug/modules/unloaded_tainted", "ghost (OE) 1\n")
		}, []string{"transient unloaded_tainted ghost: kernel_log,unloaded_tainted - " + rest +
			",kallsyms,proc_modules,sys_module,sys_module_open"}},
		{"an empty list beside modules", func(m *made) { m.set(linux.ModulesFile, "") }, []string{
			"weak hidden_from_list mine: kallsyms,sys_module,sys_module_open - " + rest +
				",proc_modules,unloaded_tainted",
			"weak hidden_from_list nvme: btf,dynamic_debug,ftrace,kallsyms,sys_module,sys_module_open - crypto," +
				"drivers,holders,proc_modules,unloaded_tainted",
			"weak hidden_from_list nvme_core: crypto,kallsyms,sys_module,sys_module_open - btf,drivers,dynamic_debug," +
				"ftrace,holders,proc_modules,unloaded_tainted",
			"weak taint_unexplained OE: tainted - proc_modules,unloaded_tainted"}},
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
				t.Errorf("(-want +got):\n%s", cmp.Diff(tt.want, got))
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
	if name == "sys/kernel/uevent_seqnum" {
		u.reads++
		u.set(name, strings.Repeat("1", u.reads%15+1))
	}
	return u.made.Open(name)
}

func TestAGapOnABusyMachineIsWeak(t *testing.T) {
	m := viewed()
	m.set("sys/module/ghost/initstate", "live\n")
	m.set("sys/module/ghost/coresize", "1\n")
	found := words(discrepanciesOf(t, &unsteady{made: m}))
	if len(found) != 1 || !strings.HasPrefix(found[0], "weak hidden_from_list ghost") {
		t.Errorf("%q", found)
	}
}

// flicker is a busy machine with a directory that is there at every other look.
type flicker struct {
	unsteady
	looks int
}

func (f *flicker) Open(name string) (fs.File, error) {
	if name == "sys/module/ghost/initstate" {
		if f.looks++; f.looks%2 == 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	return f.unsteady.Open(name)
}

func TestAGapThatComesAndGoesIsTransient(t *testing.T) {
	m := viewed()
	m.set("sys/module/ghost/initstate", "live\n")
	found := words(discrepanciesOf(t, &flicker{unsteady: unsteady{made: m}}))
	if len(found) != 1 || !strings.HasPrefix(found[0], "transient hidden_from_list ghost") {
		t.Errorf("%q", found)
	}
}

// TestAModuleThatIsEverListedIsNotHidden has a module that is listed in one look of many, though no event reports it:
// it fails to load, again and again.
func TestAModuleThatIsEverListedIsNotHidden(t *testing.T) {
	m := viewed()
	m.set("proc/kallsyms", string(m.MapFS["proc/kallsyms"].Data)+"0 t x\t[fails]\n")
	lists := 0
	found := words(discrepanciesOf(t, &opened{made: m, before: func(name string) {
		if name != linux.ModulesFile {
			return
		}
		text := strings.TrimSuffix(string(m.MapFS[name].Data), "fails 1 1 - Live 0x0\n")
		if lists++; lists == 4 { // Live, so that only its name in the list shows it
			text += "fails 1 1 - Live 0x0\n"
		}
		m.set(name, text)
	}}))
	if len(found) != 0 {
		t.Errorf("%q", found)
	}
}

// opened calls before for each file that is opened.
type opened struct {
	*made
	before func(name string)
}

func (o *opened) Open(name string) (fs.File, error) {
	o.before(name)
	return o.made.Open(name)
}

// TestLargeFilesAreReadAgainForTheirOwn checks that a gap that the list and a small file show is
// confirmed by those.
func TestLargeFilesAreReadAgainForTheirOwn(t *testing.T) {
	m := viewed()
	m.set("sys/module/mine2/initstate", "live\n")
	m.set("proc/kallsyms", string(m.MapFS["proc/kallsyms"].Data)+"0 t x\t[mine2]\n")
	m.calls[linux.OpModuleLinks] = "8\n"
	if found := words(discrepanciesOf(t, m)); len(found) != 1 ||
		!strings.HasPrefix(found[0], "strong hidden_from_list mine2: kallsyms,sys_module,") {
		t.Errorf("%q", found)
	}
	for _, name := range []string{"proc/kallsyms", "sys/kernel/tracing/available_filter_functions",
		"proc/crypto", "sys/kernel/debug/dynamic_debug/control"} {
		if n := m.count(name); n != 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
}

// TestMaskedFilesAreUnchecked puts nothing, or a device, in a view's place, as container runtimes do.
func TestMaskedFilesAreUnchecked(t *testing.T) {
	for view, name := range map[string]string{
		"kallsyms": "proc/kallsyms",
		"ftrace":   "sys/kernel/tracing/available_filter_functions", "crypto": "proc/crypto",
		"dynamic_debug": "sys/kernel/debug/dynamic_debug/control",
	} {
		m := viewed()
		m.set(name, "")
		if found := discrepanciesOf(t, m); found[0].Kind != linux.KindUnchecked ||
			found[0].Views[view] != ViewUnchecked {
			t.Errorf("%s: %+v", view, found)
		}
	}
}

// TestDiscrepanciesKnowWhatAWatchHeard loads a module in front of a watch, which then leaves the list
// without an unload.
func TestDiscrepanciesKnowWhatAWatchHeard(t *testing.T) {
	last := func(counter string) step {
		return step{event: moduleEvent("add", "last", 1240), change: func(m *made) {
			m.set("sys/kernel/uevent_seqnum", counter+"\n")
			m.set(linux.ModulesFile, string(m.MapFS[linux.ModulesFile].Data)+"last 1 0 - Live 0x0\n")
			m.set("sys/module/last/initstate", "live\n")
			m.calls[linux.OpModuleLinks] = "8\n"
		}}
	}
	for _, tt := range []struct {
		name   string
		script []step
		view   View // of the history
		found  string
	}{
		{"left the list", []step{{event: moduleEvent("add", "ghost", 1235)}, last("1240")}, "",
			"strong hidden_from_list ghost: uevent_history"},
		{"was unloaded",
			[]step{{event: moduleEvent("add", "ghost", 1235)}, {event: moduleEvent("remove", "ghost", 1236)},
				last("1240")}, "", ""},
		{"an event is still to come", []step{{event: moduleEvent("add", "ghost", 1235)}, last("1241")},
			ViewUnchecked, ""},
		{"old news after a loss",
			[]step{{err: fact.ErrHintsLost}, {event: moduleEvent("add", "ghost", 1234)}, last("1240")}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &eventful{made: viewed(), script: tt.script}
			m.set("sys/kernel/uevent_seqnum", "1234\n")
			s, err := OpenMachine(Linux, m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for e := range s.Watch(ctx, WatchOptions{Interval: time.Millisecond}) {
				if e.ID != "linux_module:last" {
					continue
				}
				found, err := s.Discrepancies(ctx)
				if err != nil {
					t.Fatal(err)
				}
				text := strings.Join(words(found), "\n")
				if !strings.HasPrefix(text, tt.found) || (tt.found == "") != (text == "") {
					t.Errorf("%q", text)
				}
				if found[0].Kind != linux.KindUnchecked || found[0].Views["uevent_history"] != tt.view {
					t.Errorf("%+v", found[0])
				}
				break
			}
			found, err := s.Discrepancies(t.Context())
			if err != nil || found[0].Views["uevent_history"] != ViewUnchecked {
				t.Errorf("after the watch: %v, %+v", err, found)
			}
		})
	}
}

// TestMemoryOfAModuleInQuestion asks for the address of a hidden module's code.
func TestMemoryOfAModuleInQuestion(t *testing.T) {
	for _, tt := range []struct {
		text, areas string
		want        View
	}{
		{"0xffffffffc0b01000\n", "0xffffffffc0a00000-0xffffffffc0a05000   20480 load_module+0x1\n" +
			"0xffffffffc0b00000-0xffffffffc0b05000   20480 load_module+0x1 pages=4\n", ViewSeen},
		{"0xffffffffc0b05000\n", "0xffffffffc0b00000-0xffffffffc0b05000   20480 load_module+0x1\n", ViewMissing},
		{"0x0000000000000000\n", "0xffffffffc0b00000-0xffffffffc0b05000   20480\n", ViewUnchecked},
		{"0xffffffffc0b01000\n", "0x0000000000000000-0x0000000000000000   20480\n", ViewUnchecked},
		{"0xffffffffc0b01000\n", "", ViewUnchecked},
		{"nonsense\n", "0x1-0x2 1\n", ViewUnchecked},
		{"0x1\n", "nonsense\n", ViewUnchecked},
	} {
		m := viewed()
		m.set("sys/module/ghost/initstate", "live\n")
		m.set("sys/module/ghost/sections/.text", tt.text)
		m.set("proc/vmallocinfo", tt.areas)
		m.calls[linux.OpModuleLinks] = "8\n"
		found := discrepanciesOf(t, m)
		if d := found[len(found)-1]; d.Name != "ghost" || d.Views["vmallocinfo"] != tt.want {
			t.Errorf("%q in %q: %+v", tt.text, tt.areas, d)
		}
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
		linux.SourceSysModule: "sys/module/", linux.SourceTainted: "proc/sys/kernel/tainted",
		"kallsyms": "proc/kallsyms", "ftrace": "sys/kernel/tracing/available_filter_functions",
		"crypto": "proc/crypto", "btf": "sys/kernel/btf/", "drivers": "sys/bus/",
		"dynamic_debug":    "sys/kernel/debug/dynamic_debug/control",
		"unloaded_tainted": "sys/kernel/debug/modules/unloaded_tainted",
	} {
		for _, err := range []error{fs.ErrPermission, fs.ErrNotExist} {
			m := viewed()
			m.fails[path] = err
			found := discrepanciesOf(t, m)
			if len(found) == 0 || found[0].Kind != linux.KindUnchecked || found[0].Views[view] != ViewUnchecked ||
				found[0].Grade != GradeTransient {
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
	if found := discrepanciesOf(t, m); found[0].Views["sys_module_links"] != ViewUnchecked {
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
}

// TestViewsOfConfiguration: a view that is missing is unsupported only where the kernel's configuration says that the
// kernel was built without it; else it may be a file system that is not mounted.
func TestViewsOfConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "absent absent absent",
		"CONFIG_MODULES=y": "unsupported unsupported unsupported",
		"CONFIG_DYNAMIC_FTRACE=y\n# CONFIG_MODULE_UNLOAD_TAINT_TRACKING is not set\n" +
			"CONFIG_DEBUG_INFO_BTF_MODULES=y": "absent absent unsupported",
		"nonsense": "absent absent absent",
	} {
		m := viewed()
		for _, file := range []string{"sys/kernel/btf/vmlinux", "sys/kernel/btf/nvme",
			"sys/kernel/tracing/available_filter_functions", "sys/kernel/debug/modules/unloaded_tainted"} {
			delete(m.MapFS, file)
		}
		if text != "" {
			m.set("boot/config-6.1.0-56-amd64", text+"\n")
		}
		found := discrepanciesOf(t, m)
		var got []string
		for _, view := range []string{"btf", "ftrace", "unloaded_tainted"} {
			for _, e := range found[0].Evidence {
				if e.Source == view {
					got = append(got, e.Fact)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %+v", text, got, found[0])
		}
	}
}
