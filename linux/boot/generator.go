// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Generator is a file from which a tool makes boot entries when it runs next. The next boot does not read it: the
// entries decide what starts.
type Generator struct {
	// Tool is what reads the file: grub-mkconfig, kernel-install, mkinitcpio or dracut.
	Tool string
	// Words are the words of a command line that the tool puts into every entry; Usual those that it leaves out of
	// entries for recovery.
	Words, Usual []Word
	// File is the file that says most of it, as a path below the root.
	File string
	// Open is set if a part of it is only known to who runs it: a command, an unknown variable.
	Open bool
}

// The files of generators. /etc/default/grub is a script for the shell, to which Debian adds grub.d (grub-mkconfig(8)).
// kernel-install(8) takes the first of CmdlineFiles; mkinitcpio(8) adds cmdline.d to it, dracut(8) reads that within
// the initial file system.
const (
	GrubDefaults     = "etc/default/grub"
	grubDefaultsDir  = "etc/default/grub.d"
	CmdlineDir       = "etc/cmdline.d"
	grubLinux        = "GRUB_CMDLINE_LINUX"
	grubLinuxUsual   = "GRUB_CMDLINE_LINUX_DEFAULT"
	maxGeneratorFile = 256
)

// InstallConfigFiles are the configuration of kernel-install(8), of which the first counts.
var InstallConfigFiles = []string{"etc/kernel/install.conf", "run/kernel/install.conf",
	"usr/local/lib/kernel/install.conf", "usr/lib/kernel/install.conf"}

// ReadGenerators reads the files from which boot entries are made. One that does not exist is left out; what could not
// be read is a problem of SourceCmdline.
func ReadGenerators(fsys fs.FS, report *fact.Report) []Generator {
	r := generatorReader{fsys: fsys, report: report}
	return append(r.grub(), r.words()...)
}

type generatorReader struct {
	fsys   fs.FS
	report *fact.Report
}

// text returns the content of a file; ok is false if the file is missing or could not be read.
func (r *generatorReader) text(name string) (text string, ok bool) {
	b, err := limit.ReadFile(r.fsys, name, maxLoaderFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !fact.Lacks(err) {
		r.report.Problem(SourceCmdline, "", "", err)
	}
	item := r.report.Budget.Item(int64(len(b)))
	defer item.Done()
	if tooMuch := item.Work(int64(len(b))); tooMuch != nil {
		r.report.Problem(SourceCmdline, "", "", &fact.ParseError{Source: name, Reason: tooMuch.Error(), Err: tooMuch})
		return "", false
	}
	return string(b), err == nil
}

// dir lists the files of a directory whose names end so.
func (r *generatorReader) dir(dir, suffix string) (names []string) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !fact.Lacks(err) {
		r.report.Problem(SourceCmdline, "", "", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !e.IsDir() && len(names) < maxGeneratorFile {
			names = append(names, dir+"/"+e.Name())
		}
	}
	return names
}

// grub reads /etc/default/grub and what Debian's grub-mkconfig reads after it.
func (r *generatorReader) grub() []Generator {
	text, ok := r.text(GrubDefaults)
	if !ok {
		return nil
	}
	values := shellValues{known: make(map[string]string), open: make(map[string]bool)}
	values.read(text)
	for _, name := range r.dir(grubDefaultsDir, ".cfg") {
		more, ok := r.text(name)
		values.read(more)
		values.all = values.all || !ok
	}
	return []Generator{{
		Tool: "grub-mkconfig", File: GrubDefaults,
		Words: ParseCmdline(values.known[grubLinux]), Usual: ParseCmdline(values.known[grubLinuxUsual]),
		Open: values.all || values.open[grubLinux] || values.open[grubLinuxUsual],
	}}
}

// words reads the bare command lines of kernel-install and mkinitcpio.
func (r *generatorReader) words() []Generator {
	g := Generator{Tool: "kernel-install"}
	var all strings.Builder
	for _, name := range CmdlineFiles {
		if text, ok := r.text(name); ok {
			g.File = name
			all.WriteString(text)
			break
		}
	}
	if layout := r.installLayout(); layout != "" {
		g.Tool += " (layout " + layout + ")"
	}
	for _, name := range r.dir(CmdlineDir, ".conf") {
		text, ok := r.text(name)
		g.Open = g.Open || !ok
		if g.File == "" {
			g.Tool = "mkinitcpio or dracut"
		}
		if g.File == "" || path.Dir(g.File) == CmdlineDir {
			g.File = name
		}
		all.WriteString("\n" + bareWords(text))
	}
	if g.File == "" {
		return nil
	}
	g.Words = ParseCmdline(bareWords(all.String()))
	return []Generator{g}
}

// bareWords leaves out lines that are comments.
func bareWords(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// installLayout returns the kind of entry that kernel-install makes, as its configuration names it: bls, uki, other;
// empty if it does not say.
func (r *generatorReader) installLayout() string {
	for _, name := range InstallConfigFiles {
		text, ok := r.text(name)
		if !ok {
			continue
		}
		layout := ""
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if key == "layout" {
				layout = strings.Trim(value, `"'`)
			}
		}
		switch layout {
		case "bls", "uki", "other", "auto":
			return layout
		}
		return ""
	}
	return ""
}

// shellValues are the values that a script for the shell gives to variables, as far as it only gives them.
type shellValues struct {
	known map[string]string
	open  map[string]bool // given a value that is known only by running the script
	grown int             // bytes that values took from others
	all   bool            // any may have another value
}

// maxShellValue is how long a value may become, and how much all values of a script may take from others.
const maxShellValue = 64 << 10

// read takes lines of NAME=VALUE. Any other command may change each of them; comments and export do not.
func (s *shellValues) read(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, "=")
		add := strings.HasSuffix(name, "+")
		name = strings.TrimSuffix(name, "+")
		if !ok || !isShellName(name) {
			s.all = s.all || !isShellName(line) // after export
			continue
		}
		value, ok := s.value(rest)
		if add {
			s.grown += len(s.known[name])
			ok = ok && s.grown <= maxShellValue
		}
		if add && ok {
			value = s.known[name] + value
		}
		s.open[name] = !ok || add && s.open[name] || len(value) > maxShellValue
		if s.known[name] = value; s.open[name] {
			delete(s.known, name)
		}
	}
}

func isShellName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// value returns what the shell makes of the text after "=". ok is false if a command, or another variable, has a say,
// if the text goes on in the next line, or another command follows.
func (s *shellValues) value(text string) (value string, ok bool) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case quote == 0 && (ch == '"' || ch == '\''):
			quote = ch
		case quote != 0 && ch == quote:
			quote = 0
		case quote == '\'':
			b.WriteByte(ch)
		case ch == '\\' && i+1 < len(text) && (quote == 0 || strings.IndexByte("$\"\\`", text[i+1]) >= 0):
			i++
			b.WriteByte(text[i])
		case ch == '$':
			name, rest := variable(text[i+1:])
			known, is := s.known[name]
			if s.grown += len(known); !is || s.all || s.grown > maxShellValue {
				return "", false
			}
			b.WriteString(known)
			i = len(text) - len(rest) - 1
		case ch == '`', quote == 0 && strings.IndexByte(";&|<>()", ch) >= 0:
			return "", false
		case quote == 0 && (ch == ' ' || ch == '\t'):
			rest := strings.TrimLeft(text[i:], " \t")
			return b.String(), rest == "" || rest[0] == '#' // another command would follow
		default:
			b.WriteByte(ch)
		}
	}
	return b.String(), quote == 0 && !strings.HasSuffix(text, `\`)
}
