// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

func openWindows(t *testing.T, m *fakewindows.Machine, o lkm.Options) *lkm.System {
	t.Helper()
	s, err := lkm.OpenMachine(lkm.Windows, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func windowsSnapshot(t *testing.T, m *fakewindows.Machine, scope lkm.Scope, o lkm.Options) map[string]lkm.Module {
	t.Helper()
	snap, err := openWindows(t, m, o).SnapshotOf(context.Background(), scope)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]lkm.Module{}
	for _, x := range snap.Modules {
		byID[strings.TrimPrefix(x.ID, "windows_driver:")] = x
	}
	return byID
}

func TestWindowsLoaded(t *testing.T) {
	detail := lkm.DetailFiles | lkm.DetailHashes | lkm.DetailAddresses
	mods := windowsSnapshot(t, fakewindows.Windows11(false), lkm.ScopeLoaded, lkm.Options{Detail: detail, Workers: 4})
	if len(mods) != 10 {
		t.Fatalf("%d modules", len(mods))
	}
	tcpip := mods["tcpip.sys"]
	if len(tcpip.Windows.Services) != 2 || tcpip.State != lkm.StateLoaded || tcpip.Version != "10.0.26100.4652" ||
		tcpip.OnDisk.Match != lkm.MatchSame ||
		tcpip.Address == 0 || len(tcpip.Requires) != 1 || tcpip.Windows.Hashes == nil {
		t.Errorf("tcpip: %+v", tcpip)
	}
	if m := mods["replaced.sys"]; m.OnDisk.Match != lkm.MatchDifferent || m.OnDisk.By != "checksum_timestamp" {
		t.Errorf("replaced: %+v", m.OnDisk)
	}
	if m := mods["ketnet.sys"]; m.Origin.Class != lkm.OriginThirdParty || len(m.Windows.Devices) != 1 ||
		len(m.Windows.Packages) != 1 {
		t.Errorf("ketnet: %+v", m.Origin)
	}
	if m := mods["acpi.sys"]; m.Origin.Class != lkm.OriginOS || len(m.UsedBy) != 0 {
		t.Errorf("acpi: %+v", m.Origin)
	}
	// Its version resource says Microsoft; that decides nothing.
	if m := mods[`c:\program files\ket watch\ketwatch.sys`]; m.Origin.Class != "" || m.Windows.Filter == nil ||
		m.Windows.Services[0].Instances[0].Altitude != "385250.5" {
		t.Errorf("ketwatch: %+v", m)
	}
	if m := mods["dump_stornvme.sys"]; m.Windows.Image.AliasOf != "stornvme.sys" ||
		m.Path != `C:\Windows\System32\Drivers\stornvme.sys` || m.Windows.PE == nil {
		t.Errorf("dump: %+v", m)
	}
	if m := mods["gone.sys"]; len(m.Problems) != 1 || m.Problems[0].Code != lkm.CodeAbsent ||
		m.Windows.Views[windows.SourceServices] != lkm.ViewMissing {
		t.Errorf("gone: %+v", m)
	}
}

// A user sees the same list; what is missing is reported once.
func TestWindowsUser(t *testing.T) {
	snap, err := openWindows(t, fakewindows.Windows11(true),
		lkm.Options{Detail: lkm.DetailAddresses | lkm.DetailFiles}).Snapshot(context.Background())
	if err != nil || len(snap.Modules) != 10 || snap.Privilege != "user" {
		t.Fatalf("%v %+v", err, snap)
	}
	hidden := 0
	for _, p := range snap.Problems {
		if p.Field == "address" && errors.Is(p, lkm.ErrRestricted) && p.Count == 10 {
			hidden++
		}
	}
	if hidden != 1 {
		t.Errorf("problems %v", snap.Problems)
	}
	if s, _ := snap.Source(windows.SourceFilters); s.Outcome != lkm.OutcomeDenied {
		t.Errorf("filters: %+v", s)
	}
}

func TestWindowsInstalled(t *testing.T) {
	mods := windowsSnapshot(t, fakewindows.Windows11(false), lkm.ScopeInstalled, lkm.Options{Detail: lkm.DetailFiles})
	for id, state := range map[string]lkm.State{"tcpip.sys": lkm.StateInstalled, "leftover.sys": lkm.StateInstalled,
		"hidden.sys": lkm.StateInstalled, "ketnet.sys": lkm.StateInstalled, "service odd": lkm.StateInstalled} {
		if m, ok := mods[id]; !ok || m.State != state {
			t.Errorf("%s: %+v", id, m)
		}
	}
	if m := mods["broken.sys"]; len(m.Problems) != 1 || m.Problems[0].Code != lkm.CodeMalformed {
		t.Errorf("broken: %+v", m.Problems)
	}
	if m := mods[`c:\programdata\definition updates\mpksldrv.sys`]; !m.Windows.Services[0].Ephemeral {
		t.Errorf("MpKsl: %+v", m)
	}
}

// Without class 77, class 11 is asked; without either there is no list, and no empty one.
func TestWindowsNoList(t *testing.T) {
	m := fakewindows.Windows11(false)
	delete(m.Calls, windows.OpModulesEx)
	if snap, err := openWindows(t, m, lkm.Options{}).Snapshot(context.Background()); err == nil {
		t.Errorf("%d modules", len(snap.Modules))
	}
	m.Calls[windows.OpModules] = "\x00\x00\x00\x00"
	if snap, err := openWindows(t, m, lkm.Options{}).Snapshot(context.Background()); !errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("%+v, %v", snap, err)
	}
}

