// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/wine"
)

// wineBox is a Wine prefix with the real command and a second witness in it.
type wineBox struct {
	*wine.Prefix
	lkm, scm string
}

// windowsProgram builds a program of a module for Windows.
func windowsProgram(t *testing.T, dir, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(pkg)+".exe")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
	return out
}

func newWineBox(t *testing.T) *wineBox {
	t.Helper()
	lab.Met(t, wine.Find())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	p, err := wine.New(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	b := &wineBox{Prefix: p, lkm: windowsProgram(t, "..", "./cmd/lkm"), scm: windowsProgram(t, ".", "./wine/scm")}
	b.hold(t)
	return b
}

// hold keeps one program running, and with it the service manager: without any it ends, and reads
// the registry anew when the next one starts.
func (b *wineBox) hold(t *testing.T) {
	t.Helper()
	cmd := b.Command(context.Background(), b.scm, "wait", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The programs that Wine starts by itself inherit the pipe, so that it never ends: one line is
	// all that is read of it.
	out, childOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = childOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	childOut.Close()
	t.Cleanup(func() {
		in.Close()
		out.Close()
		_ = cmd.Wait()
	})
	_ = out.SetReadDeadline(time.Now().Add(time.Minute))
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready") {
		t.Fatalf("the service manager does not start: %q, %v", line, err)
	}
}

// A Windows machine of Wine's: the subtests look at one prefix with services of every kind in it.
func TestWindows(t *testing.T) {
	t.Parallel()
	b := newWineBox(t)
	b.populate(t)
	t.Run("services", b.services)
	t.Run("image paths", b.imagePaths)
	t.Run("hidden services", b.hiddenServices)
	t.Run("verdicts", b.verdicts)
	t.Run("wmi", b.wmi)
	t.Run("commands", b.commands)
	t.Run("stores", b.stores)
	t.Run("staged", b.staged)
	t.Run("tape", b.tape)
	t.Run("tests of package windows", b.packageTests)
}

// run runs a Windows program and returns what it prints.
func (b *wineBox) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	return b.runExit(t, 0, program, args...)
}

// runExit runs a Windows program that ends with an exit code.
func (b *wineBox) runExit(t *testing.T, code int, program string, args ...string) string {
	t.Helper()
	return b.runIn(t, "", code, program, args...)
}

