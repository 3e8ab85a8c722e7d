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
	files = append(files, confFiles(fsys, dirs, seen, SourceConfig, &lost)...)
	for _, p := range lost.Problems {
		c.lose(p)
		if file, target, ok := strings.Cut(p.Text, ignoredLink); ok && len(c.ignored) < maxConfigLost {
			c.ignored = append(c.ignored, fact.IdleLine{File: file, Reason: fact.Reason{Code: IdleIgnored,
				Text: "a link to /" + target}})
		}
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
// count is unknown. Problems are reported under the source's name.
func confFiles(fsys fs.FS, dirs []string, seen map[string]bool, source string, r *fact.Report) []string {
	var files []string
	nowhere := make(map[string]string) // name to the link
	for _, dir := range dirs {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.Problem(source, "", "", err)
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
			if len(name) < 6 || !strings.HasSuffix(name, ".conf") || !isConfFile(fsys, dir, e, nowhere, source, r) {
				continue
			}
			seen[name] = true
			if link := nowhere[name]; link != "" && isKmods(dir) {
				r.Problem(source, "", "", fmt.Errorf("/%s is not read: only kmod 34 and later does, because of /%s: %w",
					escape.Text(dir+"/"+name), escape.Text(link), errors.ErrUnsupported))
				continue
			}
			if !isMask(fsys, dir, e) {
				files = append(files, dir+"/"+name)
			}
		}
	}
	return files
}

// isKmods reports whether a directory holds kmod's configuration, not systemd's.
func isKmods(dir string) bool { return path.Base(dir) == "modprobe.d" || path.Base(dir) == "depmod.d" }

// ignoredLink follows the name of a link that leads nowhere in the text of its problem. No name has a slash.
const ignoredLink = ": ignored: a link to /"

// Ignored reports whether a problem is a line or a link that kmod ignores.
func Ignored(p fact.Problem) bool {
	return p.Source == SourceConfig && p.Code == fact.CodeMalformed &&
		(p.Line > 0 || strings.Contains(p.Text, ignoredLink))
}

// isConfFile reports whether a directory's entry is a file that counts. As kmod's conf_files_filter_out does, it leaves
// out a directory, and a link that leads nowhere, which it adds to nowhere. What is not known to lead nowhere counts:
// reading it fails.
func isConfFile(
	fsys fs.FS, dir string, e fs.DirEntry, nowhere map[string]string, source string, r *fact.Report,
) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return !e.IsDir()
	}
	if isMask(fsys, dir, e) {
		return true
	}
	name := dir + "/" + e.Name()
	info, err := fs.Stat(fsys, name)
	if err == nil {
		return !info.IsDir()
	}
	target := LinkTarget(fsys, name)
	_, targetErr := fs.Stat(fsys, target) // a file system may know nothing of the machine's root
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(targetErr, fs.ErrNotExist) || mountedElsewhere(fsys,
		target) != "" {
		return true
	}
	r.Problem(source, "", "", &fact.ParseError{Source: name,
		Reason: strings.TrimPrefix(ignoredLink, ": ") + escape.Text(target) + ", which is not there"})
	nowhere[e.Name()] = name
	return false
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
