// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/linux"
)

// TestUpgradeBetweenKernels compares two Debian kernels, both ways, on a machine whose /etc/modules names every module
// of the first that the second lacks or changes, and some others. What is said of each is compared with depmod's text
// files, modprobe -R and modinfo.
func TestUpgradeBetweenKernels(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modprobe", "modinfo", "cp")
	a, b := plainTree(t), xzTree(t)
	ofA, ofB := fieldsOf(t, a), fieldsOf(t, b)
	t.Run("up", func(t *testing.T) { compareUpgrade(t, a, b, ofA, ofB) })
	t.Run("down", func(t *testing.T) { compareUpgrade(t, b, a, ofB, ofA) })
}

// depmodNames are the names in a kernel's modules.dep and modules.builtin, by their text alone.
func depmodNames(t *testing.T, k debian.Kernel) (files, builtin map[string]bool) {
	read := func(name string) map[string]bool {
		text, err := os.ReadFile(filepath.Join(k.Tree(), name))
		if err != nil {
			t.Fatal(err)
		}
		names := make(map[string]bool)
		for line := range strings.Lines(string(text)) {
			file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			base, _, _ := strings.Cut(filepath.Base(file), ".ko")
			names[strings.ReplaceAll(base, "-", "_")] = true
		}
		return names
	}
	return read("modules.dep"), read("modules.builtin")
}

func compareUpgrade(t *testing.T, from, to debian.Kernel, before, after moduleFields) {
	root := t.TempDir()
	for _, k := range []debian.Kernel{from, to} {
		dir := filepath.Join(root, "lib/modules")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if exec.Command("cp", "-al", k.Tree(), dir).Run() != nil { // the cache may be on another file system
			output(t, "cp", "-a", k.Tree(), dir)
		}
	}
	files, _ := depmodNames(t, from)
	newFiles, newBuiltin := depmodNames(t, to)
	var names, both, gone, nowBuiltin []string
	for name := range files {
		switch {
		case newBuiltin[name]:
			nowBuiltin = append(nowBuiltin, name)
		case !newFiles[name]:
			gone = append(gone, name)
		default:
			both = append(both, name)
		}
	}
	slices.Sort(both)
	some := both[:0]
	for i, name := range both { // each takes reading two files
		if i%7 == 0 || len(without(before.parameters[name], after.parameters[name])) > 0 ||
			len(without(after.firmware[name], before.firmware[name])) > 0 {
			some = append(some, name)
		}
	}
	both, names = some, slices.Concat(some, gone, nowBuiltin)
	for _, list := range [][]string{names, gone, nowBuiltin} {
		slices.Sort(list)
	}
	lost := unanswered(t, to, names)
	writeFile(t, filepath.Join(root, "etc/modules"), []byte(strings.Join(names, "\n")+"\n"))
	writeFile(t, filepath.Join(root, "etc/modprobe.d/a.conf"), optionLines(before))
	if err := os.MkdirAll(filepath.Join(root, "lib/firmware"), 0o755); err != nil {
		t.Fatal(err)
	}
	u, err := openRoot(t, root, from.Release, 0).Upgrade(t.Context(), to.Release)
	if err != nil {
		t.Fatal(err)
	}
	byCode := make(map[string][]string)
	for _, c := range u.Changes {
		byCode[c.Code] = append(byCode[c.Code], c.Module)
	}
	same := func(what string, ours, theirs []string) {
		slices.Sort(ours)
		slices.Sort(theirs)
		ours, theirs = slices.Compact(ours), slices.Compact(theirs)
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s: ours %d, theirs %d\nonly ours   %q\nonly theirs %q", what, len(ours), len(theirs),
				without(ours, theirs), without(theirs, ours))
		}
		t.Logf("%s: %d", what, len(ours))
	}
	same("gone", u.Gone, gone)
	same("compiled in now", u.NowBuiltin, nowBuiltin)
	same("listed and lost", byCode[linux.ChangeListed], lost)
	same("parameters", byCode[linux.ChangeParameter], lacking(both, before.parameters, after.parameters))
	same("firmware", byCode[linux.ChangeFirmware], lacking(both, after.firmware, before.firmware))
	if u.Used < len(names) || u.Used > len(names)+100 {
		t.Errorf("%d in use of %d named", u.Used, len(names))
	}
}

// without returns the names of a that b lacks.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// unanswered returns the names that modprobe -R of a kernel knows nothing for.
func unanswered(t *testing.T, k debian.Kernel, names []string) (lost []string) {
	t.Helper()
	for i, answer := range withConfig(t, k, nil).modprobe(t, "-R", names) {
		if len(answer) == 0 {
			lost = append(lost, names[i])
		}
	}
	return lost
}

// A moduleFields is what modinfo says of each module of a kernel: its parameters' names, and its firmware.
type moduleFields struct{ parameters, firmware map[string][]string }

// fieldsOf runs modinfo for every module of a kernel.
func fieldsOf(t *testing.T, k debian.Kernel) moduleFields {
	t.Helper()
	f := moduleFields{make(map[string][]string), make(map[string][]string)}
	files := moduleFiles(t, k)
	for from := 0; from < len(files); from += 500 {
		name := ""
		args := append([]string{"-0"}, files[from:min(from+500, len(files))]...)
		for line := range strings.SplitSeq(output(t, "modinfo", args...), "\x00") {
			at := max(strings.IndexAny(line, ":="), 0) // modinfo has two forms with -0
			key, value := line[:at], strings.TrimLeft(line[min(at+1, len(line)):], " ")
			switch key {
			case "filename":
				base, _, _ := strings.Cut(filepath.Base(value), ".ko")
				name = strings.ReplaceAll(base, "-", "_")
			case "parm":
				parameter, _, _ := strings.Cut(value, ":")
				f.parameters[name] = append(f.parameters[name], parameter)
			case "firmware":
				f.firmware[name] = append(f.firmware[name], value)
			}
		}
	}
	return f
}

// optionLines are lines that set each parameter of each module.
func optionLines(f moduleFields) []byte {
	var b bytes.Buffer
	for name, parameters := range f.parameters {
		for _, p := range parameters {
			b.WriteString("options " + name + " " + p + "=1\n")
		}
	}
	return b.Bytes()
}

// lacking returns the modules whose list in a has what that in b lacks.
func lacking(names []string, a, b map[string][]string) (list []string) {
	for _, name := range names {
		if len(without(a[name], b[name])) > 0 {
			list = append(list, name)
		}
	}
	return list
}
