// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/bsd"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/lkm"
)

// bsdBox is the real command for FreeBSD, and the same for this system.
type bsdBox struct {
	run, lkm, here string
}

func newBSDBox(t *testing.T) *bsdBox {
	t.Helper()
	run, err := bsd.Find(t)
	lab.Met(t, err)
	b := &bsdBox{run: run, lkm: bsd.Build(t, "./cmd/lkm", false), here: filepath.Join(t.TempDir(), "lkm")}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", b.here, "./cmd/lkm")
	cmd.Dir = ".."
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	_, err = bsd.New(t, run, bsdTable(fakeunix.Many(1)), t.TempDir()).Do(t, b.lkm, "version")
	lab.Met(t, err)
	return b
}

// bsdTable is the made-up machine as a table of bsdrun's.
func bsdTable(m *fakeunix.FreeBSD, more ...string) string {
	var b strings.Builder
	for _, f := range m.Files {
		fmt.Fprintf(&b, "file %d %d 0x%x 0x%x %s %s\n", f.ID, f.Refs, f.Address, f.Size, f.Name, f.Path)
		for _, mod := range f.Modules {
			fmt.Fprintf(&b, "mod %d %d %s\n", mod.ID, mod.Refs, mod.Name)
		}
	}
	for _, ctl := range []string{"kern.module_path", "kern.bootfile", "kern.build_id"} {
		if v, ok := m.Text[ctl]; ok {
			fmt.Fprintf(&b, "sysctl %s s %s\n", ctl, v)
		}
	}
	for _, ctl := range []string{"kern.securelevel", "kern.osreldate"} {
		if v, ok := m.Numbers[ctl]; ok {
			fmt.Fprintf(&b, "sysctl %s i %d\n", ctl, v)
		}
	}
	b.WriteString("sysctl kern.ostype s FreeBSD\nsysctl kern.osrelease s 14.2-RELEASE\n" +
		"sysctl kern.version s made-up\nsysctl hw.machine s amd64\n")
	for _, line := range more {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// writeRoot puts the made-up machine's files into a directory.
func writeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, fakeunix.GENERICDisk()); err != nil {
		t.Fatal(err)
	}
	return root
}

