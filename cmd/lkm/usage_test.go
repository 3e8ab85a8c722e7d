// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestUsage is what wrong usage is answered with: our words, the nearest word and the usage line.
func TestUsage(t *testing.T) {
	for call, want := range map[string]string{
		"lst":                           `unknown command "lst"; did you mean lkm list?`,
		"lst --tape demo:x":             `unknown command "lst"; did you mean lkm list?`,
		"disc":                          `unknown command "disc"; did you mean lkm discrepancies?`,
		"lsmod":                         `unknown command "lsmod"; did you mean lkm list?`,
		"modinfo nvme":                  `unknown command "modinfo"; did you mean lkm info?`,
		"zzzzzz":                        `unknown command "zzzzzz"` + "\nusage: lkm COMMAND [flags]   (lkm help)\n",
		"help lsit":                     `unknown command "lsit"; did you mean lkm list?`,
		"completion bsh":                `unknown command "bsh"; did you mean lkm completion bash, zsh?`,
		"list nvme":                     "list takes no NAME; for one module: lkm info nvme",
		"list nv*":                      "for those that match: lkm list --name 'nv*'",
		"policy x":                      `got "x"` + "\nusage: lkm policy [flags]   (lkm help policy)",
		"info":                          "info: missing argument: NAME|FILE\nusage: lkm info NAME|FILE... [flags]",
		"diff a":                        "diff wants OLD NEW, and got 1: a",
		"upgrade":                       "upgrade: missing argument: RELEASE",
		"list --stat loaded":            "unknown flag --stat of lkm list; did you mean --state?",
		"list --reverse":                "unknown flag --reverse of lkm list; lkm tree has it",
		"list -Z":                       "unknown flag -Z of lkm list",
		"--nosuch list":                 "unknown flag --nosuch of lkm\n",
		"list --state":                  "--state wants a value: STATE: ",
		"list -k":                       "--kernel wants a value: RELEASE: ",
		"watch --interval soon":         `--interval "soon" is no duration, such as 30s or 5m`,
		"list --installed --builtin":    "--installed and --builtin exclude each other",
		"list -r / --tape demo:x":       "--root and --tape exclude each other",
		"list --color blue":             `--color "blue" is not one of auto, always, never`,
		"list --strict=perhaps":         `--strict "perhaps" is no yes or no: true or false`,
		"list ---x":                     "bad flag syntax",
		"check":                         "check: missing argument: NAME|ALIAS|FILE\n",
		"resolve --tape demo:x":         "resolve: missing argument: ALIAS\n",
		"tape demo:one demo:two":        "tape wants FILE|demo:NAME, and got 2: demo:one demo:two",
		"record --installed":            "unknown flag --installed of lkm record; lkm list has it",
		"version x":                     `version takes no argument, and got "x"`,
		"list \x1b[2J":                  `--name '\x1b[2J'`,
		"list --installed --color":      "--color wants a value: WHEN: ",
		"sources --plan --format txt":   "--format",
		"watch --heartbeat -1s":         "--heartbeat -1s is negative\nusage: lkm watch",
		"watch --interval -1ns":         "--interval -1ns is negative",
		"watch --buffer -1":             "--buffer -1 is negative",
		"watch --format csv":            "watch prints jsonl, and not --format csv",
		"watch --strict":                "--strict is without effect on watch",
		"watch --kernel 6.1":            "--kernel is without effect on watch",
		"facts --format csv":            "facts prints json, and not --format csv",
		"facts --fields name":           "--fields is without effect on facts",
		"watch --since ./nowhere":       "--since: stat ./nowhere: no such file or directory",
		"check udf --root=":             "--root: its value is empty\nusage: lkm check",
		"check udf --tape=":             "--tape: its value is empty",
		"list --keys=":                  "--keys: its value is empty",
		"audit --rules=":                "--rules: its value is empty",
		"watch --since=":                "--since: its value is empty",
		"list --state builtin":          "--state builtin goes with --builtin or --all",
		"list --state installed":        "--state installed goes with --installed or --all",
		"list --builtin --state staged": "--state staged goes with --installed or --all",
		"list --builtin --state loaded": "--state loaded goes with a list of what is loaded",
		"mirror --output=":              "--output: its value is empty",
	} {
		code, stdout, stderr := lkmRun(t, "", strings.Fields(call)...)
		if code != exitFatal || stdout != "" || !strings.HasPrefix(stderr, "lkm: ") || !strings.Contains(stderr, want) {
			t.Errorf("lkm %s: exit %d, %q\nwant %q", call, code, stdout+stderr, want)
		}
		for _, raw := range []string{`for "lkm`, "arg(s)", "\x1b"} {
			if strings.Contains(stderr, raw) {
				t.Errorf("lkm %s: %q has cobra's words or controls", call, stderr)
			}
		}
	}
}

