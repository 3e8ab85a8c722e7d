// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestAgentBinary builds an agent that looks at its own machine alone. It has no functions of other kernels than its
// own, and the library adds little to it.
func TestAgentBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this builds programs")
	}
	const most = 3_000_000 // bytes that the library adds, without symbols; 2.4 million in 0.2.0
	dir := t.TempDir()
	bare, agent := filepath.Join(dir, "bare"), filepath.Join(dir, "agent")
	goBuild(t, "linux", bare, "./internal/rules/testdata/bare", "-ldflags=-w")
	goBuild(t, "linux", agent, "./internal/rules/testdata/agent", "-ldflags=-w")
	without, _ := stripped(t, bare)
	with, functions := stripped(t, agent)
	t.Logf("the library adds %d bytes", with-without)
	if with-without > most {
		t.Errorf("the library adds %d bytes to an agent, more than %d: see what came with "+
			"go tool nm -size -sort size", with-without, most)
	}
	own := 0
	for _, f := range functions {
		kernel := kernelOfSymbol(f)
		switch {
		case kernel == "linux":
			own++
		case kernel != "" && !keptWithType(f):
			t.Errorf("%s is linked: a program that opens its own machine needs no other kernel's functions", f)
		}
	}
	if own < 100 {
		t.Errorf("%d functions of the machine's own kernel: the symbol table cannot be judged", own)
	}
}

// keptWithType reports whether a function comes with a type, which the record of a module has for every kernel: the
// package's own start, comparison, and methods that the standard library's interfaces name.
func keptWithType(f string) bool {
	name := f[strings.LastIndex(f, ".")+1:]
	return name == "init" || strings.HasPrefix(f, "type:.eq.") ||
		strings.Contains(f, ").") && slices.Contains([]string{"String", "Name", "Bytes"}, name) ||
		name == "String"
}

// kernelOfSymbol returns the kernel's package that a symbol is of, or below; empty for one of none.
func kernelOfSymbol(name string) string {
	_, rest, ok := strings.Cut(name, module+"/")
	if !ok {
		return ""
	}
	end := strings.IndexAny(rest, "./")
	return kernelOf(rest[:max(end, 0)])
}

// stripped returns the size of a program without its symbol table, and the names of its functions.
func stripped(t *testing.T, file string) (size int64, functions []string) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size = info.Size()
	for _, name := range []string{".symtab", ".strtab"} {
		if s := f.Section(name); s != nil {
			size -= int64(s.FileSize)
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			functions = append(functions, s.Name)
		}
	}
	return size, functions
}
