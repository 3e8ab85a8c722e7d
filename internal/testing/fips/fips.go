// SPDX-License-Identifier: Apache-2.0

// Package fips runs a test in a program that may use no more than what FIPS 140 allows, which is neither MD5 nor SHA-1.
package fips

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

const setting = "fips140=only"

// Only reports whether this program is such a one. If it is not, it runs the test again in one that is, and the test
// fails if that one does.
func Only(t *testing.T) bool {
	t.Helper()
	if strings.Contains(os.Getenv("GODEBUG"), setting) {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG="+setting)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("with GODEBUG=%s: %v\n%s", setting, err, out)
	}
	return false
}
