// SPDX-License-Identifier: Apache-2.0

package capture

// inventedLinux are texts of Linux.
var inventedLinux = []inventedText{
	{"size is missing", Lsmod, "part", "nvme,usbhid", "3 @ refs,linux.refcnt",
		"Module                  Size  Used by\n" +
			"nvme                  57344  3\nusbcore                       2 xhci\nusbhid                65536  0\n"},
	{"footer of rows", Lsmod, "part", "nvme", "57344 @ size", "Module                  Size  Used by\n" +
		"nvme                  57344  3\n1 row\n"},
	{"columns in another order", Lsmod, "refused", "", "", "Module  Used by   Size\n" +
		"nvme        3     57344\next4        1     1011712\n"},
	{"error between rows", Lsmod, "part", "ext4,nvme", "57344 @ size", "Module                  Size  Used by\n" +
		"nvme                  57344  3\nlibkmod: ERROR ../libkmod/libkmod-module.c:1657: could not open /sys/x\n" +
		"ext4                1011712  1\n"},
	{"list of users cut", Lsmod, "part", "btrtl,btusb", "", "Module                  Size  Used by\n" +
		"btrtl                 28672  1 btusb\nbtusb                 65536  1 bt,\n"},
	{"last column cut", Lsmod, "refused", "", "", "Module                  Size\n" +
		"nvme                  57344\next4                1011712\n"},
	{"two lists below each other", Lsmod, "part", "ext4,nvme,nvme,usb", "", "Module Size Used by\nnvme 57344 3\n" +
		"ext4 1011712 1\n\nafter the crash:\nModule Size Used by\nnvme 57344 2\nusb 4096 0\n"},
	{"label with a filter", Lsmod, "part", "nvme,nvme_core", "", "Output of `lsmod | grep -e nvme -e Module`:\n" +
		"Module                  Size  Used by\nnvme                  57344  3\n" +
		"nvme_core            184320  5 nvme\n"},
	{"name with a blank", Lsmod, "part", "nvme", "", "Module                  Size  Used by\n" +
		"nvme                  57344  3\nnvme core            184320  5\n"},
	{"localized header", Lsmod, "part", "ext4,nvme", "57344 @ size", "Modul                  Größe  Benutzt von\n" +
		"nvme                  57344  3\next4                1011712  1\n"},
	{"grouped digits", Lsmod, "part", "ext4", "57 @ -;344 @ -", "Module                  Size  Used by\n" +
		"nvme                 57,344  3\next4                1011712  1\nvfat                 24 576  1\n"},

	{"address is missing", ProcModules, "part", "ext4", "", "nvme 57344 3 - Live\n" +
		"ext4 1011712 1 - Live 0x0000000000000000\n"},
	{"footer", ProcModules, "part", "ext4,nvme", "57344 @ size", "nvme 57344 3 - Live 0x0000000000000000\n" +
		"ext4 1011712 1 - Live 0x0000000000000000\n(2 rows shown)\n"},
	{"users and state swapped", ProcModules, "part", "ext4", "Live @ linux.state",
		"nvme 57344 3 Live - 0x0000000000000000\n" +
			"ext4 1011712 1 - Live 0x0000000000000000\n"},
	{"realigned", ProcModules, "whole", "ext4,nvme", "57344 @ size",
		"nvme        57344   3  -  Live  0x0000000000000000\n" +
			"ext4      1011712   1  -  Live  0x0000000000000000\n"},

	{"two of one name", LinuxModinfo, "part", "e1000e", "", "filename:       /lib/modules/6.1.0/kernel/e1000e.ko\n" +
		"license:        GPL v2\nmodinfo: ERROR: Module foo not found.\nname:           e1000e\n"},
	{"filtered", LinuxModinfo, "part", "e1000e", "1.2 @ version,linux.version,linux.modinfo.value",
		"$ modinfo e1000e | grep -v alias\n" +
			"filename:       /lib/modules/6.1.0/kernel/e1000e.ko\nversion:        1.2\nlicense:        GPL v2\n"},
	{"two fields in one line", LinuxModinfo, "part", "e1000e", "GPL v2 @ -",
		"filename:       /lib/modules/6.1.0/kernel/e1000e.ko\n" +
			"version:        license:        GPL v2\nname:           e1000e\n"},
	{"value missing", LinuxModinfo, "whole", "e1000e", "GPL v2 @ license,linux.modinfo.value",
		"filename:       /lib/modules/6.1.0/kernel/e1000e.ko\nversion:        \nlicense:        GPL v2\n" +
			"name:           e1000e\n"},
	{"ellipsis", LinuxModinfo, "part", "e1000e", "", "filename:       /lib/modules/6.1.0/kernel/e1000e.ko\n" +
		"license:        GPL v2\nalias:          pci:v00008086d000015F9sv*sd*bc*sc*i*\n...\ndepends:        ptp\n"},

	{"cut by the forum", KernelLog, "part", "nvme,xhci_hcd", "", "[ 12.1] Modules linked in: nvme xhci_hcd ...\n" +
		"[ 12.1] CPU: 0 PID: 1 Comm: x Tainted: G\n"},
	{"count in the middle", KernelLog, "part", "ext4,nvme", "", "[ 12.1] Modules linked in: nvme [...] ext4\n" +
		"[ 12.1] CPU: 0 PID: 1 Comm: x Tainted: G\n"},
	{"of two oopses the last", KernelLog, "whole", "ext4", "", "[ 12.1] Modules linked in: nvme(O)\n" +
		"[ 12.1] CPU: 0 PID: 1 Comm: x\n[ 99.1] Modules linked in: ext4\n[ 99.1] CPU: 0 PID: 1 Comm: x\n"},

	{"grep of the names", LspciK, "part", "i915", "", "$ lspci -k | grep -A2 VGA\n" +
		"00:02.0 VGA compatible controller: Intel Corporation UHD\n\tKernel driver in use: i915\n" +
		"\tKernel modules: i915\n"},
	{"error of pcilib", LspciK, "part", "i915,snd", "", "pcilib: Cannot open /sys/bus/pci/devices/0000:00:02.0/x\n" +
		"00:02.0 VGA compatible controller: Intel\n\tKernel modules: i915\n00:1f.3 Audio device: Intel\n" +
		"\tKernel modules: snd\n"},
	{"footer of devices", LspciK, "part", "i915", "", "00:02.0 VGA compatible controller: Intel\n" +
		"\tKernel modules: i915\n... and 30 more devices\n"},

	{"error row", DKMSStatus, "part", "zfs", "2.1.5 @ version,packageVersion,linux.dkms.version,package.version",
		"Error! Could not locate dkms.conf file.\nzfs/2.1.5, 5.15.0-76-generic, x86_64: installed\n"},
	{"architecture is missing", DKMSStatus, "part", "zfs", "", "zfs/2.1.5, 5.15.0-76-generic: installed\n" +
		"zfs/2.1.5, 5.15.0-75-generic, x86_64: installed\n"},

	{"cut array", JC, "part", "nvme",
		"57344 @ size", `[{"module":"nvme","size":57344,"used":3},{"module":"ext4","si`},
	{"size is null", JC, "part", "nvme", "57344 @ size;0 @ -",
		"[{\"module\":\"nvme\",\"size\":\"57344\",\"used\":\"3\"}," +
			"{\"module\":\"ext4\",\"size\":null,\"used\":null}]\n"},
	{"filtered by jq", JC, "part", "nvme", "", "$ jc lsmod | jq '.[:1]'\n" +
		"[{\"module\":\"nvme\",\"size\":57344,\"used\":3}]\n"},

	{"where in the prompt", LinuxOsquery, "part", "nvme", "",
		"osquery> select * from kernel_modules where size > 5;\n" +
			"+------+-------+---------+--------+--------------------+\n" +
			"| name | size  | used_by | status | address            |\n" +
			"+------+-------+---------+--------+--------------------+\n" +
			"| nvme | 57344 | -       | Live   | 0xffffffffc0ab4000 |\n" +
			"+------+-------+---------+--------+--------------------+\n"},
	{"row with a cell less", LinuxOsquery, "part", "ext4", "Live @ linux.state",
		"+------+-------+---------+--------+-----+\n" +
			"| name | size  | used_by | status | address            |\n+------+-------+---------+--------+-----+\n" +
			"| nvme | 57344 | Live   | 0xffffffffc0ab4000 |\n| ext4 | 1011712 | - | Live | 0xffffffffc0ab5000 |\n" +
			"+------+-------+---------+--------+-----+\n"},
	{"columns cut", LinuxOsquery, "part", "ext4,nvme", "", "name|size|used_by|status|address\n" +
		"nvme|57344|-|Live|0xffffffffc0ab4000\next4|1011712|-|Live|0xffffffffc0ab5000\n(2 rows)\n"},

	{"last line cut", LinuxVelociraptor, "part", "nvme", "57344 @ size",
		"{\"Name\":\"nvme\",\"Size\":57344,\"UseCount\":2,\"UsedBy\":null,\"Status\":\"Live\"," +
			"\"Address\":\"0x1\"}\n" +
			"{\"Name\":\"ext4\",\"Size\":10\n"},
	{"error between", LinuxVelociraptor, "part", "ext4,nvme", "57344 @ size",
		"{\"Name\":\"nvme\",\"Size\":57344,\"UseCount\":2,\"UsedBy\":null,\"Status\":\"Live\"," +
			"\"Address\":\"0x1\"}\n" +
			"[ERROR] query timed out\n" +
			"{\"Name\":\"ext4\",\"Size\":10,\"UseCount\":2,\"UsedBy\":null,\"Status\":\"Live\"," +
			"\"Address\":\"0x2\"}\n"},

	{"a filter in the prompt", MQL, "part", "vsock", "", "$ cnquery run -c 'kernel.modules' -j | head -2\n" +
		"[{\"kernel.modules.list\":[{\"loaded\":true,\"name\":\"vsock\",\"size\":\"24576\"}]}]\n"},
	{"ellipsis", MQL, "refused", "", "", "[{\"kernel.modules.list\":[{\"loaded\":true,\"name\":\"vsock\"," +
		"\"size\":\"24576\"},\n...\n]}]\n"},
	{"loaded is missing", MQL, "part", "vsock", "",
		"[{\"kernel.modules.list\":[{\"loaded\":true,\"name\":\"vsock\"," +
			"\"size\":\"24576\"},{\"name\":\"xfs\",\"size\":\"7\"}]}]\n"},
}
