// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
)

// auditRoots are made-up configurations as the hardening scripts of distributions leave them, and as people reported
// them to be judged wrong.
func auditRoots() []configuration {
	names := make(map[string]bool)
	for _, set := range audit.Sets() {
		rules, _ := audit.Set(set)
		for _, r := range rules.Rules {
			names[r.Modules[0]] = true
		}
	}
	each := func(f func(name string) string) string {
		var b strings.Builder
		for name := range names {
			b.WriteString(f(name))
		}
		return b.String()
	}
	under := func(name string) string { return strings.ReplaceAll(name, "-", "_") }
	both := func(n string) string { return "install " + n + " /bin/false\nblacklist " + n + "\n" }
	return []configuration{
		{name: "bare"},
		{name: "debian, both lines", conf: each(both), files: map[string]string{"etc/os-release": "ID=debian\n"}},
		{name: "debian, blacklist alone", conf: each(func(n string) string { return "blacklist " + n + "\n" })},
		{name: "debian, install true alone", conf: each(func(n string) string {
			return "install " + n + " /bin/true\n"
		})},
		{name: "ubuntu, a file for each", files: map[string]string{"etc/os-release": "ID=ubuntu\n",
			"etc/modprobe.d/cis.conf": each(func(n string) string { return "  install\t" + n + "  /bin/false\n" }),
			"etc/modprobe.d/bl.conf":  each(func(n string) string { return "blacklist " + under(n) + "\n" })}},
		{name: "ubuntu, /usr/bin/false", conf: each(func(n string) string {
			return "install " + n + " /usr/bin/false\nblacklist " + n + "\n"
		})},
		{name: "rhel, vendor directory", files: map[string]string{"etc/os-release": "ID=rhel\n",
			"usr/lib/modprobe.d/x.conf": each(both), "lib/modprobe.d/x.conf": each(both)}},
		{name: "rhel, vendor directory masked", links: map[string]string{"etc/modprobe.d/x.conf": "/dev/null"},
			files: map[string]string{"usr/lib/modprobe.d/x.conf": each(both), "lib/modprobe.d/x.conf": each(both)}},
		{name: "rhel, lines in modules-load.d", files: map[string]string{"etc/modules-load.d/x.conf": each(both)}},
		{name: "rhel, underscores", conf: each(func(n string) string { return both(under(n)) })},
		{name: "a comment after the line", conf: each(func(n string) string {
			return "install " + n + " /bin/false # CVE\nblacklist " + n + "\n"
		})},
		{name: "an earlier line counts", files: map[string]string{"etc/modprobe.d/z.conf": each(both),
			"etc/modprobe.d/a.conf": each(func(n string) string {
				return "install " + n + " /sbin/modprobe --ignore-install " + n + "\n"
			})}},
		{name: "commented out", conf: each(func(n string) string {
			return "#" + strings.ReplaceAll(both(n), "\nb", "\n#b")
		})},
	}
}

// TestAuditAgainstModprobe audits each root by every rule set that comes with lkm. What can really load equals what
// modprobe -n -v says and the verdict; what the benchmark's check says equals that check done by its own tools.
func TestAuditAgainstModprobe(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		lab.Met(t, errors.New("modprobe's directories can only be changed in a root of its own: run as root"))
	}
	lab.Tools(t, "modprobe", "ldd", "cp", "grep")
	k := plainTree(t)
	root := modprobeRoot(t, k)
	rows, differ := 0, 0
	roots := auditRoots()
	if !full {
		roots = roots[:2] // each takes a quarter of a minute
	}
	for _, c := range roots {
		t.Run(c.name, func(t *testing.T) {
			c.lay(t, root)
			files, err := lkm.Dir(root)
			if err != nil {
				t.Fatal(err)
			}
			sys, err := lkm.OpenImage(files, lkm.Options{OS: lkm.Linux, Kernel: k.Release})
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close()
			for _, name := range audit.Sets() {
				rules, err := audit.Set(name)
				if err != nil {
					t.Fatal(err)
				}
				target := audit.Target{Name: c.name, System: sys, Files: files, Image: true}
				report, err := audit.Run(context.Background(), []audit.Target{target}, []*audit.Rules{rules},
					audit.Options{Today: time.Now()})
				if err != nil || len(report.Rows) != len(rules.Rules) {
					t.Fatalf("%s: %v, %d rows", name, err, len(report.Rows))
				}
				for i, row := range report.Rows {
					rows++
					compareAuditRow(t, root, k.Release, sys, rules.Rules[i].Check, row)
					if row.Text != row.Status {
						differ++
					}
				}
			}
		})
	}
	t.Logf("%d rows, in %d of which the benchmark's check and what can load differ", rows, differ)
}

