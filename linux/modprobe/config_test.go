// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestMasksAndOddNames: which files of modprobe.d are read.
func TestMasksAndOddNames(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{"usr/lib/modprobe.d/a.conf": "blacklist a\n",
		"lib/modprobe.d/b.conf": "blacklist b\n", "lib/modprobe.d/c.conf": "blacklist c\n",
		"etc/modprobe.d/d.alias": "blacklist d\n", "etc/modules-load.d/a.alias": "x\n"})
	for name, target := range map[string]string{"etc/modprobe.d/a.conf": "/dev/null",
		"run/modprobe.d/b.conf": "../../dev/null"} {
		fsys[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	c := ReadConfig(fsys, ConfigDirs, "", false)
	var r fact.Report
	c.Report(&r)
	if len(c.Blacklist) != 1 || c.Blacklist[0].Name != "c" || len(r.Problems) != 1 ||
		!errors.Is(r.Problems[0], errors.ErrUnsupported) || c.Whole() {
		t.Errorf("%+v", c)
	}
	r = fact.Report{}
	if ReadLoadLists(fsys, &r); len(r.Problems) != 0 {
		t.Errorf("modules-load.d: %v", r.Problems)
	}
}

// TestUnreadStaysKnown: however many bad lines there are, a file that could not be read is not forgotten.
func TestUnreadStaysKnown(t *testing.T) {
	fsys :=
		linuxtest.Refusing(linuxtest.Files(map[string]string{"etc/modprobe.d/a.conf": strings.Repeat("nonsense\n",
			2*maxConfigLost), "etc/modprobe.d/b.conf": "x\n"}), "etc/modprobe.d/b.conf",
			errors.New("input/output error"))
	c := ReadConfig(fsys, ConfigDirs, "", false)
	for range 2 { // each caller gets the report
		var r fact.Report
		if c.Report(&r); len(r.Problems) != maxConfigLost || c.Whole() {
			t.Errorf("%d problems, whole %v", len(r.Problems), c.Whole())
		}
	}
}

// TestCopiesOfAConfig: a change to one copy does not reach another.
func TestCopiesOfAConfig(t *testing.T) {
	base := ReadConfig(linuxtest.Files(map[string]string{"etc/modprobe.d/a.conf": "nonsense\n"}), ConfigDirs, "", false)
	one, two := *base, *base
	one.ParseCmdline("a[.x=1", "one")
	two.ParseCmdline("b[.x=1", "two")
	for config, want := range map[*Config]string{base: "nonsense", &one: `"a["`, &two: `"b["`} {
		var r fact.Report
		config.Report(&r)
		if last := r.Problems[len(r.Problems)-1]; !strings.Contains(last.Text, want) || !config.Whole() {
			t.Errorf("%v, want %s", r.Problems, want)
		}
	}
}

// TestModulesOfDebian: modules-load.d has a link to /etc/modules, which is one list.
func TestModulesOfDebian(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{"etc/modules": "# comment\nloop\nlp irq=7\n",
		"usr/lib/modules-load.d/b.conf": "; c\nfuse\n"})
	fsys["etc/modules-load.d/modules.conf"] = &fstest.MapFile{Data: []byte("../modules"), Mode: fs.ModeSymlink | 0o777}
	fsys["etc/modules-load.d/b.conf"] = &fstest.MapFile{Data: []byte("/dev/null"), Mode: fs.ModeSymlink | 0o777}
	var r fact.Report
	list := ReadLoadLists(fsys, &r)
	if len(list) != 2 || list[0].Name != "loop" || list[0].Line != 2 || list[1].Name != "lp" || len(r.Problems) != 0 {
		t.Errorf("%+v, %v", list, r.Problems)
	}
}

// TestLoadListsOfOpenWrt has files that are called anything.
func TestLoadListsOfOpenWrt(t *testing.T) {
	fsys := fstest.MapFS{"etc/modules.d/20-net": linuxtest.File("tun\nwl param=1\n"),
		"etc/modules-boot.d/01-crypto": linuxtest.File("crypto\n"), "etc/modules.d/sub/x": linuxtest.File("no\n")}
	var r fact.Report
	list := ReadLoadLists(fsys, &r)
	if got := fmt.Sprint(list); got != "[{crypto  etc/modules-boot.d/01-crypto 1} {tun  etc/modules.d/20-net 1} {wl  "+
		"etc/modules.d/20-net 2}]" || r.Problems != nil {
		t.Errorf("%s, %v", got, r.Problems)
	}
	if ReadLoadLists(refusesDir{fsys}, &r); len(r.Problems) != 1 || !errors.Is(r.Problems[0], fs.ErrPermission) {
		t.Errorf("%v", r.Problems)
	}
}

// refusesDir refuses etc/modules.d.
type refusesDir struct{ fstest.MapFS }

func (r refusesDir) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "etc/modules.d" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.MapFS.ReadDir(name)
}
