// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

// A disk is a machine that is files alone.
type disk struct{ fstest.MapFS }

func (disk) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func illumosRoot() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"kernel/drv/amd64/e1000g": file("x"), "kernel/drv/e1000g.conf": file("x"), "kernel/drv/amd64/sd": file("x"),
		"kernel/fs/amd64/zfs": file("x"), "usr/kernel/fs/amd64/pcfs": file("x"),
		"usr/kernel/misc/amd64/pcfs":            file("x"),
		"kernel/misc/scsi_vhci/amd64/f_sym":     file("x"),
		"platform/i86pc/kernel/misc/amd64/acpi": file("x"), "opt/kernel/drv/amd64/extra": file("x"),
		"etc/system":         file("exclude: fs/pcfs\nmoddir: /kernel /usr/kernel:/opt/kernel\n"),
		"etc/system.d/mine":  file("forceload: drv/sd\n"),
		"etc/driver_aliases": file("# devices\ne1000g \"pci8086,10d3\"\ne1000g \"pci8086,10d4\"\nextra \"x\"\n"),
		"etc/name_to_major":  file("e1000g 1\nsd 2\n"),
		"etc/path_to_inst":   file("#\n\"/pci@0,0/disk@0,0\" 0 \"sd\"\n"),
	}
}

func TestImage(t *testing.T) {
	k := Open(disk{illumosRoot()}, fact.Options{OS: fact.Illumos, Image: true})
	var paths []string
	for m, err := range k.Installed(t.Context(), new(fact.Report)) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, m.ID+" "+m.Path)
	}
	want := "illumos_module:e1000g /kernel/drv/amd64/e1000g\nillumos_module:sd /kernel/drv/amd64/sd\n" +
		"illumos_module:zfs /kernel/fs/amd64/zfs\n" +
		"illumos_module:f_sym /kernel/misc/scsi_vhci/amd64/f_sym\n" +
		"illumos_module:extra /opt/kernel/drv/amd64/extra\n" +
		"illumos_module:acpi /platform/i86pc/kernel/misc/amd64/acpi\nillumos_module:pcfs /usr/kernel/fs/amd64/pcfs\n" +
		"illumos_module:pcfs /usr/kernel/misc/amd64/pcfs"
	if got := strings.Join(paths, "\n"); got != want {
		t.Errorf("%s", got)
	}
	for query, want := range map[string]struct {
		outcome fact.VerdictOutcome
		ways    string // those that are open
		trigger string
	}{
		"e1000g":                      {fact.VerdictLoadable, "driver_alias modload", "/etc/driver_aliases:2"},
		"pci8086,10d4":                {fact.VerdictLoadable, "driver_alias modload", "/etc/driver_aliases:2"},
		"sd":                          {fact.VerdictLoadable, "forceload driver_alias modload", "/etc/system.d/mine:1"},
		"drv/sd":                      {fact.VerdictLoadable, "forceload driver_alias modload", "/etc/system.d/mine:1"},
		"zfs":                         {fact.VerdictLoadable, "modload", ""},
		"/usr/kernel/misc/amd64/pcfs": {fact.VerdictLoadable, "modload", ""},
		"/usr/kernel/fs/amd64/pcfs":   {fact.VerdictBlocked, "", ""},
		"extra":                       {fact.VerdictLoadable, "modload", "/etc/driver_aliases:4"}, // without a number
		"none":                        {fact.VerdictAbsent, "", ""},
	} {
		v, err := k.Check(t.Context(), query, new(fact.Report))
		if err != nil || len(v) == 0 || v[0].Now != nil {
			t.Fatalf("%s: %+v %v", query, v, err)
		}
		if ways, trigger := open(&v[0]); v[0].NextBoot.Outcome != want.outcome || ways != want.ways ||
			trigger != want.trigger {
			t.Errorf("%s: %s by %q because of %q, want %+v", query, v[0].NextBoot.Outcome, ways, trigger, want)
		}
	}
	// Of two files of one name /etc/system excludes one.
	if v, err := k.Check(t.Context(), "pcfs", new(fact.Report)); err != nil || len(v) != 2 ||
		v[0].NextBoot.Outcome != fact.VerdictBlocked || v[1].NextBoot.Outcome != fact.VerdictLoadable {
		t.Errorf("pcfs: %+v %v", v, err)
	}
	for name, want := range map[string]string{
		"etc/name_to_major": "modload", "etc/path_to_inst": "driver_alias modload",
	} {
		k := Open(refusing{disk{illumosRoot()}, name}, fact.Options{OS: fact.Illumos, Image: true})
		v, err := k.Check(t.Context(), "e1000g", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		if ways, _ := open(&v[0]); ways != want {
			t.Errorf("without %s: %s", name, ways)
		}
	}
	if m, err := k.Resolve(t.Context(), "pci8086,10d3", new(fact.Report)); err != nil || len(m) != 1 ||
		m[0].Name != "e1000g" {
		t.Errorf("%+v %v", m, err)
	}
}

// open returns the ways that are open, and the place of the first trigger.
func open(v *fact.Verdict) (ways, trigger string) {
	var names []string
	for _, w := range v.NextBoot.Ways {
		if w.Blocked == fact.No {
			names = append(names, w.Way)
		}
	}
	if len(v.Triggers) > 0 {
		r := v.Triggers[0]
		trigger = r.File + ":" + string(rune('0'+r.Line))
	}
	return strings.Join(names, " "), trigger
}

