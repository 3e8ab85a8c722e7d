// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// madeMachine is a machine of files and of answers to calls.
type madeMachine struct {
	fs.FS
	calls map[string]string
}

func (m madeMachine) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	if text, ok := m.calls[op]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

func (m madeMachine) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(m.FS, name) }

func (m madeMachine) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrNotExist}
}

func (m madeMachine) Lstat(name string) (fs.FileInfo, error) { return fs.Stat(m.FS, name) }

func machineOf(fsys fs.FS) madeMachine {
	return madeMachine{fsys, map[string]string{OpUname: "release 6.1\nmachine x86_64\n", OpIdentity: "euid 0\n",
		OpClock: "2026-01-01T00:00:00Z"}}
}

func hostFiles() fstest.MapFS {
	files := sysTree()
	files[ModulesFile] = linuxtest.File("nvme 57344 0 - Live 0x0 (OE)\n")
	files[taintedFile] = linuxtest.File("12288\n")
	files[bootIDFile] = linuxtest.File("b\n")
	files["lib/modules/6.1/modules.builtin"] = linuxtest.File("kernel/drivers/block/loop.ko\n")
	return files
}

// Each source that is refused is reported under its name, and costs nothing of the others.
func TestLoadedWithARefusedSource(t *testing.T) {
	look := func(fsys fs.FS) ([]Record, *fact.Report, error) {
		k, r, h := Open(machineOf(fsys), fact.Options{}), new(fact.Report), new(fact.Header)
		k.Header(t.Context(), h, r)
		modules, err := k.Loaded(t.Context(), h, r)
		return modules, r, err
	}
	whole := []string{SourceMachine, SourceTainted, SourceModules, SourceSysModule, SourceBuiltin}
	modules, r, err := look(hostFiles())
	if err != nil || len(modules) != 1 || !r.Whole(SourceMachine, SourceTainted, SourceModules, SourceSysModule) {
		t.Fatalf("%v, %v, %+v", modules, err, r)
	}
	for file, source := range map[string]string{
		bootIDFile: SourceMachine, taintedFile: SourceTainted, SysModuleDir + "/nvme/version": SourceSysModule,
		"lib/modules/6.1/modules.builtin": SourceBuiltin, ModulesFile: SourceModules,
	} {
		modules, refused, err := look(linuxtest.Refusing(hostFiles(), file, fs.ErrPermission))
		if source == SourceModules {
			if !errors.Is(err, fs.ErrPermission) || modules != nil {
				t.Errorf("%s: %v, %v", file, modules, err)
			}
			continue
		}
		if err != nil || len(modules) != 1 || refused.Whole(source) {
			t.Errorf("%s: %v, %v, %v", file, modules, err, refused.Sources)
			continue
		}
		told := refused.Count(source) > 0 || slices.ContainsFunc(modules[0].Problems, func(p fact.Problem) bool {
			return p.Source == source && p.Code == fact.CodePermission
		})
		if !told {
			t.Errorf("%s: no problem of %s in %v", file, source, refused.Problems)
		}
		for _, other := range whole {
			if other != source && refused.Whole(other) != r.Whole(other) {
				t.Errorf("%s: %s is touched", file, other)
			}
		}
	}
}

// The views that could not be read are sources of the report, and in what was not compared.
func TestDiscrepanciesReportTheirViews(t *testing.T) {
	var r fact.Report
	k := Open(machineOf(linuxtest.Refusing(hostFiles(), kallsymsFile, fs.ErrPermission)), fact.Options{})
	found, err := k.Discrepancies(t.Context(), &r)
	if err != nil || len(found) == 0 || found[0].Kind != KindUnchecked {
		t.Fatalf("%+v, %v", found, err)
	}
	for view, state := range found[0].Views {
		src, ok := r.Find(view)
		if view == SourceTree || view == SourcePackages || view == SourceConfig {
			continue
		}
		if state != fact.ViewUnchecked || !ok || src.Outcome == fact.OutcomeOK || r.Count(view) == 0 {
			t.Errorf("%s is %s, its source is %+v with %d problems", view, state, src, r.Count(view))
		}
	}
	if !r.Whole(SourceTainted, viewHolders) {
		t.Errorf("views that were read: %+v", r.Sources)
	}
}

// Two polls with one scratch use the same memory.
func TestPollUsesItsMemoryAgain(t *testing.T) {
	var list strings.Builder
	for i := range 250 {
		fmt.Fprintf(&list, "m%03d 4096 1 m%03d, Live 0x0\n", i, (i+1)%250)
	}
	k := Open(machineOf(fstest.MapFS{ModulesFile: linuxtest.File(list.String())}), fact.Options{})
	var scratch any
	poll := func() []Record {
		modules, err := k.Poll(t.Context(), &scratch, new(fact.Report))
		if err != nil || len(modules) != 250 {
			t.Fatal(len(modules), err)
		}
		return modules
	}
	first := &poll()[0]
	if &poll()[0] != first {
		t.Error("the records of a second poll are elsewhere")
	}
	if n := testing.AllocsPerRun(10, func() { poll() }); n > 30 {
		t.Errorf("a poll allocates %v times", n)
	}
}

// TestPollAgain: a list that did not change is not parsed again, and says the same, whatever the caller wrote into the
// last one. What was lost of a list is said each time.
func TestPollAgain(t *testing.T) {
	files := hostFiles()
	k := Open(machineOf(files), fact.Options{})
	var scratch any
	for _, text := range []string{
		"a 1 1 b,c, Live 0x0\nb 2 0 - Live 0x0\nc 3 0 - Live 0x0 (OE)\n", // the same twice
		"a 1 1 b,c, Live 0x0\nb 2 0 - Live 0x0\nc 3 0 - Live 0x0 (OE)\n",
		"b 2 0 - Live 0x0\na 1 1 b,c, Live 0x0\nc 3 0 - Live 0x0 (OE)\n", // in another order
		"a 1 1 b,c, Live 0x0\nb x 0 - Live 0x0\nc 3 0 - Live 0x0\n",      // a line that is invalid, twice
		"a 1 1 b,c, Live 0x0\nb x 0 - Live 0x0\nc 3 0 - Live 0x0\n",
		"a 1 0 - Live 0x0\na 1 0 - Live 0x0\n", // a name that is there twice, twice
		"a 1 0 - Live 0x0\na 1 0 - Live 0x0\n",
		"", "a 1 0 - Live 0x0\n",
	} {
		files[ModulesFile] = linuxtest.File(text)
		var kept, fresh fact.Report
		var none any
		got, err := k.Poll(t.Context(), &scratch, &kept)
		want, wantErr := k.Poll(t.Context(), &none, &fresh)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(kept, fresh) {
			t.Errorf("%q: %+v %v %+v, want %+v %v %+v", text, got, err, kept, want, wantErr, fresh)
		}
		for i := range got {
			for _, list := range [][]string{got[i].UsedBy, got[i].Requires, got[i].Own.Taints} {
				for j := range list {
					list[j] = "written by the caller"
				}
			}
		}
	}
}
