// SPDX-License-Identifier: Apache-2.0

package capture

const (
	driverqueryHead = "\nModule Name  Display Name           Driver Type   Link Date\n" +
		"============ ====================== ============= ======================\n" +
		"ACPI         Microsoft ACPI Driver  Kernel        7/14/2009 1:19:34 AM\n"
	fltmcHead = "\nFilter Name                     Num Instances    Altitude    Frame\n" +
		"------------------------------  -------------  ------------  -----\n" +
		"WdFilter                                5       328010         0\n"
	pnputilBlock = "Microsoft PnP Utility\n\nPublished Name:     oem35.inf\nOriginal Name:      fn.inf\n" +
		"Provider Name:      Lenovo\nClass Name:         System devices\n" +
		"Class GUID:         {4d36e97d-e325-11ce-bfc1-08002be10318}\nDriver Version:     04/03/2020 9.2.0.1\n" +
		"Signer Name:        Microsoft Windows\n\n"
	sigcheckHead = "Path,Verified,Date,Publisher,Company,Description,Product,Product Version,File Version," +
		"Machine Type\n" +
		"\"c:\\windows\\system32\\drivers\\a.sys\",\"Signed\",\"1:00 AM 1/2/2020\",\"Contoso\",\"Contoso Inc\"," +
		"\"A driver\"," +
		"\"A\",\"1.0\",\"1.1\",\"64-bit\"\n"
	autorunsHead = "Time,Entry Location,Entry,Enabled,Category,Profile,Description,Signer,Company,Image Path," +
		"Version," +
		"Launch String\n" +
		"20240401-152600,\"HKLM\\System\\CurrentControlSet\\Services\",\"a\",enabled,\"Drivers\",System-wide," +
		"\"A driver\"," +
		"\"(Verified) Contoso\",\"Contoso Inc\",\"c:\\windows\\system32\\drivers\\a.sys\",1.1," +
		"\"system32\\drivers\\a.sys\"\n"
	windbgHead = "0: kd> lm\nstart             end                 module name\n" +
		"fffff802`4b400000 fffff802`4c446000   nt         (pdb symbols)          c:\\s\\ntkrnlmp.pdb\n"
	msinfoHead = "[System Drivers]\n\nName\tDescription\tFile\tType\tStarted\tStart Mode\tState\tStatus\t" +
		"Error Control\tAccept Pause\tAccept Stop\t\n" +
		"acpi\tACPI\tc:\\windows\\system32\\drivers\\acpi.sys\tKernel " +
		"Driver\tYes\tBoot\tRunning\tOK\tCritical\tNo\tYes\t\n"
)

