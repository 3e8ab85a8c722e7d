// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// TestBadFiles lists a tree with a truncated, an empty, a foreign and a huge decompressing module:
// all others are listed, and each bad one is named with what is wrong with it.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	root, release := t.TempDir(), "6.1.0-bad"
	kernel := filepath.Join(root, "lib", "modules", release, "kernel")
	good := smallest(t, plainTree(t), 20)
	for _, file := range good {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(kernel, filepath.Base(file)), data)
	}
	whole, err := os.ReadFile(good[0])
	if err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 600 { // MiB, more than is decoded of any module
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"bad_truncated": ".ko", "bad_empty": ".ko", "bad_foreign": ".ko", "bad_bomb": ".ko.gz"}
	writeFile(t, filepath.Join(kernel, "bad_truncated.ko"), whole[:len(whole)/2])
	writeFile(t, filepath.Join(kernel, "bad_empty.ko"), nil)
	writeFile(t, filepath.Join(kernel, "bad_foreign.ko"), []byte("#!/bin/sh\necho no module\n"))
	writeFile(t, filepath.Join(kernel, "bad_bomb.ko.gz"), bomb.Bytes())

	program := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(program, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, detail := range []string{"", "files", "files,signatures"} {
		t.Run("detail "+detail, func(t *testing.T) {
			out := output(t, program, "list", "--installed", "--root", root, "--kernel", release, "--format",
				"jsonl", "--detail", detail)
			listed := 0
			for line := range strings.Lines(out) {
				var m lkm.Module
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				listed++
				suffix, isBad := bad[m.Name]
				switch {
				case !isBad && (len(m.Problems) > 0 || detail != "" && m.Linux.Vermagic == ""):
					t.Errorf("%s: %v, vermagic %q", m.Name, m.Problems, m.Linux.Vermagic)
				case isBad && (len(m.Problems) == 0 || !strings.Contains(m.Problems[0].Error(), m.Name+suffix)):
					t.Errorf("%s is not named: %v", m.Name, m.Problems)
				case isBad:
					t.Log(m.Problems[0].Error())
				}
			}
			if listed != len(good)+len(bad) {
				t.Errorf("%d modules listed of %d", listed, len(good)+len(bad))
			}
		})
	}
}
