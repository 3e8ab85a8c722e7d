// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

// reference finds the rows of a capture in another way than the parser: one expression for the
// whole row.
var reference = regexp.MustCompile(`^\s*(\d+)\s+(\d+) (0x[0-9a-f]+|0)\s+(0x[0-9a-f]+|0)\s+(0x[0-9a-f]+|0)\s+(\S+) ` +
	`\(([^)]*)\)(?: ([0-9A-F]{8}-[0-9A-F-]{27}))?(?: <([0-9 ]*)>)?$`)

func TestKextstatCaptures(t *testing.T) {
	for name, rows := range map[string]int{
		"kextstat-10.11.5-ux303ub/kextstat.txt": 124, "kextstat-10.11.5-ux303ub-early/kextstat.txt": 123,
		"kextstat-10.12-hornidis/capture.txt": 10, "kextstat-10.12-macfuse/capture.txt": 10,
		"kextstat-10.12.6-kbfs/capture.txt":      10,
		"kextstat-10.14-tunnelblick/capture.txt": 8, "kextstat-kl-ohai/capture.txt": 3,
		"kmutil-11.0beta5/capture.txt": 9, "kmutil-11.2-imacpro/capture.txt": 9,
		"kmutil-11.4-hacktricks/capture.txt": 6,
		"kmutil-grep-smbus/capture.txt":      2,
	} {
		text := string(captureText(t, name))
		var want []string
		for line := range strings.Lines(text) {
			if m := reference.FindStringSubmatch(strings.TrimRight(line, "\r\n ")); m != nil {
				links := strings.Fields(m[9])
				slices.SortFunc(links,
					func(a, b string) int { x, _ := strconv.Atoi(a); y, _ := strconv.Atoi(b); return x - y })
				want = append(want, fmt.Sprintln(m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], links))
			}
		}
		var r fact.Report
		c := ReadKextstat(text, &r)
		var got []string
		for _, k := range c.Records {
			got = append(got, fmt.Sprintln(k.Own.LoadTag, k.Refs, zeroHex(uint64(k.Address)), hexCount(k.Size),
				hexCount(k.Own.WiredSize), k.Name, k.Version, k.ContentID, tagsOfLinks(&k)))
		}
		if len(got) != rows || !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d\n got %v\nwant %v", name, len(got), rows, got, want)
		}
		if c.Stray != 0 {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

// tagsOfLinks returns the load tags of the links.
func tagsOfLinks(m *Record) []string {
	tags := []string{}
	for _, l := range m.Own.LinkedAgainst {
		tags = append(tags, l.Tag.String())
	}
	return tags
}

// shown reports whether a text was found to show some kexts only.
func shown(r *fact.Report) bool {
	return slices.ContainsFunc(r.Problems, func(p fact.Problem) bool {
		return strings.Contains(p.Text, "some kexts only") || strings.Contains(p.Text, "leaves rows out")
	})
}

func zeroHex(v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("0x%x", v)
}

func hexCount(c fact.Count) string {
	v, _ := c.Get()
	return zeroHex(uint64(v))
}

func TestCutKextstat(t *testing.T) {
	var r fact.Report
	c := ReadKextstat(string(captureText(t, "kmutil-cut-amfi-users/capture.txt")), &r)
	if len(c.Records) != 17 || c.Stray != 0 || !c.Sure || !shown(&r) ||
		c.Records[1].Name != "com.apple.driver.AppleMobileFileIntegrity" || c.Records[1].Own.LoadTag.String() != "19" {
		t.Errorf("%+v", c)
	}
	for _, k := range c.Records {
		if k.Own.LinkedAgainst != nil || k.Refs.String() != "?" || k.Version != "" {
			t.Errorf("%s has what the text does not say: %+v", k.Name, k)
		}
	}
	text := string(captureText(t, "kmutil-uninstaller-virtualbox/capture.txt"))
	r = fact.Report{}
	c = ReadKextstat(text, &r)
	if len(c.Records) != 0 || c.Stray != 0 || !c.Sure || !shown(&r) || hasHeader(text) {
		t.Errorf("%+v", c)
	}
}

func TestKextstatRows(t *testing.T) {
	id := "com.vendor.driver"
	for line, want := range map[string]string{
		"  250    0 0                  0x18b0     0x18b0     io.macfuse.filesystems.macfuse (2128.20) " +
			"BBB320C0-1111-2222-3333-444455556666 <7 5 4 3 1>": "250 0 ? 6320 6320  io.macfuse.filesystems.macfuse " +
			"2128.20 BBB320C0-1111-2222-3333-444455556666 [1 3 4 5 7]",
		"12345    0 0xffffff7f8 0x10 0x10 x86_64 " + id +
			" (1.0) no UUID <2>": "12345 0 0x0000000ffffff7f8 16 16 x86_64 " + id + " 1.0  [2]",
		"   ??   ?? ????               ????       ????       ????/???? " +
			"???? (????)": "? ? ? ? ?     []",
		"    5    1 0x1 0x2 0x3 0x1000007/0x3 " + id +
			" (1.0 (beta) x) <>": "5 1 0x0000000000000001 2 3 0x1000007/0x3 " + id + " 1.0 (beta) x  []",
		"5 1 0xfffffe0007004000 0x1 0x1 " + id +
			" (10) aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee": "5 1 0xfffffe0007004000 1 1  " + id +
			" 10 AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE []",
	} {
		k, ok := kextstatRow(strings.TrimSpace(line))
		got := fmt.Sprint(k.Own.LoadTag, " ", k.Refs, " ", k.Address, " ", k.Size, " ", k.Own.WiredSize, " ",
			strings.Join(k.Own.Architectures, ","), " ", k.Name, " ", k.Version, " ", k.ContentID, " ", tagsOfLinks(&k))
		if !ok || got != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", line, got, ok, want)
		}
	}
	for _, line := range []string{
		"", "5", "5 1", "5 1 x", "5 1 0x1 0x2", "5 1 0x1 0x2 0x3 " + id, "5 1 0x1 0x2 0x3 " + id + " (1.0",
		"5 1 0x1 0x2 0x3 " + id + " (1.0) <x>",
		"5 1 0x1 0x2 0x3 " + id + " (1.0) <1", "5 1 0x1 0xffffffffffffffff 0x3 " + id + " (1.0)",
		"-5 1 0x1 0x2 0x3 " + id + " (1.0)",
		"99999999999 1 0x1 0x2 0x3 " + id + " (1.0)", "5 1 0x1 0x2 0x3 a b " + id + " (1.0)",
		"5 1 0x1 0x2 0x3 not!an!id (1.0)",
	} {
		if k, ok := kextstatRow(line); ok {
			t.Errorf("%q is read as a row: %+v", line, k)
		}
	}
}

