// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestNoList refuses texts that say that nothing was listed: a refusal is not a list, and neither is an empty container
// of a tool that always lists something.
func TestNoList(t *testing.T) {
	const refused = "(kernel) Failed to query kext info (MAC policy error 0x1).\n" +
		"Failed to read loaded kext info from kernel - (libkern/kext) internal error.\n"
	for _, c := range []struct {
		text    string
		as      capture.Kind
		refusal bool
	}{
		{"Executing: /usr/bin/kmutil showloaded\n" + refused, "", true},
		{refused, capture.Kextstat, true},
		{"sudo: a password is required\n", "", true},
		{"Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n", "", false},
		{"Loaded kext info:\n{\n}\n", "", false},
		{"Extensions:\n\n", "", false},
		{"{\"SPExtensionsDataType\":[]}\n", "", false},
	} {
		_, err := capture.Read(strings.NewReader(c.text), c.as)
		if !errors.Is(err, lkm.ErrMalformed) || errors.Is(err, fs.ErrPermission) != c.refusal {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

// TestUnloadedRows gives each row of Solaris' modinfo -c the state that it says.
func TestUnloadedRows(t *testing.T) {
	s, err := capture.Read(strings.NewReader(" Id    Loadcnt Module Name                            State\n"+
		"  1          1 unix                             LOADED/INSTALLED\n"+
		" 70          0 pcfs                             UNLOADED/UNINSTALLED\n"), "")
	if err != nil || len(s.Modules) != 2 {
		t.Fatal(err, s)
	}
	for id, want := range map[string]lkm.State{"solaris_module:unix": lkm.StateLoaded,
		"solaris_module:pcfs": lkm.StateInstalled} {
		if m := s.Module(id); m == nil || m.State != want {
			t.Errorf("%s: %+v", id, m)
		}
	}
}

// TestPartSaysNoLess: what follows from all rows of a list is unknown in a part of it, and so is one that is
// empty in all rows: its column may have been left out.
func TestPartSaysNoLess(t *testing.T) {
	const (
		rows = "Module                  Size  Used by\nnvme 57344 3\nnvme_core 9 1 nvme\nxfs 5 0\n"
		proc = "nvme 57344 3 - Live 0x0000000000000000\nnvme_core 9 1 nvme, Live 0x0000000000000000 (E)\n" +
			"xfs 5 0 - Live 0x0000000000000000\n"
		mods = "NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
			"nvme        driver     builtin  -        0       - -\n" +
			"nvme_core   vfs        filesys  -        1  9 nvme\n" +
			"xfs        vfs     filesys  -        0       5 -\n"
	)
	type facts struct{ requires, usedBy []string }
	whole := [3]facts{{[]string{"nvme_core"}, []string{}}, {[]string{}, []string{"nvme"}}, {[]string{}, []string{}}}
	part := [3]facts{{nil, []string{}}, {nil, []string{"nvme"}}, {nil, []string{}}}
	cut := [3]facts{{nil, nil}, {nil, nil}, {nil, []string{}}} // the column of users may have been left out
	for _, c := range []struct {
		text string
		want [3]facts
	}{
		{rows, whole}, {"$ lsmod | grep -v usb\n" + rows, part}, {rows + "...\n", part},
		{rows + "bash: lsmod: not found\n", part},
		{"$ lsmod | awk '{print $1,$2,$3}'\n" + strings.ReplaceAll(rows, "1 nvme", "1"), cut},
		{"$ awk '{print $1,$2,$3,\"-\",$5,$6}' /proc/modules\n" + strings.NewReplacer("nvme,", "-", " (E)", "").
			Replace(proc), cut},
		{proc, whole}, {"$ grep n /proc/modules\n" + proc, part}, {strings.TrimSuffix(proc, "\n"), part},
		{mods, [3]facts{{[]string{}, []string{"nvme_core"}}, {[]string{"nvme"}, []string{}}, {[]string{},
			[]string{}}}},
		{mods + "[...]\n", [3]facts{{[]string{}, nil}, {[]string{"nvme"}, nil}, {[]string{}, nil}}},
	} {
		s, err := capture.Read(strings.NewReader(c.text), "")
		if err != nil || len(s.Modules) != 3 {
			t.Errorf("%q: %v, %+v", c.text, err, s)
			continue
		}
		for i, m := range s.Modules {
			if got := (facts{m.Requires, m.UsedBy}); !reflect.DeepEqual(got, c.want[i]) {
				t.Errorf("%q: %s %#v, want %#v", c.text, m.Name, got, c.want[i])
			}
			if m.Linux != nil && m.Linux.Taints != nil && !strings.Contains(c.text, "(E)") {
				t.Errorf("%q: %s has no taint", c.text, m.Name)
			}
		}
	}
}

// TestSavedOutput: what a command saved is a part if it is, though another command prints it.
func TestSavedOutput(t *testing.T) {
	const (
		rows = "nvme 57344 3 - Live 0x0000000000000000\nxfs 5 0 - Live 0x0000000000000000\n"
		info = "$ modinfo xfs\nfilename:       /lib/modules/6.1.0/kernel/fs/xfs/xfs.ko\nlicense:        GPL\n" +
			"depends:        \nname:           xfs\nvermagic:       6.1.0 SMP mod_unload \n"
	)
	for commands, want := range map[string]lkm.Outcome{
		"$ out=$(grep x /proc/modules)\n$ echo \"$out\"\n": lkm.OutcomePartial,
		"$ grep x /proc/modules > f\n\n$ cat f\n":          lkm.OutcomePartial,
		"$ cat /proc/modules > f\n$ cat f\n":               lkm.OutcomeOK,
		"$ cd /tmp\n$ cat /proc/modules\n":                 lkm.OutcomeOK,
		"$ dmesg | grep oops\n$ cat /proc/modules\n":       lkm.OutcomeOK,
	} {
		for _, text := range []string{commands + rows, commands + rows + info} {
			s, err := capture.Read(strings.NewReader(text), "")
			if err != nil || s.Sources[0].Outcome != want || len(s.Modules) != 2 {
				t.Errorf("%q: %v, %+v", text, err, s)
			}
		}
	}
}