// compareAuditRow compares one row with modprobe, the verdict and the benchmark's own check.
func compareAuditRow(t *testing.T, root, release string, sys *lkm.System, check audit.Check, row audit.Row) {
	t.Helper()
	out, err := runModprobe(t, root, release, "-n", "-v", row.Subject)
	plan := out
	line := "install /sbin/modprobe --ignore-install " + row.Subject + " \n"
	if before, ok := strings.CutSuffix(out, line); ok {
		// modprobe -n does not run the line, so run what it says: what that prints is what the line loads.
		out, err = runModprobe(t, root, release, "-n", "-v", "--ignore-install", row.Subject)
		if out == "" && !benchmarkBuiltin(t, root, release, row.Subject) {
			err = errors.New("no file to load") // it prints no line for a name that is only in the configuration
		}
		out = before + out
	}
	file := strings.ReplaceAll(row.Subject, "-", "_") + ".ko"
	loads := false
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		loads = loads || len(f) > 1 && f[0] == "insmod" &&
			strings.HasPrefix(strings.ReplaceAll(filepath.Base(f[1]), "-", "_"), file)
	}
	builtIn := err == nil && strings.TrimSpace(out) == ""
	want := audit.Pass
	if loads || builtIn {
		want = audit.Fail
	}
	if row.Status != want {
		t.Errorf("%s %s: %s (%s, %s), modprobe -n -v says %s: %q, %v", row.Rule, row.Subject, row.Status, row.Effective,
			row.Because, want, out, err)
	}
	verdicts, err := sys.Check(context.Background(), row.Subject)
	if err != nil || len(verdicts) != 1 || row.Effective != string(verdicts[0].Worst()) {
		t.Errorf("%s: %s, verdicts %v, %v", row.Subject, row.Effective, verdicts, err)
	}
	text := audit.Fail
	if benchmarkCheck(t, root, release, check, row.Subject, plan) {
		text = audit.Pass
	}
	if row.Text != text {
		t.Errorf("%s %s: text %s (%s), the benchmark's own check says %s; modprobe: %q", row.Rule, row.Subject,
			row.Text,
			row.TextBecause, text, plan)
	}
}

// benchmarkBuiltin reports whether modprobe knows a name as compiled in.
func benchmarkBuiltin(t *testing.T, root, release, name string) bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "lib/modules", release, "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	return grepText(t, `/`+strings.NewReplacer("-", "[-_]", "_", "[-_]").Replace(name)+`\.ko$`, string(data))
}

// benchmarkCheck is a benchmark's check done again, by other means: grep over what modprobe prints, and over files.
func benchmarkCheck(t *testing.T, root, release string, check audit.Check, name, plan string) bool {
	t.Helper()
	if check != audit.CheckOVAL {
		return cisCheck(t, root, release, check, name, plan)
	}
	found := func(pattern string) bool {
		for _, dir := range []string{"etc", "run", "usr/lib"} {
			for _, sub := range []string{"modprobe.d", "modules-load.d"} {
				names, err := filepath.Glob(filepath.Join(root, dir, sub, "*.conf"))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range names {
					data, err := os.ReadFile(file)
					if err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
					if grepText(t, pattern, string(data)) {
						return true
					}
				}
			}
		}
		return false
	}
	return found(`^\s*install\s+`+name+`\s+(/bin/false|/bin/true)$`) && found(`^blacklist\s+`+name+`$`)
}

// cisCheck is the check of the CIS benchmarks for a machine whose kernel does not run.
func cisCheck(t *testing.T, root, release string, check audit.Check, name, plan string) bool {
	t.Helper()
	kind := "fs"
	switch name {
	case "usb-storage", "firewire-core":
		kind = "drivers"
	case "atm", "can", "dccp", "rds", "sctp", "tipc":
		kind = "net"
	}
	dir := strings.Replace(name, "-", "/", 1)
	if name == "overlay" {
		dir = "overlayfs"
	}
	any, err := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel", kind, dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Glob(filepath.Join(root, "lib/modules", release, "kernel", kind, dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(any) == 0 {
		return true
	}
	config, err := runModprobe(t, root, release, "--showconfig")
	if err != nil {
		t.Fatal(err)
	}
	under := strings.ReplaceAll(name, "-", "_")
	denied := grepText(t, `\bblacklist\h+`+under+`\b`, config)
	switch check {
	case audit.CheckCIS:
		return denied && (len(here) == 0 || grepText(t, `^\h*install \/bin\/(true|false)`, plan))
	case audit.CheckShowConfigBin:
		return denied && grepText(t, `\binstall\h+`+under+`\h+\/bin\/(true|false)\b`, config)
	}
	return denied && grepText(t, `\binstall\h+`+under+`\h+(\/usr)?\/bin\/(true|false)\b`, config)
}

// grepText reports whether grep -P finds a line.
func grepText(t *testing.T, pattern, text string) bool {
	t.Helper()
	cmd := exec.Command("grep", "-Pq", "--", pattern)
	cmd.Stdin = strings.NewReader(text)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	return err == nil
}
