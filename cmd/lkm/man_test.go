// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
)

// exampleFiles are the files that the examples name, with what is in them.
func exampleFiles(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	_, snapshot, _ := lkmRun(t, "", "list", "--tape", "demo:synthetic-debian-root", "--format", "json")
	_, tape, _ := lkmRun(t, "", "record")
	for name, text := range map[string]string{
		"old.json": snapshot, "new.json": snapshot, "my.tape": tape,
		"lsmod.txt": "Module Size Used by\nnvme 57344 3\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// exampleArgs returns the arguments of an example that is shown, so that it runs anywhere: an image that stands for
// /mnt, and a tape for the machine.
func exampleArgs(call, image string) []string {
	args := strings.Fields(strings.ReplaceAll(call, "\"before the update\"", "comment"))[1:]
	for i, arg := range args {
		if arg == "/mnt" {
			args[i] = image
		}
	}
	machine := slices.ContainsFunc(args, func(a string) bool { return a == "--tape" || a == "--root" || a == "-r" })
	onMachine := []string{"list", "tree", "info", "policy", "discrepancies", "sources", "watch", "facts"}
	onImage := []string{"resolve", "plan", "check", "config", "upgrade"}
	switch {
	case machine:
	case slices.Contains(onMachine, args[0]):
		args = append(args, "--tape", "demo:synthetic-debian-root")
	case slices.Contains(onImage, args[0]):
		args = append(args, "--root", image)
	}
	if slices.Contains(args, image) && args[0] != "upgrade" && !slices.Contains(args, "--kernel") {
		args = append(args, "--kernel", "6.1.0")
	}
	return args
}

// TestExamples runs the examples that help and the manual pages show. Each command has two at least.
func TestExamples(t *testing.T) {
	image := checkImage(t, map[string]string{
		"lib/modules/6.1.0/modules.dep": "kernel/nvme.ko:\nkernel/ext4.ko:\nkernel/e1000e.ko:\nkernel/ipv6.ko:\n",
		"lib/modules/6.1.0/modules.alias": "alias pci:v00008086d000015B7sv*sd*bc*sc*i* e1000e\nalias fs-ext4 ext4\n" +
			"alias net-pf-10 ipv6\n",
		"lib/modules/6.1.0/kernel/nvme.ko": "", "lib/modules/6.1.0/kernel/ext4.ko": "",
		"lib/modules/6.1.0/kernel/e1000e.ko": "", "lib/modules/6.1.0/kernel/ipv6.ko": "",
		"lib/modules/6.1.0/modules.builtin": "", "lib/modules/6.12.0/modules.dep": "",
		"lib/modules/6.12.0/modules.builtin": "", "lib/modules/6/modules.dep": "-", "lib/modules/6/kernel/lone.ko": "-",
		"lib/modules/6/modules.alias": "-", "lib/modules/6/modules.builtin": "-",
	})
	exampleFiles(t)
	for _, c := range manualPages(newApp(nil, nil, nil, nil).root())[1:] {
		if c.Name() == "completion" {
			continue
		}
		lines := strings.Split(c.Example, "\n")
		if len(lines) < 2 {
			t.Errorf("lkm %s has fewer than two examples: see examples.go", c.Name())
		}
		for _, line := range lines {
			call, _, _ := strings.Cut(line, " # ")
			call = strings.TrimSpace(call)
			if strings.Contains(call, ".ko") {
				continue // a file that nobody may put here
			}
			ctx, cancel := context.WithCancel(t.Context())
			var out, errs strings.Builder
			if c.Name() == "watch" || c.Name() == "mirror" {
				cancel() // it ends when it is interrupted
			}
			a := newApp(exampleArgs(call, image), strings.NewReader(""), &out, &errs)
			code := a.run(ctx)
			cancel()
			fatal := code == exitFatal && c.Name() != "watch" && c.Name() != "mirror"
			if strings.Contains(errs.String(), "usage:") || fatal || code > exitIncomplete {
				t.Errorf("%s: exit %d\n%s%s", call, code, out.String(), errs.String())
			}
		}
	}
}

// TestManualPages checks the pages, and lets mandoc judge them where it is installed.
func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if code, _, errs := lkmRun(t, "", "man", dir); code != 0 {
		t.Fatal(errs)
	}
	list, err := os.ReadFile(filepath.Join(dir, "lkm-list.1"))
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "lkm-list.1"), list, *update)
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) < 18 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	root, _ := os.ReadFile(filepath.Join(dir, "lkm.1"))
	for _, want := range []string{".SH EXAMPLES", ".SH OPTIONS", `\fB\-r\fR, \fB\-\-root\fR=\fIDIR\fR`} {
		if !strings.Contains(string(list), want) {
			t.Errorf("no %s in lkm-list.1", want)
		}
	}
	watch, _ := os.ReadFile(filepath.Join(dir, "lkm-watch.1"))
	for _, want := range []string{"whether something changed (default 1s)", "least this often (default 5m0s)"} {
		if !strings.Contains(string(watch), want) {
			t.Errorf("no %q in lkm-watch.1", want)
		}
	}
	if !strings.Contains(string(root), `\fBlkm\-discrepancies\fR(1)`) || !strings.Contains(string(root), "lsmod") {
		t.Error("lkm.1 does not name what there is")
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("no mandoc here")
	}
	out, _ := exec.Command(mandoc, append([]string{"-Tlint", "-Wwarning"}, files...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") { // a page that is made of the same source is the same
			t.Error(line)
		}
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"--all": `\-\-all`, `C:\x`: `C:\ex`, ".ko files": `\&.ko files`, "it's ~/`x`": `it\(aqs \(ti/\(gax\(ga`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
