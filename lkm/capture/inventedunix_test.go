// SPDX-License-Identifier: Apache-2.0

package capture

// inventedUnix are texts of the BSDs, Solaris, AIX, VxWorks and NetWare.
var inventedUnix = []inventedText{
	{"size is missing", Kldstat, "part", "kernel", "4b58 @ -", "Id Refs Address                Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\n 2    1 0xffffffff8213f000          zfs.ko\n"},
	{"kernel's row cut out", Kldstat, "part", "zfs.ko", "", "Id Refs Address                Size Name\n" +
		" 2    1 0xffffffff8213f000     4b58 zfs.ko\n"},
	{"footer", Kldstat, "part", "kernel", "", "Id Refs Address                Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\n(1 of 12)\n"},
	{"name with a blank", Kldstat, "whole", "kernel,my module.ko", "", "Id Refs Address                Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\n 2    1 0xffffffff8213f000     4b58 my module.ko\n"},
	{"two lists", Kldstat, "part", "kernel,kernel,zfs.ko", "", "Id Refs Address Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\nafter kldload zfs:\nId Refs Address Size Name\n" +
		" 1   14 0xffffffff80200000  1f3e2d0 kernel\n 2    1 0xffffffff8213f000     4b58 zfs.ko\n"},
	{"references and id swapped", Kldstat, "refused", "", "", "Refs Id Address                Size Name\n" +
		"12    1 0xffffffff80200000  1f3e2d0 kernel\n 1    2 0xffffffff8213f000     4b58 zfs.ko\n"},
	{"size is missing", KldstatDragonFly, "part", "kernel", "", "Id Refs Address            Size     Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\n 2    1 0xffffffff8213f000          acpi.ko\n"},
	{"filter", KldstatDragonFly, "part", "kernel", "", "# kldstat | head -2\n" +
		"Id Refs Address            Size     Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\n"},
	{"error between", Kldxref, "part", "aesni.ko,if_em.ko", "", "/boot/kernel/aesni.ko\n  module aesni_nexus\n" +
		"kldxref: /boot/kernel/x.ko: No such file or directory\n/boot/kernel/if_em.ko\n  module em_pci\n"},
	{"ellipsis", Kldxref, "part", "aesni.ko", "", "/boot/kernel/aesni.ko\n  module aesni_nexus\n...\n"},
	{"filter", Devmatch, "part", "aesni.ko", "", "# devmatch --dump | grep aesni\nModule aesni_nexus in aesni.ko\n"},
	{"no file", Devmatch, "part", "aesni.ko", "", "Module aesni_nexus in aesni.ko\nModule pci/em in\n"},
	{"class is missing", Modstat, "part", "zfs", "filesys @ -,netbsd.source,source",
		"NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
			"acpicpu        builtin  -        0       - -\n" +
			"zfs            vfs        filesys  -        1  123456 solaris\n"},
	{"footer", Modstat, "part", "acpicpu", "", "NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
		"acpicpu        driver     builtin  -        0       - -\n1 rows\n"},
	{"two words for a class", Modstat, "part", "zfs", "",
		"NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
			"my mod         driver     builtin  -        0       - -\n" +
			"zfs            vfs        filesys  -        1  123456 solaris\n"},
	{"size is missing", Modinfo, "part", "unix", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		"  0 fffffffffb800000 22da88   -   0  unix ()\n" +
		"  4 fffffffffbd9d000   1   1  specfs (filesystem for specfs)\n"},
	{"footer", Modinfo, "part", "unix", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		"  0 fffffffffb800000 22da88   -   0  unix ()\n120 modules\n"},
	{"error", Modinfo, "part", "unix", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		"can't get module information: Invalid argument\n  0 fffffffffb800000 22da88   -   0  unix ()\n"},
	{"columns in another order", Modinfo, "refused", "", "", " Id Size   Loadaddr Info Rev Module Name\n" +
		"  0 22da88 fffffffffb800000   -   0  unix ()\n"},
	{"brackets are missing", Modinfo, "part", "unix", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		"  0 fffffffffb800000 22da88   -   0  unix ()\n" +
		"  5 fffffffffbd9d000   4c18   1   1  specfs filesystem for specfs\n"},
	{"name is missing", Modinfo, "part", "unix", "fffffffffbd9d000 @ -",
		" Id Loadaddr   Size Info Rev Module Name\n" +
			"  0 fffffffffb800000 22da88   -   0  unix ()\n  4 fffffffffbd9d000 4c18   1   1\n"},
	{"columns in another order", Genkex, "refused", "", "", "    Size Text address File\n\n" +
		"   18000  5200000 /unix\n"},
	{"error", Genkex, "part", "unix", "", "    Text address     Size File\n\n         5200000    18000 /unix\n" +
		"genkex: loadquery: Not owner\n"},
	{"columns in another order", Modstat, "whole", "nfs,zfs", "1 @ refs,netbsd.refs;123456 @ size",
		"NAME           CLASS      SOURCE   FLAG  SIZE   REFS REQUIRES\n" +
			"zfs            vfs        filesys  -   123456  1 solaris\n" +
			"nfs            vfs        builtin  -        -  0 -\n"},
	{"one module", Modstat, "part", "zfs", "", "NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
		"zfs            vfs        filesys  -        1  123456 solaris\n"},
	{"one built-in module", Modstat, "part", "nfs", "", "NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\n" +
		"nfs            vfs        builtin  -        0       - -\n"},
	{"one module", Modinfo, "part", "specfs", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		"  4 fffffffffbd9d000   4c18   1   1  specfs (filesystem for specfs)\n"},
	{"some modules", Modinfo, "part", "ufs,zfs", "", " Id Loadaddr   Size Info Rev Module Name\n" +
		" 45 fffffffffbd9d000   4c18   -   1  zfs (ZFS filesystem version 5000)\n" +
		" 45 fffffffffbd9d000   4c18 182   1  zfs (ZFS storage pool)\n" +
		" 46 fffffffffbde0000   1c18   -   1  ufs (filesystem for ufs)\n"},
	{"filter", Modstat, "part", "zfs", "", "# modstat | grep -e NAME -e zfs\n" +
		"NAME           CLASS      SOURCE   FLAG  REFS    SIZE REQUIRES\n" +
		"zfs            vfs        filesys  -        1  123456 solaris\n"},
	{"a module went while it listed", Kldstat, "whole", "kernel", "", "Id Refs Address                Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel (/boot/kernel/kernel)\n\tContains modules:\n\t\t Id Name\n" +
		"\t\t  2 cam\nkldstat: can't stat module id 3: No such file or directory\n"},
	{"a file went while it listed", Kldstat, "part", "kernel", "", "Id Refs Address                Size Name\n" +
		" 1   12 0xffffffff80200000  1f3e2d0 kernel\nkldstat: can't stat file id 3: No such file or directory\n"},
	{"size is missing", Genkex, "part", "unix", "", "    Text address     Size File\n\n" +
		"         5200000    18000 /unix\n         f100000 /usr/lib/drivers/x\n"},
	{"footer", Genkex, "part", "unix", "", "    Text address     Size File\n\n         5200000    18000 /unix\n" +
		"2 rows\n"},
	{"a row less", ModuleShow, "part", "demo.out", "",
		"MODULE NAME     MODULE ID  GROUP #    TEXT START DATA START  BSS START\n" +
			"--------------- ---------- ---------- ---------- ---------- ----------\n" +
			"demo.out        0x3c6e8e0           1  0x3c61000  0x3c62000  0x3c63000\n" +
			"bad.out         0x3c6e8e0           2\n"},
	{"footer", ModuleShow, "part", "demo.out", "",
		"MODULE NAME     MODULE ID  GROUP #    TEXT START DATA START  BSS START\n" +
			"--------------- ---------- ---------- ---------- ---------- ----------\n" +
			"demo.out        0x3c6e8e0           1  0x3c61000  0x3c62000  0x3c63000\n(1 of 9)\n"},
	{"page prompt", Modules, "part", "SERVER.NLM", "5.00 @ version", "SERVER.NLM\n" +
		"  NetWare Server Operating System\n" +
		"  Version 5.00    August 27, 1998\n  Copyright 1998\n" +
		"<Press ESC to terminate or any other key to continue>\n"},
	{"version is missing", Modules, "whole", "CLIB.NLM,SERVER.NLM", "", "SERVER.NLM\n" +
		"  NetWare Server Operating System\n" +
		"CLIB.NLM\n  C Library\n  Version 5.00a    August 27, 1998\n"},
	{"message between", Moddebug, "part", "specfs", "",
		"load 'fs/specfs' id 4 loaded @ 0xfffffffffbd9d000/0xfffffffffbc4e000 size 19480/744\n" +
			"NOTICE: x\n"},
	{"cut", Moddebug, "part", "specfs", "",
		"load 'fs/specfs' id 4 loaded @ 0xfffffffffbd9d000/0xfffffffffbc4e000 size 19480/744\n" +
			"load 'fs/devfs' id 5 loaded @ 0xffff\n"},
	{"version is missing", AbendLog, "part", "X.NLM", "", "Abend 1 on P00: Server-5.00a: Page Fault\n" +
		"Code in 00 (X.NLM, October 1, 1998)\n"},
	{"plain text", AbendLog, "refused", "", "", "Abend 1 on P00: Server-5.00a: Page Fault\n"},
}
