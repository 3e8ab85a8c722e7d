// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// Every format of every tape is what it claims to be.
func TestExportFormats(t *testing.T) {
	for _, name := range lkmtest.Names() {
		for format := range exportFormats() {
			code, out, errs := lkmRun(t, "", "export", format, "--tape", "demo:"+name)
			if code != 0 {
				if code == 2 && strings.Contains(errs, name) {
					t.Errorf("%s of %s: %s", format, name, errs)
				}
				continue
			}
			if format == "prometheus" {
				if !strings.Contains(out, "\nkernel_extension_complete ") {
					t.Errorf("%s: %s", name, out)
				}
				continue
			}
			for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
				var v map[string]any
				if err := d.Decode(&v); err != nil {
					t.Fatalf("%s of %s: %v", format, name, err)
				}
			}
		}
	}
}

func TestExportToFile(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "lkm.prom")
	if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"export", "prometheus", "demo:debian-6.1-cloud-root", "demo:synthetic-windows11-admin", "-o", out}
	if code, stdout, errs := lkmRun(t, "", args...); code != 0 || stdout != "" {
		t.Fatalf("exit %d, %q, %s", code, stdout, errs)
	}
	text, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(text), `kernel_extensions{host="debian-6.1-cloud-root",`) {
		t.Errorf("%v: %s", err, text)
	}
	info, err := os.Stat(out)
	left, _ := os.ReadDir(dir)
	if err != nil || info.Mode().Perm()&0o444 == 0 || len(left) != 1 {
		t.Errorf("%v, %d files", err, len(left))
	}
	out = filepath.Join(dir, "no", "x")
	if code, _, _ := lkmRun(t, "", "export", "ecs", "demo:synthetic-aix", "-o", out); code != 2 {
		t.Errorf("a folder that is not there: exit %d", code)
	}
}

func TestExportCSV(t *testing.T) {
	_, out, _ := lkmRun(t, "", "export", "kernel_modules", "--csv", "demo:debian-6.1-cloud-root")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	head := []string{"name", "size", "used_by", "status", "address"}
	if err != nil || len(rows) < 10 || !slices.Equal(rows[0], head) {
		t.Errorf("%v: %.300s", err, out)
	}
}

func TestExportRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"export"}, {"export", "no_such"}, {"export", "ecs", "--csv", "demo:synthetic-aix"},
		{"export", "ecs", "--format", "json"}, {"export", "ecs", "no-such-file"},
	} {
		if code, out, errs := lkmRun(t, "", args...); code != 2 || out != "" || errs == "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, errs)
		}
	}
}

// A format that has no place for any module of a snapshot says so: what it writes looks like a kernel without modules.
func TestExportNothing(t *testing.T) {
	file := func(name, system, source, live string) string {
		return writeTemp(t, name, `{"schema":0,"os":"`+system+`","live":"`+live+`","modules":[],"sources":[{"name":"`+
			source+`","outcome":"ok"},{"name":"services_registry","outcome":"ok"},`+
			`{"name":"driver_folders","outcome":"ok"}]}`)
	}
	image := file("image.json", "windows", "driver_store", "no")
	kernel := file("kernel.json", "windows", "system_modules", "yes")
	disk := file("disk.json", "linux", "modules_dir", "no")
	mac := file("mac.json", "darwin", "kmutil", "yes")
	for _, c := range []struct {
		format, file, want string // want is in the one line on stderr; empty for none
		strict             int
	}{
		{"sysmon", image, "sysmon is about loaded modules", exitIncomplete}, {"sysmon", kernel, "", 0},
		{"sysmon", disk, "sysmon has a place for modules of windows alone, and this is linux", 0},
		{"drivers", image, "", 0}, {"drivers", disk, "of windows alone", 0},
		{"kernel_modules", disk, "kernel_modules is about loaded modules", exitIncomplete},
		{"kernel_modules", image, "of linux alone", 0}, {"kernel_extensions", mac, "", 0},
		{"kernel_extensions", disk, "of darwin alone", 0},
		{"osquery", image, "", 0}, {"ecs", image, "", 0}, {"prometheus", disk, "", 0},
		{"cyclonedx", disk, "cyclonedx is about loaded modules", exitIncomplete}, {"cyclonedx", kernel, "", 0},
	} {
		code, _, errs := lkmRun(t, "", "export", c.format, c.file)
		if code != 0 || !strings.Contains(errs, c.want) || (errs == "") != (c.want == "") ||
			strings.Count(errs, "\n") > 1 {
			t.Errorf("%s of %s: exit %d, %q", c.format, filepath.Base(c.file), code, errs)
		}
		if code, _, errs := lkmRun(t, "", "export", c.format, "--strict", c.file); code != c.strict {
			t.Errorf("%s of %s, strict: exit %d, %q", c.format, filepath.Base(c.file), code, errs)
		}
	}
	if code, _, errs := lkmRun(t, "", "export", "cyclonedx", "--all", "--strict", disk); code != 0 || errs != "" {
		t.Errorf("every module of a disk: exit %d, %q", code, errs)
	}
}

// Samples of one host cannot be there twice: that a snapshot is left out is said, once for each host.
func TestExportTwins(t *testing.T) {
	text := `{"schema":0,"os":"linux","live":"yes","modules":[],"sources":[{"name":"proc_modules","outcome":"ok"}]}`
	a, b := writeTemp(t, "x.json", text), writeTemp(t, "x.json", text)
	code, _, errs := lkmRun(t, "", "export", "prometheus", a, b, b)
	if code != 0 || errs != "lkm: several snapshots of host \"x\": the last one counts\n" {
		t.Errorf("exit %d, %q", code, errs)
	}
	if _, _, errs = lkmRun(t, "", "export", "ecs", a, b); errs != "" {
		t.Errorf("ecs: %q", errs)
	}
}