// TestShortFlags: a short flag is the long one, wherever the long one is.
func TestShortFlags(t *testing.T) {
	short := map[string]string{"root": "r", "kernel": "k", "verbose": "v", "quiet": "q", "field": "F", "output": "o",
		"help": "h", "version": "V"}
	root := newApp(nil, nil, nil, nil).root()
	for _, c := range append(root.Commands(), root) {
		for long, want := range short {
			if f := c.Flags().Lookup(long); f != nil && f.Shorthand != want {
				t.Errorf("%s: --%s is -%s, want -%s", c.Name(), long, f.Shorthand, want)
			}
		}
	}
	for _, args := range [][]string{{"-V"}, {"--version"}, {"version"}} {
		if code, out, _ := lkmRun(t, "", args...); code != 0 || !strings.HasPrefix(out, "lkm ") {
			t.Errorf("%v: exit %d, %q", args, code, out)
		}
	}
	image := checkImage(t, nil)
	if code, out, errs := lkmRun(t, "", "check", "-qr", image, "-k", "6", "lone"); code != 1 || out+errs != "" {
		t.Errorf("check -q: exit %d, %q", code, out+errs)
	}
	if code, out, errs := lkmRun(t, "", "info", "-qr", image, "none"); code != 2 || out != "" || errs == "" {
		t.Errorf("info -q: exit %d, %q, %q", code, out, errs)
	}
}

func TestRevision(t *testing.T) {
	set := func(pairs ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}
		for i := 0; i < len(pairs); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return b
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	changed := set("vcs.revision", commit, "vcs.time", "2026-11-29T01:00:00+03:00", "vcs.modified", "true")
	installed := set()
	installed.Main.Version = "v0.2.0"
	for _, tt := range []struct {
		want string
		info *debug.BuildInfo
	}{
		{"", nil},
		{"", set()},
		{" (v0.2.0)", installed},
		{" (0123456789ab)", set("vcs.revision", commit)},
		{" (short)", set("vcs.revision", "short", "vcs.time", "yesterday")},
		{" (0123456789ab, 2026-11-28, with changes)", changed},
	} {
		if got := revision(tt.info); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// allCommands returns every command of the tree that people see.
func allCommands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, allCommands(sub)...)
		}
	}
	return all
}

// TestExitOfUnknown: README.md, the help and a manual page say the same of the exit code 3, and it is true: an answer
// that is unknown gives it without --strict, a list that is incomplete does not.
func TestExitOfUnknown(t *testing.T) {
	const said = "3 unknown (check, audit, a block list), or incomplete under --strict."
	_, help, _ := lkmRun(t, "", "help")
	pages := map[string]string{"the help": help, "README.md": readPage(t, filepath.Join("..", "..", "README.md")),
		"lkm-list.1": readPage(t, filepath.Join("testdata", "lkm-list.1"))}
	for name, text := range pages {
		text = strings.NewReplacer("`", "", `\fB`, "", `\fR`, "", `\-`, "-").Replace(text)
		if !strings.Contains(strings.Join(strings.Fields(text), " "), said) {
			t.Errorf("%s does not say %q", name, said)
		}
	}
	root := t.TempDir()
	rules := writeTemp(t, "r.yaml", "rules:\n  - {id: d, kind: deny, modules: [nvidia]}\n")
	list := writeTemp(t, "list.json", `[{"Id":"1","KnownVulnerableSamples":[{"SHA256":"zz"},{"SHA256":"`+
		strings.Repeat("0", 64)+`"}]}]`)
	tape := []string{"--tape", "demo:synthetic-windows11-admin"}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"check", "x", "--root", root, "--os", "freebsd"}, exitIncomplete},
		{[]string{"audit", "--rules", rules, "--root", root, "--os", "freebsd"}, exitIncomplete},
		{[]string{"list", "--installed", "--root", root, "--os", "windows"}, 0},
		{[]string{"list", "--installed", "--root", root, "--os", "windows", "--strict"}, exitIncomplete},
		{append([]string{"list", "--blocklist", list}, tape...), exitIncomplete},
		{append([]string{"list"}, tape...), 0},
	} {
		if code, out, errs := lkmRun(t, "", c.args...); code != c.want {
			t.Errorf("%q: exit %d, want %d\n%s%s", c.args, code, c.want, out, errs)
		}
	}
}

// TestEmptyArguments: an empty argument, as that of a variable that is not set, is no name.
func TestEmptyArguments(t *testing.T) {
	for _, args := range [][]string{{"info", ""}, {"check", "udf", ""}, {"resolve", ""}, {"plan", ""}, {"tree", ""},
		{"upgrade", ""}, {"facts", ""}, {"diff", "", "live"}, {"mirror", ""}, {"tape", ""}, {"import", ""}} {
		code, out, errs := lkmRun(t, "", args...)
		if code != exitFatal || out != "" || !strings.Contains(errs, "an argument is empty") {
			t.Errorf("lkm %q: exit %d, %s%s", args, code, out, errs)
		}
	}
	code, out, _ := lkmRun(t, "", "facts", "--prefix=", "--format=json", "--tape", "demo:synthetic-debian-root")
	if code != 0 || !strings.Contains(out, `"loaded"`) {
		t.Errorf("an empty prefix: exit %d, %s", code, out)
	}
}

// TestEachErrorHasItsLine: an error of one argument is a line of its own.
func TestEachErrorHasItsLine(t *testing.T) {
	for _, word := range []string{"resolve", "plan"} {
		_, _, errs := lkmRun(t, "", word, "one", "two", "--tape", "demo:synthetic-aix")
		lines := strings.SplitAfter(errs, "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "one") || !strings.Contains(lines[1], "two") ||
			strings.Count(errs, "lkm: ") != 2 {
			t.Errorf("lkm %s: %q", word, errs)
		}
	}
}
