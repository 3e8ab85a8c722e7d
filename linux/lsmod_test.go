// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
)

func TestLsmodRows(t *testing.T) {
	none := []string{}
	row := func(name string, size, refs int64, users []string) listEntry {
		return listEntry{Name: name, Size: size, Refs: fact.CountOf(refs), UsedBy: users}
	}
	permanent := row("fuse", 4096, 1, none)
	permanent.Permanent = true
	loading := row("mine", 4096, 0, none)
	loading.State = "Loading"
	for _, tt := range []struct {
		line string
		want listEntry
	}{
		{"igb                   249856  0", row("igb", 249856, 0, none)},
		{"dm_log 18411  2 dm_region_hash,dm_mirror", row("dm_log", 18411, 2, []string{"dm_region_hash", "dm_mirror"})},
		{"kkm                   163840  -1", row("kkm", 163840, -1, none)},
		{"kkm                   163840  -2", listEntry{Name: "kkm", Size: 163840}},
		{"nound  4096  -", listEntry{Name: "nound", Size: 4096}},
		{"8250 4096 0", row("8250", 4096, 0, none)},
		// BusyBox
		{"fuse    4096  1 [permanent]", permanent},
		// Linux 2.4
		{"ide-cd                 34016   0 (autoclean)", row("ide-cd", 34016, 0, none)},
		{"cdrom                  32608   0 (autoclean) [ide-cd sr_mod]",
			row("cdrom", 32608, 0, []string{"ide-cd", "sr_mod"})},
		{"mine                    4096   0 (initializing)", loading},
	} {
		got, ok := lsmodRow(tt.line)
		if !ok {
			t.Errorf("%q is not a row", tt.line)
			continue
		}
		if diff := cmp.Diff(tt.want, got, count); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
	}
	for _, line := range []string{
		"Module                  Size  Used by", "nvme", "nvme 1", "nvme x 0", "nvme -1 0",
		"1 2 3", "/dev/sda1 100 20 /mnt",
		"[   93.04] CPU: 23", "nvme 1 0 what(ever", " 1    5 0xc0400000 6a5c94   kernel",
	} {
		if e, ok := lsmodRow(line); ok {
			t.Errorf("%q is taken for a row: %+v", line, e)
		}
	}
}

func TestLsmodCapture(t *testing.T) {
	read := func(text string) (fact.Capture[Module], *fact.Report) {
		r := new(fact.Report)
		return ReadLsmod(text, r), r
	}
	c, r := read("root@host:~# lsmod\nModule                  Size  Used by    Tainted: PF \nnvme 57344 3\n\n" +
		"lsmod: oops\nwhat is this\n...\nnvme_core 184320 5 nvme\nroot@host:~# \n")
	if !c.Sure || len(c.Header.Kernel.TaintFlags) != 2 || c.Stray != 2 || c.Rows != 2 || len(r.Problems) != 1 ||
		r.Problems[0].Line != 6 {
		t.Errorf("%+v, %+v", c, r)
	}
	c, r = read("Module Size Used by    Not tainted\n")
	if !c.Sure || c.Header.Kernel.TaintFlags == nil || len(c.Header.Kernel.TaintFlags) != 0 || c.Rows != 0 ||
		!r.Whole(SourceLsmod) {
		t.Errorf("empty list: %+v, %+v", c, r)
	}
	c, r = read("$ lsmod|egrep procfs3\nprocfs3                16384  -1")
	if !c.Sure || c.Rows != 1 || r.Whole(SourceLsmod) || len(r.Problems) != 1 || r.Problems[0].Field != "modules" {
		t.Errorf("filtered and cut off: %+v, %+v", c, r)
	}
	if c, _ = read("$ lsmod|egrep procfs3\n"); c.Sure {
		t.Errorf("filtered, no rows: %+v", c)
	}
}

func FuzzLsmod(f *testing.F) {
	f.Add("Module                  Size  Used by    Tainted: P\ncdrom 32608 0 (autoclean) [ide-cd]\n" +
		"fuse 1 1 [permanent]\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func(string, *fact.Report) fact.Capture[Module]{ReadLsmod, ReadModulesText} {
			var r fact.Report
			c := read(text, &r)
			n := strings.Count(text, "\n") + 1
			if c.Rows != len(c.Records) || c.Rows+c.Stray > n || len(r.Problems) > 4 {
				t.Fatalf("%d rows and %d stray of %d lines, %v", c.Rows, c.Stray, n, r.Problems)
			}
			users := 0
			for _, m := range c.Records {
				users += len(m.UsedBy)
				if size, ok := m.Size.Get(); m.Name == "" || !ok || size < 0 {
					t.Fatalf("%+v", m)
				}
			}
			if users > len(text) {
				t.Fatalf("%d users in %d bytes", users, len(text))
			}
		}
	})
}