// TestExclude compares what /etc/system excludes with the name of a module and with its kind and name alone, as
// mod_load of the kernel does; the latter does not stop modload(8) of a path.
func TestExclude(t *testing.T) {
	for directive, want := range map[string]struct {
		query    string
		outcome  fact.VerdictOutcome
		bypasses int
	}{
		"exclude: sd":                   {"sd", fact.VerdictBlocked, 0},
		"exclude: drv/sd":               {"sd", fact.VerdictBlocked, 1},
		"exclude: drv/sd\nexclude: sd":  {"sd", fact.VerdictBlocked, 0},
		"exclude: kernel/sd":            {"sd", fact.VerdictLoadable, 0},
		"exclude: amd64/sd":             {"sd", fact.VerdictLoadable, 0},
		"exclude: kernel/drv/sd":        {"sd", fact.VerdictLoadable, 0},
		"exclude: /kernel/drv/sd":       {"sd", fact.VerdictLoadable, 0},
		"exclude: misc/scsi_vhci/f_sym": {"f_sym", fact.VerdictBlocked, 1},
		"exclude: scsi_vhci/f_sym":      {"f_sym", fact.VerdictLoadable, 0},
		"exclude: misc/acpi":            {"acpi", fact.VerdictBlocked, 1},
		"exclude: 1394":                 {"1394", fact.VerdictLoadable, 0}, // a number is no name
		"exclude: misc/1394":            {"1394", fact.VerdictBlocked, 1},
	} {
		root := illumosRoot()
		root["kernel/misc/amd64/1394"] = &fstest.MapFile{Data: []byte("x")}
		root["etc/system"].Data = []byte(directive + "\n")
		k := Open(disk{root}, fact.Options{OS: fact.Illumos, Image: true})
		v, err := k.Check(t.Context(), want.query, new(fact.Report))
		if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != want.outcome || len(v[0].Bypasses) != want.bypasses {
			t.Errorf("%s: %+v %v", directive, v, err)
		}
	}
}

// TestUnreadImage refuses each file: nothing becomes absent or blocked by that.
func TestUnreadImage(t *testing.T) {
	for _, name := range []string{"kernel", "kernel/fs", "kernel/fs/amd64", "platform", "platform/i86pc/kernel",
		"kernel/misc/scsi_vhci", "kernel/misc/scsi_vhci/amd64", "etc/system", "etc/system.d/mine",
		"etc/driver_aliases"} {
		k := Open(refusing{disk{illumosRoot()}, name}, fact.Options{OS: fact.Illumos, Image: true})
		for _, query := range []string{"zfs", "none", "sd", "pci8086,10d4", "x", "f_sym", "acpi",
			"/usr/kernel/fs/amd64/pcfs"} {
			v, err := k.Check(t.Context(), query, new(fact.Report))
			if err != nil {
				t.Fatal(err)
			}
			o := v[0].NextBoot.Outcome
			if strings.HasPrefix(name, "etc/system") && o != fact.VerdictUnknown ||
				o == fact.VerdictAbsent || o == fact.VerdictBlocked {
				t.Errorf("%s is refused: %s is %s", name, query, o)
			}
		}
	}
	k := Open(disk{fstest.MapFS{}}, fact.Options{OS: fact.Illumos, Image: true})
	for _, err := range k.Installed(t.Context(), new(fact.Report)) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// TestStates reads rows of modinfo -c that are not in memory.
func TestStates(t *testing.T) {
	c := ReadModinfo(" Id    Loadcnt Module Name         State\n  1          1 unix                LOADED/INSTALLED\n"+
		" 70          0 pcfs                UNLOADED/UNINSTALLED\n"+
		" 71          1 half                LOADED/UNINSTALLED\n",
		new(fact.Report))
	want := []fact.State{fact.StateLoaded, fact.StateInstalled, fact.StateLoaded}
	for i, m := range c.Records {
		if m.State != want[i] {
			t.Errorf("%s: %s", m.Name, m.State)
		}
	}
	if len(c.Records) != 3 {
		t.Errorf("%+v", c)
	}
}

// TestSystemWords reads the words of /etc/system as the kernel does (modsysfile.c: modcmd, do_sysfile_cmd).
func TestSystemWords(t *testing.T) {
	var r fact.Report
	list, err := readSystem("etc/system", "* x\nEXCLUDE: drv/a\nexclude : drv/b  and more\nSET32 x=1\nset64 y=1\n"+
		"swapfs: ufs\nMODDIR: /a /b:/c\nExclude: drv/c\nFORCELOAD:\tmisc/d\tx\n", nil, &r)
	var got []string
	for _, d := range list {
		got = append(got, d.Word+"="+d.Module)
	}
	want := "exclude=drv/a,exclude=drv/b,moddir=/a /b:/c,forceload=misc/d"
	if strings.Join(got, ",") != want || len(r.Problems) != 1 || err != nil {
		t.Errorf("%q %+v %v", got, r.Problems, err)
	}
}

// FuzzImage reads the files that an image's boot reads: nothing unknown is without a reason.
func FuzzImage(f *testing.F) {
	f.Add("forceload: drv/sd\nEXCLUDE: fs/pcfs\n", "sd \"x\"\n", "sd 1\n", "\"/x\" 0 \"sd\"\n")
	f.Fuzz(func(t *testing.T, system, aliases, majors, instances string) {
		root := illumosRoot()
		for name, text := range map[string]string{"etc/system": system, aliasesFile: aliases, majorsFile: majors,
			instancesFile: instances} {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		k := Open(disk{root}, fact.Options{OS: fact.Illumos, Image: true})
		v, err := k.Check(t.Context(), "sd", new(fact.Report))
		if err != nil || len(v) == 0 {
			t.Fatal(err)
		}
		if len(v[0].Triggers) > maxTriggers+len(system) {
			t.Fatal("more than the input")
		}
		for _, w := range v[0].NextBoot.Ways {
			if w.Blocked == "" && w.Because == (fact.Reason{}) {
				t.Fatalf("unknown without a reason: %+v", w)
			}
		}
	})
}
