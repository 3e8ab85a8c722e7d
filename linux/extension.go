// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// An extensionDir holds images and folders that systemd-sysext(8) or systemd-confext(8) lays over a folder of the root
// during boot.
type extensionDir struct {
	dir, over string
	holds     []string // what of such a folder bears on modules
}

var (
	systemHolds   = []string{"lib/modules", "lib/modprobe.d", "local/lib/modprobe.d"}
	extensionDirs = []extensionDir{
		{"etc/extensions", "usr", systemHolds},
		{"var/lib/extensions", "usr", systemHolds},
		{"var/lib/confexts", "etc", []string{"modprobe.d"}},
		{"usr/lib/confexts", "etc", []string{"modprobe.d"}},
		{"usr/local/lib/confexts", "etc", []string{"modprobe.d"}},
	}
)

// maxExtensions is how many extensions of one directory are looked at.
const maxExtensions = 1024

// isNone reports whether an error says that there is nothing.
func isNone(err error) bool { return errors.Is(err, fs.ErrNotExist) || fact.Lacks(err) }

// readExtensions returns what the next boot may add to the root that is looked at: modules, and configuration. It does
// not apply if nothing does, and passes over what the running machine shows already.
func (c *checker) readExtensions() fact.Answer {
	for _, d := range extensionDirs {
		entries, err := fs.ReadDir(c.machine.FS, d.dir)
		switch {
		case isNone(err):
			continue
		case err == nil:
			entries, err = limit.Most(entries, maxExtensions, slash(d.dir))
		}
		if err != nil {
			return fact.UnsureOf(unread(ReasonExtension, slash(d.dir), err))
		}
		for _, e := range entries {
			if a := c.extension(&d, e.Name()); a.Applies() {
				return a
			}
		}
	}
	return fact.Answer{}
}

// extension says what one extension may add.
func (c *checker) extension(d *extensionDir, name string) fact.Answer {
	base, image := strings.CutSuffix(strings.TrimSuffix(name, ".v"), ".raw")
	file := path.Join(d.dir, name)
	shown := path.Join(d.over, "lib/extension-release.d/extension-release."+base)
	if d.over == "etc" {
		shown = "etc/extension-release.d/extension-release." + base
	}
	if _, err := fs.Stat(c.machine.FS, shown); err == nil && c.machine.Live {
		return fact.Answer{}
	}
	text := fmt.Sprintf("%s may be laid over /%s during boot", slash(file), d.over)
	r := textReason(ReasonExtension, text, slash(file), 0)
	r.Unread = "what is in " + slash(file)
	if image {
		return fact.UnsureOf(r)
	}
	for _, sub := range d.holds {
		_, err := fs.Stat(c.machine.FS, path.Join(file, d.over, sub))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			r.Unread = "what is in " + slash(path.Join(file, d.over, sub))
			return fact.UnsureOf(r)
		}
	}
	return fact.Answer{}
}
