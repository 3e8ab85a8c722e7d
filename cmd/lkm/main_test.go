// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// lkmRun runs the command in this process.
func lkmRun(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// checkGolden compares what a command prints with a golden file, or rewrites that with -update.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	golden.Check(t, filepath.Join("testdata", name), []byte(got), *update)
}

// transcript is a command with all that it gave.
func transcript(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := lkmRun(t, stdin, args...)
	text := "$ lkm " + strings.Join(args, " ") + "\n" + out
	if errs != "" {
		text += "--- stderr\n" + errs
	}
	return text + fmt.Sprintf("--- exit %d\n", code)
}

// Every command on every tape of the corpus prints the same on every operating system.
func TestGoldenOfTapes(t *testing.T) {
	for _, name := range lkmtest.Names() {
		demo := "demo:" + name
		var b strings.Builder
		for _, args := range [][]string{
			{"list", "--tape", demo},
			{"list", "--tape", demo, "--strict", "--name", "no-such-*"},
			{"list", "--tape", demo, "--third-party"},
			{"list", "--tape", demo, "--unsigned"},
			{"list", "--tape", demo, "--builtin", "--format", "csv", "--fields", "name,version,state"},
			{"list", "--tape", demo, "--format", "csv"},
			{"list", "--tape", demo, "--format", "markdown"},
			{"sources", "--tape", demo},
			{"policy", "--tape", demo},
			{"check", "nvme", "no_such_module", "--tape", demo},
			{"discrepancies", "--tape", demo},
			{"resolve", "nvme", "--tape", demo},
			{"list", "--installed", "--tape", demo, "--format", "csv"},
		} {
			b.WriteString(transcript(t, "", args...) + "\n")
		}
		checkGolden(t, name+".txt", b.String())
	}
}

