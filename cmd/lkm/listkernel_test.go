// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestListKernel: a list of another kernel than the one asked for is no answer. The error says which kernels there
// are, and which lists --kernel is about.
func TestListKernel(t *testing.T) {
	image := checkImage(t, map[string]string{"lib/modules/7/modules.dep": ""})
	const (
		tape    = "demo:debian-6.12-cloud-root"
		running = "6.12.117+deb12-cloud-amd64"
		older   = "6.1.0-57-cloud-amd64"
		there   = "; installed: " + older + ", " + running
		disk    = "add --installed, --builtin or --all"
	)
	for _, tt := range []struct {
		args string
		code int
		says string // on stderr
	}{
		{"--tape " + tape + " -k 9.9", 2, there},
		{"--tape " + tape + " -k 9.9 --all", 2, there},
		{"--tape " + tape + " -k 9.9 --installed", 2, there},
		{"--tape " + tape + " -k 9.9 --format json", 2, there},
		{"--tape " + tape + " -k all", 2, there},
		{"--tape " + tape + " -k " + older, 2, "not recorded on this tape"}, // its files
		{"--tape " + tape + " -k " + running, 0, ""},
		{"--root " + image + " -k 9.9", 2, "; installed: 6, 7"},
		{"--root " + image + " -k 9.9 --installed", 2, "; installed: 6, 7"},
		{"--root " + image + " -k 9.9 --builtin", 2, "; installed: 6, 7"},
		{"--root " + image + " -k 9.9 --all", 2, "; installed: 6, 7"},
		{"--root " + image + " -k 7", 2, disk},
		{"--root " + image + " -k 6 --installed", 0, ""},
		{"--root " + image + " -k 6 --all", 0, ""},
		{"--root " + image + " --live -k 9.9", 2, "; installed: 6, 7"},
		{"--root " + image + " --live -k 6", 2, disk},
		{"--tape demo:synthetic-illumos -k 9.9", 2, "not chosen by name"},
	} {
		code, out, errs := lkmRun(t, "", append([]string{"list"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(errs, tt.says) || (code == 2) != (out == "") {
			t.Errorf("list %s: exit %d, want %d and %q: %q, %q", tt.args, code, tt.code, tt.says, out, errs)
		}
	}
}