// runIn is runExit in a folder.
func (b *wineBox) runIn(t *testing.T, dir string, code int, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := b.Command(ctx, program, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s %q: exit %d, want %d: %v\n%s%s", filepath.Base(program), args, got, code,
			err, out, stderr.String())
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// A driver is one module of lkm's JSON, as far as these tests look at it.
type driver struct {
	ID, Name, State, Path string
	Windows               struct {
		Services []struct {
			Name, Type, Start, State, ImagePath, ImagePathRule, ImageFile string
			Instances                                                     []struct{ Name, Altitude string }
			DefaultInstance                                               string
		}
		Views map[string]string
	}
}

type driverSnapshot struct {
	OS      string
	Modules []driver
	Sources []struct {
		Name, Outcome string
		Count         *int
	}
}

func (b *wineBox) snapshot(t *testing.T, args ...string) driverSnapshot {
	t.Helper()
	var s driverSnapshot
	out := b.run(t, b.lkm, append([]string{"list", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("lkm list: %v\n%s", err, out)
	}
	return s
}

// imagePaths are all forms that an ImagePath has in the field, with what they mean.
var imagePaths = []struct{ name, path, rule, file string }{
	{"ketrelative", `System32\drivers\ketrelative.sys`, "relative", `C:\windows\System32\drivers\ketrelative.sys`},
	{"ketlower", `system32\DRIVERS\ketlower.sys`, "relative", `C:\windows\system32\DRIVERS\ketlower.sys`},
	{"ketroot", `\SystemRoot\System32\drivers\ketroot.sys`, "system_root", `C:\windows\System32\drivers\ketroot.sys`},
	{"ketsystemroot", `\systemroot\system32\drivers\ketsystemroot.sys`, "system_root",
		`C:\windows\system32\drivers\ketsystemroot.sys`},
	{"ketdos", `\??\C:\Program Files\Ket\ketdos.sys`, "dos_device", `C:\Program Files\Ket\ketdos.sys`},
	{"ketunc", `\??\UNC\server\share\ketunc.sys`, "unc", `\\server\share\ketunc.sys`},
	{"ketenv", `%SystemRoot%\System32\drivers\ketenv.sys`, "environment", `C:\windows\System32\drivers\ketenv.sys`},
	{"ketdrive", `C:\Drivers\ketdrive.sys`, "drive", `C:\Drivers\ketdrive.sys`},
	{"ketquoted", `"C:\Program Files\Ket\ketquoted.sys" -x`, "drive", `C:\Program Files\Ket\ketquoted.sys`},
	{"ketslash", `C:/Drivers/ketslash.sys`, "drive", `C:\Drivers\ketslash.sys`},
	{"ketdevice", `\Device\HarddiskVolume1\Drivers\ketdevice.sys`, "device", `C:\Drivers\ketdevice.sys`},
	{"ketdosdevices", `\DosDevices\C:\Drivers\ketdosdevices.sys`, "dos_device", `C:\Drivers\ketdosdevices.sys`},
	{"ketwin32", `\\?\C:\Drivers\ketwin32.sys`, "dos_device", `C:\Drivers\ketwin32.sys`},
	{"ketshare", `\\server\share\ketshare.sys`, "unc", `\\server\share\ketshare.sys`},
	{"ketwindir", `%windir%\ketwindir.sys`, "environment", `C:\windows\ketwindir.sys`},
	{"ketarguments", `System32\drivers\ketarguments.sys -k x`, "relative",
		`C:\windows\System32\drivers\ketarguments.sys`},
	{"ketshort", `C:\PROGRA~1\Ket\ketshort.sys`, "drive", `C:\PROGRA~1\Ket\ketshort.sys`},
}

// longName is a file whose directory has a short name.
const longName = "Program Files/Ket Long Names/ketlong.sys"

func windowsPath(name string) string { return `C:\` + strings.ReplaceAll(name, "/", `\`) }

const servicesKey = `HKLM\SYSTEM\CurrentControlSet\Services\`

// populate adds services of every kind to the prefix.
func (b *wineBox) populate(t *testing.T) {
	t.Helper()
	for _, p := range imagePaths {
		b.run(t, b.scm, "create", p.name, "1", "3", p.path)
	}
	b.run(t, b.scm, "create", "ketdisabled", "1", "4", `System32\drivers\ketdisabled.sys`)
	b.run(t, b.scm, "create", "ketfilter", "2", "3", `System32\drivers\ketfilter.sys`)
	add := func(key, name, typ, data string) {
		b.run(t, "reg", "add", servicesKey+key, "/v", name, "/t", typ, "/d", data, "/f")
	}
	add(`ketfilter\Instances`, "DefaultInstance", "REG_SZ", "Ket Instance")
	add(`ketfilter\Instances\Ket Instance`, "Altitude", "REG_SZ", "385250.500000000000000000001")
	add(`ketfilter\Instances\Ket Instance`, "Flags", "REG_DWORD", "0")
	// A service that is registered by the short names of its file's path.
	if err := os.MkdirAll(filepath.Dir(b.Path(longName)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Path(longName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	short := strings.TrimSpace(b.run(t, b.scm, "short", windowsPath(longName)))
	if !strings.Contains(short, "~") {
		t.Fatalf("no short name: %s", short)
	}
	b.run(t, b.scm, "create", "ketlong", "1", "3", `\??\`+short)
	b.run(t, b.scm, "create", "kethidden", "1", "3", `System32\drivers\kethidden.sys`)
	b.run(t, b.scm, "hide", "kethidden")
	// A key that the service manager, which read the registry when it started, knows nothing of.
	add("ketunknown", "Type", "REG_DWORD", "1")
	add("ketunknown", "Start", "REG_DWORD", "0")
	add("ketnopath", "Type", "REG_DWORD", "8")
	add("ketnopath", "Start", "REG_DWORD", "1")
	// The two that share an image, as tcpip and tcpip6 do.
	b.run(t, b.scm, "create", "ketshared6", "1", "3", `System32\drivers\ketrelative.sys`)
}

var (
	registryKey   = regexp.MustCompile(`(?m)^HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\([^\\\r\n]+)$`)
	registryValue = regexp.MustCompile(`(?m)^    (\S+)    (REG_\w+)    (.*)$`)
)

// registered returns the driver services of the registry by name, with type and start, as Wine's
// own reg.exe prints them.
func (b *wineBox) registered(t *testing.T) map[string][2]uint64 {
	t.Helper()
	out := b.run(t, "reg", "query", strings.TrimSuffix(servicesKey, `\`), "/s")
	found := map[string][2]uint64{}
	marks := registryKey.FindAllStringSubmatchIndex(out, -1)
	for i, m := range marks {
		end := len(out)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		body, _, _ := strings.Cut(out[m[1]:end], "\nHKEY_") // a service's subkeys are not its own
		numbers := map[string]uint64{}
		for _, v := range registryValue.FindAllStringSubmatch(body, -1) {
			if v[2] == "REG_DWORD" {
				numbers[v[1]], _ = strconv.ParseUint(strings.TrimSpace(v[3]), 0, 32)
			}
		}
		if typ := numbers["Type"]; typ&0x0b != 0 && typ&0x30 == 0 {
			found[out[m[2]:m[3]]] = [2]uint64{typ, numbers["Start"]}
		}
	}
	return found
}

var (
	startWords = []string{"boot", "system", "auto", "demand", "disabled"}
	stateWords = []string{"", "stopped", "start_pending", "stop_pending", "running"}
	typeWords  = map[uint64]string{1: "kernel_driver", 2: "file_system_driver", 8: "recognizer_driver"}
)

// The real command under Wine says what the service manager and the registry of that prefix hold.
func (b *wineBox) services(t *testing.T) {
	s := b.snapshot(t, "--all")
	got := map[string]driver{}
	for _, d := range s.Modules {
		for _, svc := range d.Windows.Services {
			if _, twice := got[svc.Name]; twice {
				t.Errorf("service %s is in two modules", svc.Name)
			}
			got[svc.Name] = d
		}
	}
	registered := b.registered(t)
	if len(registered) < 7+len(imagePaths)+6 { // Wine's own, and those of populate
		t.Fatalf("the registry has only %d drivers: %v", len(registered), registered)
	}
	known := b.witness(t, registered)
	for name, want := range registered {
		d, ok := got[name]
		if !ok {
			t.Errorf("%s is in the registry, and not listed", name)
			continue
		}
		svc := d.Windows.Services[indexOf(d, name)]
		if svc.Type != typeWords[want[0]] || svc.Start != startWords[want[1]] {
			t.Errorf("%s: type %s start %s, the registry has %d and %d", name, svc.Type, svc.Start, want[0], want[1])
		}
		state, inManager := known[name]
		if svc.State != state {
			t.Errorf("%s: state %q, the service manager has %q", name, svc.State, state)
		}
		if wantState := map[bool]string{true: "loaded", false: "installed"}[anyRunning(d)]; d.State != wantState {
			t.Errorf("%s: module is %s, want %s", name, d.State, wantState)
		}
		if view := d.Windows.Views["service_manager"]; !inManager && len(d.Windows.Services) == 1 && view != "missing" {
			t.Errorf("%s: the service manager's view is %q, want missing", name, view)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is listed, and not in the registry", name)
	}
	if _, ok := known["ketunknown"]; ok {
		t.Error("the service manager knows a key that was written behind its back: the test shows nothing")
	}
}

// hiddenServices compares what the service manager enumerates with what lkm calls hidden. Windows
// leaves a service out whose security descriptor denies SERVICE_QUERY_STATUS; Wine 8.0 takes the
// descriptor and ignores it, so that there only the key that was written behind the service
// manager's back is one. A Wine that obeys is held to it.
func (b *wineBox) hiddenServices(t *testing.T) {
	listed := map[string]bool{}
	for line := range strings.Lines(b.run(t, b.scm, "list", "-")) {
		listed[strings.TrimSpace(line)] = true
	}
	if !listed["HTTP"] || !listed["ketdisabled"] {
		t.Fatalf("the service manager lists %v", listed)
	}
	if listed["kethidden"] {
		t.Log("this Wine ignores the security descriptor of a service: kethidden is listed as before")
	}
	out := b.runExit(t, 1, b.lkm, "discrepancies", "--format", "json")
	var found []struct {
		Kind     string
		Evidence []struct{ Value string }
		Samples  int
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	hidden := map[string]bool{}
	for _, d := range found {
		if d.Kind == "hidden_service" && d.Samples == 2 {
			hidden[d.Evidence[0].Value] = true
		}
	}
	for name := range b.registered(t) {
		if hidden[name] == listed[name] {
			t.Errorf("%s: listed by the service manager %v, called hidden %v", name, listed[name], hidden[name])
		}
		delete(hidden, name)
	}
	if len(hidden) > 0 {
		t.Errorf("called hidden and not in the registry: %v", hidden)
	}
	if listed["ketunknown"] {
		t.Error("no service is hidden: the test shows nothing")
	}
}

// wmi asks WMI for classes that Wine does not have: no rows and no error there, a source that
// failed here, and the same list.
func (b *wineBox) wmi(t *testing.T) {
	with, without := b.snapshot(t, "--wmi", "--detail", "files"), b.snapshot(t, "--detail", "files")
	if len(with.Modules) != len(without.Modules) {
		t.Errorf("%d modules with WMI, %d without", len(with.Modules), len(without.Modules))
	}
	for i, s := range with.Sources {
		want := without.Sources[i].Outcome
		if s.Name == "wmi" {
			want = "failed"
		}
		if s.Outcome != want {
			t.Errorf("source %s: %s, want %s", s.Name, s.Outcome, want)
		}
	}
}

// verdicts asks for services by name, by image and by path.
func (b *wineBox) verdicts(t *testing.T) {
	file, err := os.ReadFile(b.Path("windows/system32/drivers/mountmgr.sys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Drivers/ketdrive.sys", "Temp/nobodys.sys",
		"windows/system32/drivers/ketdisabled.sys"} {
		if err := os.MkdirAll(filepath.Dir(b.Path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.Path(name), file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		query, outcome string
		exit           int
	}{
		// A service whose file is on a share that is not there may import KETDISABLED.
		{"MountMgr", "loaded", 1}, {"ketdrive", "loadable", 1}, {"KETDISABLED", "unknown", 3},
		{"ketdos.sys", "absent", 0},
		{`C:\Temp\nobodys.sys`, "blocked", 0}, {"no such driver", "absent", 0},
	} {
		var verdicts []struct{ Now struct{ Outcome string } }
		out := b.runExit(t, c.exit, b.lkm, "check", c.query, "--format", "json")
		if err := json.Unmarshal([]byte(out), &verdicts); err != nil || len(verdicts) != 1 ||
			verdicts[0].Now.Outcome != c.outcome {
			t.Errorf("%s: want %s: %v\n%s", c.query, c.outcome, err, out)
		}
	}
}

// witness asks the service manager for each service by its name. One that it does not know is left out.
func (b *wineBox) witness(t *testing.T, names map[string][2]uint64) map[string]string {
	t.Helper()
	states := map[string]string{}
	args := append([]string{"query"}, slices.Sorted(maps.Keys(names))...)
	for line := range strings.Lines(b.run(t, b.scm, args...)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 1 {
			continue
		}
		n, err := strconv.Atoi(f[3])
		if err != nil || n >= len(stateWords) {
			t.Fatalf("scm query: %q", line)
		}
		states[f[0]] = stateWords[n]
	}
	return states
}

func indexOf(d driver, service string) int {
	for i, s := range d.Windows.Services {
		if s.Name == service {
			return i
		}
	}
	return -1
}

func anyRunning(d driver) bool {
	for _, s := range d.Windows.Services {
		if s.State == "running" {
			return true
		}
	}
	return d.Windows.Views["system_modules"] == "seen"
}

// Every form of ImagePath is kept unchanged, resolved, and says by which rule.
func (b *wineBox) imagePaths(t *testing.T) {
	byService := map[string]driver{}
	for _, d := range b.snapshot(t, "--all").Modules {
		for _, s := range d.Windows.Services {
			byService[s.Name] = d
		}
	}
	for _, p := range imagePaths {
		d := byService[p.name]
		i := indexOf(d, p.name)
		if i < 0 {
			t.Errorf("%s is not listed", p.name)
			continue
		}
		s := d.Windows.Services[i]
		if s.ImagePath != p.path || s.ImagePathRule != p.rule || !strings.EqualFold(s.ImageFile, p.file) {
			t.Errorf("%s: %q by rule %s is %q, want rule %s and %q", p.name, s.ImagePath, s.ImagePathRule,
				s.ImageFile, p.rule, p.file)
		}
	}
	if d := byService["ketnopath"]; indexOf(d, "ketnopath") < 0 || d.Windows.Services[0].ImagePathRule != "default" ||
		d.ID != "windows_driver:ketnopath.sys" {
		t.Errorf("a service without a path: %+v", d)
	}
	if d := byService["ketlong"]; d.Path != windowsPath(longName) || d.ID != `windows_driver:`+
		strings.ToLower(windowsPath(longName)) {
		t.Errorf("a service registered by short names: %+v", d)
	}
	if d := byService["ketshared6"]; len(d.Windows.Services) != 2 || d.ID != "windows_driver:ketrelative.sys" {
		t.Errorf("two services of one image: %+v", d)
	}
	f := byService["ketfilter"]
	if i := indexOf(f, "ketfilter"); i < 0 || f.Windows.Services[i].DefaultInstance != "Ket Instance" ||
		len(f.Windows.Services[i].Instances) != 1 ||
		f.Windows.Services[i].Instances[0].Altitude != "385250.500000000000000000001" {
		t.Errorf("a minifilter: %+v", f)
	}
	ids := map[string]bool{}
	for _, d := range byService {
		ids[d.ID] = true
	}
	if !ids[`windows_driver:c:\program files\ket\ketdos.sys`] || !ids[`windows_driver:ketdisabled.sys`] {
		t.Errorf("ids: %v", ids)
	}
}

// A tape that is recorded there gives here what the machine itself gave, and can become the corpus.
func (b *wineBox) tape(t *testing.T) {
	checkWindowsTape(t, b, "wine-8.0", "policy", true)
	// Wine's own drivers are in this one: it is compared and not kept.
	checkWindowsTape(t, b, "wine-8.0-files", "files,hashes,signatures,policy", false)
}

func checkWindowsTape(t *testing.T, b *wineBox, name, detail string, keep bool) {
	t.Helper()
	args := []string{"record", "-o", `C:\` + name + ".tape", "--detail", detail}
	show := []string{"list", "--format", "json", "--detail", detail}
	b.run(t, b.lkm, args...)
	local := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(local, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	there := stable(t, b.run(t, b.lkm, show...))
	out, err := exec.CommandContext(t.Context(), local, append(show, "--tape", b.Path(name+".tape"))...).Output()
	if err != nil {
		t.Fatalf("lkm list --tape: %v", err)
	}
	here := stable(t, string(out))
	if there != here {
		t.Errorf("the tape says otherwise than the machine.\nmachine: %s\ntape: %s", there, here)
	}
	if *record && keep {
		tape, err := os.ReadFile(b.Path(name + ".tape"))
		if err == nil {
			err = os.WriteFile(filepath.Join("..", "lkm", "lkmtest", "testdata", name+".tape"), tape, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stable drops what differs between a machine and its tape: the time, what is redacted in device
// ids, and Windows' own words for an error.
func stable(t *testing.T, text string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	delete(m, "takenAt")
	forget(m, "instance", "friendlyName", "text")
	out, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// forget deletes keys at any depth.
func forget(v any, keys ...string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys {
			delete(v, k)
		}
		for _, x := range v {
			forget(x, keys...)
		}
	case []any:
		for _, x := range v {
			forget(x, keys...)
		}
	}
}

// packageTests runs the tests of package windows and its rooms on Windows: what compiles everywhere must also be right
// there.
func (b *wineBox) packageTests(t *testing.T) {
	for _, pkg := range []string{
		"./windows", "./windows/pe", "./windows/authenticode", "./windows/registry", "./windows/wmi", "./internal/sign",
	} {
		out := filepath.Join(t.TempDir(), filepath.Base(pkg)+".test.exe")
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-o", out, pkg)
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go test -c %s: %v\n%s", pkg, err, text)
		}
		if text := b.runIn(t, filepath.Join("..", pkg), 0, out, "-test.short"); !strings.Contains(text, "PASS") {
			t.Errorf("%s: %s", pkg, text)
		}
	}
}
