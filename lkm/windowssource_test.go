// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
)

// entrySize is the size of an entry of class 77 on a 64-bit kernel, pathAt where its path is.
const (
	entrySize = 320
	pathAt    = 48
)

// An image whose name was wiped in the kernel's list costs only its name; the others are kept.
func TestWindowsNamelessImage(t *testing.T) {
	m := fakewindows.Windows11(false)
	raw := []byte(m.Calls[windows.OpModulesEx])
	clear(raw[3*entrySize+pathAt:][:256])
	clear(raw[8*entrySize+pathAt:][:256])
	m.Calls[windows.OpModulesEx] = string(raw)
	mods := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{})
	for _, id := range []string{"(no name)", "(no name)#2"} {
		x, ok := mods[id]
		if !ok || x.Name != "(no name)" || x.Path != "" || len(x.Problems) == 0 ||
			x.Problems[0].Code != lkm.CodeMalformed {
			t.Errorf("%s: %+v", id, x)
		}
	}
	// the service manager calls services of tcpip.sys and replaced.sys running
	if _, ok := mods["stornvme.sys"]; !ok || len(mods) != 12 {
		t.Errorf("%d modules", len(mods))
	}
}

// class11 makes the older list of the newer one.
func class11(ex string) string {
	b := make([]byte, 8)
	for n := 0; len(ex) >= entrySize; n++ {
		b = append(b, ex[8:8+296]...)
		ex = ex[entrySize:]
		binary.LittleEndian.PutUint32(b, uint32(n+1))
	}
	return string(b)
}

// The older list replaces the newer one: silently if Windows lacks it, with a Problem if it is invalid.
func TestWindowsOlderList(t *testing.T) {
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpModules] = class11(m.Calls[windows.OpModulesEx])
	for name, c := range map[string]struct {
		ex       string
		outcome  lkm.Outcome
		problems int
	}{"unsupported": {"", lkm.OutcomeOK, 0}, "nonsense": {"\x05\x00nonsense", lkm.OutcomePartial, 1},
		"empty": {"\x00\x00", lkm.OutcomePartial, 1}} {
		delete(m.Calls, windows.OpModulesEx)
		if c.ex != "" {
			m.Calls[windows.OpModulesEx] = c.ex
		}
		snap, err := openWindows(t, m, lkm.Options{Detail: lkm.DetailFiles}).Snapshot(context.Background())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		src, _ := snap.Source(windows.SourceModules)
		if n, _ := src.Count.Get(); len(snap.Modules) != 10 || n != 10 || src.Outcome != c.outcome ||
			len(snap.Problems) != c.problems {
			t.Errorf("%s: %d modules, %+v, problems %v", name, len(snap.Modules), src, snap.Problems)
		}
		for _, x := range snap.Modules {
			if x.OnDisk.Match != "" && x.OnDisk.Match != lkm.MatchAbsent {
				t.Errorf("%s: %s is compared without checksum: %+v", name, x.ID, x.OnDisk)
			}
			unknown := slices.ContainsFunc(x.Problems,
				func(p lkm.Problem) bool { return p.Field == "onDisk.match" && p.Code == lkm.CodeUnsupported })
			if unknown != (x.Windows.PE != nil) {
				t.Errorf("%s: %s: problems %v", name, x.ID, x.Problems)
			}
		}
	}
}

// refuseKeys makes the registry keys of services ones that cannot be opened.
func refuseKeys(t *testing.T, m *fakewindows.Machine, names ...string) {
	t.Helper()
	keys, err := registry.ParseText("test", []byte(m.Calls[windows.OpServiceKeys]), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if slices.Contains(names, keys[i].Name()) {
			keys[i].Values, keys[i].Refused = nil, true
		}
	}
	m.Calls[windows.OpServiceKeys] = string(registry.AppendText(nil, keys))
}

// A key of the registry that a user may not open is no missing one.
func TestWindowsRefusedKey(t *testing.T) {
	m := fakewindows.Windows11(true)
	refuseKeys(t, m, "disabled", "hidden")
	sys := openWindows(t, m, lkm.Options{})
	snap, err := sys.SnapshotOf(context.Background(), lkm.ScopeInstalled)
	if err != nil {
		t.Fatal(err)
	}
	src, _ := snap.Source(windows.SourceRegistry)
	if n, _ := src.Count.Get(); n != 10 || src.Outcome != lkm.OutcomePartial {
		t.Errorf("%+v", src)
	}
	found := false
	for _, p := range snap.Problems {
		found = found || p.Source == windows.SourceRegistry && errors.Is(p, fs.ErrPermission) && p.Count == 2
	}
	x := snap.Module("windows_driver:service disabled")
	if !found || x == nil || x.Windows.Views[windows.SourceRegistry] != lkm.ViewUnchecked || len(x.Problems) != 1 ||
		x.Problems[0].Code != lkm.CodePermission {
		t.Errorf("problems %v, module %+v", snap.Problems, x)
	}
	list, err := sys.Discrepancies(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Name == "disabled" || d.Name == "hidden" || d.Kind == windows.HiddenService {
			t.Errorf("%+v", d)
		}
	}
	if v, err := sys.Check(context.Background(), "no such"); err != nil || v[0].Now.Outcome != lkm.VerdictUnknown {
		t.Errorf("%+v, %v", v, err)
	}
}

