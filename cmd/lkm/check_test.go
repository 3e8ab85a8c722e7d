// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/lkm"
)

// checkImage makes an image with the module lone in one release, and more files; "-" leaves one out.
func checkImage(t *testing.T, more map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"lib/modules/6/modules.dep":     "kernel/lone.ko:\n",
		"lib/modules/6/kernel/lone.ko":  "",
		"lib/modules/6/modules.alias":   "alias lonely lone\n",
		"lib/modules/6/modules.builtin": "kernel/core.ko\n",
		"boot/config-6":                 "CONFIG_MODULES=y\n",
		"boot/loader/entries/a.conf":    "version 6\noptions quiet\n",
	}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		if text == "-" {
			continue
		}
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestCheckFailsClosed is the table of exit codes.
func TestCheckFailsClosed(t *testing.T) {
	block := map[string]string{"etc/modprobe.d/x.conf": "install lone /bin/false\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		code  int
		says  string // in stdout or stderr
	}{
		{"loadable", nil, []string{"lone"}, 1, "LOADABLE"},
		{"loadable by alias", nil, []string{"lonely"}, 1, "lonely = lone  LOADABLE"},
		{"blacklist", map[string]string{"etc/modprobe.d/x.conf": "blacklist lone\n"}, []string{"lone"}, 1,
			"/etc/modprobe.d/x.conf:1"},
		{"blocked", block, []string{"lone"}, 0, "BLOCKED"},
		{"builtin", nil, []string{"core"}, 1, "BUILTIN"},
		{"absent", nil, []string{"lome"}, 0, "did you mean lone?"},
		{"absent, strict", nil, []string{"lome", "--strict"}, 3, "did you mean lone?"},
		{"unknown", map[string]string{"lib/modules/6/modules.alias": "-"}, []string{"lome"}, 3, "UNKNOWN"},
		{"one blocked, one in", block, []string{"lone", "core"}, 1, "2 asked: 1 builtin, 1 blocked"},
		{"one blocked, one unknown", map[string]string{"etc/modprobe.d/x.conf": block["etc/modprobe.d/x.conf"],
			"lib/modules/6/modules.alias": "-"}, []string{"lone", "nosuch"}, 3, "1 unknown"},
		{"id", nil, []string{"linux_module:lone"}, 1, "LOADABLE"},
		{"a file that is not there", nil, []string{"/no/such.ko"}, 2, "/no/such.ko"},
		{"a file of another name", nil, []string{"/no/such"}, 2, "/no/such"},
		{"a file in a folder of any name", nil, []string{"/no:thing/such.ko"}, 2, "such.ko"},
		{"a file without a root's slash", nil, []string{"no/such"}, 2, "no/such"},
		{"two releases, none named", map[string]string{"lib/modules/7/modules.dep": ""},
			[]string{"lone"}, 2, "--kernel"},
		{"one of two releases", map[string]string{"lib/modules/7/modules.dep": ""}, []string{"lone", "--kernel", "6"},
			1, "LOADABLE"},
		{"all releases", map[string]string{"lib/modules/7/modules.dep": "", "lib/modules/7/modules.alias": "",
			"lib/modules/7/modules.builtin": "", "boot/loader/entries/b.conf": "version 7\noptions quiet\n"},
			[]string{"lone", "--kernel", "all"}, 1, "2 asked: 1 loadable, 1 absent"},
		{"no release", map[string]string{"lib/modules/6/modules.dep": "-", "lib/modules/6/kernel/lone.ko": "-",
			"lib/modules/6/modules.alias": "-", "lib/modules/6/modules.builtin": "-", "lib/modules/README": ""},
			[]string{"lone"}, 3, "this root has no kernel (no release directory below "},
		{"no such release", nil, []string{"lone", "--kernel", "8"}, 3, "UNKNOWN"},
		{"no name", nil, nil, 2, "missing argument: NAME|ALIAS|FILE"},
		{"hostile name", nil, []string{"a\x1b[2J]b"}, 0, `a\x1b[2J]b`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"check", "--root", checkImage(t, tt.files)}, tt.args...)
			code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
			all := stdout.String() + stderr.String()
			if code != tt.code || !strings.Contains(all, tt.says) {
				t.Errorf("exit code %d, want %d with %q\n%s", code, tt.code, tt.says, all)
			}
			if strings.Contains(all, "\x1b") {
				t.Errorf("escape characters: %q", all)
			}
		})
	}
}

