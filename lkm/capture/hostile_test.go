// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// leftOut are lines that replace others in a text, or the end of a command that was cut off.
var leftOut = []string{
	".", ". . .", "[. . .]", ".\n.\n.", "· · ·", "......................", "\t.",
	"...", "[...]", "(...)", "…", "……", "⋮", "<snip>", "[snip]", "--- snip ---", "~~~ snip ~~~", "[truncated]",
	"<output truncated>", "*** output truncated ***", "... 120 lines omitted ...", "[ 37 lines omitted ]",
	"... and 12 more", "(+ 25 more rows)", "42 more lines", "and 7 others omitted", "[rest omitted for brevity]",
	"... output omitted for brevity ...", "<many lines skipped>", "(lines removed)", "[shortened]", "cut",
	"--More--", "--More--(34%)", "-- More  --", "-- Fortsetzung  --", "-- Suite  --", "-- Далее --", "-- 続く --",
	"lines 1-23", "lines 1-23/188 12%", "(END)", "<SPACE> next page; <CR> next line; Q quit",
	"Press any key to continue . . .", "^C", "^C%", "^C[root@h ~]# ", `^\Quit`, "Killed", "Terminated",
	"lsmod: write error: Broken pipe",
	"Connection to host closed.", "client_loop: send disconnect: Broken pipe", "[etc.]", "and so on", "以下省略",
	"$ head -20 lsmod.txt", "# grep nvidia /tmp/modules.txt", "$ tail -n 50 saved.log",
	"user@host:~$ sed -n 1,40p out.txt",
	"C:\\> findstr /i net drivers.txt", "PS C:\\> Select-String net drivers.txt", "$ awk 'NR<30' modules",
	"$ sudo grep -v usb saved", "Every 2.0s: lsmod       host: Mon Nov  1 10:00:00 2026",
}

// hostileTexts are whole lists of many forms, into which something was put.
func hostileTexts() map[Kind]string {
	return map[Kind]string{
		Lsmod: "Module                  Size  Used by\nnvme 57344 3\nnvme_core 176128 5 nvme\next4 1011712 1\n",
		ProcModules: "nvme 57344 3 - Live 0x0000000000000000\next4 1011712 1 - Live 0x0000000000000000\n" +
			"usb 1 0 - Live 0x0000000000000000\n",
		Kldstat: "Id Refs Address                Size Name\n 1   12 0xffffffff80200000  1f3e2d0 kernel\n" +
			" 2    1 0xffffffff8213f000     4b58 zfs.ko\n",
		Modstat: "NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
			"acpicpu        driver     builtin  -        0       - -\n" +
			"zfs            vfs        filesys  -        1  123456 solaris\n",
		Fltmc: "\nFilter Name                     Num Instances    Altitude    Frame\n" +
			"------------------------------  -------------  ------------  -----\n" +
			"WdFilter                                5       328010         0\n" +
			"luafv                                   1       135000         0\n",
	}
}

// TestLeftOutLinesMakeAPart puts each line into the middle and at the end of lists: none is whole any more.
func TestLeftOutLinesMakeAPart(t *testing.T) {
	count := 0
	for kind, whole := range hostileTexts() {
		s, err := Read(strings.NewReader(whole), kind)
		if err != nil || !okSource(s) {
			t.Errorf("%s by itself: %v, %+v", kind, err, s)
			continue
		}
		lines := strings.SplitAfter(whole, "\n")
		for _, line := range leftOut {
			for _, at := range []int{len(lines) - 2, len(lines) - 1} {
				text := strings.Join(lines[:at], "") + line + "\n" + strings.Join(lines[at:], "")
				count++
				if s, err := Read(strings.NewReader(text), kind); err == nil && okSource(s) {
					t.Errorf("%s with %q is whole: %+v", kind, line, s.Sources)
				}
			}
		}
	}
	t.Logf("%d texts", count)
}

// okSource reports whether a source says that it has a whole list.
func okSource(s *lkm.Snapshot) bool {
	for _, src := range s.Sources {
		if src.Outcome == lkm.OutcomeOK {
			return true
		}
	}
	return false
}

// TestCommandsThatLeaveRowsOut puts commands before lists: each shows that rows are missing.
func TestCommandsThatLeaveRowsOut(t *testing.T) {
	texts := hostileTexts()
	for kind, commands := range map[Kind][]string{
		Lsmod: {"$ lsmod | grep -v usb", "$ lsmod | head -4", "# lsmod|tail -n +1", "lsmod | awk '$3>0'",
			"$ lsmod | fgrep n",
			"$ lsmod | sort -u", "root@h:/# lsmod | sed 1,5d", "$ ssh h lsmod | grep n",
			"$ sudo lsmod | egrep 'nvme|ext4'",
			"$ lsmod | xargs -n1", "$ lsmod | uniq", "$ lsmod | perl -ne 'print if /n/'", "% lsmod | rg nvme"},
		ProcModules: {"$ cat /proc/modules | grep -i live", "# head -3 /proc/modules", "$ grep Live /proc/modules",
			"$ sudo tail -3 /proc/modules"},
		Kldstat: {"# kldstat | grep ko", "# kldstat -n zfs", "% kldstat -i 2", "$ kldstat | tail -3"},
		Fltmc: {"C:\\>fltmc | findstr /v x", "C:\\> fltmc filters | find \"W\"", "PS C:\\> fltmc | Select-String W",
			"PS C:\\> fltmc | select -First 5"},
	} {
		for _, command := range commands {
			if s, err := Read(strings.NewReader(command+"\n"+texts[kind]), kind); err == nil && okSource(s) {
				t.Errorf("%s after %q is whole: %+v", kind, command, s.Sources)
			}
		}
	}
}

// TestPlainCommandsAreWhole: commands that leave nothing out do no harm.
func TestPlainCommandsAreWhole(t *testing.T) {
	texts := hostileTexts()
	for kind, commands := range map[Kind][]string{
		Lsmod: {"$ lsmod", "$ lsmod | sort", "root@h:/# lsmod | tee out.txt", "$ sudo lsmod | less"},
		Fltmc: {"C:\\>fltmc", "PS C:\\> fltmc filters | clip"},
	} {
		for _, command := range commands {
			if s, err := Read(strings.NewReader(command+"\n"+texts[kind]), kind); err != nil || !okSource(s) {
				t.Errorf("%s after %q: %v", kind, command, err)
			}
		}
	}
}
