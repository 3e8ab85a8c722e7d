// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"bufio"
	"errors"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// program builds the example of a file as the whole program that the package's documentation shows.
func program(t *testing.T, file string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds a program")
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	examples := doc.Examples(f)
	if len(examples) != 1 || examples[0].Play == nil {
		t.Fatalf("%s: %d examples; it is not a program", file, len(examples))
	}
	var text strings.Builder
	if err := format.Node(&text, fset, examples[0].Play); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "program.exe")
	if err := os.WriteFile(source, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", bin, source).CombinedOutput(); err != nil {
		t.Fatalf("%s: who copies it gets: %v\n%s", file, err, out)
	}
	return bin
}

// The agent of the package's documentation, copied as it is, sends events of this machine.
func TestExampleAgentRuns(t *testing.T) {
	if _, err := lkm.Take(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	c := exec.CommandContext(t.Context(), program(t, "example_agent_test.go"))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = c.Process.Kill() // it goes on until then
	_ = c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range lkm.ReadEvents(strings.NewReader(line)) {
		if err != nil || e.Seq != 1 || e.Host != "web-1" || e.Stream == "" || (e.Snapshot == nil) != (e.Digest == "") {
			t.Errorf("%v: %.300s", err, line)
		}
	}
}

// The programs that README names can be copied as they are, and say what they say here.
func TestExamplePrograms(t *testing.T) {
	for _, name := range []string{"watcher", "inventory", "compliance", "tape"} {
		out, err := exec.Command(program(t, "example_"+name+"_test.go")).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
