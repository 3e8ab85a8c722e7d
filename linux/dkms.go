// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// dkmsDir is where DKMS keeps what it built.
const dkmsDir = "var/lib/dkms"

// Caps of what is read of DKMS trees.
const (
	maxDKMS      = 10000   // entries of all directories
	maxDKMSConf  = 1 << 20 // bytes of one dkms.conf
	maxDKMSNames = 64      // modules that one dkms.conf names, and bytes of each name
)

// A dkmsTree reads the directories of DKMS: NAME/VERSION has the source, and what was built of it.
type dkmsTree struct {
	fsys fs.FS
	lose func(error) // gets what could not be read, and what does not exist
	left int         // entries that are still read
}

// list returns a directory's entries.
func (t *dkmsTree) list(dir string) []fs.DirEntry {
	if t.left < 0 {
		return nil
	}
	entries, err := fs.ReadDir(t.fsys, dir)
	if t.left -= len(entries); t.left < 0 {
		entries, err = nil, fmt.Errorf("/%s: %w: more than %d entries", dkmsDir, fact.ErrTooLarge, maxDKMS)
	}
	if err != nil {
		t.lose(err)
	}
	return entries
}

// each calls f for each version of each package.
func (t *dkmsTree) each(f func(name, version string)) {
	for _, name := range t.list(dkmsDir) {
		if !name.IsDir() {
			continue
		}
		for _, version := range t.list(dkmsDir + "/" + name.Name()) {
			if version.IsDir() {
				f(name.Name(), version.Name())
			}
		}
	}
}

// conf returns the dkms.conf of a version. It is in the source directory, which by default is a link below /usr/src.
func (t *dkmsTree) conf(name, version string) (file string, conf []byte, err error) {
	file = path.Join(dkmsDir, name, version, "source/dkms.conf")
	if conf, err = limit.ReadFile(t.fsys, file, maxDKMSConf); err == nil {
		return file, conf, nil
	}
	other := "usr/src/" + name + "-" + version + "/dkms.conf"
	conf, otherErr := limit.ReadFile(t.fsys, other, maxDKMSConf)
	if otherErr == nil || errors.Is(err, fs.ErrNotExist) {
		return other, conf, otherErr
	}
	return file, nil, err
}

// dkmsDests returns the directories that a dkms.conf installs modules into, relative to the release
// directory. It is a shell script; a value that is computed is not known.
func dkmsDests(conf []byte) []string {
	var dests []string
	for line := range bytes.Lines(conf) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || !strings.HasPrefix(name, "DEST_MODULE_LOCATION[") {
			continue
		}
		value = strings.Trim(value, `"'`)
		if dir := strings.Trim(path.Clean(value), "/"); !strings.ContainsAny(value, "$`\"'; ") && dir != "" {
			dests = append(dests, dir)
		}
	}
	return dests
}

// A dkmsSource is a source that DKMS builds by itself.
type dkmsSource struct {
	file    string   // its dkms.conf
	modules []string // that it builds
	open    bool     // it may build others
}

// dkmsSourceOf reads a dkms.conf; nil for a package that is not built by itself. It is a script for the shell: a name
// that is computed may be any.
func dkmsSourceOf(file, pkg string, conf []byte) *dkmsSource {
	s, auto := &dkmsSource{file: file}, false
	for line := range bytes.Lines(conf) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		value = strings.Trim(value, `"'`)
		switch {
		case key == "AUTOINSTALL":
			auto = value != "" && !strings.EqualFold(value, "no")
		case !strings.HasPrefix(key, "BUILT_MODULE_NAME") && !strings.HasPrefix(key, "DEST_MODULE_NAME"):
		case strings.ContainsAny(value, "$`"), len(s.modules) == maxDKMSNames, len(value) > maxDKMSNames:
			s.open = true
		default:
			s.modules = append(s.modules, value)
		}
	}
	if !auto {
		return nil
	}
	if len(s.modules) == 0 && !s.open {
		s.modules = []string{pkg}
	}
	return s
}

// builds reports whether the source may give a module of the name.
func (s *dkmsSource) builds(module string) bool {
	for _, name := range s.modules {
		if modprobe.SameModule(name, module) {
			return true
		}
	}
	return s.open
}