// The cross-check with WMI: rows join, and no rows at all are a problem.
func TestWindowsWMI(t *testing.T) {
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpWMIDrivers] =
		string(windows.AppendWMIDrivers(nil, []windows.WMIDriver{{Name: "TCPIP", State: "Running", Started: true}}))
	mods := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{})
	if x := mods["tcpip.sys"].Windows; len(x.WMI) != 1 || x.Views[windows.SourceWMI] != lkm.ViewSeen ||
		mods["acpi.sys"].Windows.Views[windows.SourceWMI] != lkm.ViewMissing {
		t.Errorf("%+v", x)
	}
	m.Calls[windows.OpWMIDrivers] = ""
	snap, err := openWindows(t, m, lkm.Options{}).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := snap.Source(windows.SourceWMI); s.Outcome != lkm.OutcomeFailed {
		t.Errorf("no rows: %+v", s)
	}
}

func TestWindowsPolicyAndCheck(t *testing.T) {
	host := fakewindows.Windows11(false)
	host.Files["c:/temp/evil.sys"] = host.Files["c:/windows/system32/drivers/disabled.sys"]
	s := openWindows(t, host, lkm.Options{})
	p, err := s.Policy(context.Background())
	if err != nil || p.Loading != lkm.LoadingSigned {
		t.Fatalf("%+v, %v", p, err)
	}
	facts := map[string]string{}
	for _, f := range p.Facts {
		facts[f.Name] += f.Value
	}
	for name, want := range map[string]string{windows.PolicyHVCI: "yes", windows.PolicyWHQL: "audit",
		windows.PolicySecureBoot: "yes", windows.PolicyDebugger: "no", windows.PolicyBlockList: "1"} {
		if facts[name] != want {
			t.Errorf("%s: %q, want %q", name, facts[name], want)
		}
	}
	if !strings.HasPrefix(facts[windows.PolicyFile], "sha256 ") {
		t.Errorf("policy files: %q", facts[windows.PolicyFile])
	}
	for query, want := range map[string][2]lkm.VerdictOutcome{
		"tcpip":     {lkm.VerdictLoaded, lkm.VerdictLoadable},
		"TCPIP.SYS": {lkm.VerdictLoaded, lkm.VerdictLoadable},
		"disabled":  {lkm.VerdictBlocked, lkm.VerdictBlocked},
		"hidden":    {lkm.VerdictAbsent, lkm.VerdictAbsent}, // its service is there, its file is not
		"leftover":  {lkm.VerdictBlocked, lkm.VerdictBlocked},
		"gone":      {lkm.VerdictLoaded, lkm.VerdictAbsent},
		// A file outside the folders that are searched for drivers.
		`C:\Temp\Evil.sys`:  {lkm.VerdictBlocked, lkm.VerdictBlocked},
		"/temp/evil.sys":    {lkm.VerdictBlocked, lkm.VerdictBlocked},
		`C:\Temp\none.sys`:  {lkm.VerdictAbsent, lkm.VerdictAbsent},
		`C:\Temp\a?b\x.sys`: {lkm.VerdictAbsent, lkm.VerdictAbsent},

		"no such": {lkm.VerdictAbsent, lkm.VerdictAbsent},
		`C:\Program Files\Ket Watch\ketwatch.sys`: {lkm.VerdictLoaded, lkm.VerdictLoadable},
	} {
		v, err := s.Check(context.Background(), query)
		if err != nil || len(v) != 1 || v[0].Now.Outcome != want[0] || v[0].NextBoot.Outcome != want[1] {
			t.Errorf("%s: %+v, %v", query, v, err)
			if len(v) == 1 {
				t.Errorf("  now %+v next %+v", v[0].Now, v[0].NextBoot)
			}
		}
	}
	blind := fakewindows.Windows11(false)
	delete(blind.Calls, windows.OpServiceKeys)
	closed := fakewindows.Windows11(false)
	closed.Deny["C:/Windows/System32/drivers"] = true
	for name, m := range map[string]*fakewindows.Machine{"the registry": blind, "the folder of drivers": closed} {
		v, err := openWindows(t, m, lkm.Options{}).Check(context.Background(), "no such")
		if err != nil || v[0].Now.Outcome != lkm.VerdictUnknown {
			t.Errorf("without %s: %+v, %v", name, v, err)
		}
	}
}

