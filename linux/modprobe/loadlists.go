// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
)

// A Setting is one line of a file that asks for something at boot.
type Setting struct {
	// Name is what is asked for: a module's name or alias, or the key of a sysctl.
	Name string
	// Value is the value of a sysctl; empty for a module.
	Value string
	// File is the file with the line, as a path below the root.
	File string
	// Line is the line's number, from 1.
	Line int
}

// openWrtLoadDirs hold OpenWrt's lists, whatever their files are called.
var openWrtLoadDirs = []string{"etc/modules-boot.d", "etc/modules.d"}

// namedFiles lists the files of directories, in the order of their names.
func namedFiles(fsys fs.FS, dirs []string, r *fact.Report) (files []string) {
	for _, dir := range dirs {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "", err)
		}
		if len(entries) > maxLoadFiles {
			r.Problem(SourceConfig, "", "",
				&fact.ParseError{Source: dir, Reason: fmt.Sprintf("more than %d files", maxLoadFiles),
					Err: fact.ErrTooLarge})
			entries = entries[:maxLoadFiles]
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, dir+"/"+e.Name())
			}
		}
	}
	return files
}

// maxLoadFiles is how many files of one of those directories are read.
const maxLoadFiles = 4096

// The directories of modules-load.d and sysctl.d, most important first.
var (
	// LoadListDirs are the directories of modules-load.d.
	LoadListDirs = []string{"etc/modules-load.d", "run/modules-load.d", "usr/local/lib/modules-load.d",
		"usr/lib/modules-load.d", "lib/modules-load.d"}
	sysctlDirs = []string{"etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d",
		"usr/lib/sysctl.d", "lib/sysctl.d"}
)

// ReadLoadLists reads the modules that are loaded during boot because a list says so:
// Android's modules.load, modules-load.d and /etc/modules, in that order, the last only once where the second has a
// link to it, and OpenWrt's modules.d. What could not be read is a problem of SourceConfig.
func ReadLoadLists(fsys fs.FS, r *fact.Report) (modules []Setting) {
	read := func(name string) { modules = append(modules, ReadList(fsys, name, r)...) }
	files, _ := confFiles(fsys, LoadListDirs, make(map[string]bool), SourceConfig, r)
	sortByBase(files)
	files = append(files, namedFiles(fsys, openWrtLoadDirs, r)...)
	for _, dir := range FlatRoots { // Android's init loads what they list
		for _, s := range ReadList(fsys, dir+"/modules.load", r) {
			s.Name = ko.NameOfFile(s.Name)
			modules = append(modules, s)
		}
	}
	linked := false
	for _, name := range files {
		read(name)
		linked = linked || LinkTarget(fsys, name) == "etc/modules"
	}
	if !linked {
		read("etc/modules")
	}
	return modules
}

// ReadBlocklists reads Android's modules.blocklist, lines of "blocklist NAME", which its modprobe applies only with -b.
// A file that could not be read is a problem of SourceConfig.
func ReadBlocklists(fsys fs.FS, r *fact.Report) (modules []Setting) {
	for _, dir := range FlatRoots {
		name := dir + "/modules.blocklist"
		lines, err := settingLines(fsys, name, "#")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "", err)
		}
		for _, s := range lines {
			if fields := strings.Fields(s.Name); len(fields) == 2 && fields[0] == "blocklist" {
				s.Name, s.Value = fields[1], ""
				modules = append(modules, s)
			}
		}
	}
	return modules
}

// ReadList reads one list of modules to load. A file that is not there is an empty list; what could not be read is a
// problem of SourceConfig.
func ReadList(fsys fs.FS, name string, r *fact.Report) []Setting {
	lines, err := settingLines(fsys, name, "#;")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceConfig, "", "", err)
	}
	for i := range lines {
		lines[i].Name, _, _ = strings.Cut(lines[i].Name, " ") // old files give parameters after the name
	}
	return lines
}

// ReadSysctls reads the kernel settings that are made during boot, in the order in which they are
// made: the last one of a key counts. What could not be read is a problem of SourceSysctls.
func ReadSysctls(fsys fs.FS, r *fact.Report) (settings []Setting) {
	files, _ := confFiles(fsys, sysctlDirs, make(map[string]bool), SourceSysctls, r)
	sortByBase(files)
	for _, name := range append(files, "etc/sysctl.conf") {
		lines, err := settingLines(fsys, name, "#;")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceSysctls, "", "", err)
		}
		for _, s := range lines {
			key, value, ok := strings.Cut(s.Name, "=")
			if !ok {
				continue
			}
			key = strings.TrimPrefix(strings.TrimSpace(key), "-") // "-": a failure is not an error
			s.Name, s.Value = strings.ReplaceAll(key, "/", "."), strings.TrimSpace(value)
			settings = append(settings, s)
		}
	}
	return settings
}

// settingLines returns the lines of a file that are neither empty nor start with one of comments.
func settingLines(fsys fs.FS, name, comments string) ([]Setting, error) {
	text, err := limit.ReadFile(fsys, name, maxConfigFile)
	if err != nil {
		return nil, err
	}
	var lines []Setting
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		if line != "" && !strings.ContainsRune(comments, rune(line[0])) && len(lines) < maxSteps {
			lines = append(lines, Setting{Name: escape.UTF8(line), File: name, Line: n})
		}
	}
	return lines, nil
}