func TestPanicCaptures(t *testing.T) {
	for name, want := range map[string]struct {
		rows int
		last string
	}{
		"panic-kexts-10.13-trendmicro/capture.txt": {21, "com.github.osxfuse.filesystems.osxfuse 3.8.0 " +
			"0xffffff7fa07b5000 106496"},
		"panic-kexts-m1-12/capture.txt": {28, ""},
	} {
		text := string(captureText(t, name))
		var r fact.Report
		c := ReadPanic(text, &r)
		if len(c.Records) != want.rows || c.Stray != 0 || !c.Sure {
			t.Errorf("%s: %d rows, %d stray, %v", name, len(c.Records), c.Stray, r.Problems)
		}
		for _, k := range c.Records {
			if !strings.Contains(text, "\n"+k.Name+"\t"+k.Version+"\n") {
				t.Errorf("%s: %s %s is not in the text", name, k.Name, k.Version)
			}
		}
		k := c.Records[0]
		if got := fmt.Sprint(k.Name, " ", k.Version, " ", k.Address, " ", k.Size); want.last != "" &&
			got != want.last {
			t.Errorf("%s: first is %s", name, got)
		}
	}
	c := ReadPanic("last loaded kext at 5: >usb.!UHostBillboardDevice\t1.0 (addr 0xffffff7f8, size 12)\n"+
		"loaded kexts:\n>usb.!UHostBillboardDevice\t1.0\n|IOUSB!F\t900\n@filesystems.apfs\t1\n"+
		"$sandbox\t3\n>!AHD!C\t2\n\nother\n", new(fact.Report))
	var ids []string
	for _, k := range c.Records {
		ids = append(ids, k.Name)
	}
	want := "com.apple.driver.usb.AppleUSBHostBillboardDevice com.apple.iokit.IOUSBFamily com.apple.filesystems.apfs " +
		"com.apple.security.sandbox com.apple.driver.AppleHDController"
	if got := strings.Join(ids, " "); got != want || c.Records[0].Size.String() != "12" {
		t.Errorf("%s, %v", got, c.Records)
	}
}

