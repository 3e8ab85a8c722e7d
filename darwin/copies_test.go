// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// approvedOther is an Intel Mac on which com.vendor.other is approved, with a signed bundle of it in each of the
// folders, and an unsigned one in each of plain; and the keys that its signatures lead to.
func approvedOther(h fakedarwin.Host, folders, plain []string) (*fakedarwin.Machine, []fact.KeySet) {
	apple, _, keys := apples()
	cms := apple.Sign(fakedarwin.Certificate{Name: "Developer ID Application: V (ABCDE12345)", Team: "ABCDE12345",
		Marks:   []string{fakedarwin.MarkDeveloperID, fakedarwin.MarkKext},
		CAMarks: []string{fakedarwin.MarkDeveloperIDCA}})
	m := h.Machine()
	m.MapFS[kextPolicyFile] = &fstest.MapFile{
		Data: fakedarwin.KextPolicy([]any{"ABCDE12345", "com.vendor.other", 1, "V", 1})}
	for _, dir := range folders {
		maps.Copy(m.MapFS, fakedarwin.BundleFiles(dir+"/Other.kext", "com.vendor.other",
			&fakedarwin.Signer{Identifier: "com.vendor.other", Team: "ABCDE12345", CMS: cms}))
	}
	for _, dir := range plain {
		maps.Copy(m.MapFS, fakedarwin.BundleFiles(dir+"/Other.kext", "com.vendor.other", nil))
	}
	return m, keys
}

// TestCheckCopies judges every copy of a bundle: the verdict is that of the one that may load, wherever it is, and of
// equal ones that of the one which the system prefers.
func TestCheckCopies(t *testing.T) {
	const system, vendor = "Library/Extensions", "Library/Application Support/V"
	for _, tt := range []struct {
		signed, plain []string
		next          fact.VerdictOutcome
		file          string
	}{
		{[]string{system}, nil, fact.VerdictLoadable, system},
		{nil, []string{system}, fact.VerdictBlocked, system},
		{[]string{system}, []string{vendor}, fact.VerdictLoadable, system},
		{[]string{vendor}, []string{system}, fact.VerdictLoadable, vendor},
		{nil, []string{vendor, system}, fact.VerdictBlocked, system},
	} {
		m, keys := approvedOther(fakedarwin.Intel(), tt.signed, tt.plain)
		v := checked(t, m, fact.Options{Keys: keys}, "com.vendor.other")
		file := slices.ContainsFunc(v.Reasons, func(r fact.Reason) bool {
			return r.Code == ReasonInstalled && strings.HasPrefix(r.File, "/"+tt.file)
		})
		if v.NextBoot.Outcome != tt.next || !file {
			t.Errorf("signed %v, unsigned %v: %s, %+v", tt.signed, tt.plain, v.NextBoot.Outcome, v.Reasons)
		}
	}
}

// TestCheckMachine judges a bundle whose code is for another processor than the kernel's: an Intel Mac's on Apple
// silicon. Code that was not read whole may have another slice.
func TestCheckMachine(t *testing.T) {
	const code = "Library/Extensions/Other.kext/Contents/MacOS/Driver"
	intel := fakedarwin.KextCode("x86_64", "uuid-of-x86-----", nil)
	for _, tt := range []struct {
		host    fakedarwin.Host
		code    []byte
		refused bool
	}{
		{fakedarwin.Intel(), intel, false},
		{fakedarwin.Silicon(), intel, true},
		{fakedarwin.Silicon(), fakedarwin.Fat(intel, fakedarwin.KextCode("arm64e", "uuid-of-arm-----", nil)), false},
		{fakedarwin.Silicon(), fakedarwin.Fat(intel, fakedarwin.KextCode("arm64e", "uuid-of-arm-----", nil))[:9000],
			false},
		{fakedarwin.Intel(), fakedarwin.KextCode("arm64e", "uuid-of-arm-----", nil), true},
	} {
		m, keys := approvedOther(tt.host, []string{"Library/Extensions"}, nil)
		m.MapFS[code] = &fstest.MapFile{Data: tt.code}
		v := checked(t, m, fact.Options{Keys: keys}, "com.vendor.other")
		refused := reasonOf(&v, ReasonMachine) != ""
		leads := v.NextBoot.Outcome == fact.VerdictBlocked && v.Reasons[0].Code == ReasonMachine
		if refused != tt.refused || refused != leads && refused {
			t.Errorf("%s with code of %d bytes: %s, %+v", tt.host.Arch, len(tt.code), v.NextBoot.Outcome, v.Reasons)
		}
	}
}

// TestUnmounted asks a root of which a volume is not mounted, or no kernel collection is there: a name that is not
// found may be there.
func TestUnmounted(t *testing.T) {
	whole := fakedarwin.Intel().Machine().MapFS
	for path := range whole {
		if strings.Contains(path, "Broken.kext") {
			delete(whole, path)
		}
	}
	maps.Copy(whole, fakedarwin.BundleFiles("System/Library/Extensions/A.kext", "com.apple.a", nil))
	whole["Library/Preferences/x"] = &fstest.MapFile{}
	for name, tt := range map[string]struct {
		gone    []string // folders
		release string
		outcome fact.VerdictOutcome
		says    string
	}{
		"whole":        {nil, "11.3", fact.VerdictAbsent, ""},
		"System alone": {[]string{"Library/Extensions/", "private/"}, "11.3", fact.VerdictUnknown, "its Data volume"},
		"Data alone":   {[]string{"System/"}, "", fact.VerdictUnknown, "its System volume"},
		"no collection": {[]string{"System/Library/KernelColl", "Library/KernelColl"}, "11.3", fact.VerdictUnknown,
			"absent"},
		"a few files": {[]string{"System/Library/Extensions/", "private/"}, "11.3", fact.VerdictAbsent, ""},
		"no bundles":  {[]string{"Library/Extensions/"}, "11.3", fact.VerdictAbsent, ""},
		"before macOS 11": {[]string{"System/Library/KernelColl", "Library/KernelColl"}, "10.15.7", fact.VerdictAbsent,
			""},
	} {
		m := fakedarwin.Intel().Machine()
		m.MapFS = maps.Clone(whole)
		maps.DeleteFunc(m.MapFS, func(path string, _ *fstest.MapFile) bool {
			return slices.ContainsFunc(tt.gone, func(dir string) bool { return strings.HasPrefix(path, dir) })
		})
		if tt.release != "" {
			m.MapFS[versionFile] = &fstest.MapFile{Data: []byte(`<plist><dict><key>ProductVersion</key><string>` +
				tt.release + `</string></dict></plist>`)}
		}
		v := checked(t, m, fact.Options{Image: true}, "com.nobody")
		if v.NextBoot.Outcome != tt.outcome || !strings.Contains(v.NextBoot.Because.Text, tt.says) {
			t.Errorf("%s: %s, %+v", name, v.NextBoot.Outcome, v.NextBoot.Because)
		}
	}
}
