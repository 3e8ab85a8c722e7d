// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A BootEntry is one way in which a boot loader would start a kernel: what stands in a loader
// entry, a grub.cfg, a unified kernel image or a file of command-line words.
type BootEntry struct {
	// Title is the entry's name; empty when it has none.
	Title string
	// Release is the kernel release that it starts; empty when the entry does not tell, and then it
	// may be any.
	Release string
	// File is where its command line stands, as a path below the root, and Line the line, 0 for a
	// file that is nothing else.
	File string
	Line int
	// Text is the command line, and Words are its words.
	Text  string
	Words []CmdlineWord
	// Unresolved are the boot loader's variables in it whose value is not known, such as
	// "$kernelopts": they may add any word.
	Unresolved []string
}

// A Boot is how the machine's kernels would be started, as far as its boot loaders' files tell.
type Boot struct {
	// Entries are all entries of all loaders found.
	Entries []BootEntry
	// Lost are the files that could not be read or understood.
	Lost []error
	// Fallback is set when no loader's entry was found, and Entries come from /etc/kernel/cmdline
	// or its like, from which entries are made.
	Fallback bool
}

// Caps for boot loaders' files.
const (
	maxBootEntries = 1000
	maxLoaderFile  = 1 << 20
)

// loaderDirs hold Boot Loader Specification entries, grubFiles and extlinuxFiles those loaders'
// configuration, imageDirs unified kernel images, and cmdlineFiles bare command lines, of which
// the first counts.
var (
	loaderDirs    = []string{"boot/loader/entries", "boot/efi/loader/entries", "efi/loader/entries"}
	grubFiles     = []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/efi/EFI/debian/grub.cfg", "boot/efi/EFI/fedora/grub.cfg", "boot/efi/EFI/redhat/grub.cfg"}
	grubEnvFiles  = []string{"boot/grub/grubenv", "boot/grub2/grubenv"}
	extlinuxFiles = []string{"boot/extlinux/extlinux.conf", "boot/syslinux/syslinux.cfg"}
	imageDirs     = []string{"boot/efi/EFI/Linux", "efi/EFI/Linux", "boot/EFI/Linux"}
	bareFiles     = []string{"boot/firmware/cmdline.txt", "boot/cmdline.txt"}
	cmdlineFiles  = []string{"etc/kernel/cmdline", "usr/lib/kernel/cmdline"}
)

// ReadBoot reads how the machine's kernels would be started. What is not there is left out: a
// Boot without entries says that the next boot's command line is not known.
func ReadBoot(fsys fs.FS) *Boot {
	r := &bootReader{fsys: fsys, boot: new(Boot), seen: make(map[string]bool)}
	for _, dir := range loaderDirs {
		r.dir(dir, ".conf", r.loaderEntry)
	}
	for _, name := range grubFiles {
		r.text(name, r.grub)
	}
	for _, name := range extlinuxFiles {
		r.text(name, r.extlinux)
	}
	for _, dir := range imageDirs {
		r.dir(dir, ".efi", r.unifiedImage)
	}
	for _, name := range bareFiles {
		r.text(name, r.bare)
	}
	if len(r.boot.Entries) == 0 {
		for _, name := range cmdlineFiles {
			if len(r.boot.Entries) == 0 {
				r.text(name, r.bare)
			}
		}
		r.boot.Fallback = len(r.boot.Entries) > 0
	}
	return r.boot
}

// For returns the entries that start, or may start, the release.
func (b *Boot) For(release string) []BootEntry {
	var entries []BootEntry
	for _, e := range b.Entries {
		if e.Release == "" || release == "" || e.Release == release {
			entries = append(entries, e)
		}
	}
	return entries
}

// ErrNoBootEntry says that no boot loader's file tells the next boot's command line.
var ErrNoBootEntry = fmt.Errorf("no loader entry, grub.cfg, unified kernel image or /etc/kernel/cmdline: %w", fs.ErrNotExist)

type bootReader struct {
	fsys fs.FS
	boot *Boot
	seen map[string]bool // files that were reached by two names
	env  map[string]string
}

func (r *bootReader) lose(err error) {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) && len(r.boot.Lost) < limit.Problems {
		r.boot.Lost = append(r.boot.Lost, err)
	}
}

func (r *bootReader) add(e BootEntry) {
	if len(r.boot.Entries) < maxBootEntries {
		r.boot.Entries = append(r.boot.Entries, e)
	}
}

// dir calls read for each file of the directory whose name ends so.
func (r *bootReader) dir(dir, suffix string, read func(name string)) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		r.lose(err)
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(strings.ToLower(e.Name()), suffix) && !e.IsDir() && !r.seen[e.Name()] {
			r.seen[e.Name()] = true
			read(dir + "/" + e.Name())
		}
	}
}

// text calls read with the content of the file, if it is there.
func (r *bootReader) text(name string, read func(name, text string)) {
	text, err := limit.AppendFile(r.fsys, nil, name, maxLoaderFile)
	if err != nil {
		r.lose(err)
		return
	}
	read(name, string(text))
}

// loaderEntry reads an entry of the Boot Loader Specification: "options" lines add up.
func (r *bootReader) loaderEntry(name string) {
	r.text(name, func(_, text string) {
		e := BootEntry{File: name}
		options, kernel, n := "", "", 0
		for line := range strings.Lines(text) {
			n++
			key, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
			value = strings.TrimSpace(value)
			switch key {
			case "title":
				e.Title = escape.UTF8(value)
			case "version":
				e.Release = escape.UTF8(value)
			case "linux", "efi":
				kernel = value
			case "options":
				if e.Line == 0 {
					e.Line = n
				}
				options += " " + value
			}
		}
		if e.Release == "" {
			e.Release = kernelRelease(kernel)
		}
		r.fill(&e, options)
		r.add(e)
	})
}