// inventedWindows are texts of Windows.
var inventedWindows = []inventedText{
	{"type is missing", SC, "part", "beep", "", "SERVICE_NAME: beep\n" +
		"        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n\nSERVICE_NAME: null\n        STATE              : 4  RUNNING\n"},
	{"error between", SC, "part", "beep,null", "", "SERVICE_NAME: beep\n" +
		"        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n\n[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\n\n" +
		"SERVICE_NAME: null\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 1  STOPPED\n"},
	{"filter", SC, "part", "beep", "", "C:\\>sc query type= driver | findstr /i \"SERVICE_NAME TYPE STATE\"\n" +
		"SERVICE_NAME: beep\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 4  RUNNING\n"},
	{"localized", SC, "whole", "beep", "Señal @ windows.services.displayName",
		"NOMBRE_SERVICIO: beep\nNOMBRE_MOSTRAR: Señal\n        TIPO               : 1  KERNEL_DRIVER\n" +
			"        ESTADO             : 4  RUNNING\n" +
			"                                (STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN)\n" +
			"        CÓD_SALIDA_WIN32 : 0  (0x0)\n        CÓD_SALIDA_SERVICIO : 0  (0x0)\n" +
			"        PUNTO_COMPROB.     : 0x0\n        INDICACIÓN_INICIO  : 0x0\n"},

	{"state is missing", SC, "whole", "beep", "running @ -;stopped @ -;loaded @ -;1077 @ -", "SERVICE_NAME: beep\n" +
		"        TYPE               : 1  KERNEL_DRIVER\n        WIN32_EXIT_CODE    : 1077  (0x435)\n" +
		"        SERVICE_EXIT_CODE  : 0  (0x0)\n"},
	{"two services without a blank line", SC, "whole", "beep,null", "", "SERVICE_NAME: beep\n" +
		"        TYPE               : 1  KERNEL_DRIVER\n        STATE              : 4  RUNNING\n" +
		"SERVICE_NAME: null\n        TYPE               : 1  KERNEL_DRIVER\n" +
		"        STATE              : 1  STOPPED\n"},
	{"display name missing", DriverQuery, "part", "ACPI", "kernel_driver @ windows.services.type;Kernel @ -",
		driverqueryHead + "beep         Kernel        7/14/2009 1:19:34 AM\n"},
	{"name and type swapped", DriverQuery, "part", "a", "Kernel @ -",
		"\"Module Name\",\"Display Name\",\"Driver Type\",\"Link Date\"\n" +
			"\"a\",\"A\",\"Kernel\",\"7/26/2012 4:26:46 AM\"\n\"b\",\"Kernel\",\"B\",\"7/26/2012 4:26:46 AM\"\n"},
	{"date cut", DriverQuery, "part", "ACPI,beep", "", driverqueryHead +
		"beep         Beep                   Kernel        7/14/20\n"},
	{"footer", DriverQuery, "part", "ACPI", "", driverqueryHead + "1 rows\n"},
	{"realigned", DriverQuery, "whole", "ACPI,beep", "Microsoft ACPI Driver @ windows.services.displayName",
		"Module Name Display Name Driver Type Link Date\n" +
			"=========== ============ =========== =========\n" +
			"ACPI  Microsoft ACPI Driver  Kernel  7/14/2009 1:19:34 AM\nbeep  Beep  Kernel  7/14/2009 1:19:34 AM\n"},
	{"filter in the prompt", DriverQuery, "part", "ACPI", "",
		"C:\\>driverquery | more +1 | find \"A\"\n" + driverqueryHead},

	{"altitude missing", Fltmc, "part", "WdFilter", "", fltmcHead +
		"luafv                                   1                        0\n"},
	{"name with a blank", Fltmc, "part", "My Filter,WdFilter", "", fltmcHead +
		"My Filter                               1       135000         0\n...\n"},
	{"footer", Fltmc, "part", "WdFilter", "", fltmcHead + "(1 of 12 filters)\n"},

	{"columns in another order", Fltmc, "refused", "", "",
		"\nFilter Name                     Altitude  Num Instances    Frame\n" +
			"------------------------------  --------  -------------    -----\n" +
			"WdFilter                          328010              5         0\n"},
	{"footer", PnPUtil, "part", "oem35.inf", "9.2.0.1 @ windows.packages.version", pnputilBlock +
		"1 driver packages\n"},
	{"provider missing", PnPUtil, "part", "oem35.inf,oem6.inf", "", pnputilBlock + "Published Name:     oem6.inf\n" +
		"Original Name:      fn.inf\nClass Name:         System devices\n" +
		"Class GUID:         {4d36e97d-e325-11ce-bfc1-08002be10318}\nDriver Version:     12/28/2020 9.2.0.3\n" +
		"Signer Name:        Microsoft Windows\n\n[...]\n"},
	{"date and version swapped", PnPUtil, "whole", "oem35.inf", "9.2.0.1 04/03/2020 @ windows.columns.value",
		"Published Name:     oem35.inf\nOriginal Name:      fn.inf\n" +
			"Provider Name:      Lenovo\nClass Name:         System devices\n" +
			"Class GUID:         {4d36e97d-e325-11ce-bfc1-08002be10318}\nDriver Version:     9.2.0.1 04/03/2020\n" +
			"Signer Name:        Microsoft Windows\n\n"},
	{"filter", PnPUtil, "part", "oem35.inf", "",
		"PS C:\\> pnputil /enum-drivers | select-string -context 0,7 oem35\n" + pnputilBlock},

	{"one driver", WindowsDriver, "part", "oem1.inf", "",
		"PS C:\\> Get-WindowsDriver -Online | ? ProviderName -eq Contoso\n\n" +
			"Driver           : oem1.inf\n" +
			"OriginalFileName : C:\\Windows\\System32\\DriverStore\\FileRepository\\a.inf_amd64_1\\a.inf\n" +
			"Inbox            : False\nClassName        : Net\nBootCritical     : False\nProviderName     : Contoso\n" +
			"Date             : 1/2/2020 12:00:00 AM\nVersion          : 1.2.3.4\n"},
	{"ellipsis", WindowsDriver, "part", "oem1.inf", "1.2.3.4 @ windows.packages.version",
		"Driver           : oem1.inf\n" +
			"OriginalFileName : C:\\Windows\\System32\\DriverStore\\FileRepository\\a.inf_amd64_1\\a.inf\n" +
			"Inbox            : False\nClassName        : Net\nBootCritical     : False\n" +
			"ProviderName     : Contoso\n" +
			"Date             : 1/2/2020 12:00:00 AM\nVersion          : 1.2.3.4\n\n...\n"},

	{"a column less", MSInfo, "part", "acpi.sys", "", msinfoHead +
		"beep\tBeep\tc:\\windows\\system32\\drivers\\beep.sys\tYes\tSystem\tRunning\tOK\tNormal\tNo\tYes\t\n"},
	{"start and started swapped", MSInfo, "part", "acpi.sys", "beep @ -", msinfoHead +
		"beep\tBeep\tc:\\windows\\system32\\drivers\\beep.sys\tKernel " +
		"Driver\tSystem\tYes\tRunning\tOK\tNormal\tNo\tYes\t\n"},
	{"footer", MSInfo, "part", "acpi.sys", "", msinfoHead + "2 of 300 rows\n"},

	{"table with cut values", WMI, "part", "ACPI", "",
		"PS C:\\> Get-CimInstance Win32_SystemDriver | select Name,DisplayName,PathName,State\n\n" +
			"Name DisplayName           PathName                       State\n" +
			"---- -----------           --------                       -----\n" +
			"ACPI Microsoft ACPI Driver C:\\Windows\\system32\\drivers... Running\n\n"},
	{"where in wmic", WMI, "part", "ACPI.sys", "",
		"C:\\>wmic sysdriver where \"state='running'\" get name,pathname,state /format:csv\n\n" +
			"Node,Name,PathName,State\nPC,ACPI,C:\\Windows\\system32\\drivers\\ACPI.sys,Running\n"},
	{"state missing", WMI, "part", "ACPI.sys", "", "Name        : ACPI\nDisplayName : A\n" +
		"PathName    : C:\\Windows\\system32\\drivers\\ACPI.sys\nState       : \nStartMode   : Boot\n\n...\n"},
	{"no blank line between", WMI, "whole", "ACPI.sys,b.sys", "", "Name        : ACPI\nState       : Running\n" +
		"PathName    : C:\\Windows\\system32\\drivers\\ACPI.sys\nName        : beep\nPathName    : C:\\b.sys\n" +
		"State       : Stopped\n"},
	{"a value in its neighbor's column", WMI, "part", "a.sys,b.sys", "System @ -",
		"Name  State   StartMode PathName\n" +
			"----  -----   --------- --------\nACPI  Running Boot      C:\\a.sys\n" +
			"beep  System            C:\\b.sys\nmy drv Running System   C:\\c.sys\n"},
	{"a cell less", WMI, "part", "ACPI.sys", "", "Node,Name,PathName,State,StartMode\n" +
		"PC,ACPI,C:\\Windows\\system32\\drivers\\ACPI.sys,Running,Boot\n" +
		"PC,C:\\Windows\\system32\\drivers\\b.sys,Running,Boot\n"},

	{"cell missing", Autoruns, "part", "a.sys", "", autorunsHead +
		"20240401-152600,\"HKLM\\System\\CurrentControlSet\\Services\",\"b\",enabled,\"Drivers\",System-wide," +
		"\"(Verified) X\",\"X\",\"c:\\b.sys\",1.1,\"b.sys\"\n"},
	{"company and path swapped", Autoruns, "part", "a.sys", "c:\\c.sys @ -", autorunsHead +
		"20240401-152600,\"HKLM\\System\\CurrentControlSet\\Services\",\"c\",enabled,\"Drivers\",System-wide," +
		"\"D\",\"(Verified) X\",\"c:\\c.sys\",\"X\",1.1,\"c.sys\"\n"},
	{"footer", Autoruns, "part", "a.sys", "1.1 @ windows.columns.value", autorunsHead + "1 rows\n"},

	{"footer", Sigcheck, "part", "a.sys", "", sigcheckHead + "1 files scanned\n"},
	{"cell missing", Sigcheck, "part", "a.sys", "", sigcheckHead +
		"\"c:\\windows\\system32\\drivers\\b.sys\",\"Signed\",\"Contoso\",\"Contoso Inc\",\"B\",\"B\",\"1.0\"," +
		"\"1.1\",\"64-bit\"\n"},
	{"verdict and publisher swapped", Sigcheck, "part", "a.sys", "", sigcheckHead +
		"\"c:\\b.sys\",\"Contoso\",\"1:00 AM 1/2/2020\",\"Signed\",\"Contoso Inc\",\"A driver\",\"A\",\"1.0\"," +
		"\"1.1\",\"64-bit\"\n"},
	{"access denied", Sigcheck, "part", "a.sys", "", sigcheckHead +
		"c:\\windows\\system32\\drivers\\c.sys: Access is denied.\n"},

	{"comma in the name", DriverList, "part", "3ware,ACPI", "", "3ware, 3ware, Driver, Stopped, Demand start, \n" +
		"ACPI, Microsoft ACPI Driver, Driver, Running, Boot start, \nbeep, Beep, Running, System start, \n"},
	{"footer", DriverList, "part", "3ware", "", "3ware, 3ware, Driver, Stopped, Demand start, \n300 drivers\n"},

	{"limit", Osquery, "part", "ACPI", "",
		"osquery> select service, service_key, device_id, version from drivers limit 1;\n" +
			"    service = ACPI\nservice_key = HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\ACPI\n" +
			"  device_id = ACPI_HAL\\PNP0C08\\0\n    version = 6.3\n"},
	{"a cell less", Osquery, "part", "beep", "", "service|service_key|device_id|version\n" +
		"ACPI|ACPI_HAL\\PNP0C08\\0|6.3\n" +
		"beep|HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\beep|ROOT\\BEEP|6.1\n"},

	{"hashes missing", Sysmon, "part", "a.sys", "", "Driver loaded:\nRuleName: -\n" +
		"UtcTime: 2021-04-28 22:45:16.662\n" +
		"ImageLoaded: C:\\Windows\\System32\\drivers\\a.sys\nHashes: \nSigned: true\nSignature: X\n" +
		"SignatureStatus: Valid\n"},
	{"two events without a blank line", Sysmon, "part", "a.sys,b.sys", "", "Driver loaded:\n" +
		"UtcTime: 2021-04-28 22:45:16.662\n" +
		"ImageLoaded: C:\\a.sys\nHashes: MD5=0C0195C48B6B8582FA6F6373032118DA\nSigned: true\nSignature: X\n" +
		"Driver loaded:\nUtcTime: 2021-04-28 22:45:17.662\nImageLoaded: C:\\b.sys\n" +
		"Hashes: MD5=1C0195C48B6B8582FA6F6373032118DA\nSigned: false\n"},

	{"end is missing", WinDbg, "part", "nt", "", windbgHead + "fffff802`68f80000   condrv     (deferred)\n"},
	{"name with a blank", WinDbg, "part", "nt", "", windbgHead +
		"fffff802`68f80000 fffff802`68f92000   my drv     (deferred)\n"},
	{"ellipsis", WinDbg, "part", "condrv,nt", "", windbgHead + "...\n" +
		"fffff802`68f80000 fffff802`68f92000   condrv     (deferred)\n"},
	{"end before start", WinDbg, "part", "nt", "", windbgHead +
		"fffff802`68f92000 fffff802`68f80000   condrv     (deferred)\n"},

	{"loads missing", Verifier, "part", "a.sys", "", "Verified drivers:\n\nName: a.sys, loads: 1, unloads: 0\n" +
		"Name: b.sys, unloads: 0\n"},
	{"localized", Verifier, "refused", "", "", "Überprüfte Treiber:\n\n" +
		"Name: a.sys, Ladevorgänge: 1, Entladevorgänge: 0\n"},

	{"cut value", RegText, "part", "a", "", "Windows Registry Editor Version 5.00\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\a]\n\"Type\"=dword:00000001\n" +
		"\"Start\"=dword:\n\"ImagePath\"=hex(2):5c,00,\\\n"},
	{"ellipsis", RegText, "part", "a.sys", "", "Windows Registry Editor Version 5.00\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services]\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\a]\n\"Type\"=dword:00000001\n" +
		"\"Start\"=dword:00000003\n\n[...]\n"},
	{"no driver without a type", RegText, "whole", "a.sys", "", "Windows Registry Editor Version 5.00\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services]\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\a]\n\"Type\"=dword:00000001\n" +
		"\"Start\"=dword:00000003\n\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\b]\n\"Start\"=dword:00000003\n" +
		"\"ImagePath\"=\"b.sys\"\n\n"},
}
