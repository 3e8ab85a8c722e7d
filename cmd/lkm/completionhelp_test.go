// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

// The help of completion, and of each shell's, is in this program's words, and says how the script is used.
func TestCompletionHelp(t *testing.T) {
	for shell, want := range map[string]string{"": "module names", "bash": "source <(lkm completion bash)",
		"zsh": "_lkm", "fish": "| source", "powershell": "$PROFILE"} {
		args := []string{"completion", shell, "--help"}
		if shell == "" {
			args = []string{"completion", "--help"}
		}
		var out, errs bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(""), &out, &errs)
		text := out.String()
		if code != 0 || !strings.Contains(text, want) || strings.Contains(text, "Generate the autocompletion") {
			t.Errorf("%s: %d, %s%s", shell, code, text, errs.String())
		}
	}
}