// A driver may have a name like those of copies for crash dumps, and is not a copy if it has a file.
func TestWindowsDumpName(t *testing.T) {
	m := fakewindows.Windows11(false)
	const folder = "c:/windows/system32/drivers/"
	m.Files[folder+"dump_stornvme.sys"] = m.Files[folder+"tcpip.sys"]
	x := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{Detail: lkm.DetailFiles})["dump_stornvme.sys"]
	if x.Windows.Image.AliasOf != "" || !strings.HasSuffix(x.Path, "dump_stornvme.sys") ||
		x.OnDisk.Match != lkm.MatchDifferent || x.ContentID != "" || x.Version != "" {
		t.Errorf("%+v", x)
	}
}

// Rows of Win32_PnPSignedDriver join the devices of SetupAPI, and WMI's states are compared.
func TestWindowsWMIDevices(t *testing.T) {
	m := fakewindows.Windows11(false)
	devices, err := windows.ParseDevices([]byte(m.Calls[windows.OpDevices]))
	if err != nil {
		t.Fatal(err)
	}
	m.Calls[windows.OpWMIDrivers] = string(windows.AppendWMIDrivers(nil, []windows.WMIDriver{
		{Name: "ketnet", State: "Running", Started: true}, {Name: "disabled", State: "Running", Started: true},
		{Name: "unlisted", State: "Stopped"}}))
	m.Calls[windows.OpWMIPnP] = string(windows.AppendWMISigned(nil, []windows.WMISignedDriver{
		{DeviceID: strings.ToLower(devices[1].Instance), InfName: "oem7.inf", IsSigned: true,
			Signer: "Microsoft Windows Hardware Compatibility Publisher", DriverDate: "20220919000000.******+***"},
		{DeviceID: `HTREE\ROOT\0`}}))
	x := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{Detail: lkm.DetailFiles})["ketnet.sys"]
	if d := x.Windows.Devices[0]; d.Signed != lkm.Yes || d.Signer == "" || d.WMI == nil || d.WMI.InfName != "oem7.inf" {
		t.Errorf("%+v", d)
	}
	list, err := openWindows(t, m, lkm.Options{}).Discrepancies(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range list {
		if d.Kind == windows.WMIDisagrees {
			got[d.Name] = d.Evidence[0].Value
		}
	}
	if len(got) != 2 || got["disabled.sys"] != "disabled Running" || got["unlisted"] != "unlisted" {
		t.Errorf("%v", got)
	}
	m.Calls[windows.OpWMIPnP] = ""
	snap, err := openWindows(t, m, lkm.Options{Detail: lkm.DetailFiles}).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := snap.Source(windows.SourceWMI); s.Outcome != lkm.OutcomePartial {
		t.Errorf("no rows of devices: %+v", s)
	}
}

