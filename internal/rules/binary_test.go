// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program for Linux has no code of other systems' libraries in it.
func TestLinuxBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this builds a program")
	}
	file := filepath.Join(t.TempDir(), "lkm")
	goBuild(t, "linux", file, "./cmd/lkm")
	unwanted := []string{"yusufpapurcu/wmi", "go-ole", "ebitengine/purego"}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Path != module+"/cmd/lkm" {
		t.Errorf("built %s", info.Path)
	}
	for _, dep := range info.Deps {
		for _, u := range unwanted {
			if strings.Contains(dep.Path, u) {
				t.Errorf("%s is linked", dep.Path)
			}
		}
	}
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" && s.Value != "0" {
			t.Errorf("%s=%s", s.Key, s.Value)
		}
	}
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for _, s := range symbols {
		ours = ours || strings.HasPrefix(s.Name, module+"/lkm.")
		for _, u := range unwanted {
			if strings.Contains(s.Name, u) {
				t.Errorf("symbol %s", s.Name)
			}
		}
	}
	if !ours {
		t.Errorf("none of %d symbols is of package lkm: the symbol table cannot be judged", len(symbols))
	}
}

// goBuild builds a program for amd64.
func goBuild(t *testing.T, goos, file, program string, flags ...string) {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("skipped: no go command to build with: ", err)
	}
	args := slices.Concat([]string{"build", "-o", file}, flags, []string{program})
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}
