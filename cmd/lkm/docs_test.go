// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
)

// The pages of docs/ and README.md have blocks of these kinds. Their first line is ``` and these words:
//
//	sh         lines that are run, in order, in one folder that is empty at the page's beginning. "# exit N" says what
//	           the line's exit code is; 0 without it. "# no row" says that a query gives nothing.
//	text       right below sh: what these lines print. -update rewrites it.
//	KIND FILE  is written to FILE in that folder, such as: yaml rules.yaml
//	go         is the source of tests: <!-- go FILE: NAME... --> above it says which functions. -update rewrites it,
//	           and also a block of any kind below <!-- file FILE -->
//	console    lines that need a network, root or another program
//
// Of these, of any other block and of code in sentences, every lkm command has to exist with its flags.

// A block is one fenced part of a page.
type block struct {
	kind, file string // the words of its first line
	text       string
	above      string // the text between it and the block before it
	from, to   int    // where the text is in the page
}

var fence = regexp.MustCompile("(?ms)^```([^\n`]*)\n(.*?)^```$")

func blocksOf(page string) []block {
	var blocks []block
	end := 0
	for _, m := range fence.FindAllStringSubmatchIndex(page, -1) {
		b := block{above: page[end:m[0]], text: page[m[4]:m[5]], from: m[4], to: m[5]}
		b.kind, b.file, _ = strings.Cut(page[m[2]:m[3]], " ")
		blocks = append(blocks, b)
		end = m[1]
	}
	return blocks
}

// pages returns the files that people read.
func pages(t *testing.T) []string {
	t.Helper()
	top := filepath.Join("..", "..")
	names, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return append(names, filepath.Join(top, "README.md"))
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// commandVariable makes the test binary the command.
const commandVariable = "LKM_TEST_IS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestPages runs the lines of the pages.
func TestPages(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "lkm")); err != nil {
		t.Skip(err)
	}
	for _, name := range pages(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			page := readPage(t, name)
			if strings.Contains(page, "sqlite3 ") {
				if _, err := exec.LookPath("sqlite3"); err != nil {
					t.Skip("no sqlite3")
				}
			}
			r := &pageRun{t: t, shell: shell, dir: t.TempDir(), bin: bin}
			if updated := r.run(page); updated != page {
				if err := os.WriteFile(name, []byte(updated), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A pageRun runs the blocks of one page.
type pageRun struct {
	t               *testing.T
	shell, dir, bin string
}

// run returns the page with what its lines print.
func (r *pageRun) run(page string) string {
	var updated strings.Builder
	written, printed, last := 0, "", ""
	for _, b := range blocksOf(page) {
		switch {
		case b.file != "":
			r.write(b)
		case b.kind == "sh":
			printed = r.lines(b.text)
		case b.kind == "text" && last == "sh" && strings.TrimSpace(b.above) == "":
			if b.text != printed && !*update {
				r.t.Errorf("the lines print something else (-update rewrites it):\n%s", golden.Diff(b.text, printed))
			}
			updated.WriteString(page[written:b.from] + printed)
			written = b.to
		case b.kind == "text":
			r.t.Errorf("a block of text without lines that print it:\n%s", b.text)
		}
		last = b.kind
	}
	updated.WriteString(page[written:])
	if !*update {
		return page
	}
	return updated.String()
}

func (r *pageRun) write(b block) {
	if !filepath.IsLocal(b.file) {
		r.t.Fatalf("%s is not in the folder", b.file)
	}
	file := filepath.Join(r.dir, b.file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

var exitMark = regexp.MustCompile(`# exit (\d)\b`)

// lines runs the lines of a block and returns what they print.
func (r *pageRun) lines(text string) string {
	var all strings.Builder
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.Lines(text) {
		want := 0
		if m := exitMark.FindStringSubmatch(line); m != nil {
			want, _ = strconv.Atoi(m[1])
		}
		code, out := r.line(line)
		if code != want {
			r.t.Fatalf("%sexit %d, want %d\n%s", line, code, want, out)
		}
		if strings.Contains(line, "SELECT") && (out == "") != strings.Contains(line, "# no row") {
			r.t.Errorf("%srows: %q", line, out)
		}
		all.WriteString(out)
	}
	return all.String()
}

func (r *pageRun) line(line string) (code int, out string) {
	c := exec.Command(r.shell, "-c", line)
	c.Dir = r.dir
	c.Env = append(os.Environ(), commandVariable+"=1", "PATH="+r.bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"TZ=UTC", "LC_ALL=C")
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	err := c.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		r.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), b.String()
}
