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
	row := func(name string, size, refs int64, users []string) Entry {
		return Entry{Name: name, Size: size, Refs: fact.CountOf(refs), UsedBy: users}
	}
	permanent := row("fuse", 4096, 1, none)
	permanent.Permanent = true
	loading := row("mine", 4096, 0, none)
	loading.State = "Loading"
	for _, tt := range []struct {
		line string
		want Entry
	}{
		{"igb                   249856  0", row("igb", 249856, 0, none)},
		{"dm_log 18411  2 dm_region_hash,dm_mirror", row("dm_log", 18411, 2, []string{"dm_region_hash", "dm_mirror"})},
		{"kkm                   163840  -1", row("kkm", 163840, -1, none)},
		{"kkm                   163840  -2", Entry{Name: "kkm", Size: 163840}},
		{"nound  4096  -", Entry{Name: "nound", Size: 4096}},
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
			t.Errorf("%q is no row", tt.line)
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
	c := ParseLsmod("root@host:~# lsmod\nModule                  Size  Used by    Tainted: PF \nnvme 57344 3\n\n" +
		"lsmod: oops\nwhat is this\n...\nnvme_core 184320 5 nvme\nroot@host:~# \n")
	if !c.Header || c.KernelTaint != "PF" || !c.HasKernelTaint || c.Stray != 1 || len(c.Entries) != 2 || c.Truncated {
		t.Errorf("%+v", c)
	}
	c = ParseLsmod("Module Size Used by    Not tainted\n")
	if !c.Header || !c.HasKernelTaint || c.KernelTaint != "" || len(c.Entries) != 0 {
		t.Errorf("empty list: %+v", c)
	}
	c = ParseLsmod("$ lsmod|egrep procfs3\nprocfs3                16384  -1")
	if c.Header || !c.Filtered || len(c.Entries) != 1 || !c.Truncated {
		t.Errorf("filtered: %+v", c)
	}
}

func FuzzLsmod(f *testing.F) {
	f.Add("Module                  Size  Used by    Tainted: P\ncdrom 32608 0 (autoclean) [ide-cd]\n" +
		"fuse 1 1 [permanent]\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []*Capture{ParseLsmod(text), ParseModulesText(text)} {
			if n := strings.Count(text, "\n") + 1; len(c.Entries)+c.Stray > n || len(c.Bad) > c.Stray {
				t.Fatalf("%d rows and %d stray of %d lines", len(c.Entries), c.Stray, n)
			}
			users := 0
			for _, e := range c.Entries {
				users += len(e.UsedBy)
				if e.Name == "" || e.Size < 0 {
					t.Fatalf("%+v", e)
				}
			}
			if users > len(text) {
				t.Fatalf("%d users in %d bytes", users, len(text))
			}
		}
	})
}
