// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	commandLine = regexp.MustCompile(`(?:^|[\s"'(]|go run \./cmd/)lkm((?: +[^\s]+)+)`)
	flagSpan    = regexp.MustCompile(`^--?[a-zA-Z][a-z-]*`)
	ownPackage  = regexp.MustCompile(`github\.com/kernelext/kernelext((?:/[a-z0-9-]+)*)`)
	linkTarget  = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	indented    = regexp.MustCompile(`(?m)^    .*$`)
)

// TestPagesWords looks for each command and flag that the pages name: it exists.
func TestPagesWords(t *testing.T) {
	for _, name := range pages(t) {
		page := readPage(t, name)
		var lines []string
		for _, b := range blocksOf(page) {
			if b.kind != "text" && b.kind != "go" {
				lines = append(lines, strings.Split(strings.ReplaceAll(b.text, "\\\n", ""), "\n")...)
			}
		}
		prose := fence.ReplaceAllString(page, "")
		lines = append(lines, indented.FindAllString(prose, -1)...)
		for _, m := range codeSpan.FindAllStringSubmatch(prose, -1) {
			span := strings.ReplaceAll(m[1], `\|`, "|")
			if flag := flagSpan.FindString(span); flag != "" && !isFlag(flag) {
				t.Errorf("%s: no command has %s", name, flag)
			}
			lines = append(lines, span)
		}
		for _, line := range lines {
			line, _, _ = strings.Cut(line, " # ")
			for _, m := range commandLine.FindAllStringSubmatch(line, -1) {
				if err := exists(m[1]); err != nil {
					t.Errorf("%s: %s: %v", name, strings.TrimSpace(line), err)
				}
			}
		}
	}
}

// exists returns an error if lkm has no such command, or the command no such flag.
func exists(args string) error {
	var words []string
	for _, word := range shellWords(args) {
		if word == "" || strings.ContainsAny(word[:1], "|><;&#)") {
			break
		}
		words = append(words, strings.Trim(word, `"',`))
	}
	root := newApp(nil, nil, nil, nil).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if c == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return fmt.Errorf("no command %s", words[0])
	}
	c.InitDefaultHelpFlag()
	return c.ParseFlags(rest)
}

var shellWord = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)

func shellWords(line string) []string { return shellWord.FindAllString(line, -1) }

// isFlag reports whether a command has the flag.
func isFlag(name string) bool {
	long, short := strings.TrimPrefix(name, "--"), strings.TrimPrefix(name, "-")
	root := newApp(nil, nil, nil, nil).root()
	return slices.ContainsFunc(allCommands(root), func(c *cobra.Command) bool {
		c.InitDefaultHelpFlag()
		if strings.HasPrefix(name, "--") {
			return c.Flags().Lookup(long) != nil || c.PersistentFlags().Lookup(long) != nil
		}
		return len(short) == 1 && c.Flags().ShorthandLookup(short) != nil
	})
}

// TestPagesPlaces looks for each package and file that the pages name.
func TestPagesPlaces(t *testing.T) {
	for _, name := range pages(t) {
		page := readPage(t, name)
		for _, m := range ownPackage.FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: %s: %v", name, m[0], err)
			}
		}
		for _, m := range linkTarget.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: %s: %v", name, m[0], err)
			}
		}
	}
}

// TestReadmeNamesPages: who reads README finds each page.
func TestReadmeNamesPages(t *testing.T) {
	readme := readPage(t, filepath.Join("..", "..", "README.md"))
	for _, name := range pages(t) {
		if base := filepath.Base(name); base != "README.md" && !strings.Contains(readme, "](docs/"+base+")") {
			t.Errorf("README.md does not link to docs/%s", base)
		}
	}
}

// TestWrongWords: a command, a flag or a value that is wrong is found.
func TestWrongWords(t *testing.T) {
	for args, ok := range map[string]bool{
		" list --tape demo:x | head":          true,
		" check 'a b' --root image  # exit 1": true,
		" lst":                                false,
		" list --nosuch":                      false,
		" audit --rules a --heartbeat 5m":     false,
		" watch --heartbeat soon":             false,
		" completion bash)":                   true,
		" help check":                         true,
	} {
		if err := exists(args); (err == nil) != ok {
			t.Errorf("lkm%s: %v", args, err)
		}
	}
	if isFlag("--nosuch") || !isFlag("--root") || !isFlag("-r") || isFlag("-Z") {
		t.Error("flags")
	}
}
