// SPDX-License-Identifier: Apache-2.0

package capture

const (
	kextHeader = "Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n"
	kextRow    = "    1  112 0xffffff7f80a3b000 0x8d0      0x8d0      com.apple.kpi.bsd (18.7.0) " +
		"EF1C6A8A-0CB7-3E48-B8E6-C4A7C0D8D5A6 <>\n"
)

// inventedMac are texts of macOS.
var inventedMac = []inventedText{
	{"version is missing", Kextstat, "part", "com.apple.kpi.bsd", "", kextHeader + kextRow +
		"    2    0 0xffffff7f80a3c000 0x1000     0x1000     com.example.x <1>\n"},
	{"version with blanks", Kextstat, "whole", "com.apple.kpi.bsd,com.example.x",
		"1.0 beta 2 @ version", kextHeader + kextRow +
			"    2    0 0xffffff7f80a3c000 0x1000     0x1000     com.example.x (1.0 beta 2) <1>\n"},
	{"wired cut", Kextstat, "part", "com.apple.kpi.bsd", "", kextHeader + kextRow +
		"    2    0 0xffffff7f80a3c000 0x1000     com.example.x (1.0) <1>\n"},
	{"footer", Kextstat, "part", "com.apple.kpi.bsd", "", kextHeader + kextRow + "1 row\n"},
	{"name with a blank", Kextstat, "part", "com.apple.kpi.bsd", "", kextHeader + kextRow +
		"    2    0 0xffffff7f80a3c000 0x1000     0x1000     com.example my (1.0) <1>\n"},
	{"columns in another order", Kextstat, "refused", "", "",
		"Index Refs Size       Address            Wired      Name (Version) UUID <Linked Against>\n" +
			"    1  112 0x8d0      0xffffff7f80a3b000 0x8d0      com.apple.kpi.bsd (18.7.0) <>\n"},
	{"error of kmutil", Kextstat, "part", "com.apple.kpi.bsd", "", kextHeader + kextRow +
		"kmutil: Error Domain=KMErrorDomain Code=71\n"},
	{"ellipsis in the list", MacOSPanic, "part", "com.apple.a,com.example.b", "", "panic(cpu 0 caller 0x1): x\n" +
		"loaded kexts:\ncom.example.b\t1.0\n...\ncom.apple.a\t2.0\n"},
	{"version is missing", MacOSPanic, "part", "com.apple.a", "", "panic(cpu 0 caller 0x1): x\n" +
		"loaded kexts:\ncom.example.b\ncom.apple.a\t2.0\n\nEOF\n"},
	{"two panics", MacOSPanic, "part", "com.apple.a,com.example.b", "", "loaded kexts:\ncom.example.b\t1.0\n\n" +
		"loaded kexts:\ncom.apple.a\t2.0\n\n"},
	{"path is missing", SystemProfiler, "whole", "com.a.x,com.b.y", "1.0 @ darwin.bundle.shortVersion",
		"Extensions:\n\n    x:\n\n      Version: 1.0\n" +
			"      Bundle ID: com.a.x\n      Loaded: Yes\n\n    y:\n\n      Version: 2.0\n      Bundle ID: com.b.y\n" +
			"      Loaded: No\n      Location: /Library/Extensions/y.kext\n\n"},
	{"ellipsis", SystemProfiler, "part", "com.a.x", "", "Extensions:\n\n    x:\n\n      Version: 1.0\n" +
		"      Bundle ID: com.a.x\n      Loaded: Yes\n\n    [...]\n"},
	{"loaded in another language", SystemProfiler, "whole", "com.a.x", "installed @ -;loaded @ -",
		"Extensions:\n\n    x:\n\n      Version: 1.0\n" +
			"      Bundle ID: com.a.x\n      Loaded: Ja\n      Location: /Library/Extensions/x.kext\n\n"},
	{"fewer rows", SystemExtensionsCtl, "part", "com.a.x", "", "2 extension(s)\n" +
		"--- com.apple.system_extension.network_extension\n" +
		"enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n" +
		"*\t*\tABCDE12345\tcom.a.x (1.0/1)\tX Net\t[activated enabled]\n"},
	{"team is missing", SystemExtensionsCtl, "whole", "com.a.x", "", "1 extension(s)\n" +
		"--- com.apple.system_extension.network_extension\n" +
		"enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n" +
		"*\t*\tcom.a.x (1.0/1)\tX Net\t[activated enabled]\n"},
	{"tabs became blanks", SystemExtensionsCtl, "whole", "com.a.x",
		"X Net @ displayName,description,darwin.systemExtension.name",
		"1 extension(s)\n--- com.apple.system_extension.network_extension\n" +
			"enabled active teamID bundleID (version) name [state]\n" +
			"* * ABCDE12345 com.a.x (1.0/1) X Net [activated enabled]\n"},
	{"brace is missing", Kextutil, "part", "com.a.x", "", "Loaded kext info:\n{\n    \"com.a.x\" =     {\n" +
		"        CFBundleIdentifier = \"com.a.x\";\n        CFBundleVersion = \"1.0\";\n    };\n"},
	{"value is missing", Kextutil, "part", "com.a.x", "", "Loaded kext info:\n{\n    \"com.a.x\" =     {\n" +
		"        CFBundleIdentifier = \"com.a.x\";\n        CFBundleVersion = ;\n    };\n}\n"},
	{"limit", KextPolicy, "part", "com.a.x", "", "sqlite> select * from kext_policy limit 1;\n" +
		"ABCDE12345|com.a.x|1|A|1\n"},
	{"name is missing", KextPolicy, "part", "com.b.y", "", "ABCDE12345|com.a.x|1|1\nABCDE12345|com.b.y|1|B|1\n"},
	{"query over two lines", KextPolicy, "part", "com.a.x", "", "sqlite> select * from kext_policy\n" +
		"   ...> where allowed = 1;\nABCDE12345|com.a.x|1|A|1\n"},
	{"footer", BundleIDs, "part", "com.a.x,com.apple.b", "", "com.apple.b\ncom.a.x\n2 rows\n"},
	{"labels", BundleIDs, "part", "com.apple.b,com.apple.c", "", "Loaded:\ncom.apple.b\ncom.apple.c\n"},
	{"error", Kextfind, "part", "a,b", "", "/Library/Extensions/a.kext\nkextfind: can't open folder /x\n" +
		"/Library/Extensions/b.kext\n"},
	{"blanks", Kextfind, "part", "My Driver,b", "", "/Library/Extensions/My Driver.kext\n" +
		"/Library/Extensions/b.kext\n"},
	{"custom without parts", CSRUtil, "part", "", "",
		"System Integrity Protection status: unknown (Custom Configuration).\n"},
	{"another language", CSRUtil, "part", "", "", "System Integrity Protection status: aktiviert.\n"},
	{"where", DarwinOsquery, "part", "com.a.x", "",
		"osquery> select * from kernel_extensions where name like 'com.a%';\n" +
			"     idx = 12\n    refs = 0\n    size = 53248\n    name = com.a.x\n version = 1.0\n" +
			"linked_against = <1>\n" +
			"    path = /Library/Extensions/x.kext\n"},
	{"a cell less", DarwinOsquery, "part", "com.apple.b", "", "idx|refs|size|name|version|linked_against|path\n" +
		"12|0|com.a.x|1.0|<1>|/Library/Extensions/x.kext\n1|5|0|com.apple.b|18|<>|__kernel__\n"},
}