// An image that was loaded by its short name is the one that is registered by its long one.
func TestWindowsShortName(t *testing.T) {
	m := fakewindows.Windows11(false)
	const short = `C:\PROGRA~1\KETWAT~1\ketwatch.sys`
	raw := []byte(m.Calls[windows.OpModulesEx])
	path := raw[7*entrySize+pathAt:][:256]
	clear(path)
	copy(path, `\??\`+short)
	m.Calls[windows.OpModulesEx] = string(raw)
	const id = `c:\program files\ket watch\ketwatch.sys`
	if mods := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{}); len(mods) != 11 ||
		mods[strings.ToLower(short)].Name == "" {
		t.Errorf("without a look-up: %d modules", len(mods))
	}
	m.Calls[windows.OpLongPath+" "+short] = `C:\Program Files\Ket Watch\ketwatch.sys`
	sys := openWindows(t, m, lkm.Options{})
	x := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{})[id]
	if x.Windows == nil || x.Windows.Image == nil || len(x.Windows.Services) != 1 ||
		x.Path != `C:\Program Files\Ket Watch\ketwatch.sys` {
		t.Errorf("%+v", x)
	}
	var list lkm.List
	if err := sys.Poll(context.Background(), &list); err != nil || len(list.Modules) != 10 ||
		!slices.ContainsFunc(list.Modules, func(m lkm.Module) bool { return m.ID == "windows_driver:"+id }) {
		t.Errorf("%v, %v", list.Modules, err)
	}
}

// A fact that every module lacks for one reason is reported once.
func TestWindowsOneCause(t *testing.T) {
	m := fakewindows.Windows11(false)
	for name, f := range m.Files {
		if strings.HasSuffix(name, ".sys") || strings.HasSuffix(name, ".exe") {
			f.Data = []byte("no image at all, of some length")
		}
	}
	delete(m.Files, "c:/windows/system32/drivers/gone.sys")
	m.Calls[windows.OpModulesEx] = m.Calls[windows.OpModulesEx][:2*entrySize] + "\x00\x00"
	m.Calls[windows.OpServices] = ""
	snap, err := openWindows(t, m, lkm.Options{Detail: lkm.DetailFiles}).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, p := range snap.Problems {
		if p.Source == windows.SourceFile && p.Field == "pe" && p.Count == len(snap.Modules) && p.Subject == "" {
			told++
		}
	}
	if told != 1 || len(snap.Modules[0].Problems) != 0 {
		t.Errorf("%v, %v", snap.Problems, snap.Modules[0].Problems)
	}
}

// Code integrity that enforces makes a driver without a fitting signature blocked; in debug mode that
// is not known.
func TestWindowsDebugMode(t *testing.T) {
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpCodeIntegrity] = "\x08\x00\x00\x00\x81\x00\x00\x00"
	sys := openWindows(t, m, lkm.Options{})
	p, err := sys.Policy(context.Background())
	if err != nil || p.Loading != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// addService registers a driver that starts by itself.
func addService(m *fakewindows.Machine, name, path string) {
	key := registry.Key{Path: `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\` + name,
		Values: []registry.Value{registry.DwordValue("Type", 1), registry.DwordValue("Start", 2),
			registry.StringValue("ImagePath", registry.TypeString, path)}}
	_, text, _ := strings.Cut(string(registry.AppendText(nil, []registry.Key{key})), "\n")
	m.Calls[windows.OpServiceKeys] += text
	m.Calls[windows.OpServices] += string(windows.AppendServices(nil,
		[]windows.ServiceStatus{{Name: name, Type: 1, State: 1}}))
}

func checkOne(t *testing.T, m *fakewindows.Machine, o lkm.Options, query string) lkm.Verdict {
	t.Helper()
	v, err := openWindows(t, m, o).Check(context.Background(), query)
	if err != nil || len(v) != 1 {
		t.Fatalf("%s: %+v, %v", query, v, err)
	}
	return v[0]
}

// testSigning is the answer of code integrity's options: enabled, with test signing.
const testSigning = "\x08\x00\x00\x00\x03\x00\x00\x00"

// A driver is blocked for want of a service only when all services were seen.
func TestWindowsCheckUnseenService(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		hide func(m *fakewindows.Machine)
		want lkm.VerdictOutcome
	}{
		"seen": {`System32\drivers\leftover.sys`, nil, lkm.VerdictLoadable},
		"registry refused": {`System32\drivers\leftover.sys`,
			func(m *fakewindows.Machine) { m.Deny[windows.OpServiceKeys] = true }, lkm.VerdictUnknown},
		"key refused": {`System32\drivers\leftover.sys`, func(m *fakewindows.Machine) { refuseKeys(t, m, "lazy") },
			lkm.VerdictUnknown},
		"device":      {`\Device\HarddiskVolume9\leftover.sys`, nil, lkm.VerdictUnknown},
		"short name":  {`System32\drivers\LEFTOV~1.SYS`, nil, lkm.VerdictUnknown},
		"global root": {`\??\GLOBALROOT\SystemRoot\System32\drivers\leftover.sys`, nil, lkm.VerdictLoadable},
		"other file":  {`\Device\HarddiskVolume9\other.sys`, nil, lkm.VerdictBlocked},
	} {
		m := fakewindows.Windows11(false)
		m.Calls[windows.OpCodeIntegrity] = testSigning // the signature decides nothing
		addService(m, "lazy", c.path)
		if c.hide != nil {
			c.hide(m)
		}
		if v := checkOne(t, m, lkm.Options{}, "leftover.sys"); v.NextBoot.Outcome != c.want || v.Now.Outcome != c.want {
			t.Errorf("%s: now %+v, next boot %+v, %v", name, v.Now, v.NextBoot, v.Reasons)
		}
	}
	m := fakewindows.Windows11(false)
	refuseKeys(t, m, "odd")
	if v := checkOne(t, m, lkm.Options{}, "disabled.sys"); v.NextBoot.Outcome != lkm.VerdictUnknown {
		t.Errorf("a second service of a disabled driver may be refused: %+v", v.NextBoot)
	}
}

// A driver that runs from the driver store is another one than that of the same name in
// System32\drivers, whether that one is registered or only a file.
func TestWindowsSameName(t *testing.T) {
	const store = `C:\Windows\System32\DriverStore\FileRepository\other\`
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpCodeIntegrity] = testSigning // the signature decides nothing
	want := map[string]string{}
	for _, name := range []string{"disabled.sys", "leftover.sys"} {
		addService(m, "other "+name, store+name)
		m.Files[strings.ToLower(strings.ReplaceAll(store, `\`, "/"))+name] =
			m.Files["c:/windows/system32/drivers/tcpip.sys"]
		want[store+name] = "tcpip.sys"
		want[`C:\Windows\System32\drivers\`+name] = name
	}
	ids := map[string]bool{}
	for id, x := range windowsSnapshot(t, m, lkm.ScopeInstalled, lkm.Options{Detail: lkm.DetailFiles}) {
		if name := want[x.Path]; name != "" {
			delete(want, x.Path)
			ids[id] = true
			if x.Description != "Driver "+name {
				t.Errorf("%s (%s) is %q, want that of %s", x.Path, id, x.Description, name)
			}
		}
	}
	if len(want) != 0 || !ids["disabled.sys"] || !ids["leftover.sys"] &&
		!ids[`c:\windows\system32\drivers\leftover.sys`] {
		t.Errorf("ids %v, without %v", ids, want)
	}
	for path, outcome := range map[string]lkm.VerdictOutcome{store + "disabled.sys": lkm.VerdictLoadable,
		`C:\Windows\System32\drivers\disabled.sys`: lkm.VerdictBlocked,
		`C:/Windows/System32/drivers/leftover.sys`: lkm.VerdictBlocked, store + "none.sys": lkm.VerdictAbsent} {
		if v := checkOne(t, m, lkm.Options{}, path); v.NextBoot.Outcome != outcome {
			t.Errorf("%s: %+v of %s", path, v.NextBoot, v.Module)
		}
	}
	if v, err := openWindows(t, m, lkm.Options{}).Check(context.Background(), "disabled.sys"); err != nil ||
		len(v) != 2 {
		t.Errorf("by name: %+v, %v", v, err)
	}
}

// A copy for crash dumps of a driver that runs from the driver store is made of that file.
func TestWindowsDumpOfStore(t *testing.T) {
	m := fakewindows.Windows11(false)
	raw := []byte(m.Calls[windows.OpModulesEx])
	dump, ketnet := raw[5*entrySize:6*entrySize], raw[6*entrySize:7*entrySize]
	clear(dump[pathAt:][:256])
	copy(dump[pathAt:], `\SystemRoot\System32\Drivers\dump_ketnet.sys`)
	copy(dump[304:312], ketnet[304:312])
	binary.LittleEndian.PutUint16(dump[46:], uint16(len(`\SystemRoot\System32\Drivers\`)))
	m.Calls[windows.OpModulesEx] = string(raw)
	list, err := openWindows(t, m, lkm.Options{}).Discrepancies(context.Background())
	for _, d := range list {
		if d.Name == "dump_ketnet.sys" {
			t.Errorf("%+v", d)
		}
	}
	x := windowsSnapshot(t, m, lkm.ScopeLoaded, lkm.Options{Detail: lkm.DetailFiles})["dump_ketnet.sys"]
	if err != nil || !strings.Contains(x.Path, "FileRepository") || x.OnDisk.Match != lkm.MatchSame {
		t.Errorf("%s, %+v, %v", x.Path, x.OnDisk, err)
	}
}

// What Windows makes of data beside a signature is not known.
func TestWindowsCheckForeignData(t *testing.T) {
	m := fakewindows.Windows11(false)
	addService(m, "lazy", `System32\drivers\leftover.sys`)
	const name = "c:/windows/system32/drivers/leftover.sys"
	b := slices.Clone(m.Files[name].Data)
	table := []byte{16, 0, 0, 0, 0, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8} // an entry that is not a signature
	at := int(binary.LittleEndian.Uint32(b[0x3c:])) + 24 + 144
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[at+4:], uint32(len(table)))
	m.Files[name] = &fstest.MapFile{Data: append(b, table...)}
	if v := checkOne(t, m, lkm.Options{}, "leftover.sys"); v.NextBoot.Outcome != lkm.VerdictUnknown {
		t.Errorf("%+v %v", v.NextBoot, v.Reasons)
	}
}
