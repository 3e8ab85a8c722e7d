// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// A config is what the checks of benchmarks read of a machine, read once.
type config struct {
	lines  *lkm.Config // modprobe --showconfig
	err    error
	files  [][]byte // the files of the six directories
	unread error    // which of them were not read
}

// text returns what the benchmark's own check says of a module, and why.
func (m *machine) text(ctx context.Context, check Check, name string) (Status, string) {
	if m.conf == nil {
		m.conf = new(config)
		m.conf.lines, m.conf.err = m.System.Config(ctx)
		m.conf.files, m.conf.unread = confFiles(m.Files)
	}
	if check == CheckOVAL {
		return m.conf.oval(name)
	}
	return m.script(ctx, check, name)
}

// A part is one thing that a check looks for.
type part struct {
	ok     bool
	missed string // what it is if it is not there
	err    error  // why that is not known
}

// sum is the answer of a check that needs all parts. One that is known to be missing decides.
func sum(parts ...part) (Status, string) {
	var missed, unread []string
	for _, p := range parts {
		switch {
		case p.ok:
		case p.err != nil:
			unread = append(unread, oneLine(p.err))
		default:
			missed = append(missed, p.missed)
		}
	}
	switch {
	case missed != nil:
		return Fail, strings.Join(missed, ", ")
	case unread != nil:
		return Unknown, strings.Join(unread, "; ")
	}
	return Pass, ""
}

// errNoRoot is why a check of files has no answer.
var errNoRoot = errors.New("the files of the machine were not given")

// confDirs are the directories that the OVAL definitions search: modprobe reads nothing of modules-load.d.
var confDirs = []string{"etc/modprobe.d", "etc/modules-load.d", "run/modprobe.d", "run/modules-load.d",
	"usr/lib/modprobe.d", "usr/lib/modules-load.d"}

// Bounds of what a check reads.
const (
	maxConf  = 1 << 20 // bytes of one file
	maxFiles = 4000
)

// confFiles returns the files NAME.conf of confDirs. The error joins what was not read.
func confFiles(fsys fs.FS) (files [][]byte, unread error) {
	if fsys == nil {
		return nil, errNoRoot
	}
	for _, dir := range confDirs {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unread = errors.Join(unread, err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".conf") || e.IsDir() {
				continue
			}
			if len(files) == maxFiles {
				return files, errors.Join(unread, fmt.Errorf("over %d files: %w", maxFiles, fact.ErrTooLarge))
			}
			data, err := readConf(fsys, dir+"/"+e.Name())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				unread = errors.Join(unread, err)
			}
			files = append(files, data)
		}
	}
	return files, unread
}

// readConf reads one small file. What is neither a file nor a link to one holds no lines.
func readConf(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConf+1))
	if err == nil && len(data) > maxConf {
		return nil, fmt.Errorf("%s: over %d bytes: %w", name, maxConf, fact.ErrTooLarge)
	}
	return data, err
}

// oval is the answer of the OVAL definitions for RHEL: their two patterns, each found in some file. NAME is as the
// benchmark writes it: the patterns know nothing of - and _, of /usr/bin/false, of comments after a line.
func (c *config) oval(name string) (Status, string) {
	quoted := regexp.QuoteMeta(name)
	find := func(what, pattern string) part {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return part{err: err}
		}
		return part{ok: slices.ContainsFunc(c.files, re.Match), missed: "no " + what + " line", err: c.unread}
	}
	return sum(find("install", `(?m)^\s*install\s+`+quoted+`\s+(/bin/false|/bin/true)$`),
		find("blacklist", `(?m)^blacklist\s+`+quoted+`$`))
}