func TestKextutilCapture(t *testing.T) {
	var r fact.Report
	c := ReadKextutil(string(captureText(t, "kext-loadinfo-10.15.6-itlwm/capture.txt")), &r)
	if len(c.Records) != 2 || c.Stray != 0 || !c.Sure || len(r.Problems) != 1 ||
		!strings.Contains(r.Problems[0].Text, "ends early") {
		t.Fatalf("%+v, %v", c, r.Problems)
	}
	m, k := c.Records[0], c.Records[0].Own
	got := fmt.Sprint(m.Name, " ", m.Version, " ", k.CompatibleVersion, " ", k.UUID, " ", k.LoadTag, " ", m.Refs, " ",
		m.Address, " ", m.Size, " ", k.WiredSize, " ", m.Path, " ",
		k.Interface, k.KernelResource, k.Prelinked, k.Started)
	want := "com.apple.kpi.bsd 19.6.0 8.0.0b1 655AA406-9702-4364-9D30-481571CF631D 1 115 0xffffff7f81000000 50016 " +
		"50016 /System/Library/Extensions/System.kext/PlugIns/BSDKernel.kext yesyesyesyes"
	address := int64(-551890460672)
	want = strings.Replace(want, "0xffffff7f81000000", fact.Address(address).String(), 1)
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if m := c.Records[1]; m.Name != "com.apple.kpi.libkern" || m.Own.LoadTag.String() != "5" || m.Path != "" {
		t.Errorf("second: %+v", m)
	}
}

func TestSystemExtensionsCtlCaptures(t *testing.T) {
	for name, want := range map[string][]string{
		"systemextensionsctl-karabiner-rows/capture.txt": {
			"G43BCU2T37 org.pqrs.Karabiner-DriverKit-VirtualHIDDevice 1.8.0 1.8.0 " +
				"org.pqrs.Karabiner-DriverKit-VirtualHIDDevice yes/yes activated_enabled []",
			"G43BCU2T37 org.pqrs.Karabiner-DriverKit-VirtualHIDDevice 6.2.0 6.2.0 " +
				"org.pqrs.Karabiner-DriverKit-VirtualHIDDevice yes/no activated_waiting_for_user []",
			"G43BCU2T37 org.pqrs.Karabiner-DriverKit-VirtualHIDDevice 1.8.0 1.8.0 " +
				"org.pqrs.Karabiner-DriverKit-VirtualHIDDevice no/no terminated_waiting_to_uninstall_on_reboot []",
		},
		"systemextensionsctl-lulu-11/capture.txt": {"VBG97UB4TA com.objective-see.lulu.extension 2.3.0 " +
			"2.3.0 Extension yes/yes activated_enabled [network_extension]"},
		"systemextensionsctl-lulu-27-row/capture.txt": {"VBG97UB4TA com.objective-see.lulu.extension 4.4.0 " +
			"4.4.0 LuLu unknown/unknown activated_waiting_for_user []"},
		"systemextensionsctl-prolific-driverkit/capture.txt": {"2MP849R8J5 com.prolific.cdc.PLCdcFSDriver    " +
			"yes/yes activated_enabled []"},
	} {
		c := ReadSystemExtensionsCtl(string(captureText(t, name)), new(fact.Report))
		var got []string
		for _, m := range c.Records {
			s := m.Own.SystemExtension
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s/%s %s %v", s.TeamID, s.BundleID, s.Version, s.ShortVersion,
				s.Name, s.Enabled, s.Active, s.State, s.Categories))
		}
		if !slices.Equal(got, want) || c.Stray != 0 {
			t.Errorf("%s: %d stray\n got %q\nwant %q", name, c.Stray, got, want)
		}
	}
}

func TestOtherCaptures(t *testing.T) {
	var r fact.Report
	ids := ReadIDList(string(captureText(t, "kext-bundle-ids-sonoma-t2/capture.txt")), &r)
	if len(ids.Records) != 25 || ids.Stray != 0 || ids.Records[0].State != "" {
		t.Errorf("%d ids, %v", len(ids.Records), r.Problems)
	}
	policy := ReadKextPolicyText(string(captureText(t, "kextpolicy-dump-10.14/capture.txt")), &r)
	if len(policy.Records) != 6 || policy.Stray != 0 || !policy.Sure {
		t.Fatalf("%+v", policy)
	}
	a, legacy := policy.Records[0].Own.Approval, policy.Records[2].Own.Approval
	if a.Developer != "Objective-See, LLC" || a.Allowed != fact.Yes || a.TeamID != "VBG97UB4TA" ||
		legacy.TeamID != "" ||
		policy.Records[5].Own.Approval.Flags.String() != "0" {
		t.Errorf("%+v", policy.Records)
	}
}