func (b *bsdBox) do(t *testing.T, k bsd.Kernel, code int, args ...string) bsd.Result {
	t.Helper()
	r, err := k.Do(t, b.lkm, args...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != code {
		t.Errorf("lkm %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}

func (b *bsdBox) snapshot(t *testing.T, k bsd.Kernel, args ...string) *lkm.Snapshot {
	t.Helper()
	r := b.do(t, k, 0, append([]string{"list", "--format", "json"}, args...)...)
	s, err := lkm.Decode(strings.NewReader(r.Stdout))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Stdout)
	}
	return s
}

// TestFreeBSDLists lists kernels of 1, 30 and 400 files, with every version of the module
// structure, while files vanish.
func TestFreeBSDLists(t *testing.T) {
	b := newBSDBox(t)
	for _, n := range []int{1, 30, 400} {
		for _, more := range [][]string{nil, {"nov3"}, {"nov3", "nov2"}, {fmt.Sprintf("vanish %d", n)}, {"vanish 1"},
			{fmt.Sprintf("vanish %d", n/2+1), "vanish 1", "nov3"}} {
			m := fakeunix.Many(n)
			s := b.snapshot(t, bsd.New(t, b.run, bsdTable(m, more...), t.TempDir()))
			if len(s.Modules) != n {
				t.Errorf("%d files, %v: %d modules", n, more, len(s.Modules))
				continue
			}
			for _, f := range m.Files {
				checkFile(t, s, f, more)
			}
			if src, _ := s.Source("kldstat"); src.Outcome != lkm.OutcomeOK || src.Count != lkm.CountOf(int64(n)) {
				t.Errorf("%d files, %v: %+v", n, more, src)
			}
		}
	}
}

func checkFile(t *testing.T, s *lkm.Snapshot, f fakeunix.File, more []string) {
	t.Helper()
	m := s.Module("freebsd_kld:" + f.Name)
	if m == nil {
		t.Fatalf("%v: no %s", more, f.Name)
	}
	if m.Path != f.Path || m.Size != lkm.CountOf(int64(f.Size)) || m.Refs != lkm.CountOf(int64(f.Refs)) ||
		len(m.FreeBSD.Modules) != len(f.Modules) {
		t.Errorf("%v: %+v, want %+v", more, m, f)
		return
	}
	for i, mod := range f.Modules {
		got := m.FreeBSD.Modules[i]
		if got.Name != mod.Name || got.ID != lkm.CountOf(int64(mod.ID)) || got.Refs != lkm.CountOf(int64(mod.Refs)) {
			t.Errorf("%v: %+v, want %+v", more, got, mod)
		}
	}
}

// TestFreeBSDRefusals looks at kernels that refuse, hide and lose.
func TestFreeBSDRefusals(t *testing.T) {
	b := newBSDBox(t)
	denied := bsd.New(t, b.run, bsdTable(fakeunix.Many(30), "deny"), t.TempDir())
	r := b.do(t, denied, 2, "list")
	if !strings.Contains(r.Stderr, "permission denied") || r.Stdout != "" {
		t.Errorf("EPERM: %q %q", r.Stdout, r.Stderr)
	}
	r = b.do(t, denied, 3, "check", "kld0002")
	if !strings.Contains(r.Stdout, "UNKNOWN") {
		t.Errorf("EPERM: %s", r.Stdout)
	}

	m := fakeunix.Many(30)
	for i := range m.Files {
		m.Files[i].Address, m.Files[i].Size = 0, 0
	}
	hidden := bsd.New(t, b.run, bsdTable(m), t.TempDir())
	s := b.snapshot(t, hidden, "--detail", "addresses")
	if len(s.Modules) != 30 || !s.Modules[3].Size.IsZero() || s.Modules[3].Address != 0 {
		t.Errorf("zero addresses: %+v", s.Modules[3])
	}
	b.do(t, hidden, 3, "list", "--strict")
}

// TestFreeBSDRoot uses every word of the command on a machine with files and configuration.
func TestFreeBSDRoot(t *testing.T) {
	b := newBSDBox(t)
	root := writeRoot(t)
	before := tree(t, root)
	k := bsd.New(t, b.run, bsdTable(fakeunix.GENERIC()), root)
	for _, c := range []struct {
		code int
		args string
		want []string
	}{
		{0, "list --detail files", []string{"aesni.ko", "third-party", "linux.ko"}},
		{0, "list --installed", []string{"if_em.ko", "drm.ko"}},
		{0, "list --builtin", []string{"virtio_pci/vtnet", "cam"}},
		{0, "info aesni.ko", []string{"nexus/aesni", "/boot/kernel/aesni.ko", "14.2"}},
		{0, "tree linux.ko", []string{"linux_common.ko"}},
		{1, "check aesni", []string{"LOADED", "aesni.ko"}},
		{1, "check nexus/aesni", []string{"LOADED", "aesni.ko"}},
		{1, "check vtnet", []string{"virtio_pci/vtnet"}},
		{1, "check if_em", []string{"LOADABLE"}},
		{0, "check nothing", []string{"nothing"}},
		{0, "policy", []string{"securelevel", "-1", "kld_list", "/etc/rc.conf"}},
	} {
		r := b.do(t, k, c.code, strings.Fields(c.args)...)
		for _, want := range c.want {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("lkm %s: no %q in\n%s%s", c.args, want, r.Stdout, r.Stderr)
			}
		}
	}
	r := b.do(t, k, 0, "resolve", "pci:vendor=0x8086 device=0x10d3")
	if !strings.Contains(r.Stdout, "if_em.ko") {
		t.Errorf("resolve: %s", r.Stdout)
	}
	if after := tree(t, root); after != before {
		t.Errorf("the root was changed:\n%s\n%s", before, after)
	}
}

// tree lists a directory with sizes and times.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFreeBSDTape records there and replays here, to the same JSON.
func TestFreeBSDTape(t *testing.T) {
	b := newBSDBox(t)
	k := bsd.New(t, b.run, bsdTable(fakeunix.GENERIC(), "nov3"), writeRoot(t))
	tape := filepath.Join(t.TempDir(), "freebsd.tape")
	const detail = "files,signatures,parameters,addresses,symbols,policy" // a tape holds no whole klds to be hashed
	r := b.do(t, k, 0, "record", "--unredacted", "--detail", detail)
	if err := os.WriteFile(tape, []byte(r.Stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	there := b.do(t, k, 0, "list", "--detail", detail, "--format", "json").Stdout
	cmd := exec.CommandContext(t.Context(), b.here, "list", "--tape", tape, "--detail", detail, "--format", "json")
	here, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, here)
	}
	if a, b := withoutTime(t, there), withoutTime(t, string(here)); a != b {
		t.Errorf("there:\n%s\nhere:\n%s", a, b)
	}
}

// withoutTime is a Snapshot's JSON without the time of the look.
func withoutTime(t *testing.T, text string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	delete(m, "takenAt")
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFreeBSDPackage runs the package's own tests for a running kernel.
func TestFreeBSDPackage(t *testing.T) {
	b := newBSDBox(t)
	k := bsd.New(t, b.run, bsdTable(fakeunix.Many(30)), t.TempDir())
	program := bsd.Build(t, "./freebsd", true)
	r, err := k.Do(t, program, "-test.run",
		"^(TestLive|TestReadFiles|TestVanishing|TestIDReuse|TestMetadataOfEveryKindOfFile)$", "-test.v")
	if err != nil || r.Code != 0 || strings.Count("\n"+r.Stdout, "\n--- PASS: Test") != 5 {
		t.Errorf("exit %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
}