func TestWindowsDiscrepancies(t *testing.T) {
	found, err := openWindows(t, fakewindows.Windows11(false), lkm.Options{}).Discrepancies(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range found {
		got[d.Kind] += d.Name + " "
		if d.Samples != 2 || d.Grade != lkm.GradeWeak || d.ID == "" {
			t.Errorf("%+v", d)
		}
	}
	want := map[string]string{windows.HiddenService: "hidden.sys ", windows.ReplacedOnDisk: "replaced.sys ",
		windows.NoFile: "gone.sys "}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	closed := fakewindows.Windows11(false)
	closed.Deny["C:/Windows/System32/drivers/tcpip.sys"] = true
	found, err = openWindows(t, closed, lkm.Options{}).Discrepancies(context.Background())
	if err != nil || len(found) != 4 || found[0].Kind != windows.KindUnchecked ||
		found[0].Views[windows.SourceFile] != lkm.ViewUnchecked {
		t.Errorf("with a file that cannot be read: %+v, %v", found, err)
	}
	m := fakewindows.Windows11(true)
	m.Deny[windows.OpServices] = true
	found, err = openWindows(t, m, lkm.Options{}).Discrepancies(context.Background())
	if err != nil || len(found) == 0 || found[0].Kind != windows.KindUnchecked ||
		found[0].Views[windows.SourceServices] != lkm.ViewUnchecked {
		t.Errorf("without the service manager: %+v, %v", found, err)
	}
}

// A mounted volume is found whatever the case of its names, and its registry is read from the
// hive.
func TestWindowsImage(t *testing.T) {
	root := t.TempDir()
	write := func(name string, data []byte) {
		p := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range fakewindows.Windows11(false).Files {
		write(strings.Replace(strings.TrimPrefix(name, "c:/"), "windows/system32", "Windows/System32", 1), f.Data)
	}
	disk, err := lkm.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lkm.OpenImage(disk, lkm.Options{Detail: lkm.DetailFiles})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.OS() != lkm.Windows {
		t.Fatalf("taken for %s", s.OS())
	}
	if _, err := s.Snapshot(context.Background()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an image has a loaded list: %v", err)
	}
	// Without a hive the files of its folders are listed, and the hive is named.
	bare, err := s.SnapshotOf(context.Background(), lkm.ScopeInstalled)
	if err != nil || len(bare.Modules) == 0 || bare.Modules[0].Windows.Services != nil ||
		bare.Err() == nil || !strings.Contains(bare.Err().Error(), `C:\Windows\System32\config\SYSTEM`) {
		t.Errorf("without a hive: %+v, %v", bare, err)
	}
	write("Windows/System32/Config/SYSTEM", hivetest.System())
	write("Windows/System32/Config/Drivers", hivetest.Drivers())
	s.Refresh()
	snap, err := s.SnapshotOf(context.Background(), lkm.ScopeInstalled)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range snap.Modules {
		found[m.ID] = true
	}
	if !found["windows_driver:disk.sys"] || !found["windows_driver:leftover.sys"] ||
		!found["windows_driver:filter.sys"] {
		t.Errorf("modules %v", found)
	}
	if snap.Release != "10.0.26100.4652" || snap.Arch != "amd64" {
		t.Errorf("release %q, architecture %q", snap.Release, snap.Arch)
	}
	if m := snap.Module("windows_driver:disk.sys"); m.Origin.Class != lkm.OriginThirdParty ||
		len(m.Windows.Devices) != 1 || len(m.Windows.Packages) != 1 {
		t.Errorf("disk: %+v %+v", m.Origin, m.Windows)
	}
	if m := snap.Module("windows_driver:filter.sys"); m.Origin.Class != "" || len(m.Windows.Devices) != 1 ||
		len(m.Windows.Packages) != 0 {
		t.Errorf("filter: %+v %+v", m.Origin, m.Windows)
	}
	p, err := s.Policy(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Facts {
		if f.Name == windows.PolicyBlockList && f.Value != "1" || f.Name == windows.PolicyCodeIntegrity &&
			f.Code != lkm.CodeUnsupported {
			t.Errorf("%+v", f)
		}
	}
	mods, err := s.File(context.Background(), "/windows/SYSTEM32/drivers/TCPIP.sys")
	if err != nil || len(mods) != 1 || mods[0].Version != "10.0.26100.4652" {
		t.Errorf("%+v, %v", mods, err)
	}
	if _, err := s.File(context.Background(), "/windows/none.sys"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestReadFileWindows(t *testing.T) {
	files := fakewindows.Windows11(false).Files
	mods, err := lkm.ReadFile(context.Background(), files, "c:/windows/system32/drivers/tcpip.sys",
		lkm.Options{Detail: lkm.DetailFiles | lkm.DetailSignatures | lkm.DetailHashes})
	if err != nil || len(mods) != 1 {
		t.Fatal(err)
	}
	m := mods[0]
	if m.Kind != fact.KindWindowsDriver || m.State != "" || m.Signature.Status != "" || len(m.Problems) != 1 ||
		m.Windows.Hashes == nil || m.ContentID == "" {
		t.Errorf("%+v", m)
	}
	if _, err := lkm.ReadFile(context.Background(), files, "c:/windows/system32/drivers/broken.sys",
		lkm.Options{}); !errors.Is(err, lkm.ErrMalformed) {
		t.Errorf("nonsense: %v", err)
	}
}
