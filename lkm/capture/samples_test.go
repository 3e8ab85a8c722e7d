// SPDX-License-Identifier: Apache-2.0

package capture

// A sample is a short text of one kind.
type sample struct {
	name string
	kind Kind
	rows int  // modules
	ok   bool // the text shows a whole list
	text string
}

// samples are texts of kinds of which there is no recording.
var samples = []sample{
	// posted to a kernel mailing list
	{"oops1", KernelLog, 21, true,
		"[ 7703.158306][   C99] Oops: Exception in kernel mode, sig: 5 [#1]\n" +
			"[ 7703.158330][   C99] LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=256 NUMA PowerNV\n" +
			"[ 7703.158343][   C99] Modules linked in: vfio_pci vfio_virqfd vfio_iommu_spapr_tce vfio " +
			"vfio_spapr_eeh loop kvm_hv kvm ip_tables x_tables sd_mod ahci libahci tg3 libata firmware_class " +
			"libphy dm_mirror dm_region_hash dm_log dm_mod [last unloaded: dummy_del_mod]\n" +
			"[ 7703.158435][   C99] CPU: 99 PID: 308 Comm: ksoftirqd/99 Tainted: G           O      " +
			"5.10.0-rc7-next-20201211 #1\n" +
			"[ 7703.158464][   C99] NIP:  c00000000005dbec LR: c0000000003352f4 CTR: 0000000000000000\n"},
	// posted to a kernel mailing list, broken within a name by a terminal
	{"oops2", KernelLog, 15, false,
		"[   37.958963] Modules linked in: ov5640(-) v4l2_fwnode tidss ti_tfp410 tc358767 " +
			"display_connector cdns_mhdp8546 panel_simple drm_kms_helper drm drm_panel_orientation_quirks " +
			"cfbfill\n" +
			"rect cfbimgblt cfbcopyarea phy_j721e_wiz phy_cadence_torrent [last unloaded: cdns_dphy]\n" +
			"[   37.982455] CPU: 1 PID: 628 Comm: rmmod Not tainted 5.13.0-rc1-00205-g93acc23badc8 #3\n"},
	// quoted three times on a kernel mailing list, shortened
	{"oops3", KernelLog, 18, true,
		"> > > [ 512.653923][ T7285] Modules linked in: zram zsmalloc kheaders nfsv3\n" +
			"> > > nfs lockd grace sunrpc xt_conntrack nft_chain_nat xt_MASQUERADE nf_nat\n" +
			"> > > nf_conntrack_netlink nf_conntrack nf_defrag_ipv6 nf_defrag_ipv4\n" +
			"> > > common unix(OE) [last unloaded: zsmalloc]\n" +
			"> > > [ 512.659238][ T7285] CPU: 0 PID: 7285 Comm: zram-corruptor Tainted: G\n" +
			"> > > W 5.16.0-ivan #1 0877d306c6dc0716835d43cafe4399473d09e406\n"},
	// rows of forum posts, of DKMS 2 and 3; the last made up
	{"dkms1", DKMSStatus, 4, false,
		"bcmwl, 5.10.91.9+bdcom, 2.6.31-3-generic-pae, i686: installed  (WARNING! Diff between built and " +
			"installed module!)\n" +
			"bcmwl, 5.10.91.9+bdcom, 2.6.31-1-generic, i686: built \n" +
			"btusb/4.0, 5.19.0-46-generic, x86_64: installed\n" +
			"foo/1.0: added\n"},
	// an excerpt of a forum post
	{"lspci1", LspciK, 4, true,
		"00:1f.3 SMBus [0c05]: Intel Corporation 82801I (ICH9 Family) SMBus Controller [8086:2930] (rev " +
			"03)\n" +
			"    Subsystem: Hewlett-Packard Company Device [103c:3603]\n" +
			"    Kernel modules: i2c-i801\n" +
			"00:1f.6 Signal processing controller [1180]: Intel Corporation 82801I (ICH9 Family) Thermal " +
			"Subsystem [8086:2932] (rev 03)\n" +
			"    Subsystem: Hewlett-Packard Company Device [103c:3603]\n" +
			"01:00.0 VGA compatible controller [0300]: NVIDIA Corporation G96 [GeForce 9600M GT] [10de:0649] " +
			"(rev a1)\n" +
			"    Subsystem: Hewlett-Packard Company Device [103c:3603]\n" +
			"    Kernel driver in use: nouveau\n" +
			"    Kernel modules: nouveau, nvidiafb\n" +
			"02:00.0 Network controller [0280]: Broadcom Corporation BCM4312 802.11b/g LP-PHY [14e4:4315] " +
			"(rev 01)\n" +
			"    Kernel driver in use: b43-pci-bridge\n" +
			"    Kernel modules: ssb\n"},
	// made up, after kmod's tools/modinfo.c
	{"modinfo0", LinuxModinfo, 1, true,
		"filename:       /lib/modules/6.1.0/kernel/fs/x.ko\x00description:    two\n" +
			"version:        lines\x00license:        GPL\x00name:           x\x00vermagic:       6.1.0 SMP\x00"},
	// made up, after osquery's schema
	{"osq.json", LinuxOsquery, 2, true, `[
  {"address":"0xffffffffc0ab4000","name":"binfmt_misc","size":"24576","status":"Live","used_by":"-"},
  {"address":"0xffffffffc0ab5000","name":"vsock","size":"24576","status":"Live","used_by":"binfmt_misc"}
]
`},
	// made up, after the fields of kernel.module
	{"mql.json", MQL, 2, true,
		"[{\"kernel.modules.list\":[{\"loaded\":true,\"name\":\"vsock\",\"size\":\"24576\"}," +
			"{\"loaded\":false,\"name\":\"xfs\",\"size\":\"0\"}]}]\n"},
	// made up, after the artifact's query
	{"velomod", LinuxVelociraptor, 2, true,
		"{\"Name\":\"vsock\",\"Size\":45056,\"UseCount\":2,\"UsedBy\":\"vmw\",\"Status\":\"Live\"," +
			"\"Address\":\"0xffffffffc0ab4000\"}\n" +
			"{\"Name\":\"vmw\",\"Size\":1028160,\"UseCount\":0,\"UsedBy\":null,\"Status\":\"Live\"," +
			"\"Address\":\"0xffffffffc0ab5000\"}\n"},
	// made up, after jc's schema
	{"jclsmod", JC, 3, true,
		"[{\"module\":\"nf_nat\",\"size\":1026583,\"used\":3,\"by\":[\"a\",\"b\"]},{\"module\":\"a\"," +
			"\"size\":2,\"used\":0},\n" +
			"{\"module\":\"b\",\"size\":2,\"used\":0}]\n"},
	// made up, after Sysmon's event manifest; the hashes are of a published file
	{"sysmon.txt", Sysmon, 1, false,
		"Driver loaded:\n" +
			"RuleName: -\n" +
			"UtcTime: 2021-04-28 22:45:16.662\n" +
			"ImageLoaded: C:\\Windows\\System32\\drivers\\WinRing0x64.sys\n" +
			"Hashes: SHA1=D25340AE8E92A6D29F599FEF426A2BC1B5217299,MD5=0C0195C48B6B8582FA6F6373032118DA," +
			"SHA256=11BD2C9F9E2397C9A16E0990E4ED2CF0679498FE0FD418A3DFDAC60B5C160EE5,IMPHASH=" +
			"D41FA95D4642DC981F10DE36F4DC8CD7\n" +
			"Signed: true\n" +
			"Signature: Noriyuki MIYAZAKI\n" +
			"SignatureStatus: Valid\n"},
	// made up, after Sysmon's event manifest
	{"sysmon.xml", Sysmon, 1, false,
		"<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name=" +
			"'Microsoft-Windows-Sysmon' Guid='{5770385F-C22A-43E0-BF4C-06F5698FFBD9}'/><EventID>6</EventID>" +
			"<Version>3</Version><Level>4</Level></System><EventData><Data Name='RuleName'></Data><Data Name=" +
			"'UtcTime'>2019-02-13 18:03:29.046</Data><Data Name='ImageLoaded'>" +
			"C:\\Windows\\System32\\drivers\\kprocesshacker.sys</Data><Data Name='Hashes'>SHA256=" +
			"70211A3F90376BBC61F49C22A63075D1D4DDD53F0AEFA976216C46E6BA39A9F4,IMPHASH=" +
			"F86759BB4DE4320918615DC06E998A39</Data><Data Name='Signed'>true</Data><Data Name='Signature'>" +
			"Wen Jia Liu</Data><Data Name='SignatureStatus'>Valid</Data></EventData></Event>\n"},
	// rows of a crash dump in a forum post
	{"lm.txt", WinDbg, 3, true,
		"4: kd> lm\n" +
			"start             end                 module name\n" +
			"fffff802`4b400000 fffff802`4c446000   nt         (pdb symbols)          " +
			"C:\\ProgramData\\Dbg\\sym\\ntkrnlmp.pdb\\1\\ntkrnlmp.pdb\n" +
			"fffff802`68f80000 fffff802`68f92000   condrv     (deferred)             \n" +
			"fffff802`68fa0000 fffff802`6b406000   nvlddmkm   (deferred)             \n" +
			"\n" +
			"Unloaded modules:\n" +
			"fffff802`68eb0000 fffff802`68eda000   luafv.sys\n"},
	// the debugger's documentation
	{"lm32.txt", WinDbg, 2, false,
		"kd> lm m s*\n" +
			"start    end        module name\n" +
			"f9f73000 f9f7fd80   sysaudio     (deferred)                 \n" +
			"fb24f000 fb250000   swenum       (deferred)                 \n" +
			"\n" +
			"Unloaded modules:\n" +
			"f9f53000 f9f61000   swmidi.sys\n"},
	// shortened from a test report of a driver
	{"verifier.txt", Verifier, 1, false, `Level: 0000001B
RaiseIrqls: 0
AcquireSpinLocks: 2850

Verified drivers:

Name: xhci98.sys, loads: 1, unloads: 0

CurrentPagedPoolAllocations: 0
`},
	// made up, as regedit writes it
	{"services.reg", RegText, 1, false, `Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WinRing0_1_2_0]
"Type"=dword:00000001
"Start"=dword:00000003
"ErrorControl"=dword:00000001
"ImagePath"=hex(2):5c,00,3f,00,3f,00,5c,00,43,00,3a,00,5c,00,54,00,5c,00,57,00,\
  52,00,2e,00,73,00,79,00,73,00,00,00
"DisplayName"="WinRing0_1_2_0"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Spooler]
"Type"=dword:00000110
`},
	// made up, with the names of the XML form
	{"pnp.csv", PnPUtil, 1, true,
		"DriverName,OriginalName,ProviderName,ClassName,ClassGuid,DriverVersion,SignerName\n" +
			"oem12.inf,wifi.inf,\"Intel, Inc.\",Net,{4d36e972-e325-11ce-bfc1-08002be10318},07/22/2022 " +
			"23.40.0.4,Microsoft Windows Hardware Compatibility Publisher\n"},
	// made up, after Velociraptor's Windows.Sys.Drivers
	{"velo.jsonl", WMI, 2, true,
		"{\"Name\":\"ACPI\",\"DisplayName\":\"Microsoft ACPI Driver\"," +
			"\"PathName\":\"C:\\\\Windows\\\\system32\\\\drivers\\\\ACPI.sys\",\"State\":\"Running\"," +
			"\"StartMode\":\"Boot\",\"Started\":true,\"_Source\":\"Windows.Sys.Drivers/RunningDrivers\"}\n" +
			"{\"DeviceID\":\"PCI\\\\VEN_8086&DEV_100E\",\"DeviceName\":\"Intel NIC\"," +
			"\"DriverVersion\":\"8.4.1.0\",\"InfName\":\"net1.inf\",\"IsSigned\":true," +
			"\"DriverDate\":\"20100323000000.******+***\",\"_Source\":\"Windows.Sys.Drivers/SignedDrivers\"}\n"},
	// documentation of a Mac user
	{"csr1", CSRUtil, 0, true, `% csrutil status
System Integrity Protection status: unknown (Custom Configuration).

Configuration:
	Apple Internal: disabled
	Kext Signing: enabled
	Filesystem Protections: enabled
	NVRAM Protections: disabled
	Authenticated Root Requirement: enabled

This is an unsupported configuration, likely to break in the future and leave your machine in an unknown state.
`},
	// made up, as kextfind(8) describes it
	{"kextfind1", Kextfind, 3, false, `/System/Library/Extensions/ALF.kext
/System/Library/Extensions/IOUSBFamily.kext/Contents/PlugIns/AppleUSBHub.kext
/Library/Extensions/Soundflower.kext
`},
	// made up, after osquery's schema
	{"osqk.json", DarwinOsquery, 2, true,
		"[{\"idx\":\"1\",\"linked_against\":\"<>\",\"name\":\"com.apple.kpi.bsd\"," +
			"\"path\":\"__kernel__\",\"refs\":\"120\",\"size\":\"0\",\"version\":\"18.7.0\"},\n" +
			"{\"idx\":\"12\",\"linked_against\":\"<1>\",\"name\":\"com.example.filter\"," +
			"\"path\":\"/Library/Extensions/f.kext\",\"refs\":\"0\",\"size\":\"53248\",\"version\":\"1.0\"}]\n"},
	// made up, after kldxref.c
	{"kldxref1", Kldxref, 2, true, `/boot/kernel/aesni.ko
  module aesni_nexus
  interface aesni.1
  depends on crypto.1 (1,1)
  depends on kernel.1400097 (1400000,1499999)
/boot/kernel/if_em.ko
  depends on iflib.1 (1,1)
  pnp info for bus pci format U32:vendor;U32:device;D:#; 10 entries of 16 bytes
  module em_pci
`},
	// made up, after devmatch.c
	{"devmatch1", Devmatch, 2, true, `Version: if aesni.1 kmod aesni.ko
Module aesni_nexus in aesni.ko
Module pci/em in if_em.ko
PNP info for bus pci format I:vendor;I:device;D:#; 2 entries (if_em.ko)
   0x8086:0x1000:'Intel(R) Legacy PRO/1000 MT 82544EI (Fiber)':
   0x8086:0x1001:'Intel':
`},
	// made up: kldstat -v | grep zfs
	{"kldgrep", Kldstat, 3, false,
		" 3    1 0xffffffff82112000   44fb48 zfs.ko (/boot/kernel/zfs.ko)\n" +
			"\t\t 12 zfsctrl\n" +
			"\t\t 13 zfs\n"},
	// made up: modinfo -w of illumos
	{"modinfow", Modinfo, 3, true, ` Id         Loadaddr   Size Info Rev Module Name
  0 fffffffffb800000 22da88   -   0  unix ()
  1 fffffffffbad2b80 2ec8e8   -   0  genunix ()
  4 fffffffffbd9d000   4c18   1   1  specfs (filesystem for specfs)
`},
}
