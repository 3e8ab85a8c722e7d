// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// Files of FreeBSD, NetWare and Linux are read side by side, on any system.
func TestInfoOfThreeSystems(t *testing.T) {
	k := kotest.AMD64()
	k.Modules, k.Versions = []kotest.Module{{Record: "aesni_nexus", Name: "nexus/aesni"}},
		[]kotest.Version{{Name: "aesni", Version: 1}}
	k.Depends = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999}}
	dir := t.TempDir()
	t.Chdir(dir)
	for name, b := range map[string][]byte{"a.ko": k.Bytes(), "b.NLM": kotest.NLM(), "c.ko": kotest.Linux()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := lkmRun(t, "", "info", "./a.ko", "./b.NLM", "./c.ko")
	if code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	at := 0
	for _, want := range []string{"a.ko", "nexus/aesni", "14.2", "aesni.1", "CLIB.NLM 5.00a",
		"C Library", "THREADS.NLM",
		"AllocateMemory", "printf, malloc", "c 1.0", "GPL"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Errorf("no %q in its place in\n%s", want, out)
			continue
		}
		at += i
	}
}
