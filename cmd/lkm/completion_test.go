// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestCompletion is what a shell is offered for the last word of a line.
func TestCompletion(t *testing.T) {
	image := checkImage(t, map[string]string{"lib/modules/7/modules.dep": ""})
	const demo, kernels = "demo:synthetic-debian-root", "demo:debian-6.12-cloud-root"
	for call, want := range map[string]string{
		"list --detail ":                         "files hashes signatures parameters addresses symbols policy all",
		"list --detail files,ha":                 "files,hashes",
		"list --detail files,fi":                 "",
		"list --fields name,linux.ta":            "name,linux.taints",
		"list --fields signature.si":             "signature.signer signature.signedAt",
		"list --fields lin":                      "linux.",
		"list --fields id.":                      "",
		"list --fields no.such.":                 "",
		"list --state un":                        "unloading",
		"list --tape ":                           "demo:",
		"list --tape demo:wine-8.0-":             "demo:wine-8.0-386 demo:wine-8.0-wow64",
		"list --color ":                          "auto always never",
		"list --os d":                            "dragonfly darwin",
		"list --format c":                        "csv",
		"list --format ":                         "table json jsonl csv markdown",
		"audit --format ":                        "table json jsonl csv markdown sarif junit",
		"audit --format s":                       "sarif",
		"diff --format s":                        "",
		"watch --format ":                        "jsonl",
		"facts --format ":                        "json",
		"facts --format t":                       "",
		"facts --fields ":                        "",
		"export prometheus --format ":            "",
		"report --fields ":                       "",
		"list --blocklist ":                      "system",
		"list ":                                  "",
		"info -F sig_k":                          "sig_key",
		"info --tape " + demo + " nvidia":        "nvidia nvidia_drm nvidia_modeset",
		"info --tape " + demo + " nvidia nvidia": "nvidia_drm nvidia_modeset",
		"info --tape " + demo + " snd-hda-i":     "snd-hda-intel",
		"info ./":                                "",
		"info --tape demo:none n":                "",
		"tree -r " + image + " -k 6 l":           "lone",
		"check -r " + image + " -k 6 c":          "core",
		"check -r " + image + " -k ":             "6 7 all",
		"list -r " + image + " --kernel ":        "6 7",
		"list --tape " + kernels + " --kernel ":  "6.1.0-57-cloud-amd64 6.12.117+deb12-cloud-amd64",
		"upgrade -r " + image + " ":              "6 7",
		"upgrade -r " + image + " 6 ":            "",
		"diff l":                                 "live",
		"tape demo:linux":                        "demo:linux-6.18-nomodules",
		"resolve -r " + image + " -k 6 lo":       "lone",
		"plan -r " + image + " -k 6 lo":          "lone",
		"import --as lsm":                        "lsmod",
		"help pol":                               "policy",
		"record -o ":                             "",
	} {
		args := append([]string{"__completeNoDesc"}, strings.Split(call, " ")...)
		_, out, _ := lkmRun(t, "", args...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		got := strings.Join(lines[:len(lines)-1], " ")
		if got != want {
			t.Errorf("lkm %s: %q, want %q", call, got, want)
		}
	}
}

// TestTakenFormats: each format that a shell is offered is one that the command takes.
func TestTakenFormats(t *testing.T) {
	for _, c := range allCommands(newApp(nil, nil, nil, nil).root())[1:] {
		if c.Flags().Lookup("format") == nil {
			continue
		}
		_, out, _ := lkmRun(t, "", "__completeNoDesc", c.Name(), "--format", "")
		for _, format := range strings.Fields(out) {
			if strings.HasPrefix(format, ":") {
				break
			}
			_, _, err := lkmRun(t, "", c.Name(), "--format", format, "--tape", "demo:none")
			if strings.Contains(err, "--format") {
				t.Errorf("lkm %s: %s", c.Name(), err)
			}
		}
	}
}

// TestPlainDescriptions: the words beside a flag are as the help prints them, without the quotes of the source.
func TestPlainDescriptions(t *testing.T) {
	for _, c := range allCommands(newApp(nil, nil, nil, nil).root())[1:] {
		_, out, _ := lkmRun(t, "", "__complete", c.Name(), "--")
		if strings.Contains(out, "`") || !strings.Contains(out, "--color\tmark what needs attention: WHEN is auto") {
			t.Errorf("lkm %s: %s", c.Name(), out)
		}
	}
}

// TestEveryFlagCompletes: a shell knows what to offer for each flag that takes a value.
func TestEveryFlagCompletes(t *testing.T) {
	files := []string{"keys", "output", "since"} // what the shell itself offers is right
	root := newApp(nil, nil, nil, nil).root()
	for _, c := range allCommands(root)[1:] {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			_, known := c.GetFlagCompletionFunc(f.Name)
			if f.NoOptDefVal == "" && !known && !f.Hidden && !strings.Contains(strings.Join(files, " "), f.Name) {
				t.Errorf("lkm %s --%s has no completion", c.Name(), f.Name)
			}
		})
	}
}
