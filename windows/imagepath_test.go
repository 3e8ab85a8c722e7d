// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

var testPaths = ntPaths{SystemRoot: `C:\Windows`,
	Devices: map[string]string{`\device\harddiskvolume3`: "C:", `\device\harddiskvolume30`: "D:"}}

func TestResolveImagePath(t *testing.T) {
	for _, c := range []struct {
		raw, path, rule string
		marks           []string
	}{
		{"", `C:\Windows\System32\drivers\svc.sys`, RuleDefault, nil},
		{"   ", `C:\Windows\System32\drivers\svc.sys`, RuleDefault, []string{MarkSpaces}},
		{`System32\drivers\a.sys`, `C:\Windows\System32\drivers\a.sys`, RuleRelative, nil},
		{`system32\DRIVERS\A.SYS`, `C:\Windows\system32\DRIVERS\A.SYS`, RuleRelative, nil},
		{`\SystemRoot\System32\drivers\a.sys`, `C:\Windows\System32\drivers\a.sys`, RuleSystemRoot, nil},
		{`\systemROOT\x\a.sys`, `C:\Windows\x\a.sys`, RuleSystemRoot, nil},
		{`\??\C:\Program Files\V\a.sys`, `C:\Program Files\V\a.sys`, RuleDOSDevice, nil},
		{`\??\B:\Steam Library\Call of Duty HQ\randgrid.sys`, `B:\Steam Library\Call of Duty HQ\randgrid.sys`,
			RuleDOSDevice, nil},
		{`\??\UNC\srv\share\a.sys`, `\\srv\share\a.sys`, RuleUNC, nil},
		{`\\srv\share\a.sys`, `\\srv\share\a.sys`, RuleUNC, nil},
		{`\\?\C:\d\a.sys`, `C:\d\a.sys`, RuleDOSDevice, nil},
		{`\DosDevices\C:\d\a.sys`, `C:\d\a.sys`, RuleDOSDevice, nil},
		{`\Device\HarddiskVolume3\d\a.sys`, `C:\d\a.sys`, RuleDevice, nil},
		{`\Device\HarddiskVolume30\d\a.sys`, `D:\d\a.sys`, RuleDevice, nil},
		{`\Device\HarddiskVolume9\d\a.sys`, ``, RuleDevice, nil},
		{`\Device\Mup\srv\a.sys`, `\\srv\a.sys`, RuleDevice, nil},
		{`%SystemRoot%\System32\drivers\a.sys`, `C:\Windows\System32\drivers\a.sys`, RuleEnvironment, nil},
		{`%WinDir%\a.sys`, `C:\Windows\a.sys`, RuleEnvironment, nil},
		{`C:\d\a.sys`, `C:\d\a.sys`, RuleDrive, nil},
		{`C:/d/a.sys`, `C:\d\a.sys`, RuleDrive, []string{MarkSlashes}},
		{`"C:\Program Files\a.sys" /x`, `C:\Program Files\a.sys`, RuleDrive, []string{MarkQuotes, MarkArguments}},
		{`"C:\a.sys`, `C:\a.sys`, RuleDrive, []string{MarkQuotes}},
		{`C:\d\a.sys -k x `, `C:\d\a.sys`, RuleDrive, []string{MarkSpaces, MarkArguments}},
		{`\odd\a.sys`, ``, RuleRooted, nil},
		{`\??\GLOBALROOT\SystemRoot\d\a.sys`, `C:\Windows\d\a.sys`, RuleDOSDevice, nil},
		{`\??\GlobalRoot\Device\HarddiskVolume3\d\a.sys`, `C:\d\a.sys`, RuleDOSDevice, nil},
		{`\??\Volume{11111111-2222-3333-4444-555555555555}\d\a.sys`, ``, RuleDOSDevice, nil},
	} {
		r, err := testPaths.resolveImagePath("svc", c.raw)
		if r.Path != c.path || r.Rule != c.rule || !slices.Equal(r.Marks, c.marks) || r.Raw != c.raw ||
			(err == nil) != (c.path != "") {
			t.Errorf("%q: %q by %s, marks %v, error %v; want %q by %s, marks %v", c.raw, r.Path, r.Rule, r.Marks,
				err, c.path, c.rule, c.marks)
		}
	}
	if _, err := testPaths.resolveImagePath("svc", `\??\Volume{1}\a.sys`); !errors.Is(err, fact.ErrUnrecorded) {
		t.Errorf("a volume without a letter: %v", err)
	}
	if r, err := (ntPaths{}).resolveImagePath("svc", `\SystemRoot\a.sys`); r.Path != "" || err == nil {
		t.Errorf("without a Windows folder: %+v", r)
	}
}

