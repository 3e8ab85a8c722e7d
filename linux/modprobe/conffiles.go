// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// files lists the files to read in kmod's order: by base name; of one base name only the file in
// the most important directory.
func (c *Config) files(fsys fs.FS, dirs []string, dir string) []string {
	var files []string
	seen := make(map[string]bool)
	if dir != "" {
		for _, name := range []string{"modules.softdep", "modules.weakdep"} {
			if _, err := fs.Stat(fsys, dir+"/"+name); err == nil {
				seen[name] = true
				files = append(files, dir+"/"+name)
			}
		}
	}
	var lost fact.Report
	named, nowhere := confFiles(fsys, dirs, seen, SourceConfig, &lost)
	files = append(files, named...)
	for _, p := range lost.Problems {
		c.lose(p)
	}
	for _, link := range nowhere[:min(len(nowhere), maxConfigLost-len(c.ignored))] {
		c.ignored = append(c.ignored, fact.IdleLine{File: escape.Text(link),
			Reason: fact.Reason{Code: IdleIgnored, Text: leadsNowhere(fsys, link)}})
	}
	sortByBase(files)
	if len(files) > maxConfigFiles {
		c.lose(&fact.ParseError{Source: files[0], Reason: fmt.Sprintf("%d configuration files", len(files)),
			Err: fact.ErrTooLarge})
		files = files[:maxConfigFiles]
	}
	return files
}

// confFiles lists the *.conf files of directories, of which the first to have a base name wins. A
// link to /dev/null hides the others of its name and is not listed. kmod before version 33 reads
// *.alias as well: such a file of modprobe.d is a problem. kmod before version 34 lets a link that leads nowhere hide
// the others of its name (conf_files_filter_out ignores what fstatat returns), later ones skip it: whether the others
// count is unknown. Those links are returned too, and each is a problem. Problems are reported under the source's name.
func confFiles(
	fsys fs.FS, dirs []string, seen map[string]bool, source string, r *fact.Report,
) (files, nowhere []string) {
	hiding := make(map[string]string) // name to the link that leads nowhere
	for _, dir := range dirs {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.Problem(source, "", "", err)
			} else if mount := MountedElsewhere(fsys, dir); mount != "" {
				r.Problem(source, "", "", fmt.Errorf("/%s: /etc/fstab names %s, which is not mounted: %w", dir, mount,
					fs.ErrNotExist))
			}
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if name[0] == '.' || seen[name] {
				continue
			}
			if strings.HasSuffix(name, ".alias") && path.Base(dir) == "modprobe.d" {
				r.Problem(source, "", "", fmt.Errorf("/%s/%s is not read: only kmod before version 33 does: %w",
					dir, escape.Text(name), errors.ErrUnsupported))
			}
			if len(name) < 6 || !strings.HasSuffix(name, ".conf") {
				continue
			}
			switch kindOf(fsys, dir, e) {
			case noFile:
				continue
			case deadLink:
				link := dir + "/" + name
				r.Problem(source, "", "", &fact.ParseError{Source: link, Field: fieldLink,
					Reason: "ignored: " + leadsNowhere(fsys, link)})
				nowhere, hiding[name] = append(nowhere, link), link
				continue
			}
			seen[name] = true
			if link := hiding[name]; link != "" && isKmods(dir) {
				r.Problem(source, "", "", fmt.Errorf("/%s is not read: only kmod 34 and later does, because of /%s: %w",
					escape.Text(dir+"/"+name), escape.Text(link), errors.ErrUnsupported))
				continue
			}
			if !isMask(fsys, dir, e) {
				files = append(files, dir+"/"+name)
			}
		}
	}
	return files, nowhere
}

// isKmods reports whether a directory holds kmod's configuration, not systemd's.
func isKmods(dir string) bool { return path.Base(dir) == "modprobe.d" || path.Base(dir) == "depmod.d" }

// fieldLink is the field of the problem of a link that leads nowhere.
const fieldLink = "link"

// leadsNowhere says why a link that leads nowhere is ignored.
func leadsNowhere(fsys fs.FS, link string) string {
	return "a link to /" + escape.Text(LinkTarget(fsys, link)) + ", which is not there"
}

// Ignored reports whether a problem is a line or a link that kmod ignores.
func Ignored(p fact.Problem) bool {
	return p.Source == SourceConfig && p.Code == fact.CodeMalformed && (p.Line > 0 || p.Field == fieldLink)
}

// What a directory's entry is to kmod's conf_files_filter_out.
type confKind int

const (
	confFile confKind = iota // a file that counts
	noFile                   // a directory
	deadLink                 // a link that leads nowhere
)

// kindOf returns what a directory's entry is. What is not known to lead nowhere counts: reading it fails.
func kindOf(fsys fs.FS, dir string, e fs.DirEntry) confKind {
	switch {
	case e.IsDir():
		return noFile
	case e.Type()&fs.ModeSymlink == 0 || isMask(fsys, dir, e):
		return confFile
	}
	name := dir + "/" + e.Name()
	info, err := fs.Stat(fsys, name)
	if err == nil {
		if info.IsDir() {
			return noFile
		}
		return confFile
	}
	target := LinkTarget(fsys, name)
	_, targetErr := fs.Stat(fsys, target) // a file system may know nothing of the machine's root
	if errors.Is(err, fs.ErrNotExist) && errors.Is(targetErr, fs.ErrNotExist) && MountedElsewhere(fsys, target) == "" {
		return deadLink
	}
	return confFile
}

func sortByBase(files []string) {
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(path.Base(a), path.Base(b)) })
}

// isDir reports whether a directory's entry is, or leads to, a directory.
func isDir(fsys fs.FS, dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := fs.Stat(fsys, dir+"/"+e.Name())
	return err == nil && info.IsDir()
}

// isMask reports whether a directory's entry is a link to /dev/null, which an image may lack.
func isMask(fsys fs.FS, dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return false
	}
	return LinkTarget(fsys, dir+"/"+e.Name()) == "dev/null"
}

// LinkTarget is where a file that is a link leads, below the machine's root, as one in weak-updates
// leads to another release's tree; "" for what is not a link.
func LinkTarget(fsys fs.FS, file string) string {
	target, err := fs.ReadLink(fsys, file)
	if err != nil {
		return ""
	}
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(file), target)
	}
	return path.Clean(target)[1:]
}
