// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"strings"
	"testing"
)

// commandTexts are whole lists, before which commands are put.
func commandTexts() map[Kind]string {
	texts := hostileTexts()
	texts[Kextstat] = "Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n" +
		"    1   10 0                  0          0          com.apple.kpi.bsd (18.7.0) " +
		"9B1CF1DC-6E5E-37A2-9F8B-1B7D3A4B5C6D <>\n" +
		"    2    0 0xffffff7f80a53000 0x1000     0x1000     com.vendor.a (1.0) " +
		"1B1CF1DC-6E5E-37A2-9F8B-1B7D3A4B5C6D <1>\n"
	texts[Modinfo] = " Id         Loadaddr   Size Info Rev Module Name\n" +
		"  0 fffffffffb800000 22da88   -   0  unix ()\n  4 fffffffffbd9d000   4c18   1   1  specfs (filesystem)\n"
	texts[DriverQuery] = "\"Module Name\",\"Display Name\",\"Driver Type\",\"Link Date\"\r\n" +
		"\"ACPI\",\"Microsoft ACPI Driver\",\"Kernel \",\"11/20/2010 9:19:16 AM\"\r\n"
	texts[WMI] = `[{"Name":"ACPI","DisplayName":"A","PathName":"C:\\Windows\\system32\\drivers\\ACPI.sys",` +
		`"State":"Running","StartMode":"Boot","Started":true}]` + "\n"
	texts[SC] = "SERVICE_NAME: pnpdrv\nDISPLAY_NAME: PnP\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n" +
		"                                (STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN)\n" +
		"        WIN32_EXIT_CODE    : 0  (0x0)\n        SERVICE_EXIT_CODE  : 0  (0x0)\n" +
		"        CHECKPOINT         : 0x0\n        WAIT_HINT          : 0x0\n"
	texts[PnPUtil] = "Microsoft PnP Utility\n\nPublished Name:     oem1.inf\nOriginal Name:      a.inf\n" +
		"Provider Name:      X\nClass Name:         Net\nClass GUID:         {4d36e972-e325-11ce-bfc1-08002be10318}\n" +
		"Driver Version:     07/22/2022 23.40.0.4\nSigner Name:        M\n\n"
	texts[SystemExtensionsCtl] = "1 extension(s)\n--- com.apple.system_extension.network_extension\n" +
		"enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n" +
		"*\t*\tABCDE12345\tcom.vendor.f (1.0/1)\tFilter\t[activated enabled]\n"
	texts[JC] = `[{"module":"a","size":2,"used":0},{"module":"b","size":2,"used":0}]` + "\n"
	return texts
}