func TestKeyAndFile(t *testing.T) {
	for dos, want := range map[string]string{
		`C:\Windows\System32\drivers\TCPIP.sys`:                              "tcpip.sys",
		`c:\windows\SYSTEM32\DriverStore\FileRepository\a.inf_amd64_1\A.SYS`: "a.sys",
		`C:\Windows\System32\ntoskrnl.exe`:                                   `c:\windows\system32\ntoskrnl.exe`,
		`C:\Windows\System32\drivers\umdf\x.dll`:                             `c:\windows\system32\drivers\umdf\x.dll`,
		`D:\V\v.sys`:                                                         `d:\v\v.sys`,
	} {
		if got := testPaths.key(dos); got != want {
			t.Errorf("%s: %q, want %q", dos, got, want)
		}
	}
	for dos, want := range map[string]string{
		`c:\Windows\a.sys`: "C:/Windows/a.sys", `C:\`: "C:", `\\srv\a`: "", `C:\a\..\b`: "", `C:\a:stream`: "",
		`C:\a?`: "", "C:\\a\x00b": "", `relative`: "",
	} {
		got, err := fsPath(dos)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", dos, got, err, want)
		}
	}
	wow := testPaths
	wow.Sysnative = true
	if got, _ := wow.file(`C:\Windows\System32\drivers\a.sys`); got != "C:/Windows/Sysnative/drivers/a.sys" {
		t.Errorf("for a 32-bit reader: %s", got)
	}
}

func TestParsePaths(t *testing.T) {
	p, err := parsePaths([]byte("systemroot C:\\Windows\nsysnative yes\ndevice C: \\Device\\HarddiskVolume3\n"))
	if err != nil || p.SystemRoot != `C:\Windows` || !p.Sysnative || p.Devices[`\device\harddiskvolume3`] != "C:" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"nonsense", "device C:\n", strings.Repeat("device C: \\Device\\x\n", 1) +
		"other x\n"} {
		if _, err := parsePaths([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestIsEphemeral(t *testing.T) {
	for name, want := range map[string]bool{
		"MpKsl1a2b3c4d": true, "MpKslDrv": false, "tcpip": false, "KAPE_12345678": false, "drv_deadbeef": false,
		"x9f8e7d6c5": true,
		"{4d36e97d-e325-11ce-bfc1-08002be10318}Gw64": true, "WinRing0_1_2_0": false,
		"HWiNFO_158": false, "cpuz143": false,
	} {
		if got := isEphemeral(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzImagePath(f *testing.F) {
	for _, s := range []string{"", `\SystemRoot\a.sys`, `"C:\x.sys" a`, `\??\UNC\a`,
		`%SystemRoot%\`, `\Device\`, "C:"} {
		f.Add("svc", s)
	}
	f.Fuzz(func(t *testing.T, service, raw string) {
		r, err := testPaths.resolveImagePath(service, raw)
		if (r.Path == "") == (err == nil) || r.Raw != raw || r.Rule == "" {
			t.Fatalf("%q: %+v", raw, r)
		}
		if len(r.Path) > len(raw)+len(service)+64 {
			t.Fatalf("%q grew to %q", raw, r.Path)
		}
		if name, err := testPaths.file(r.Path); err == nil && strings.Contains(name, "..") &&
			strings.Contains("/"+name+"/", "/../") {
			t.Fatalf("%q leads out of its drive: %q", raw, name)
		}
	})
}

// Early images are named from the root of the boot volume, wherever Windows lies on it.
func TestEarlyImages(t *testing.T) {
	for root, want := range map[string]string{`D:\WINNT`: `D:\winnt\x.sys`, `C:\Windows`: "", "C": "", "": ""} {
		if got, _ := (ntPaths{SystemRoot: root}).dos(`\winnt\x.sys`); got != want {
			t.Errorf("%q: %q, want %q", root, got, want)
		}
	}
	if _, err := parsePaths([]byte("systemroot C\n")); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a Windows folder that is on no drive: %v", err)
	}
}
