// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestSession reads what several tools printed in one session as one machine's.
func TestSession(t *testing.T) {
	s, err := capture.Read(strings.NewReader("user@host:~$ uname -r\n6.1.0\nuser@host:~$ lsmod\n"+lsmodText+
		"user@host:~$ modinfo nvme\n"+infoText+"user@host:~$ dmesg | tail -1\nhello\n"), "")
	if err != nil || len(s.Modules) != 2 {
		t.Fatal(err, s)
	}
	m := s.Module("linux_module:nvme")
	if m.State != lkm.StateLoaded || m.Version != "1.2" || m.Size.String() != "57344" {
		t.Errorf("%+v", m)
	}
	for _, source := range []string{linux.SourceLsmod, linux.SourceModinfo} {
		if got := outcome(t, s, source); got != lkm.OutcomeOK {
			t.Errorf("%s: %s, %v", source, got, s.Problems)
		}
	}
	s, err = capture.Read(strings.NewReader("$ lsmod | grep nvme\n"+lsmodText+"$ modinfo nvme\n"+infoText), "")
	if err != nil || outcome(t, s, linux.SourceLsmod) != lkm.OutcomePartial {
		t.Errorf("a selection in a session is a whole list: %v %v", err, s)
	}
}

// TestMarkdownTable reads columns that somebody made a Markdown table of.
func TestMarkdownTable(t *testing.T) {
	const table = "| Module | Size | Used by |\n|---|---:|---|\n| nvme | 57344 | 3 |\n| nvme_core | 184320 | 5 nvme |\n"
	for _, as := range []capture.Kind{"", capture.Lsmod} {
		s, err := capture.Read(strings.NewReader(table), as)
		if err != nil || len(s.Modules) != 2 || s.Module("linux_module:nvme_core").UsedBy[0] != "nvme" {
			t.Errorf("as %q: %v, %+v", as, err, s)
		}
	}
}

// TestUnwrap joins the lines that a terminal broke, and never a line that belongs to no row to one that does.
func TestUnwrap(t *testing.T) {
	var users []string
	var list strings.Builder
	list.WriteString("Module                  Size  Used by\n")
	for i := range 30 {
		users = append(users, fmt.Sprintf("module_with_a_name_%02d", i))
		fmt.Fprintf(&list, "%-23s 16384  0\n", users[i])
	}
	fmt.Fprintf(&list, "core                    16384  30 %s\n", strings.Join(users, ","))
	want, err := capture.Read(strings.NewReader(list.String()), "")
	if err != nil {
		t.Fatal(err)
	}
	var broken strings.Builder
	for line := range strings.Lines(list.String()) {
		for ; len(line) > 81; line = line[80:] {
			broken.WriteString(line[:80] + "\n")
		}
		broken.WriteString(line)
	}
	got, err := capture.Read(strings.NewReader(broken.String()), "")
	if err != nil || len(got.Modules) != len(want.Modules) || outcome(t, got, linux.SourceLsmod) != lkm.OutcomeOK ||
		len(got.Module("linux_module:core").UsedBy) != 30 {
		t.Errorf("%v, %+v", err, got)
	}
	last := "nvme_core              184320  5 " + strings.Repeat("nvme,", 8) + "nvme\n"
	got, err = capture.Read(strings.NewReader(lsmodText+last+"fault\n"), "")
	if err != nil || outcome(t, got, linux.SourceLsmod) != lkm.OutcomePartial {
		t.Errorf("a stray line is part of a row: %v, %+v", err, got)
	}
}
