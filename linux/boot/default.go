// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"path"
	"slices"
	"strconv"
	"strings"
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
	names   []string // identifiers or titles
	pattern string   // systemd-boot's, of an identifier
	index   int      // of a grub.cfg's entry; -1 for none
}

// IsDefault reports whether the entry is the one that the boot loaders' files name as the default: grub's saved_entry
// or default, systemd-boot's loader.conf. It is false if they name none.
func (b *Setup) IsDefault(e Entry) bool {
	d := &b.standard
	switch {
	case d.pattern != "":
		ok, err := path.Match(d.pattern, e.ID())
		full, fullErr := path.Match(d.pattern, e.ID()+".conf")
		return ok && err == nil || full && fullErr == nil
	case len(d.names) > 0:
		return slices.Contains(d.names, e.ID()) || e.Title != "" && slices.Contains(d.names, e.Title)
	}
	return d.index >= 0 && d.index < len(b.Entries) && b.Entries[d.index].File == e.File &&
		b.Entries[d.index].Line == e.Line
}

// readDefault reads what is the default.
func (r *bootReader) readDefault() {
	d := &r.boot.standard
	d.index = -1
	for _, dir := range []string{"boot/loader", "boot/efi/loader", "efi/loader"} {
		r.text(dir+"/loader.conf", func(_, text string) {
			for line := range strings.Lines(text) {
				if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "default" &&
					!strings.HasPrefix(fields[1], "@") {
					d.pattern = fields[1]
				}
			}
		})
	}
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
