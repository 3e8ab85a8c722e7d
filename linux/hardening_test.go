// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A collection is a configuration in the shape of a published hardening collection, for modules of its own. The names
// and texts are made up; the forms of the lines are those that such collections use.
type collection struct {
	name    string
	count   int
	lines   func(module string, i int) string
	scripts map[string]string
}

var collections = []collection{
	{"cis", 60, func(m string, _ int) string { return "install " + m + " /bin/false\nblacklist " + m + "\n" }, nil},
	{"stig", 60, func(m string, i int) string {
		return fmt.Sprintf("install %s %s\n", m, []string{"/bin/true", "/bin/false", "/usr/bin/true"}[i%3])
	}, nil},
	{"policy", 160, func(m string, i int) string {
		return fmt.Sprintf("install %s /usr/bin/disabled-%d-by-policy\n", m, i%9)
	}, func() map[string]string {
		scripts := make(map[string]string)
		for i := range 9 {
			scripts[fmt.Sprintf("usr/bin/disabled-%d-by-policy", i)] = "#!/bin/bash\n\n## Why it is disabled.\n\n" +
				"echo \"$0: ERROR: this module is disabled by policy. See /etc/modprobe.d | args: $@\" >&2\n\nexit 1\n"
		}
		return scripts
	}()},
	{"distribution", 80, func(m string, _ int) string { return "# a driver\nblacklist " + m + "\n" }, nil},
	{"role", 100, func(m string, i int) string {
		dashed := strings.ReplaceAll(m, "_", "-")
		return fmt.Sprintf([]string{"install %[1]s /bin/true\n", "install\t%[2]s\t/bin/false\n", "alias %[1]s off\n",
			"install %[1]s /usr/bin/env false\n", "install %[1]s /bin/sh -c 'exit 1'\n"}[i%5], m, dashed)
	}, nil},
	{"unlisted", 20, func(string, int) string { return "" }, nil},
}

// hardenedRoot writes the collections' files into dir, and returns the names of their modules.
func hardenedRoot(t *testing.T, dir string) (names []string) {
	t.Helper()
	write := func(name, text string, mode fs.FileMode) {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range collections {
		conf := "# " + c.name + "\n"
		for i := range c.count {
			m := fmt.Sprintf("%s_m%d", c.name, i)
			names = append(names, m)
			conf += c.lines(m, i)
			write("lib/modules/6.1.0/kernel/"+m+".ko", moduleFor(0, false, append(linuxtest.EntriesOf("6.1.0", m),
				fmt.Sprintf("alias=net-pf-%d", 1000+len(names)))...), 0o644)
		}
		write("etc/modprobe.d/"+c.name+".conf", conf, 0o644)
		for name, text := range c.scripts {
			write(name, text, 0o755)
		}
	}
	write("lib/modules/6.1.0/modules.builtin", "", 0o644)
	write("lib/modules/6.1.0/modules.order", "", 0o644)
	write("boot/config-6.1.0", "CONFIG_MODULES=y\n", 0o644)
	write("boot/grub/grub.cfg", "menuentry 'a' {\nlinux /boot/vmlinuz-6.1.0 ro\n}\n", 0o644)
	return names
}

// kmodLoads returns the names of which modprobe would insert a file.
func kmodLoads(t *testing.T, dir string, names []string) map[string]bool {
	t.Helper()
	tool := func(name string) string {
		for _, path := range []string{"/usr/sbin/", "/sbin/", "/usr/bin/"} {
			if _, err := os.Stat(path + name); err == nil {
				return path + name
			}
		}
		t.Skip("this machine has no " + name + ": kmod's answers cannot be compared")
		return ""
	}
	if out, err := exec.Command(tool("depmod"), "-b", dir, "6.1.0").CombinedOutput(); err != nil {
		t.Skipf("depmod: %v: %s", err, out)
	}
	loads := make(map[string]bool)
	args := append([]string{"-d", dir, "-C", dir + "/etc/modprobe.d", "-S", "6.1.0", "-a", "-n", "-v"}, names...)
	out, _ := exec.Command(tool("modprobe"), args...).Output() // it fails if one name does
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "insmod" {
			loads[strings.TrimSuffix(filepath.Base(fields[1]), ".ko")] = true
		}
	}
	return loads
}

// TestHardeningCollections: no verdict contradicts modprobe, and nearly none is unknown.
func TestHardeningCollections(t *testing.T) {
	dir := t.TempDir()
	names := hardenedRoot(t, dir)
	loads := kmodLoads(t, dir, names)
	if len(names) < 450 || len(loads) == 0 || len(loads) == len(names) {
		t.Fatalf("%d names, of which modprobe loads %d", len(names), len(loads))
	}
	fsys := os.DirFS(dir)
	release, err := modprobe.FindRelease(fsys, "6.1.0")
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(checkedKernel{FS: fsys, Release: "6.1.0", Dir: release}, new(fact.Report))
	unknown := 0
	for _, name := range names {
		verdicts, err := c.check(context.Background(), name)
		if err != nil || len(verdicts) != 1 {
			t.Fatalf("%s: %v, %v", name, verdicts, err)
		}
		next := verdicts[0].NextBoot
		if next.Outcome == fact.VerdictUnknown {
			unknown++
		}
		i := slices.IndexFunc(next.Ways, func(w fact.Way) bool { return w.Way == WayModprobe })
		if i < 0 {
			t.Fatalf("%s: no way by modprobe: %s", name, outcomes(verdicts[0]))
		}
		if got := next.Ways[i].Blocked; got == fact.TriOf(loads[name]) {
			t.Errorf("%s: modprobe blocked %q, and kmod loads it: %v: %+v", name, got, loads[name], verdicts[0].Reasons)
		}
	}
	if unknown >= 10 {
		t.Errorf("%d of %d are unknown", unknown, len(names))
	}
	t.Logf("%d names, %d that modprobe loads, %d unknown", len(names), len(loads), unknown)
}