// The command's JSON is the library's.
func TestJSONIsTheLibrarys(t *testing.T) {
	for _, name := range lkmtest.Names() {
		m, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sys, err := lkm.OpenMachine(m.Header().OS, m, lkm.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Close()
		for scope, flags := range map[lkm.Scope][]string{lkm.ScopeLoaded: nil, lkm.ScopeBuiltin: {"--builtin"}} {
			code, out, _ := lkmRun(t, "",
				append([]string{"list", "--tape", "demo:" + name, "--format", "json"}, flags...)...)
			want, err := sys.SnapshotOf(context.Background(), scope)
			if err != nil {
				if code != exitFatal || out != "" {
					t.Errorf("%s %s: exit %d with %q, where the library says %v", name, scope, code, out, err)
				}
				continue
			}
			got, err := lkm.Decode(strings.NewReader(out))
			if err != nil {
				t.Errorf("%s %s: %v", name, scope, err)
				continue
			}
			if a, b := jsonText(got), jsonText(want); a != b {
				t.Errorf("%s %s: %s", name, scope, golden.Diff(b, a))
			}
		}
	}
}

// hostile is a tape of a module whose name moves the cursor, and of one that reads right to left.
const hostile = `kernelext tape 1
os: linux
release: 6.1.0-evil
synthetic: yes
-- file proc/modules --
evil` + "\x1b[2J\x1b[1;1H" + ` 4096 0 - Live 0x0000000000000000
rtl` + "\u202e" + `gnp.exe 4096 1 evil` + "\x1b[2J\x1b[1;1H" + `, Live 0x0000000000000000 (OE)
=cmd|calc 4096 0 - Live 0x0000000000000000
-2+cmd|calc 4096 0 - Live 0x0000000000000000
-- file proc/sys/kernel/tainted --
12288
-- end --
`

func TestHostileNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hostile.tape")
	if err := os.WriteFile(file, []byte(hostile), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"list"}, {"list", "--format", "json"}, {"list", "--format", "jsonl"}, {"list", "--format", "csv"},
		{"list", "--format", "markdown"},
		{"list", "--verbose"}, {"list", "--strict"}, {"sources"}, {"info", "evil\x1b[2J\x1b[1;1H"},
		{"info", "evil\x1b[3J"}, {"list", "--fields", "name,usedBy,linux"},
	} {
		code, out, errs := lkmRun(t, "", append(args, "--tape", file)...)
		if code == exitFatal && args[0] != "info" {
			t.Fatalf("%v: exit %d, %s", args, code, errs)
		}
		for _, r := range out + errs {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%v prints %q", args, r)
			}
		}
	}
	_, out, _ := lkmRun(t, "", "list", "--format", "csv", "--fields", "name", "--tape", file)
	if !strings.Contains(out, "\n'=cmd|calc\n") || !strings.Contains(out, "\n'-2+cmd|calc\n") {
		t.Errorf("a formula is left to the spreadsheet:\n%s", out)
	}
	_, out, _ = lkmRun(t, "", "list", "--format", "json", "--tape", file)
	s, err := lkm.Decode(strings.NewReader(out))
	if err != nil || s.Module("linux_module:rtl\u202egnp.exe") == nil {
		t.Errorf("the escapes change the JSON's meaning: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	const demo = "demo:linux-6.18-nomodules"
	tapeDir := t.TempDir()
	hostileFile := filepath.Join(tapeDir, "h.tape")
	os.WriteFile(hostileFile, []byte(hostile), 0o644)
	_, snapshot, _ := lkmRun(t, "", "list", "--tape", "demo:debian-6.12-cloud-root", "--format", "json")
	bare := tempFile(t, "bare.json", []byte(snapshot))
	for _, tt := range []struct {
		want   int
		stderr string
		args   []string
	}{
		{0, "", []string{"list", "--tape", demo}},
		{0, "", []string{"version"}},
		{0, "", []string{"help", "list"}},
		{0, "", []string{"completion", "bash"}},
		{0, "", []string{"completion", "zsh"}},
		{0, "", []string{"completion", "fish"}},
		{0, "", []string{"completion", "powershell"}},
		{2, "missing argument: one of bash, fish, powershell, zsh", []string{"completion"}},
		{0, "", []string{"tape", demo}},
		{0, "", []string{"tape", "demo:"}},
		{2, "no tape is called", []string{"list", "--tape", "demo:none"}},
		{2, "unknown command", []string{"lsit"}},
		{2, "unknown flag", []string{"list", "--lod"}},
		{2, "not one of table", []string{"list", "--format", "xml"}},
		{2, "--fields goes with", []string{"list", "--format", "json", "--fields", "name"}},
		{2, "detail", []string{"list", "--detail", "everything"}},
		{0, "", []string{"list", "--detail", "", "--tape", demo}},
		{2, "--live goes with --root", []string{"list", "--live"}},
		{2, "--name", []string{"list", "--name", "["}},
		{2, "not one of loaded", []string{"list", "--state", "lodaed", "--tape", demo}},
		{2, "no field \"nmae\"; did you mean name?", []string{"list", "--fields", "nmae", "--tape", demo}},
		{2, "; did you mean linux.taints, ", []string{"list", "--fields", "name,linux.taint", "--tape", demo}},
		{0, "", []string{"list", "--fields", "name,linux.taints,onDisk.match", "--tape", demo}},
		{2, "--root and --tape exclude each other", []string{"list", "--root", tapeDir, "--tape", demo}},
		{2, "--installed", []string{"list", "--root", tapeDir, "--os", "linux"}},
		{2, "looks like the root of no known system; Options.OS (--os)", []string{"list", "--root", tapeDir}},
		{2, "--os", []string{"check", "nvme", "--root", tapeDir}},
		{2, "no such file", []string{"list", "--root", tapeDir + "/none"}},
		{2, "no such module", []string{"info", "none", "--tape", demo}},
		{2, "did you mean 8250?", []string{"info", "8251", "--tape", demo}},
		{2, "missing argument: NAME|FILE", []string{"info"}},
		{2, "no such file", []string{"import", tapeDir + "/none"}},
		{3, "incomplete", []string{"list", "--tape", hostileFile, "--strict"}},
		{0, "", []string{"diff", demo, demo}},
		{0, "", []string{"diff", "demo:debian-6.1-cloud-root", "demo:debian-6.1-cloud-user"}},
		{1, "", []string{"diff", "demo:debian-6.1-cloud-root", "demo:debian-6.12-cloud-root"}},
		{0, "", []string{"diff", "demo:synthetic-debian-root", "demo:synthetic-container"}},
		{2, "neither a snapshot nor a tape", []string{"diff", demo, "main.go"}},
		{1, "was read without details, demo:debian-6.12-cloud-root with details files: what only one has",
			[]string{"diff", bare, "demo:debian-6.12-cloud-root", "--detail", "files"}},
	} {
		if runtime.GOOS == "windows" && strings.Contains(tt.stderr, "no such file") {
			tt.stderr = ""
		}
		code, _, stderr := lkmRun(t, "", tt.args...)
		if code != tt.want || !strings.Contains(stderr, tt.stderr) ||
			(tt.want == 2 && !strings.HasPrefix(stderr, "lkm: ")) {
			t.Errorf("%v: exit %d, want %d; stderr %q, want %q in it", tt.args, code, tt.want, stderr, tt.stderr)
		}
	}
}

func TestImport(t *testing.T) {
	const text = "Module                  Size  Used by    Tainted: P\nnvme                   57344  3\n" +
		"nvme_core             184320  5 nvme\n"
	checkGolden(t, "import.txt", transcript(t, text, "import", "-")+"\n"+
		transcript(t, text, "import", "-", "--format", "json")+"\n"+
		transcript(t, text+"oops (core dumped)\n", "import", "-", "--strict")+"\n"+
		transcript(t, "nothing of the kind\n", "import", "-")+"\n"+
		transcript(t, text, "import", "-", "--as", "proc_modules"))
}

// One incomplete text does not keep the others from being read, and a file's name is as hostile as
// its content.
func TestImportOfSeveral(t *testing.T) {
	dir := t.TempDir()
	cut, whole := filepath.Join(dir, "cut\u202e"), filepath.Join(dir, "whole")
	for name, text := range map[string]string{cut: "Module Size Used by\nnvme 57344 3\next",
		whole: "Module Size Used by\next4 57344 3\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, out, _ := lkmRun(t, "", "import", "--strict", cut, whole)
	if code != exitIncomplete || !strings.Contains(out, "ext4") || strings.Contains(out, "\u202e") ||
		!strings.Contains(out, "at least 1 loaded") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// What this machine is, is not known here; that it answers or says why not, is.
func TestLiveList(t *testing.T) {
	code, out, errs := lkmRun(t, "", "list", "--format", "json")
	switch {
	case code == 0:
		if _, err := lkm.Decode(strings.NewReader(out)); err != nil {
			t.Error(err)
		}
	case code != exitFatal || errs == "":
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestFormats(t *testing.T) {
	_, out, _ := lkmRun(t, "", "list", "--builtin", "--tape", "demo:linux-6.18-nomodules", "--format", "jsonl")
	lines := 0
	for line := range strings.Lines(out) {
		lines++
		var m lkm.Module
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.ID == "" {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if lines < 50 {
		t.Errorf("%d lines", lines)
	}
	_, out, _ = lkmRun(t, "", "list", "--builtin", "--tape", "demo:linux-6.18-nomodules", "--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != lines+1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// begun builds the command and starts it. It returns when the command has begun to write.
func begun(t *testing.T, args ...string) (c *exec.Cmd, out io.ReadCloser, errs *bytes.Buffer) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "lkm.exe")
	if b, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c, errs = exec.CommandContext(t.Context(), bin, args...), new(bytes.Buffer)
	c.Stderr = errs
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return c, out, errs
}

// A full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestFullOutput: what could not be written is an error, also beside an exit code that says something else.
func TestFullOutput(t *testing.T) {
	for _, call := range []string{"list", "check loop", "discrepancies", "audit --rules cis-debian-12",
		"discrepancies --strict"} {
		var errs bytes.Buffer
		args := append(strings.Fields(call), "--tape", "demo:debian-6.12-cloud-root")
		code := run(t.Context(), args, strings.NewReader(""), full{}, &errs)
		if code != exitFatal || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%s: exit %d, %s", call, code, errs.String())
		}
	}
}

// A reader that goes away early is not trouble, and nothing is said.
func TestHead(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	c, out, errs := begun(t, "list", "--builtin", "--tape", "demo:linux-6.18-nomodules", "--format", "json")
	out.Close()
	c.Wait() // by a signal, or with an error code on a system without the signal
	if errs.Len() > 0 && runtime.GOOS != "windows" {
		t.Errorf("stderr: %s", errs.String())
	}
}

// A watch that is terminated, as by systemd or Kubernetes, ends in order.
func TestTerminated(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("builds the command, and sends it a signal")
	}
	if _, err := lkm.Take(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	c, out, _ := begun(t, "watch")
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := c.Wait(); err != nil {
		t.Errorf("lkm watch, terminated: %v", err)
	}
}

// A watch ends when nobody reads its pipe any more, before it has something to print: lkm watch | head -1.
func TestWatchUntilNobodyReads(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("builds the command; Windows shows it only to who writes")
	}
	if _, err := lkm.Take(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	c, out, errs := begun(t, "watch", "--interval", "24h")
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	out.Close()
	err := c.Wait()
	if !late.Stop() {
		t.Error("it does not end")
	}
	if err == nil || errs.Len() > 0 {
		t.Errorf("lkm watch without a reader: %v, %s; want the signal SIGPIPE", err, errs.String())
	}
}

// A named pipe may get another reader, and what is no pipe has none that leaves.
func TestReaderLeft(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if readerLeft(f) {
		t.Error("a file is no pipe")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	if got := readerLeft(w); got != (runtime.GOOS != "windows") {
		t.Errorf("a pipe without a reader: %v", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"nvme", "nvme_core", "nvmet", "ext4", "nvme_fabrics"}
	if got := near.Names("nvm", names); len(got) == 0 || got[0] != "nvme" {
		t.Errorf("%v", got)
	}
	if got := near.Names("nmve", names); len(got) != 1 || got[0] != "nvme" {
		t.Errorf("%v", got)
	}
	if got := near.Names("zzzzzz", names); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := near.Names("nvmecore", names); len(got) != 1 || got[0] != "nvme_core" {
		t.Errorf("%v", got)
	}
}

func TestTables(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1K", 57344: "56K", 184320: "180K",
		56623104: "54.0M", 3 << 30: "3.0G"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d = %s, want %s", n, got, want)
		}
	}
	m := &lkm.Module{UsedBy: []string{"a", "b"}}
	if got := namesCell(m.UsedBy); got != "a,b" {
		t.Error(got)
	}
	if namesCell(nil) != unknown || namesCell([]string{}) != none {
		t.Error("nil means unknown, empty means no entry")
	}
}

// --os says which system an image is of that does not look like one.
func TestOSFlag(t *testing.T) {
	root := t.TempDir()
	kernel := filepath.Join(root, "boot", "kernel")
	if err := errors.Join(os.MkdirAll(kernel, 0o755), os.WriteFile(kernel+"/kernel", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := runLkm(t, "list", "--installed", "--root", root, "--os", "freebsd"); code != 0 ||
		!strings.Contains(out, "0 installed") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	for want, args := range map[string][]string{
		"--os goes with --root": {"list", "--os", "linux"},
		"bogus":                 {"list", "--root", root, "--os", "bogus"},
		"without --live":        {"list", "--root", root, "--live", "--os", "linux"},
	} {
		if out, stderr, code := runLkm(t, args...); code != exitFatal || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, stderr)
		}
	}
}
