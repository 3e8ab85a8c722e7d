// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

func TestPrompt(t *testing.T) {
	long := strings.Repeat("ü", 80)
	for line, want := range map[string]string{
		"$ lsmod": "lsmod", "root@host:~# kldstat -v": "kldstat -v", "fc:9970> lsmod": "lsmod",
		`C:\>driverquery`: "driverquery",
		long + " " + long + " " + long + " " + long + " # lsmod": "lsmod",
		"nvme 57344 3":                        "-",
		strings.Repeat("x", 5000) + "$ lsmod": "-",
	} {
		got, ok := Prompt(line)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%.40q: %q, want %q", line, got, want)
		}
	}
}

func TestReadIsCapped(t *testing.T) {
	if _, err := Read(strings.NewReader(strings.Repeat("x", Max+1))); !errors.Is(err, fact.ErrTooLarge) {
		t.Error(err)
	}
}
