// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"path"
	"strings"

	"github.com/kernelext/kernelext/internal/escape"
)

// An extlinuxMenu is an extlinux.conf or a syslinux.cfg that is being read.
type extlinuxMenu struct {
	*bootReader
	name            string
	entry           Entry  // of the label
	kernel, options string // of the label
	own             bool   // it has an "append" line
	always          string // the "append" line before the first label
	line            int    // its line
	standard        string // the label that starts if nobody chooses another
}

// extlinux reads the labels of a menu. A label without an "append" line of its own has the one before the first label;
// U-Boot, which reads extlinux.conf too, passes that one over.
func (r *bootReader) extlinux(name, text string) {
	m := extlinuxMenu{bootReader: r, name: name}
	n := 0
	for line := range strings.Lines(text) {
		n++
		key, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
		m.command(strings.ToLower(key), strings.TrimSpace(value), n)
	}
	m.flush()
	if m.standard != "" {
		r.boot.standard.names = append(r.boot.standard.names, m.standard)
	}
}

// command takes one line.
func (m *extlinuxMenu) command(key, value string, line int) {
	switch key {
	case "label":
		m.flush()
		m.entry.Title = escape.UTF8(value)
	case "linux", "kernel":
		m.kernel = value
	case "initrd":
		m.initrds(&m.entry, strings.Split(value, ","))
	case "include", "config":
		m.loseFor(m.name, line, value)
	case "append":
		if m.entry.Title == "" && m.kernel == "" {
			m.always, m.line = value, line
			return
		}
		m.options, m.entry.Line, m.own = value, line, true
	case "default":
		m.standard = escape.UTF8(value)
	case "menu":
		if strings.EqualFold(value, "default") {
			m.standard = m.entry.Title
		}
	}
}

// flush adds the entry of the label.
func (m *extlinuxMenu) flush() {
	e, kernel, options := m.entry, m.kernel, m.options
	if !m.own && m.always != "" {
		options, e.Line = m.always, m.line
		if path.Base(m.name) == "extlinux.conf" {
			e.Unresolved = []string{"the append line before the first label"}
		}
	}
	m.entry, m.kernel, m.options, m.own = Entry{}, "", "", false
	if kernel == "" || startsNoLinux(kernel) {
		return
	}
	if options == "-" {
		options = "" // none, also not the one before the first label
	}
	e.File = m.name
	m.setRelease(&e, kernel, "")
	m.fill(&e, options)
	m.add(e)
}
