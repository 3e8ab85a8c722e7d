// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// TestPart distinguishes a part of a list from a whole list by its commands and its ellipses.
func TestPart(t *testing.T) {
	tools, options := []string{"lsmod", "kextstat", "get-ciminstance"}, []string{"-b"}
	for text, want := range map[string]string{
		"$ lsmod\nrow\n":                                     "",
		"$ lsmod | grep nvidia\nrow\n":                       "| grep",
		"# /sbin/lsmod|head -5\nrow\n":                       "| head",
		"lsmod | awk '{print $1}'\nrow\n":                    "| awk",
		"$ sudo lsmod | sort | column -t\nrow\n":             "",
		"$ lsmod | sort -u\nrow\n":                           "sort -u",
		"$ kextstat -b com.example.x\nrow\n":                 "-b",
		"PS C:\\> Get-CimInstance X | Format-Table\nrow\n":   "",
		"PS C:\\> Get-CimInstance X | select -First 3\nr\n":  "-First",
		"PS C:\\> Get-CimInstance X | ? State -eq Running\n": "| ?",
		"row\n...\nrow\n":                                    "line 2",
		"row\n[…]\n":                                         "line 2",
		"row\n-- More --\n":                                  "line 2",
		"$ dmesg | grep x\nrow\n":                            "",
		"the lsmod | grep of it\n":                           "",
		"\n---\n===\n":                                       "",
	} {
		err := Part(text, tools, options)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestRefusal finds what a tool prints that was not allowed to look.
func TestRefusal(t *testing.T) {
	for text, want := range map[string]bool{
		"sudo: a password is required\n": true, "row\nkldstat: Operation not permitted\n": true,
		"(kernel) Failed to query kext info (MAC policy error 0x1).\n": true, "Access is denied.\n": true,
		"nvme 57344 3\n": false, "": false,
	} {
		if err := Refusal(text); (err != nil) != want || want && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzFilters: no line of a shell panics, and what pipes a list into grep leaves rows out, whatever is before it.
func FuzzFilters(f *testing.F) {
	for _, s := range []string{"", "sort", "xargs lsmod", "ssh h 'lsmod", "$(lsmod", "`", `\`, "-b", "sc query x",
		"'|'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tools, options := []string{"lsmod", "sc", "modstat"}, []string{"-b", "--bundle", "-Filter", "where"}
		for _, prompt := range []bool{false, true} {
			Filters(s, prompt, tools, options)
		}
		if strings.ContainsAny(s, ";&|") {
			return
		}
		if line := "lsmod | " + s + " | grep x"; Filters(line, true, tools, options) == "" {
			t.Errorf("%q is whole", line)
		}
	})
}