// chosenCommands are commands that leave rows out, by the kind of their text.
var chosenCommands = map[Kind][]string{
	Lsmod: {
		"$ cat lsmod.txt | grep net", "$ cat lsmod.txt | egrep 'net|usb'", "$ cat lsmod.txt|sed -n 1,4p",
		"$ zcat l.gz | head", "$ cat l.txt | sort | uniq", "$ sort l.txt | head -4",
		`$ out=$(lsmod | grep nf); echo "$out"`,
		"$ out=`lsmod | grep nf`", "$ ssh host 'lsmod | grep nf'", `$ bash -c "lsmod | grep nf"`,
		"$ lsmod |& grep nf",
		"$ lsmod 2>&1 | grep nf", "$ lsmod | { head -1; grep nf; }", "$ (lsmod | grep nf)",
		"$ cat <(lsmod | grep nf)",
		"$ lsmod > f && grep nf f", "$ lsmod > f; head -3 f", "$ cd /tmp; cat f | tail -3", "$ lsmod | cat | grep x",
		"$ lsmod | sort -ru", "$ lsmod | sort --unique", "$ lsmod | less +40", "$ lsmod |", "$ lsmod | \\",
		"$ watch lsmod",
		"$ dmesg | grep x; lsmod | grep y", "$ time lsmod | ./mine", "lsmod | cat | head", "sudo lsmod | head",
		"$ /sbin/lsmod|grep nf", "$ for i in 1; do lsmod | grep nf; done", "$ grep -A9 lsmod report.txt",
		"$ perl -ne 'print if /n/' lsmod.txt", "$ echo $(lsmod | grep nf)", "$ lsmod | (read h; grep nf)",
		"$ diff <(lsmod) <(ssh h lsmod)", "$ doas lsmod | rg nf",
	},
	ProcModules: {"$ ssh h grep Live /proc/modules", "$ sudo -n head -3 /proc/modules", "$ ssh h head m.txt",
		"$ for h in a b; do ssh $h grep Live /proc/modules; done", "$ cat m.txt | grep Live",
		"$ cat /proc/modules | sort | head -2",
		"$ cut -d' ' -f1- /proc/modules"},
	Kldstat: {"$ cat k.txt | grep ko", "# kldstat -vn zfs", "# kldstat -nzfs", "# kldstat | awk 'NR<4'",
		"$ ssh h kldstat | grep zfs"},
	Modstat: {"$ cat k.txt | grep ko", "$ modstat zfs", "$ modstat -n zfs", "$ modstat -k zfs"},
	Kextstat: {"$ cat k.txt | grep com.vendor", "$ kextstat -kb com.vendor.a", "$ kextstat -b com.vendor.a",
		"$ kmutil showloaded --bundle-identifier=com.vendor.a",
		"$ kmutil showloaded --bundle-identifier com.vendor.a",
		"$ kmutil showloaded --bundle-id com.vendor.a", "$ kextstat -lb com.vendor.a", "$ kextstat -kl",
		"$ sudo kextstat | grep -v apple", "$ kmutil showloaded --collection aux", "kextstat -b com.vendor.a"},
	Modinfo: {"$ cat m.txt | egrep spec", "$ modinfo -i 4", "$ modinfo -wi 4", "# modinfo -i4"},
	DriverQuery: {`C:\>type d.txt | findstr A`, `C:\>driverquery /fo csv | findstr /i acpi`,
		`C:\>for /f %i in ('driverquery /fo csv ^| findstr x') do @echo %i`, `C:\> findstr A d.csv`,
		`C:\> find "A" d.csv`, `PS C:\> driverquery /fo csv | select -f 9`, "PS> gc d.csv -Tail 5",
		"PS> gc d.csv -tot 5",
		"PS> driverquery | sls ACPI", "PS> driverquery /fo csv | ConvertFrom-Csv | ? Name -like x"},
	WMI: {"PS> gc d.json | jq '.[0:2]'", `PS> Get-CimInstance Win32_SystemDriver -filter "State='Running'"`,
		`PS> Get-CimInstance Win32_SystemDriver -F "State='Running'" | ConvertTo-Json`,
		`PS> Get-CimInstance Win32_SystemDriver -Filt:x`, "PS> Get-CimInstance Win32_SystemDriver | select -fi 2",
		"PS> gcim Win32_SystemDriver | select -f 2 | ConvertTo-Json", "PS> gcim Win32_SystemDriver | SELECT -Last 2",
		"PS> gcim Win32_SystemDriver | select -SkipLast 2", "PS> gcim Win32_SystemDriver | sort Name -Unique",
		"PS> gcim Win32_SystemDriver | Sort-Object Name -Top 4",
		"PS> gcim Win32_SystemDriver | where State -eq Running",
		"PS> (gwmi win32_systemdriver).Where({$_.State -eq 'Running'})", "PS> (gwmi win32_systemdriver)[0..1]",
		"PS> $d = gwmi win32_systemdriver; $d[0..3] | ConvertTo-Json", "PS> (gwmi win32_systemdriver -Filter x)",
		"PS C:\\Program Files> $d | ? { $_.State }", `C:\> wmic sysdriver where "state='running'" get /format:csv`,
		`C:\> powershell -c "gwmi win32_systemdriver | select -first 3"`, "PS> gwmi -q x | ConvertTo-Json",
		"PS> gwmi win32_systemdriver | Out-GridView -PassThru | ConvertTo-Json"},
	SC: {`C:\> sc query pnpdrv`, `C:\> sc qc pnpdrv`, `C:\> sc.exe queryex pnpdrv`,
		`C:\> sc query type= driver group= base`,
		`C:\> sc \\host query pnpdrv`, `C:\> sc query type= driver state= inactive`,
		`C:\> sc query type= driver | find "S"`,
		`C:\> sc start pnpdrv`, `C:\> sc query type= kernel`, "sc query pnpdrv", `C:\> sc query type= driver ri= 20`},
	PnPUtil: {`C:\> pnputil /enum-drivers /class Net`, `C:\> pnputil.exe /Enum-Drivers /Class "Net"`,
		`C:\> pnputil -e | findstr /v x`},
	SystemExtensionsCtl: {"% systemextensionsctl list com.apple.system_extension.network_extension",
		"% systemextensionsctl list | grep -v x"},
	JC: {"$ lsmod | jc --lsmod | jq .[0:1]", `$ jq ".[0:3]" m.json`, "$ lsmod | grep nf | jc --lsmod",
		"$ cat m.txt | grep nf | jc --lsmod", "$ jc lsmod | jq 'map(select(.size > 2))'", "$ gojq .[0:3] m.json"},
}