func TestCheckFormats(t *testing.T) {
	root := checkImage(t, nil)
	for _, format := range []string{"json", "jsonl", "csv", "markdown"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"check", "lone", "--root", root, "--format", format},
			strings.NewReader(""),
			&stdout, &stderr); code != 1 {
			t.Errorf("%s: exit code %d: %s", format, code, stderr.String())
		}
		var v lkm.Verdict
		switch format {
		case "json":
			var all []lkm.Verdict
			if err := json.Unmarshal(stdout.Bytes(), &all); err != nil || len(all) != 1 {
				t.Fatalf("%v: %s", err, stdout.String())
			}
			v = all[0]
		case "jsonl":
			if err := json.Unmarshal(stdout.Bytes(), &v); err != nil {
				t.Fatalf("%v: %s", err, stdout.String())
			}
		default:
			if !strings.Contains(stdout.String(), "loadable") {
				t.Errorf("%s: %s", format, stdout.String())
			}
			continue
		}
		if v.Module != "linux_module:lone" || v.Release != "6" || v.NextBoot.Outcome != lkm.VerdictLoadable {
			t.Errorf("%s: %+v", format, v)
		}
	}
}

// TestDiscrepanciesOfAnImage looks at its files; that nothing could look at a kernel is not a loss.
func TestDiscrepanciesOfAnImage(t *testing.T) {
	owned := map[string]string{"var/lib/dpkg/info/kernel.list": "/lib/modules/6/kernel/lone.ko\n",
		"lib/modules/6/kernel/lone.ko": ""}
	foreign := maps.Clone(owned)
	foreign["etc/modprobe.d/x.conf"] = "install lone /opt/logger\n"
	for _, tt := range []struct {
		files map[string]string
		args  []string
		code  int
		says  string
	}{
		{owned, []string{"--strict"}, 0, "0 findings"},
		{nil, []string{"--strict"}, 3, "packages (absent)"},
		{foreign, nil, 1, "/etc/modprobe.d/x.conf:1"},
		{foreign, []string{"--kernel", "6"}, 1, "/etc/modprobe.d/x.conf:1"},
	} {
		var stdout, stderr bytes.Buffer
		args := append([]string{"discrepancies", "--root", checkImage(t, tt.files)}, tt.args...)
		if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != tt.code ||
			!strings.Contains(stdout.String(), tt.says) {
			t.Errorf("%q: exit code %d, want %d; want %q in\n%s%s", args[3:], code, tt.code, tt.says,
				stdout.String(), stderr.String())
		}
	}
}

func TestPolicyOfAnImage(t *testing.T) {
	root := checkImage(t, map[string]string{"boot/config-6": "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n" +
		"CONFIG_MODULE_SIG_FORCE=y\n", "proc/sys/kernel/modules_disabled": "1\n"})
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"policy", "--root", root, "--verbose"}, strings.NewReader(""),
		&stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if out := stdout.String(); !strings.Contains(out, "ONLY SIGNED") || !strings.Contains(out, "/boot/config-6:3") ||
		strings.Contains(out, "/proc/") {
		t.Errorf("%s", out)
	}
	if code := run(t.Context(), []string{"policy", "--root", root, "--strict"}, strings.NewReader(""),
		&stdout, &stderr); code != 0 {
		t.Errorf("a known answer, strict: exit code %d: %s", code, stderr.String())
	}
	stderr.Reset()
	unpacked := checkImage(t, map[string]string{"boot/config-6": "-", "boot/loader/entries/a.conf": "-"})
	if code := run(t.Context(), []string{"policy", "--root", unpacked, "--strict"}, strings.NewReader(""), &stdout,
		&stderr); code != 3 || !strings.Contains(stderr.String(), "no loader entry") {
		t.Errorf("an unknown answer, strict: exit code %d: %s", code, stderr.String())
	}
	stdout.Reset()
	if code := run(t.Context(), []string{"record", "--root", root}, strings.NewReader(""), &stdout,
		&stderr); code != 2 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "is an image") {
		t.Errorf("record of an image: exit code %d: %s", code, stderr.String())
	}
	if code := run(t.Context(), []string{"watch", "--root", root}, strings.NewReader(""), &stdout, &stderr); code != 2 {
		t.Errorf("watch of an image: exit code %d", code)
	}
}

// TestCheckFileHere: a file is looked for in the folder in which the command runs, and an alias is not a file.
func TestCheckFileHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it takes the running kernel")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("here.ko", kotest.LinuxModule("name=kernelext_here", "license=GPL"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := lkmRun(t, "", "check", "./here.ko", "--format", "json")
	if code == exitFatal || !strings.Contains(out, `"query": "./here.ko"`) || strings.Contains(errs, "here.ko") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if code, _, errs := lkmRun(t, "", "check", "./nosuch.ko"); code != exitFatal {
		t.Errorf("a missing file: exit %d, %s", code, errs)
	}
	if code, _, errs := lkmRun(t, "", "check", "devname:no/such"); code == exitFatal {
		t.Errorf("an alias: %s", errs)
	}
}

// TestCheckFileUnrecorded: of a file whose existence is unknown nothing is said.
func TestCheckFileUnrecorded(t *testing.T) {
	for _, tape := range []string{"debian-6.12-cloud-root", "synthetic-freebsd-root"} {
		code, out, errs := lkmRun(t, "", "check", "/no/such", "--tape", "demo:"+tape)
		if code != exitFatal || out != "" || !strings.Contains(errs, "not recorded") {
			t.Errorf("%s: exit %d, %s%s", tape, code, out, errs)
		}
	}
}
