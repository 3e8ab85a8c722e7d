// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestOtherTools refuses what other tools print, in shortened made-up texts: none is a list of kernel extensions.
func TestOtherTools(t *testing.T) {
	for _, text := range []string{
		"  PID TTY          TIME CMD\n 1234 pts/0    00:00:00 bash\n 1240 pts/0    00:00:00 ps\n",
		"total 8\ndrwxr-xr-x 2 root root 4096 Nov 23 03:29 bin\n-rw-r--r-- 1 root root  220 Nov 23 rc\n",
		"Filesystem     1K-blocks    Used Available Use% Mounted on\n/dev/sda1  41152736 9876543  29152736  26% /\n",
		"              total        used        free\nMem:        8012345     2345678     3456789\n",
		"/dev/sda1 on / type ext4 (rw,relatime)\nproc on /proc type proc (rw,nosuid)\n",
		"00:00.0 Host bridge: Intel Corporation 440FX (rev 02)\n00:02.0 VGA compatible controller: Red Hat QXL\n",
		"Bus 001 Device 001: ID 1d6b:0002 Linux Foundation 2.0 root hub\n",
		"eth0: flags=4163<UP,BROADCAST>  mtu 1500\n        inet 10.0.0.2  netmask 255.255.255.0\n",
		"UNIT           LOAD   ACTIVE SUB     DESCRIPTION\nssh.service    loaded active running OpenSSH server\n",
		"Linux host 6.1.0-13-amd64 #1 SMP x86_64 GNU/Linux\n",
		"[    0.000000] Linux version 6.1.0 (gcc 12.2)\n[    0.000001] Command line: quiet\n",
		"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n",
		"Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2\n",
		"tcp        0      0 0.0.0.0:22       0.0.0.0:*       LISTEN\n",
		" 10:00:00 up 3 days,  2:10,  1 user,  load average: 0.00, 0.01, 0.05\n",
		"NAME   MAJ:MIN RM  SIZE RO TYPE MOUNTPOINT\nsda      8:0    0   40G  0 disk\n",
		"commit 0123456789abcdef\nAuthor: A <a@example.org>\n\n    a change\n",
		"#include <stdio.h>\nint main(void)\n{\n\treturn 0;\n}\n",
		"---\nname: ci\non: [push]\njobs:\n  test:\n    runs-on: ubuntu\n",
		"{\"name\":\"x\",\"version\":\"1.0.0\",\"dependencies\":{}}\n",
		"[{\"pid\":1,\"name\":\"init\"},{\"pid\":2,\"name\":\"kthreadd\"}]\n",
		"<?xml version=\"1.0\"?>\n<html><body><p>text</p></body></html>\n",
		"pid,name,user\n1,init,root\n2,kthreadd,root\n",
		"Image Name                     PID Session Name        Session#    Mem Usage\n" +
			"========================= ======== ================ =========== ============\n" +
			"System                           4 Services                   0      1,234 K\n",
		"Windows IP Configuration\n\n   Host Name . . . . . . . . . . . . : PC\n" +
			"   Node Type . . . . . . . . . . . . : Hybrid\n",
		"Host Name:                 PC\nOS Name:                   Microsoft Windows 11 Pro\n",
		"Status   Name               DisplayName\n------   ----               -----------\n" +
			"Running  Dhcp               DHCP Client\n",
		" Volume in drive C has no label.\n Directory of C:\\\n11/28/2026  10:00 AM    <DIR>          Windows\n",
		"hw.model: Apple M1\nhw.ncpu: 8\nkern.ostype: Darwin\n",
		"PID\tStatus\tLabel\n-\t0\tcom.example.agent\n123\t0\tcom.example.helper\n",
		"Disk /dev/sda: 40 GiB\nDevice     Boot Start      End  Sectors Size Id Type\n" +
			"/dev/sda1  *     2048 83884031 83881984  40G 83 Linux\n",
		"usage: tool [-h] [--version] FILE\n\nerror: the following arguments are required: FILE\n",
	} {
		if s, err := capture.Read(strings.NewReader(text), ""); !errors.Is(err, lkm.ErrMalformed) {
			kind := "nothing"
			if s != nil {
				kind = s.Sources[0].Name
			}
			t.Errorf("%.60q is read as %s: %v", text, kind, err)
		}
	}
}
