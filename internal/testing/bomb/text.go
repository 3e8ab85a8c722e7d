// SPDX-License-Identifier: Apache-2.0

package bomb

import "strings"

// Capture is the reader of texts that tools print; Path is its kind.
const Capture = "capture"

// captureBombs are texts that tools print. The largest are eight megabytes, as much as is read.
func captureBombs() []Bomb {
	b := func(name, kind string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: Capture, Path: kind, Make: make, Small: 500, Big: big}
	}
	const sc = "SERVICE_NAME: %\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n"
	return []Bomb{
		b("oops", "kernel_log", numbered("[    1.0] Modules linked in:", " %", "\n[    1.0] CPU: 0\n"), 200_000),
		b("oops of lines", "kernel_log", repeat("[    1.0] Modules linked in:\n", "[    1.0] a b\n",
			"[    1.0] CPU: 0\n"), 200_000),
		b("lspci", "lspci", numbered("", "00:00.0 Bridge: x\n\tKernel modules: %\n", ""), 100_000),
		b("dkms", "dkms_status", numbered("", "%/1.0, 6.1.0, x86_64: installed\n", ""), 100_000),
		b("jc", "jc", numbered("[", `{"module":"%","size":1,"used":0,"by":["a","b"]},`, "{}]"), 100_000),
		b("kernel_modules", "kernel_modules", numbered("name|size|used_by|status\n", "%|1|-|Live\n", ""), 200_000),
		b("modinfo -0", "linux_modinfo", numbered("", "filename:       /lib/%.ko\x00name:           %\x00", ""),
			100_000),
		b("sysmon", "sysmon", numbered("", `<Event><EventID>6</EventID><Data Name="ImageLoaded">C:\%.sys</Data>`+
			`<Data Name="Hashes">MD5=1</Data></Event>`, ""), 50_000),
		b("windbg", "windbg", numbered("start    end        module name\n", "f9f73000 f9f7fd80   % (deferred)\n", ""),
			150_000),
		b("verifier", "verifier", numbered("", "Name: %.sys, loads: 1, unloads: 0\n", ""), 150_000),
		b("reg text", "reg_text", numbered("Windows Registry Editor Version 5.00\n\n",
			"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\%]\n\"Type\"=dword:00000001\n\n", ""), 60_000),
		b("kextfind", "kextfind", numbered("", "/Library/Extensions/%.kext\n", ""), 150_000),
		b("kernel_extensions", "kernel_extensions", numbered("", `{"idx":"1","refs":"0","size":"1","name":"com.a.%",`+
			`"version":"1","linked_against":"<1 2 3>"}`+"\n", ""), 60_000),
		b("kldxref", "kldxref", numbered("", "/boot/kernel/%.ko\n  module a\n  interface a.1\n", ""), 100_000),
		b("devmatch", "devmatch", numbered("", "Version: if a.1 kmod %.ko\n", ""), 150_000),
		b("lsmod", "lsmod", numbered("Module                  Size  Used by\n", "% 4096 0\n", ""), 400_000),
		b("lsmod of one name", "lsmod", repeat("Module                  Size  Used by\n", "m 4096 0\n", ""), 400_000),
		b("lsmod users", "lsmod", numbered("Module                  Size  Used by\nm 4096 1 ", "%,", "\n"), 500_000),
		b("lsmod strays", "lsmod", repeat("Module                  Size  Used by\nm 4096 0\n", "x\nm 1 0\n",
			""), 400_000),
		b("proc modules", "proc_modules", numbered("", "% 4096 0 - Live 0x0000000000000000\n", ""), 150_000),
		b("modinfo", "linux_modinfo", numbered("", "filename:       /lib/%.ko\nname:           %\n", ""), 100_000),
		b("modinfo of parameters", "linux_modinfo",
			numbered("filename:       /lib/a.ko\nname:           a\n", "parm:           %:x\n", ""), 200_000),
		b("modinfo continued", "linux_modinfo", repeat("filename:       /lib/a.ko\ndescription:    a\n", "x\n",
			""), 4_000_000),
		b("modinfo of errors", "linux_modinfo", repeat("filename:       /lib/a.ko\n", "xmodinfo: ERROR: \n",
			""), 400_000),
		b("kextstat", "kextstat",
			numbered("Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n",
				"    1    0 0xffffff7f80a1e000 0x9000     0x9000     com.a.% (1) <1>\n", ""), 80_000),
		b("kextstat links", "kextstat",
			repeat("Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n"+
				"    1    0 0xffffff7f80a1e000 0x9000     0x9000     com.a (1) <", "1 ", ">\n"), 400_000),
		b("kldstat", "kldstat", numbered("Id Refs Address                Size Name\n",
			" 1   10 0xffffffff80200000  1f3e8d0 %.ko\n", ""), 150_000),
		b("kldstat modules", "kldstat", numbered("Id Refs Address                Size Name\n"+
			" 1   10 0xffffffff80200000  1f3e8d0 kernel (/boot/kernel/kernel)\n\tContains modules:\n\t\tId Name\n",
			"\t\t  1 %\n", ""), 400_000),
		b("modstat", "modstat", numbered("NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n",
			"% misc       builtin  -        0       - -\n", ""), 150_000),
		b("illumos modinfo", "modinfo", numbered(" Id Loadaddr   Size Info Rev Module Name\n",
			"  6  1180000   4623   1   1  % (filesystem)\n", ""), 150_000),
		b("genkex", "genkex", numbered("Text address     Size Data address     Size File\n", "1 2 3 4 /%\n",
			""), 400_000),
		b("moduleshow", "moduleshow",
			numbered("MODULE NAME     MODULE ID   GROUP #  TEXT START DATA START  BSS START\n"+
				"--------------- ---------- ---------- ---------- ---------- ----------\n",
				"% 0x1 1 0x1 0x2 0x3\n", ""), 200_000),
		b("NetWare modules", "modules", numbered("", "%.NLM\n  Library\n  Version 5.00a September 10, 1998\n",
			""), 100_000),
		b("driverquery", "driverquery",
			numbered("\"Module Name\",\"Display Name\",\"Driver Type\",\"Link Date\"\n",
				"\"%\",\"d\",\"Kernel \",\"\"\n", ""), 250_000),
		b("sc query", "sc", numbered("", sc+"\n", ""), 60_000),
		b("fltmc", "fltmc", numbered("Filter Name                     Num Instances    Altitude    Frame\n",
			"%                 1       180451.2         0\n", ""), 150_000),
		b("pnputil", "pnputil", numbered("Microsoft PnP Utility\n\n",
			"Published Name:     oem1.inf\nOriginal Name:      %.inf\nProvider Name:      x\n\n", ""), 80_000),
		b("WMI JSON", "wmi", numbered("[", `{"Name":"%","State":"Running"},`,
			`{"Name":"x","State":"Running"}]`), 200_000),
		b("WMI lists", "wmi", numbered("", "Name  : %\nState : Running\n\n", ""), 250_000),
		b("msinfo32", "msinfo32", numbered("<MsInfo><Category name=\"x\">",
			"<Data><a>%</a><b>d</b><c>\\x</c><d>Kernel</d><e>Yes</e><f>Boot</f><g>Running</g><h>OK</h><i>N</i></Data>",
			"</Category></MsInfo>"), 60_000),
		b("system_profiler", "system_profiler", numbered("Extensions:\n\n",
			"    %:\n\n      Version: 1\n      Loaded: Yes\n\n",
			""), 150_000),
		b("one long line", "", func(n int) []byte { return []byte(strings.Repeat("x $ # % > ", n)) }, 800_000),
		b("terminal escapes", "lsmod", repeat("Module                  Size  Used by\nm 4096 0\n", "\x1b]0;",
			"\n"), 400_000),
	}
}
