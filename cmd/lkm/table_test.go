// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// onScreen runs the command as on a terminal of that width, and returns what it prints there.
func onScreen(t *testing.T, width int, env map[string]string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := newApp(args, strings.NewReader(""), &out, &errs)
	a.out = screen{true, width}
	a.env = func(name string) string { return env[name] }
	a.run(t.Context())
	return out.String(), errs.String()
}

// upgradeImage is an image with two kernels, of which the newer one lacks what a list of modules names.
func upgradeImage(t *testing.T) string {
	t.Helper()
	return checkImage(t, map[string]string{
		"lib/modules/7/modules.dep":     "kernel/drivers/net/ethernet/vendor/other.ko:\n",
		"lib/modules/7/modules.builtin": "", "lib/modules/7/modules.alias": "",
		"lib/modules/7/kernel/drivers/net/ethernet/vendor/other.ko": "",
		"etc/modules-load.d/of-a-package-with-a-long-name.conf":     "lone\n",
		"etc/modprobe.d/of-a-package-with-a-long-name.conf": "options lone " +
			"parameter_one=1 parameter_two=2 parameter_three=3\n" +
			"install lone /bin/false\n",
		"boot/config-7": "CONFIG_MODULES=y\n", "boot/loader/entries/b.conf": "version 7\noptions quiet\n",
	})
}

// TestScreens shows what is printed on narrow and wide terminals. Only a word that is longer than the screen may exceed
// it.
func TestScreens(t *testing.T) {
	const demo = "demo:synthetic-debian-root"
	image := upgradeImage(t)
	plain := map[string]string{"NO_COLOR": "1"}
	var b strings.Builder
	for _, width := range []int{80, 200} {
		for _, args := range [][]string{
			{"list", "--tape", demo},
			{"list", "--tape", "demo:synthetic-macos-root"},
			{"list", "--installed", "--root", image, "-k", "7"},
			{"list", "--tape", demo, "--third-party", "--strict"},
			{"info", "snd", "nvidia", "--tape", demo},
			{"check", "nvme", "no_such_module", "--tape", demo},
			{"check", "lone", "--root", image, "-k", "all"},
			{"policy", "--tape", demo},
			{"policy", "--tape", "demo:synthetic-windows11-admin"},
			{"discrepancies", "--tape", demo},
			{"upgrade", "7", "--root", image},
			{"config", "--root", image},
			{"sources", "--plan", "--tape", demo},
		} {
			out, errs := onScreen(t, width, plain, args...)
			out = strings.ReplaceAll(out, image, "IMAGE")
			call := strings.ReplaceAll(strings.Join(args, " "), image, "IMAGE")
			fmt.Fprintf(&b, "$ lkm %s   # %d columns\n%s", call, width, out)
			if errs != "" {
				fmt.Fprintf(&b, "--- stderr\n%s", strings.ReplaceAll(errs, image, "IMAGE"))
			}
			for line := range strings.Lines(out) {
				line = strings.TrimRight(line, "\n")
				longest := slices.MaxFunc(append(strings.Fields(line), ""),
					func(a, b string) int { return len(a) - len(b) })
				if n := utf8.RuneCountInString(line); n > width && len(longest) < width-40 {
					t.Errorf("%v at %d columns has %d: %q", args, width, n, line)
				}
			}
		}
	}
	checkGolden(t, "screens.txt", b.String())
}

