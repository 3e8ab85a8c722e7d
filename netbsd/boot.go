// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// bootCfg is the file of the boot loader, boot.cfg(5).
const bootCfg = "boot.cfg"

// maxMenu is how many entries of its menu the boot loader knows (BOOTCFG_MAXMENU).
const maxMenu = 20

// A confLine is one line that names a module to load at boot.
type confLine struct {
	// name is the word that names the module, as it is written; of other commands what follows them.
	name string
	// module is the name of the module's file in the module path; empty if the word can only be a path.
	module string
	// path is the file that the word means if it is a path, with a leading "/"; empty if it can only be a name.
	path string
	file string
	line int
	// sure is false for an entry of the menu that is not the default.
	sure bool
}

// reason returns the line as a reason.
func (l confLine) reason(code, text string) fact.Reason {
	return fact.Reason{Code: code, File: "/" + l.file, Line: l.line, Text: text}
}

// A loader is what boot.cfg(5) says.
type loader struct {
	loads    []confLine // the modules that the boot loader loads
	userconf []confLine // commands that change which devices the kernel looks for
	// off is the line that turns modules off; its file is empty if none does.
	off confLine
	// kernel is the path of the kernel below the root. It is kernelFile unless the default entry says another.
	kernel string
	// device is the line that boots a kernel of another device; its file is empty if no line does.
	device confLine
	// elsewhere is the first line that loads a module of another device; its file is empty if no line does.
	elsewhere confLine

	item *fact.Item // of boot.cfg
	over error      // what its lines take that is more than they may
}

// lineSize is the memory of a line beside its text, in bytes.
const lineSize = 128

// keep asks for the memory of a line, and reports whether it may be kept.
func (l *loader) keep(at confLine) bool {
	if l.over == nil {
		l.over = l.item.Keep(int64(lineSize + 3*len(at.name)))
	}
	return l.over == nil
}

// readLoader reads boot.cfg as perform_bootcfg of the boot loader does: lines KEY=VALUE, which a "#" ends, keys by
// their beginning. Without such a file the boot loader loads /netbsd alone.
func (k *Kernel) readLoader(r *fact.Report) (loader, error) {
	l := loader{kernel: kernelFile}
	text, item, err := limit.ReadItem(k.machine, bootCfg, limit.Text, r.Budget)
	defer item.Done()
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	l.item = item
	var menu []confLine
	entry, n := 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		key, value, ok := strings.Cut(line, "=")
		at := confLine{name: value, file: bootCfg, line: n, sure: true}
		switch {
		case !ok:
		case strings.HasPrefix(key, "menu"):
			if _, at.name, ok = strings.Cut(at.name, ":"); ok && len(menu) < maxMenu {
				menu = append(menu, at)
			}
		case strings.HasPrefix(key, "default"):
			entry, _ = strconv.Atoi(strings.TrimSpace(value)) // atoi: 0 for nonsense
		case strings.HasPrefix(key, "load"):
			l.load(at)
		case strings.HasPrefix(key, "userconf"):
			l.change(at)
		default:
			l.command(key+" "+value, at)
		}
	}
	for i, m := range menu {
		m.sure = i == max(0, min(entry, len(menu))-1)
		for command := range strings.SplitSeq(m.name, ";") {
			l.command(command, m)
		}
	}
	l.item = nil
	return l, cmp.Or(err, l.over)
}

// command takes one command of the boot loader.
func (l *loader) command(command string, at confLine) {
	f := strings.Fields(command)
	if len(f) < 2 {
		return
	}
	at.name = strings.Join(f[1:], " ")
	switch f[0] {
	case "load":
		l.load(at)
	case "userconf":
		l.change(at)
	case "modules":
		if off := f[1] == "off" || f[1] == "disabled"; off && at.sure {
			l.off = at
		}
	case "boot", "pkboot":
		device, file, ok := strings.Cut(f[1], ":")
		if !ok {
			file = device
		}
		switch {
		case !at.sure || strings.HasPrefix(f[1], "-"):
		case ok && !strings.HasPrefix(device, "NAME=") || file != "" && ok:
			l.device = at
		default:
			l.kernel = strings.TrimPrefix(path.Clean("/"+file), "/")
		}
	}
}