// wholeCommands are commands that leave nothing out.
var wholeCommands = map[Kind][]string{
	Lsmod: {"$ lsmod", "$ lsmod | sort", "$ sudo lsmod", "$ ssh host lsmod", "$ lsmod > f", "$ lsmod > f; cat f",
		"$ cat f",
		"# /sbin/lsmod 2>&1 | tee out.txt", "$ lsmod | column -t", "$ sudo -n lsmod", "$ time lsmod",
		"$ cd /tmp && lsmod",
		"$ lsmod | sort -k2n", "$ lsmod | sort -t, -k1", "$ dmesg | grep x; lsmod", "$ uname -a; lsmod | sort",
		"$ dpkg -l | grep nvidia\n$ lsmod", "$ adb shell lsmod", "$ docker exec c lsmod", "$ cat f | sort | less",
		"lsmod",
		"[root@host ~]# lsmod", "$ lsmod;uname -r"},
	ProcModules: {"$ cat /proc/modules", "$ sudo cat /proc/modules | sort", "$ ssh h cat /proc/modules"},
	Kldstat:     {"# kldstat", "# kldstat -h", "% ssh h kldstat"},
	Modstat:     {"$ modstat", "$ modstat -A", "# modstat -k > f"},
	Kextstat:    {"$ kextstat", "$ kextstat -l", "$ kmutil showloaded", "$ sudo kextstat | less", "$ kextstat -a"},
	Modinfo:     {"$ modinfo", "$ modinfo -w", "# /usr/sbin/modinfo | sort"},
	DriverQuery: {"C:\\>driverquery /fo csv", "C:\\>driverquery /v /fo csv",
		"C:\\> driverquery /fo csv /s host | more",
		"PS> driverquery.exe /fo csv", "PS C:\\> driverquery /fo csv | Out-File d.csv", `C:\>type d.csv`,
		"PS> gc d.csv"},
	WMI: {"PS> Get-CimInstance Win32_SystemDriver | Select Name,State | ConvertTo-Json", "PS> gc d.json | jq .",
		"PS> Get-CimInstance -ClassName Win32_SystemDriver | sort Name | ConvertTo-Json -Depth 3",
		"PS C:\\Program Files> gwmi win32_systemdriver | select -Property Name,State | ConvertTo-Json | clip",
		"PS> gwmi win32_systemdriver | select Name,@{n='p';e={$_.PathName}} | ConvertTo-Json",
		"PS> (gwmi win32_systemdriver) | ConvertTo-Json", "PS> gwmi win32_systemdriver | ft -AutoSize | Out-String",
		"PS> gwmi win32_systemdriver | Sort-Object -Property State -Descending | ConvertTo-Json"},
	SC: {`C:\> sc query type= driver state= all`, `C:\> sc query type= driver`,
		`C:\> sc queryex type=driver state=all`,
		`C:\> sc.exe \\host query type= driver state= all bufsize= 9000 > d.txt`,
		`C:\> SC QUERY TYPE= DRIVER STATE= ALL`},
	PnPUtil:             {`C:\> pnputil /enum-drivers`, `C:\> pnputil -e`, `C:\> pnputil /enum-drivers /files`},
	SystemExtensionsCtl: {"% systemextensionsctl list", "% sudo systemextensionsctl list > f"},
	JC: {"$ jc lsmod", "$ lsmod | jc --lsmod", "$ lsmod | jc --lsmod | jq .", "$ jc -p lsmod | tee m.json",
		"$ cat m.txt | jc --lsmod | jq -r .[]", "$ jq . m.json"},
}

// TestChosenRows puts commands before whole lists: the list of a command that leaves rows out is never whole, that of
// any other is.
func TestChosenRows(t *testing.T) {
	texts := commandTexts()
	for want, table := range map[bool]map[Kind][]string{false: chosenCommands, true: wholeCommands} {
		for kind, commands := range table {
			for _, command := range commands {
				s, err := Read(strings.NewReader(command+"\n"+texts[kind]), kind)
				if got := err == nil && okSource(s); got != want {
					t.Errorf("%s after %q: whole %t, want %t: %v\n%s", kind, command, got, want, err, inventedDump(s))
				} else if err == nil && len(s.Modules) == 0 {
					t.Errorf("%s after %q: no modules", kind, command)
				}
			}
		}
	}
}