// TestLayout is the table of how columns share the width of a terminal.
func TestLayout(t *testing.T) {
	long := strings.Repeat("x", 40)
	for _, tt := range []struct {
		name, head string
		row        []string
		limit      int
		want       []string
	}{
		{"no limit", "NAME USED SIZE", []string{long, "a,b,c", "1"}, 0, []string{long + "  a,b,c  1"}},
		{"the widest is cut", "NAME USED STATE", []string{"n", "aaaa,bbbb,cccc,dddd,eeee", "loaded"}, 30,
			[]string{"n     aaaa,bbbb +3      loaded"}},
		{"a name is not cut", "NAME USED STATE", []string{long, "aaaa,bbbb,cccc", "loaded"}, 60,
			[]string{long + "  aaaa +2     loaded"}},
		{"nothing is left to take", "NAME STATE", []string{long, "loaded"}, 30, []string{long + "  loaded"}},
		{"the last wraps", "NAME WHY", []string{"n", "one two three four five six"}, 30,
			[]string{"n     one two three four five", "      six"}},
		{"a path wraps after a slash", "NAME PATH", []string{"n", "/lib/modules/6/kernel/drivers/x.ko"}, 30,
			[]string{"n     /lib/modules/6/kernel/", "      drivers/x.ko"}},
		{"a place keeps its line", "NAME WHERE WHAT",
			[]string{"n", "/etc/modprobe.d/long.conf:12", "does nothing here"}, 42,
			[]string{"n     …e.d/long.conf:12  does nothing here"}},
		{"one word alone", "NAME USED STATE", []string{"n", long, "loaded"}, 30,
			[]string{"n     " + long[:15] + "…  loaded"}},
		{"letters, not bytes", "NAME USED STATE", []string{"n", strings.Repeat("é", 40), "loaded"}, 30,
			[]string{"n     " + strings.Repeat("é", 15) + "…  loaded"}},
	} {
		tab := &table{head: strings.Fields(tt.head), rows: [][]string{tt.row}}
		got := tab.lines(tt.row, tab.layout(tt.limit), tt.limit, func(_, _, shown string) string { return shown })
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestColor: colors are for a terminal that wants them, or for who asks, and mark what needs attention.
func TestColor(t *testing.T) {
	const demo = "demo:synthetic-debian-root"
	for _, tt := range []struct {
		args []string
		env  map[string]string
		want bool
	}{
		{nil, nil, true},
		{nil, map[string]string{"NO_COLOR": "1"}, false},
		{nil, map[string]string{"TERM": "dumb"}, false},
		{[]string{"--color", "never"}, nil, false},
		{[]string{"--color", "always"}, map[string]string{"NO_COLOR": "1", "TERM": "dumb"}, true},
	} {
		out, _ := onScreen(t, 80, tt.env, append([]string{"list", "--tape", demo}, tt.args...)...)
		if got := strings.Contains(out, "\x1b["); got != tt.want {
			t.Errorf("%v %v: colored %v", tt.args, tt.env, got)
		}
	}
	if _, out, _ := lkmRun(t, "", "list", "--tape", demo); strings.Contains(out, "\x1b") {
		t.Error("a pipe is colored")
	}
	_, out, _ := lkmRun(t, "", "list", "--tape", demo, "--color", "always", "--third-party")
	for _, want := range []string{"\x1b[33mthird-party\x1b[0m", "\x1b[1;31mnot valid\x1b[0m"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%q", want, out)
		}
	}
	plain := out
	for _, s := range []style{boldStyle, alarmStyle, warnStyle, goodStyle, dimStyle} {
		plain = strings.ReplaceAll(plain, "\x1b["+string(s)+"m", "")
	}
	plain = strings.ReplaceAll(plain, "\x1b[0m", "")
	if _, want, _ := lkmRun(t, "", "list", "--tape", demo, "--third-party"); plain != want {
		t.Errorf("colors move columns:\n%s\n%s", plain, want)
	}
	_, verdict, _ := lkmRun(t, "", "check", "lone", "--root", checkImage(t, nil), "--color", "always")
	if !strings.Contains(verdict, "\x1b[1;31mLOADABLE\x1b[0m") {
		t.Errorf("%q", verdict)
	}
}

// TestPolicyWidths: no line goes past the edge of the screen but a path that is longer than the screen, which is whole
// and begins at its left. Each consequence is in its column or below its fact.
func TestPolicyWidths(t *testing.T) {
	const path = "/sys/firmware/efi/efivars/MokListTrustedRT-605dab50-e046-4300-abb6-3dd810dd8b23"
	for _, width := range []int{80, 120, 200, 300} {
		at := 0
		for _, tape := range []string{"debian-6.12-cloud-root", "synthetic-debian-root", "synthetic-windows11-user"} {
			out, _ := onScreen(t, width, map[string]string{"NO_COLOR": "1"}, "policy", "--tape", "demo:"+tape)
			for line := range strings.Lines(out) {
				line = strings.TrimSuffix(line, "\n")
				if n := utf8.RuneCountInString(line); n > width && strings.Contains(line, " ") {
					t.Errorf("%s at %d: %d columns: %s", tape, width, n, line)
				}
				if i := strings.Index(line, "/proc/sys/kernel/modules_disabled"); i > 0 {
					at = i
				}
				if i := strings.Index(line, "/sys/kernel/security/lsm"); i > 0 && i != at && i != 6 {
					t.Errorf("%s at %d: column %d, not %d: %s", tape, width, i, at, line)
				}
			}
			if tape == "synthetic-debian-root" && !strings.Contains(out, path) {
				t.Errorf("%s at %d: no %s", tape, width, path)
			}
		}
	}
}

// TestKnownNone: CSV has nothing for what is not known and a dash for what is known to be nothing; tables for people
// have a question mark and a dash.
func TestKnownNone(t *testing.T) {
	const lsmod = "Module Size Used by\nnvme 57344 3\n"
	const procModules = "nvme 57344 3 - Live 0x0000000000000000\n"
	for want, args := range map[string][]string{
		"nvme,-,,\n":                      {lsmod, "csv"},
		"nvme,-,-,\n":                     {procModules, "csv"},
		"nvme  -       ?             ?\n": {lsmod, "table"},
		"nvme  -       -             ?\n": {procModules, "table"},
		"| nvme | - | ? | ? |\n":          {lsmod, "markdown"},
	} {
		_, out, errs := lkmRun(t, args[0], "import", "-", "--fields", "name,usedBy,linux.taints,version", "--format",
			args[1])
		if !strings.HasSuffix(out, want) && !strings.Contains(out, want) {
			t.Errorf("%v: %q, want %q %s", args, out, want, errs)
		}
	}
	_, out, _ := lkmRun(t, "", "list", "--tape", "demo:synthetic-debian-root", "--format", "csv", "--fields",
		"name,version,usedBy,linux.taints,signature.status", "--name", "ahci")
	if want := "ahci,3.0,-,-,\n"; !strings.HasSuffix(out, want) {
		t.Errorf("%q, want %q", out, want)
	}
}

// TestFooters: a footer says what is so.
func TestFooters(t *testing.T) {
	const image = "demo:synthetic-debian-root"
	for call, want := range map[string]string{
		"list --third-party":                         "4 of 35 match (31 modules left out: origin not known)",
		"list --third-party --unsigned --name vbox*": "1 of 35 match ·",
		"list --name vbox*":                          "not asked:",
	} {
		_, out, _ := lkmRun(t, "", append(strings.Fields(call), "--tape", image)...)
		if has := strings.Contains(out, want); has == (want == "not asked:") {
			t.Errorf("lkm %s: %q in it is %v\n%s", call, want, has, out)
		}
	}
	_, out, _ := lkmRun(t, "", "list", "--tape", image, "--third-party", "--format", "csv")
	if strings.Contains(out, "left out") {
		t.Errorf("%s", out)
	}
}

// TestSaidOnce: what stdout says is not said on stderr again.
func TestSaidOnce(t *testing.T) {
	image := checkImage(t, nil)
	t.Chdir(image)
	for call, want := range map[string]string{
		"check lome -r .":                "",
		"check lome -r . --format csv":   "",
		"list --installed --strict -r .": "lkm: incomplete: see \"not seen\" above\n",
		"list --strict -q --tape demo:synthetic-container": "" +
			"lkm: incomplete: sys_module: stat /sys/module: file does not exist\n" +
			"lkm: incomplete: builtin: readdir /sys/module: file does not exist\n",
	} {
		_, out, errs := lkmRun(t, "", strings.Fields(call)...)
		if errs != want {
			t.Errorf("lkm %s: stderr %q, want %q\n%s", call, errs, want, out)
		}
	}
}

// TestHints: a file of this directory and the kernels that there are are offered.
func TestHints(t *testing.T) {
	image := checkImage(t, map[string]string{"lone.ko": "", "lib/modules/7/modules.dep": ""})
	t.Chdir(image)
	hints := map[string]string{
		"info lone.ko -k 6 -r .":       "for the file of that name here: ./lone.ko",
		"list --installed -k 9.9 -r .": "installed: 6, 7",
		"upgrade 9.9 -k 6 -r .":        "installed: 6, 7",
		"plan lone -k 9.9 -r .":        "installed: 6, 7",
		"resolve lonely -k 9.9 -r .":   "installed: 6, 7",
	}
	for _, call := range slices.Sorted(maps.Keys(hints)) {
		_, out, errs := lkmRun(t, "", strings.Fields(call)...)
		if !strings.Contains(out+errs, hints[call]) {
			t.Errorf("lkm %s: no %q in\n%s%s", call, hints[call], out, errs)
		}
	}
}

// Names of Windows fold letters, and go without their suffix.
func TestListNameOfWindows(t *testing.T) {
	for _, name := range []string{"fltmgr.sys", "FltMgr", "fltm*", "FLTMGR.SYS"} {
		out, stderr, code := runLkm(t, "list", "--tape", "demo:synthetic-windows11-admin", "--format", "csv",
			"--fields", "name", "--name", name)
		if code != 0 || out != "name\nFLTMGR.SYS\n" {
			t.Errorf("%s: %d, %q, %q", name, code, out, stderr)
		}
	}
}