// change takes a command that changes which devices the kernel looks for.
func (l *loader) change(at confLine) {
	at.name = escape.UTF8(at.name)
	if l.keep(at) {
		l.userconf = append(l.userconf, at)
	}
}

// load takes the name or the path of a module, which a blank ends: NAME of the module path, else what was written as a
// path (module_path and module_open of the boot loader).
func (l *loader) load(at confLine) {
	f := strings.Fields(at.name)
	if len(f) == 0 || !l.keep(at) {
		return
	}
	_, name, device := strings.Cut(f[0], ":")
	if !device {
		name = f[0]
	} else if l.elsewhere.file == "" {
		l.elsewhere = at
	}
	at.name, at.path = escape.UTF8(f[0]), path.Clean("/"+name)
	if !strings.Contains(name, "/") {
		at.module = name
	}
	l.loads = append(l.loads, at)
}

// lost returns why not every module that the boot loader loads is on this disk; nil if each is.
func (l *loader) lost() error {
	if l.elsewhere.file == "" {
		return nil
	}
	return &fact.ParseError{Source: "/" + bootCfg, Line: l.elsewhere.line, Err: errors.ErrUnsupported,
		Reason: "loads a module of a device: " + escape.UTF8(l.elsewhere.name)}
}

// otherDevice returns why the kernel that boots is not on this disk.
func (l *loader) otherDevice() error {
	return &fact.ParseError{Source: "/" + bootCfg, Line: l.device.line, Err: errors.ErrUnsupported,
		Reason: "boots a kernel of a device: " + escape.UTF8(l.device.name)}
}

// modulesConf reads modules.conf(5): the module, by name or path, and its arguments; none if there is no such file. A
// word with a "/" is a path (kobj_load_vfs), below the root, where rc(8) runs. The shell's read splits a line at
// blanks, and a backslash takes the next byte, or the next line, as it is; eval runs the arguments (rc.d/modules), so
// that a line may do anything.
func (k *Kernel) modulesConf(r *fact.Report) ([]confLine, error) {
	text, item, err := limit.ReadItem(k.machine, modulesConf, limit.Text, r.Budget)
	defer item.Done()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	var out []confLine
	var lost error
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		f := strings.FieldsFunc(strings.TrimRight(line, "\r\n"), func(r rune) bool { return r == ' ' || r == '\t' })
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		at := confLine{name: escape.UTF8(f[0]), file: modulesConf, line: n, sure: true}
		if strings.Contains(f[0], "/") {
			at.path = path.Clean("/" + f[0])
		} else {
			at.module = f[0]
		}
		if err := item.Keep(int64(lineSize + 3*len(at.name))); err != nil {
			return out, fmt.Errorf("/%s: %w", modulesConf, err)
		}
		out = append(out, at)
		if lost == nil && (strings.Contains(line, `\`) || evaluates(f[1:])) {
			lost = &fact.ParseError{Source: "/" + modulesConf, Line: n, Err: errors.ErrUnsupported,
				Reason: "the shell runs the arguments"}
		}
	}
	return out, lost
}

// evaluates reports whether the shell runs something when it evaluates the arguments of a line of modules.conf(5). A
// "#" begins a comment where a word begins, outside of quotes.
func evaluates(arguments []string) bool {
	quoted := false
	for _, word := range arguments {
		if !quoted && word[0] == '#' {
			return false
		}
		if strings.ContainsAny(word, "`$;&|<>(") {
			return true
		}
		quoted = quoted || strings.ContainsAny(word, `"'`)
	}
	return false
}
