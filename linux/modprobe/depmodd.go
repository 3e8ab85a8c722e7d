// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// depmodDirs are the directories of depmod's configuration, the most important first.
var depmodDirs = []string{"etc/depmod.d", "run/depmod.d", "usr/local/lib/depmod.d", "usr/lib/depmod.d", "lib/depmod.d"}

// A depmodConfig says which of several files of one module depmod chooses.
type depmodConfig struct {
	// Search are the subdirectories in order of importance, the most important first; "built-in"
	// is everything else, "external" the external directories.
	Search []depmodSearch
	// Overrides choose a subdirectory for single modules; the last line is looked at first.
	Overrides []depmodOverride
	// External are directories outside the tree, as paths below the machine's root.
	External []string
	// Exclude are the names of directories that are not entered, and of files that are not taken,
	// anywhere in the tree.
	Exclude []string

	steps int // of all patterns so far
}

// A depmodSearch is one word of a search line, and its place.
type depmodSearch struct {
	Word string
	File string
	Line int
}

// A depmodOverride is one override line that fits the release, and its place.
type depmodOverride struct {
	Module, Dir string
	File        string
	Line        int
}

// The words of a search line that are not directories.
const (
	searchBuiltin  = "built-in"
	searchExternal = "external"
)

// readDepmodConfig reads depmod's configuration for a release. It never fails: files that could not be read, and
// invalid lines, are problems of SourceTree. Without any search line the order is "updates built-in".
func readDepmodConfig(fsys fs.FS, release string, r *fact.Report) *depmodConfig {
	c := &depmodConfig{Exclude: []string{"build", "source"}}
	files, _ := confFiles(fsys, depmodDirs, make(map[string]bool), SourceTree, r)
	sortByBase(files)
	files, err := limit.Most(files, maxConfigFiles, "depmod.d")
	if err != nil {
		r.Problem(SourceTree, "", "", err)
	}
	for _, file := range files {
		b, err := limit.ReadFile(fsys, file, maxConfigFile)
		if err != nil {
			r.Problem(SourceTree, "", "", err)
			continue
		}
		lines := wrappedLines{text: b}
		for lines.next() {
			if err := c.line(lines.line, file, lines.number, release); err != nil {
				r.Problem(SourceTree, "", "", &fact.ParseError{Source: file, Line: lines.number, Reason: err.Error()})
			}
		}
	}
	if len(c.Search) == 0 {
		c.Search = []depmodSearch{{Word: "updates"}, {Word: searchBuiltin}}
	}
	return c
}

func (c *depmodConfig) line(line, file string, number int, release string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	w := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(w) == 0 {
		return nil
	}
	switch w[0] {
	case "search":
		for _, word := range w[1:] {
			c.Search = append(c.Search, depmodSearch{word, file, number})
		}
	case "override":
		if len(w) < 4 {
			return fmt.Errorf("ignored: override without module, release and directory")
		}
		fits, err := c.matches(w[2], release)
		if err != nil {
			return fmt.Errorf("ignored: override for %q: %w", escape.Text(w[2]), err)
		}
		if fits {
			c.Overrides = append(c.Overrides, depmodOverride{w[1], w[3], file, number})
		}
	case "external":
		if len(w) < 3 {
			return fmt.Errorf("ignored: external without release and directory")
		}
		fits, err := c.matches(w[1], release)
		if err != nil {
			return fmt.Errorf("ignored: external for %q: %w", escape.Text(w[1]), err)
		}
		if fits {
			for _, dir := range w[2:] {
				if strings.HasPrefix(dir, "/") {
					c.External = append(c.External, strings.Trim(dir, "/"))
				}
			}
		}
	case "exclude":
		c.Exclude = append(c.Exclude, w[1:]...)
	case "include", "make_map_files":
		return fmt.Errorf("%s is not implemented, by depmod neither", w[0])
	default:
		return fmt.Errorf("ignored: %q is not a directive", escape.Text(w[0]))
	}
	return nil
}

// maxAllSteps is how many steps all patterns of a configuration may have, together.
const maxAllSteps = 1 << 20

// matches reports whether an override's or external's pattern fits the release: "*" or an extended regular expression
// that matches some part of it (cfg_kernel_matches of depmod.c).
func (c *depmodConfig) matches(pattern, release string) (bool, error) {
	if pattern == "*" {
		return true, nil
	}
	if len(pattern) > 1024 || c.steps > maxAllSteps {
		return false, errERESize
	}
	e, err := parseERE(pattern)
	c.steps += len(e) + len(pattern)
	return err == nil && e.matches(release), err
}

// A rank is how important a file is, and why. Higher wins.
type rank struct {
	level  int
	reason string
}

// overrideRank beats every place in the search order.
const overrideRank = 1 << 20

// rank judges a file, a path relative to the release directory or absolute.
func (c *depmodConfig) rank(file string) rank {
	base := file[:len(file)-len(ko.Suffix(file))]
	for i := len(c.Overrides) - 1; i >= 0; i-- {
		if o := &c.Overrides[i]; o.Dir+"/"+o.Module == base {
			return rank{overrideRank + i, fmt.Sprintf("override %s (%s:%d)", o.Dir, o.File, o.Line)}
		}
	}
	builtin := rank{-1, "in no directory of the search"}
	for i := range c.Search {
		s := &c.Search[i]
		level := len(c.Search) - i
		r := rank{level, "search " + s.Word}
		if s.File != "" {
			r.reason += fmt.Sprintf(" (%s:%d)", s.File, s.Line)
		} else if s.Word == searchBuiltin {
			r.reason = "default place"
		}
		external := strings.HasPrefix(file, "/")
		switch {
		case s.Word == searchBuiltin:
			if builtin.level < 0 {
				builtin = r
			}
		case s.Word == searchExternal:
			if external {
				return r
			}
		case !external && strings.HasPrefix(file, s.Word+"/"): // "updates/" matches nothing, in depmod neither
			return r
		}
	}
	return builtin
}