// kernelRelease tells the release from a kernel's path as loaders name it: /vmlinuz-RELEASE, or
// /MACHINE/RELEASE/linux. It is empty when the path does not tell.
func kernelRelease(file string) string {
	base := path.Base(file)
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "kernel-", "Image-", "linux-"} {
		if release, ok := strings.CutPrefix(base, prefix); ok && strings.ContainsAny(release, "0123456789") {
			return escape.UTF8(strings.TrimSuffix(release, ".efi"))
		}
	}
	if parent := path.Base(path.Dir(file)); (base == "linux" || base == "vmlinuz") && strings.Contains(parent, ".") && parent != "." {
		return escape.UTF8(parent)
	}
	return ""
}

// fill gives the entry its words, with the boot loader's variables replaced where they are known.
func (r *bootReader) fill(e *BootEntry, options string) {
	if strings.Contains(options, "$") {
		options = r.expand(e, options)
	}
	e.Text = strings.TrimSpace(options)
	e.Words = ParseCmdline(options)
}

// expand replaces $NAME and ${NAME} by what grub's environment block says.
func (r *bootReader) expand(e *BootEntry, options string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(options, "$")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, tail := variable(rest)
		if name == "" {
			b.WriteByte('$')
			options = rest
			continue
		}
		options = tail
		value, known := r.environment()[name]
		if !known {
			e.Unresolved = append(e.Unresolved, "$"+escape.UTF8(name))
			continue
		}
		b.WriteString(value)
	}
}

// variable divides what follows "$" into a name and the rest; the name is empty when it is none.
func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		name, rest, ok = strings.Cut(inner, "}")
		if !ok {
			return "", s
		}
		return name, rest
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return s[:n], s[n:]
}

// environment reads grub's environment block, once.
func (r *bootReader) environment() map[string]string {
	if r.env != nil {
		return r.env
	}
	r.env = make(map[string]string)
	for _, name := range grubEnvFiles {
		r.text(name, func(_, text string) {
			for line := range strings.Lines(text) {
				key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
				if ok && !strings.HasPrefix(key, "#") {
					r.env[key] = value
				}
			}
		})
	}
	return r.env
}

// grub reads the "linux" lines of a grub.cfg, whichever menu entry they stand in.
func (r *bootReader) grub(name, text string) {
	n, title := 0, ""
	for line := range strings.Lines(text) {
		n++
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "menuentry "); ok {
			title = firstQuoted(rest)
		}
		args, ok := grubLinux(line)
		if !ok {
			continue
		}
		kernel, options, _ := strings.Cut(args, " ")
		e := BootEntry{Title: title, Release: kernelRelease(kernel), File: name, Line: n}
		r.fill(&e, options)
		r.add(e)
	}
}

// grubLinux returns what follows the command that loads a kernel.
func grubLinux(line string) (args string, ok bool) {
	command, args, found := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
	switch command {
	case "linux", "linux16", "linuxefi":
		return strings.TrimSpace(args), found
	}
	return "", false
}

// firstQuoted is the first word of grub's language, without its quotes.
func firstQuoted(s string) string {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		s, _, _ = strings.Cut(s, " ")
		return escape.UTF8(s)
	}
	s, _, _ = strings.Cut(s[1:], s[:1])
	return escape.UTF8(s)
}

// extlinux reads the "append" line of each label, to which a "linux" or "kernel" line belongs.
func (r *bootReader) extlinux(name, text string) {
	var e BootEntry
	kernel, options, n := "", "", 0
	flush := func() {
		if kernel != "" {
			e.File, e.Release = name, kernelRelease(kernel)
			r.fill(&e, options)
			r.add(e)
		}
		e, kernel, options = BootEntry{}, "", ""
	}
	for line := range strings.Lines(text) {
		n++
		key, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "label":
			flush()
			e.Title = escape.UTF8(value)
		case "linux", "kernel":
			kernel = value
		case "append":
			options, e.Line = value, n
		}
	}
	flush()
}

// bare reads a file that is nothing but a command line.
func (r *bootReader) bare(name, text string) {
	e := BootEntry{File: name}
	r.fill(&e, text)
	r.add(e)
}

// unifiedImage reads the sections .cmdline and .uname of a unified kernel image. One without a
// .cmdline gets its command line from elsewhere.
func (r *bootReader) unifiedImage(name string) {
	f, err := r.fsys.Open(name)
	if err != nil {
		r.lose(err)
		return
	}
	defer f.Close()
	sections, err := peSections(f, name, ".cmdline", ".uname")
	if err != nil {
		r.lose(err)
		return
	}
	e := BootEntry{File: name, Release: strings.TrimSpace(sections[".uname"])}
	if e.Release == "" {
		e.Release = kernelRelease(name)
	}
	text, ok := sections[".cmdline"]
	if !ok {
		e.Unresolved = []string{"no .cmdline section"}
	}
	r.fill(&e, text)
	r.add(e)
}

var errNoReaderAt = fmt.Errorf("file cannot be read at an offset: %w", errors.ErrUnsupported)

// malformed makes the error for a file that makes no sense.
func malformed(source, reason string) error {
	return &fact.ParseError{Source: source, Reason: reason}
}
