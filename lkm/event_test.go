// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"os"
	"strings"
	"testing"
)

// The agent of the package's documentation is short.
func TestExampleAgentIsShort(t *testing.T) {
	text, err := os.ReadFile("example_agent_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "package ")
	if lines := strings.Count(code, "\n"); lines > 40 {
		t.Errorf("an agent takes %d lines, more than 40", lines)
	}
}
