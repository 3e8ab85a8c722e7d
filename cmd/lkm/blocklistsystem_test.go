// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// A policy of the machine that denies a signer by a root whose key is not known was not compared whole: "0 named" is
// incomplete. What no policy can be read from says so, too, where only settings are asked for.
func TestUncomparedSystemList(t *testing.T) {
	policy := func(root uint32) []byte {
		return policytest.Compile(&sipolicy.Policy{Format: 7,
			Signers: []sipolicy.Signer{{ByNumber: true, WellKnown: root}},
			Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
				Product: sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}}}}})
	}
	for name, tt := range map[string]struct {
		policy []byte
		exit   int // of the list
		says   string
		unread bool // the policy says so
	}{
		"a known root":    {policy(6), 0, "this machine's own 1 policies, 0 of ", false},
		"an unknown root": {policy(9), exitIncomplete, "others or parts of them could not be read, 0 of ", false},
		"cut off":         {policy(6)[:100], exitIncomplete, "none could be read", true},
	} {
		dir := t.TempDir()
		for file, b := range map[string][]byte{"drivers/a.sys": petest.Sample().Build(),
			"config/SYSTEM": hivetest.System(), "CodeIntegrity/SiPolicy.p7b": tt.policy} {
			path := filepath.Join(dir, "Windows", "System32", filepath.FromSlash(file))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, stderr, code := runLkm(t, "list", "--installed", "--root", dir, "--blocklist", "system")
		if code != tt.exit || !strings.Contains(out, tt.says) {
			t.Errorf("%s: exit %d\n%s%s", name, code, out, stderr)
		}
		out, stderr, _ = runLkm(t, "policy", "--root", dir, "--strict")
		if strings.Contains(stderr, "code_integrity_files") != tt.unread || !strings.Contains(out, "sha256 ") {
			t.Errorf("%s: policy\n%s%s", name, out, stderr)
		}
	}
}