const profilerSample = `Extensions:

    IOUSBFamily:

      Version: 900.4.2
      Last Modified: 1/1/20, 9:00 AM
      Bundle ID: com.apple.iokit.IOUSBFamily
      Loaded: Yes
      Get Info String: USB: 900.4.2
      Obtained from: Apple
      Kind: Intel
      Architectures: x86_64, arm64e
      64-Bit (Intel): Yes
      Location: /System/Library/Extensions/IOUSBFamily.kext
      Kext Version: 900.4.2
      Load Address: 18446743521836777472
      Loadable: Yes
      Dependencies: Satisfied
      Signed by: Software Signing, Apple Code Signing Certification Authority, Apple Root CA

    BadDriver:

      Bundle ID: com.vendor.bad
      Loaded: No
      Obtained from: Not Signed
      Loadable: No
      Dependencies: Incomplete
      Dependency Errors:
          No library found for com.vendor.lib
          Another one
`

func TestProfiler(t *testing.T) {
	xml := texts.Read(t, "extensions.xml")
	json := texts.Read(t, "extensions.json")
	for form, text := range map[string]string{"text": profilerSample, "xml": xml, "json": json} {
		var r fact.Report
		c := ReadProfiler(text, &r)
		if len(c.Records) != 2 || !c.Sure || c.Stray != 0 || len(r.Problems) != 0 {
			t.Errorf("%s: %+v, %v", form, c, r.Problems)
			continue
		}
		m, bad := c.Records[0], c.Records[1]
		b, p := m.Own.Bundle, m.Own.Profiler
		got := fmt.Sprint(b.Name, " ", m.Name, " ", m.Version, " ", b.ShortVersion, " ", m.State, " ", p.Loadable,
			p.Dependencies, " ", p.ObtainedFrom, " ", m.Own.Architectures, " ", m.Path, " ",
			len(m.Own.CodeSignature.Chain))
		if want := "IOUSBFamily com.apple.iokit.IOUSBFamily 900.4.2 900.4.2 loaded yesyes apple [x86_64 arm64e] " +
			"/System/Library/Extensions/IOUSBFamily.kext 3"; got != want {
			t.Errorf("%s:\n got %s\nwant %s", form, got, want)
		}
		if p := bad.Own.Profiler; bad.State != fact.StateInstalled || p.Loadable != fact.No ||
			p.Dependencies != fact.No || p.ObtainedFrom != "not_signed" || len(p.Errors) == 0 {
			t.Errorf("%s: %+v", form, bad)
		}
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("Index Refs Address\n  1 2 0x3 0x4 0x5 com.a.b (1.0) <1>\n")
	f.Add(profilerSample)
	f.Add("loaded kexts:\n>!A\t1\n")
	f.Add("{\"bug_type\":\"210\"}\n{\"panicString\":\"loaded kexts:\\na.b.c\\t1\\n\"}")
	f.Add("Loaded kext info:\n{\n\"a.b.c\" = {\n\"OSBundleUUID\" = <00>\n}\n}\n")
	f.Add("*\t*\tG43BCU2T37\ta.b (1/2)\tn\t[activated enabled]\n")
	f.Add("|a.b|1|x|1\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + strings.Count(text, `\n`) + strings.Count(text, `\u`) + 1
		for name, read := range map[string]func(string, *fact.Report) fact.Capture[Kext]{"kextstat": ReadKextstat,
			"ids": ReadIDList, "panic": ReadPanic, "kextutil": ReadKextutil, "sysext": ReadSystemExtensionsCtl,
			"kextpolicy": ReadKextPolicyText} {
			var r fact.Report
			c := read(text, &r)
			if len(c.Records)+c.Stray > lines || c.Rows != len(c.Records) || c.Stray > 0 && len(r.Problems) == 0 {
				t.Fatalf("%s: %d rows and %d stray of %d lines, %v", name, c.Rows, c.Stray, lines, r.Problems)
			}
		}
		if c := ReadProfiler(text, new(fact.Report)); c.Rows > len(text) {
			t.Fatal("more items than bytes")
		}
	})
}
