// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// ID returns the entry's name in its boot loader's terms: the file's name of a loader entry or a unified image, else
// the title, else the file's name.
func (e *Entry) ID() string {
	base := path.Base(e.File)
	if e.unified || strings.HasSuffix(path.Dir(e.File), "/entries") {
		return strings.TrimSuffix(base, ".conf")
	}
	if e.Title != "" {
		return e.Title
	}
	return base
}

// A defaultEntry is what the boot loaders' files say of the entry that starts if nobody chooses another.
type defaultEntry struct {
	names    []string // identifiers or titles
	patterns []string // systemd-boot's, of an identifier: the first that fits an entry counts
	unread   bool     // of systemd-boot's variables, one that may name another was not read
	index    int      // of a grub.cfg's entry; -1 for none
}

// IsDefault reports whether the entry is the one that the boot loaders' files name as the default: grub's saved_entry
// or default, systemd-boot's variables and loader.conf. It is false if they name none, or if one that may name another
// could not be read.
func (b *Setup) IsDefault(e Entry) bool {
	d := &b.standard
	if d.unread {
		return false
	}
	for _, pattern := range d.patterns {
		if strings.HasPrefix(pattern, "@") {
			return false // the one that was chosen last, which is not known
		}
		if slices.ContainsFunc(b.Entries, func(other Entry) bool { return other.fits(pattern) }) {
			return e.fits(pattern)
		}
	}
	switch {
	case len(d.patterns) > 0:
		return false // systemd-boot chooses by itself then
	case len(d.names) > 0:
		return slices.Contains(d.names, e.ID()) || e.Title != "" && slices.Contains(d.names, e.Title)
	}
	return d.index >= 0 && d.index < len(b.Entries) && b.Entries[d.index].File == e.File &&
		b.Entries[d.index].Line == e.Line
}

// fits reports whether systemd-boot's pattern, in which letters of both cases are the same, is for the entry.
func (e *Entry) fits(pattern string) bool {
	id := strings.ToLower(e.ID())
	for _, name := range []string{id, id + ".conf", id + ".efi"} {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// choose adds a pattern of systemd-boot's.
func (d *defaultEntry) choose(pattern string) {
	if pattern != "" {
		d.patterns = append(d.patterns, strings.ToLower(pattern))
	}
}

// The variables of the Boot Loader Interface, as efivarfs shows them: which loader started this boot, and what it
// starts next, once or always. These two come before loader.conf (config_select_default_entry in systemd's boot.c).
const (
	loaderVars   = "sys/firmware/efi/efivars/Loader"
	loaderGUID   = "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
	maxLoaderVar = 4096
)

// readVariables reads systemd-boot's variables. Those of another loader, or from before it, do not count.
func (r *bootReader) readVariables() {
	if !strings.HasPrefix(r.variable("Info"), "systemd-boot") {
		return
	}
	for _, name := range []string{"EntryOneShot", "EntryDefault"} {
		r.boot.standard.choose(r.variable(name))
	}
}

// variable returns the text of a variable: four bytes of attributes, then UTF-16. It is empty if the variable does not
// exist.
func (r *bootReader) variable(name string) string {
	b, err := limit.ReadFile(r.fsys, loaderVars+name+loaderGUID, maxLoaderVar)
	switch {
	case errors.Is(err, fs.ErrNotExist), fact.Lacks(err):
		return ""
	case err != nil:
		r.lose(err)
		r.boot.standard.unread = true
		return ""
	case len(b) < 4:
		return ""
	}
	return utf16text.DecodeZ(b[4:])
}

// readDefault reads what is the default.
func (r *bootReader) readDefault() {
	d := &r.boot.standard
	d.index = -1
	if len(r.boot.Entries) > 0 {
		r.readVariables()
	}
	configured := ""
	for _, dir := range []string{"boot/loader", "boot/efi/loader", "efi/loader"} {
		r.text(dir+"/loader.conf", func(_, text string) {
			for line := range strings.Lines(text) {
				if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "default" {
					configured = fields[1]
				}
			}
		})
	}
	d.choose(configured)
	values := r.environment().literals("next_entry")
	for _, name := range []string{"saved_entry", "default"} {
		values = append(values, r.environment().literals(name)...)
	}
	for _, value := range values {
		if n, err := strconv.Atoi(value); err == nil {
			d.index = n
			continue
		}
		if value != "" {
			names := strings.Split(value, ">") // of a submenu, and of an entry in it
			d.names = append(d.names, names[len(names)-1])
		}
	}
}
